/**
 * The side of a session that has data, as a pure transition table. session.ts is the front door.
 *
 *   awaitingHello ──hello──► awaitingSubscribe ──subscribe──► inspecting ──inspected──► reading
 *                                                                 └─(no such shard)──► absent
 *   reading ──read──► reading (room in the window) │ waiting (window full) │ caughtUp (at the head)
 *   waiting ──ack──► reading        caughtUp ──committed (live)──► reading        any ──done──► closed
 *
 * At most UNACKED_BATCHES_MAX batches are on the way, so a slow disk at the far end stops the reading
 * here, and nothing but a cursor waits for it.
 */
import { must } from '../assert.ts'
import { SqliteVectorError } from '../errors.ts'
import { UNACKED_BATCHES_MAX } from '../limits.ts'
import type { ShardState } from '../store/types.ts'
import {
  closeInOrder,
  endedEarly,
  fail,
  failedByPeer,
  impossible,
  mismatch,
  refuse,
  stay,
  violation,
  violationError,
} from './session-ends.ts'
import type {
  SendPhase,
  SendSession,
  SessionEffect,
  SessionEventType,
  Step,
  Transition,
  TransitionTable,
  Unacked,
} from './session-types.ts'
import { dominates, EMPTY_VECTOR, joinVectors } from './version-vector.ts'

/** What a sender is set up with. */
export interface SendRequest {
  /** Fingerprint of the peer. */
  readonly peer: string
  /** The only shard that may be asked for; null when the peer chooses. */
  readonly shardId: string | null
}

/** A sender that waits for its puller. */
export function createSender(request: SendRequest): SendSession {
  return {
    role: 'sender',
    phase: 'awaitingHello',
    ...request,
    peerNodeId: null,
    peerActor: null,
    subscription: null,
    logId: null,
    known: EMPTY_VECTOR,
    sentThrough: 0,
    ackedThrough: 0,
    unacked: [],
    complete: false,
    tally: { batches: 0, sent: 0, acked: 0 },
    error: null,
  }
}

type On<T extends SessionEventType> = Transition<SendSession, T>

const hello: On<'hello'> = (session, frame) =>
  stay({
    ...session,
    phase: 'awaitingSubscribe',
    peerNodeId: frame.nodeId,
    peerActor: frame.actor,
  })

const subscribe: On<'subscribe'> = (session, frame) => {
  if (session.shardId !== null && session.shardId !== frame.shardId) {
    return refuse(
      session,
      violationError(`asked for shard ${JSON.stringify(frame.shardId)}, uninvited`),
    )
  }
  return {
    session: {
      ...session,
      phase: 'inspecting',
      subscription: frame,
      known: frame.versionVector,
    },
    effects: [{ type: 'inspect', shardId: frame.shardId }],
  }
}

const inspected: On<'inspected'> = (session, { nodeId, identity, state }) => {
  const subscription = must(session.subscription, 'an inspecting sender was subscribed to')
  const { actor, logId } = identity
  if (state === null) {
    return {
      session: { ...session, phase: 'absent' },
      effects: [
        {
          type: 'send',
          frame: { type: 'welcome', nodeId, actor, logId, shard: null, cursor: 0 },
        },
      ],
    }
  }
  const { dimension, metric, modelId } = state
  const shard = { dimension, metric, modelId }
  if (subscription.shard !== null) {
    const error = mismatch(subscription.shardId, shard, subscription.shard)
    if (error !== null) return refuse(session, error)
  }
  // A cursor of another log, or beyond the head of this one, says nothing about this feed.
  const honoured = subscription.logId === logId && subscription.cursor <= state.head
  const cursor = honoured ? subscription.cursor : 0
  return {
    session: { ...session, phase: 'reading', logId, sentThrough: cursor, ackedThrough: cursor },
    effects: [
      { type: 'send', frame: { type: 'welcome', nodeId, actor, logId, shard, cursor } },
      { type: 'read', after: cursor, known: session.known },
    ],
  }
}

const read: On<'read'> = (session, { batch }) => {
  if (batch.state.logId !== session.logId) return refuse(session, logChanged())
  const { tally } = session
  const effects: SessionEffect[] = []
  const unacked: Unacked[] = [...session.unacked]
  if (batch.bytes !== null) {
    effects.push({ type: 'sendBatch', bytes: batch.bytes })
    unacked.push({ through: batch.through, changeCount: batch.changeCount, caughtUp: false })
  }
  if (batch.atHead) {
    effects.push({ type: 'send', frame: caughtUpFrame(batch.state) })
    unacked.push({ through: batch.state.head, changeCount: 0, caughtUp: true })
  }
  const next: SendSession = {
    ...session,
    unacked,
    sentThrough: batch.atHead ? batch.state.head : batch.through,
    tally: {
      batches: tally.batches + (batch.bytes === null ? 0 : 1),
      sent: tally.sent + batch.changeCount,
      acked: tally.acked,
    },
  }
  if (batch.atHead) return { session: { ...next, phase: 'caughtUp' }, effects }
  if (unacked.length >= UNACKED_BATCHES_MAX) {
    return { session: { ...next, phase: 'waiting' }, effects }
  }
  return readOn(next, effects)
}

function readOn(session: SendSession, before: readonly SessionEffect[]): Step<SendSession> {
  return {
    session: { ...session, phase: 'reading' },
    effects: [...before, { type: 'read', after: session.sentThrough, known: session.known }],
  }
}

function caughtUpFrame(
  state: ShardState,
): Extract<SessionEffect, { readonly type: 'send' }>['frame'] {
  const { head, versionVector, recordCount } = state
  const fingerprint = state.settled ? state.fingerprint : null
  return { type: 'caughtUp', head, versionVector, fingerprint, recordCount }
}

function logChanged(): SqliteVectorError {
  return new SqliteVectorError(
    'SYNC_REMOTE_FAILED',
    'the feed began anew while it was read; subscribe again',
  )
}

const ack: On<'ack'> = (session, frame) => {
  const { cursor, versionVector } = frame
  let count = 0
  for (const { through, caughtUp } of session.unacked) {
    if (through > cursor || (caughtUp && versionVector === null)) break
    count += 1
  }
  const last = session.unacked[count - 1]
  if (last === undefined || last.through !== cursor) {
    return refuse(session, violationError(`ACK of ${cursor}, which is not on its way`))
  }
  if (last.caughtUp !== (versionVector !== null)) {
    return refuse(session, violationError('a version vector in the ACK of a batch'))
  }
  const acked = session.unacked
    .slice(0, count)
    .reduce((sum, { changeCount }) => sum + changeCount, 0)
  const next: SendSession = {
    ...session,
    ackedThrough: cursor,
    unacked: session.unacked.slice(count),
    tally: { ...session.tally, acked: session.tally.acked + acked },
  }
  if (versionVector === null) return stay(next)
  if (!dominates(versionVector, subscribedVector(session))) {
    return refuse(session, violationError('a version vector that lost what it covered'))
  }
  return {
    session: { ...next, complete: true, known: joinVectors(next.known, versionVector) },
    effects: [{ type: 'recordAck', cursor, versionVector }],
  }
}

function subscribedVector(session: SendSession): SendSession['known'] {
  return must(session.subscription, 'a sender with frames on the way was subscribed to')
    .versionVector
}

/** An ACK makes room: the reading goes on. */
const ackWhileWaiting: On<'ack'> = (session, frame) => {
  const step = ack(session, frame)
  if (step.session.phase === 'closed' || step.session.unacked.length >= UNACKED_BATCHES_MAX) {
    return step
  }
  return readOn(step.session, step.effects)
}

const committed: On<'committed'> = (session) =>
  session.subscription?.live === true && session.unacked.length < UNACKED_BATCHES_MAX
    ? readOn(session, [])
    : stay(session)

const done: On<'done'> = (session) => closeInOrder(session, true)

const stop: On<'stop'> = (session) =>
  refuse(session, new SqliteVectorError('SYNC_CLOSED', 'the sender stops'))

/** What no sender is ever sent. */
const NEVER_SENT = {
  welcome: violation,
  batch: violation,
  caughtUp: violation,
  invite: violation,
  ping: violation,
  pong: violation,
} as const

/** What a sender's shell never reports. */
const NEVER_TOLD = { start: impossible, applied: impossible, joined: impossible } as const

const COMMON = {
  ...NEVER_SENT,
  ...NEVER_TOLD,
  hello: violation,
  subscribe: violation,
  ack: violation,
  done: violation,
  inspected: impossible,
  read: impossible,
  committed: stay,
  stop,
  error: failedByPeer,
  finished: endedEarly,
  failed: fail,
} as const

/** The sender's table. */
export const SEND_TABLE: TransitionTable<SendSession, SendPhase> = {
  awaitingHello: { ...COMMON, hello },
  awaitingSubscribe: { ...COMMON, subscribe },
  inspecting: { ...COMMON, inspected, done },
  // A commit that comes while a read is on order is seen by that read.
  reading: { ...COMMON, read, ack, done },
  waiting: { ...COMMON, ack: ackWhileWaiting, done },
  caughtUp: { ...COMMON, ack, committed, done },
  absent: { ...COMMON, done },
}
