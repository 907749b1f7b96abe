/**
 * The side of a session that has data, as a pure transition table. session/step.ts is the front
 * door.
 *
 *   awaitingHello ──hello──► awaitingSubscribe ──subscribe──► inspecting ──inspected──► reading
 *                                                                 └─(no such shard)──► absent
 *   reading ──read──► reading (room in the window) │ waiting (window full) │ caughtUp (at the head)
 *   waiting ──ack──► reading     caughtUp ──committed (live)──► reading     any ──done──► closed
 *   caughtUp ──wrote (live)──► pushing ──readOwn──► caughtUp
 *
 * Live, the writes of our own file go out as soon as they are committed, ahead of what we relay for
 * others; relayed changes follow when the hub of live sessions says so (`committed`). The cursor is
 * that of the whole feed: pushing does not move it.
 *
 * At most UNACKED_BATCHES_MAX batches are on the way, so a slow disk at the far end stops the
 * reading here, and nothing but a cursor waits for it.
 */
import { descriptorOf } from '../wire/control-frames.ts'
import { must } from '../../assert.ts'
import { SqliteVectorError } from '../../errors.ts'
import { FOREIGN_ACTORS_MAX, PUSHES_UNACKED_MAX, UNACKED_BATCHES_MAX } from '../../limits.ts'
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
} from './endings.ts'
import type {
  BatchRead,
  Behind,
  OwnLane,
  SendPhase,
  SendSession,
  SessionEffect,
  SessionEventType,
  Step,
  Transition,
  TransitionTable,
  Unacked,
} from './types.ts'
import type { VersionVector } from '../../model/types.ts'
import { dominates, EMPTY_VECTOR, joinVectors, withDot } from '../../model/version-vector.ts'
import { type ShardState } from '../../model/records.ts'

/** A request to send. */
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
    actor: null,
    own: null,
    behind: 'no',
    sources: null,
    known: EMPTY_VECTOR,
    sentThrough: 0,
    cursorSent: 0,
    ackedThrough: 0,
    unacked: [],
    complete: false,
    announced: EMPTY_VECTOR,
    ours: EMPTY_VECTOR,
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
      violationError(
        `subscribed to shard ${JSON.stringify(frame.shardId)} on a channel that was opened for another shard`,
      ),
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
  const shard = descriptorOf(state)
  if (subscription.shard !== null) {
    const error = mismatch(subscription.shardId, shard, subscription.shard)
    if (error !== null) return refuse(session, error)
  }
  // A cursor of another log, or beyond the head of this one, says nothing about this feed.
  // Held for as long as the session lasts: no more of it than our own vector has room for.
  const known = heldOf(session, state.versionVector)
  const honoured = subscription.logId === logId && subscription.cursor <= state.head
  const cursor = honoured ? subscription.cursor : 0
  return {
    session: {
      ...session,
      phase: 'reading',
      subscription: { ...subscription, versionVector: known, uncovered: EMPTY_VECTOR },
      known,
      ours: state.versionVector,
      logId,
      actor,
      sentThrough: cursor,
      cursorSent: cursor,
      ackedThrough: cursor,
    },
    effects: [
      { type: 'send', frame: { type: 'welcome', nodeId, actor, logId, shard, cursor } },
      { type: 'read', after: cursor, known },
    ],
  }
}

/** The subscriber's vector, of actors that we know and of a few that we do not. */
function heldOf({ known }: SendSession, ours: VersionVector): VersionVector {
  return learned({ known: EMPTY_VECTOR, ours }, known)
}

/**
 * `known` joined with what the peer says, without more than FOREIGN_ACTORS_MAX actors that we do
 * not know.
 */
function learned(
  { known, ours }: Pick<SendSession, 'known' | 'ours'>,
  news: VersionVector,
): VersionVector {
  if (dominates(known, news)) return known
  const joined = new Map(known)
  for (const [actor, counter] of news) {
    if (counter <= (joined.get(actor) ?? 0)) continue
    const hasRoom = joined.has(actor) || joined.size < ours.size + FOREIGN_ACTORS_MAX
    if (hasRoom || ours.has(actor)) joined.set(actor, counter)
  }
  return joined
}

const read: On<'read'> = (session, { batch }) => {
  if (batch.state.logId !== session.logId) return refuse(session, logChanged())
  const { tally } = session
  const effects: SessionEffect[] = []
  const unacked: Unacked[] = [...session.unacked]
  if (batch.bytes !== null) {
    effects.push({ type: 'sendBatch', bytes: batch.bytes })
    const { through, changeCount } = batch
    unacked.push({ through, changeCount, caughtUp: false, holds: null })
  }
  if (batch.atHead) {
    effects.push({ type: 'send', frame: caughtUpFrame(batch.state) })
    unacked.push({ through: batch.state.head, changeCount: 0, caughtUp: true, holds: null })
  }
  const next: SendSession = {
    ...session,
    unacked,
    ours: batch.state.versionVector,
    sentThrough: batch.atHead ? batch.state.head : batch.through,
    cursorSent: unacked.at(-1)?.through ?? session.cursorSent,
    tally: {
      batches: tally.batches + (batch.bytes === null ? 0 : 1),
      sent: tally.sent + batch.changeCount,
      acked: tally.acked,
    },
  }
  if (batch.atHead) {
    return {
      session: {
        ...next,
        phase: 'caughtUp',
        own: ownLane(next, batch),
        announced: batch.state.versionVector,
      },
      effects,
    }
  }
  if (unacked.length >= UNACKED_BATCHES_MAX) {
    return { session: { ...next, phase: 'waiting' }, effects }
  }
  return readOn(next, effects)
}

function readOn(session: SendSession, before: readonly SessionEffect[]): Step<SendSession> {
  return {
    session: { ...session, phase: 'reading' },
    effects: [...before, { type: 'read', after: session.sentThrough, known: withPushed(session) }],
  }
}

/** All of our own writes are sent now; from here on they go ahead of the rest. */
function ownLane({ actor }: SendSession, { state }: BatchRead): OwnLane {
  const counter = state.versionVector.get(must(actor, 'a reading sender looked at the shard')) ?? 0
  return { cursor: state.head, counter }
}

/**
 * The peer's vector once it has taken what is on the way. Frames arrive in order, and the cursor is
 * acknowledged after what was pushed before it.
 */
function withPushed({ known, actor, own }: SendSession): VersionVector {
  return actor === null || own === null ? known : withDot(known, { actor, counter: own.counter })
}

/** Reads our own writes since the last ones. */
function pushOn(session: SendSession, before: readonly SessionEffect[]): Step<SendSession> {
  const own = must(session.own, 'a pushing sender has caught up')
  return {
    session: { ...session, phase: 'pushing', behind: 'no' },
    effects: [
      ...before,
      {
        type: 'readOwn',
        after: own.cursor,
        known: session.known,
        actor: must(session.actor, 'a pushing sender looked at the shard'),
        above: own.counter,
        through: session.cursorSent,
      },
    ],
  }
}

const readOwn: On<'readOwn'> = (session, { batch }) => {
  if (batch.logId !== session.logId) return refuse(session, logChanged())
  const actor = must(session.actor, 'a pushing sender looked at the shard')
  const own = must(session.own, 'a pushing sender has caught up')
  // The peer may still show writes whose deletes we forgot before sending them: only CAUGHT_UP
  // tells our floor.
  const isForgotten = batch.forgotten > own.counter
  const isAll = batch.atHead && batch.bytes !== null && !isForgotten
  const holds: VersionVector = new Map([[actor, batch.counter]])
  const effects: SessionEffect[] = []
  const unacked: Unacked[] = [...session.unacked]
  if (batch.bytes !== null) {
    if (isAll) effects.push({ type: 'send', frame: { type: 'push', versionVector: holds } })
    effects.push({ type: 'sendBatch', bytes: batch.bytes })
    unacked.push({
      through: session.cursorSent,
      changeCount: batch.changeCount,
      caughtUp: false,
      holds: isAll ? holds : null,
    })
  }
  const { tally } = session
  const next: SendSession = {
    ...session,
    phase: 'caughtUp',
    unacked,
    own: { cursor: batch.through, counter: isAll ? batch.counter : own.counter },
    tally: {
      batches: tally.batches + (batch.bytes === null ? 0 : 1),
      sent: tally.sent + batch.changeCount,
      acked: tally.acked,
    },
  }
  if (isForgotten) return resume({ ...next, behind: 'all' }, effects)
  return resume(batch.atHead ? next : atLeast(next, 'own'), effects)
}

/** Does what is left to do, as soon as there is room for it. */
function resume(session: SendSession, effects: readonly SessionEffect[]): Step<SendSession> {
  if (session.behind === 'no' || session.unacked.length >= UNACKED_BATCHES_MAX) {
    return { session, effects }
  }
  if (session.behind === 'own') return pushOn(session, effects)
  return readOn({ ...session, behind: 'no' }, effects)
}

/**
 * New writes wait while a few pushes are unacknowledged, and then go together: so batches grow as
 * the peer is slower, and a peer that keeps up has each write at once.
 */
function resumeOwn(session: SendSession): Step<SendSession> {
  const isWaiting = session.behind === 'own' && session.unacked.length >= PUSHES_UNACKED_MAX
  return isWaiting ? stay(session) : resume(session, [])
}

function atLeast(session: SendSession, behind: Behind): SendSession {
  return session.behind === 'all' ? session : { ...session, behind }
}

function caughtUpFrame(
  state: ShardState,
): Extract<SessionEffect, { readonly type: 'send' }>['frame'] {
  const { head, versionVector, digest, recordCount, gcFloor, uncovered } = state
  return { type: 'caughtUp', head, versionVector, digest, recordCount, gcFloor, uncovered }
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
    // A push shares the cursor of the frame before it: each is acknowledged by itself.
    if (through === cursor && caughtUp === (versionVector !== null)) break
  }
  const last = session.unacked[count - 1]
  if (last === undefined || last.through !== cursor) {
    return refuse(session, violationError(`ACK of ${cursor}, which is not on its way`))
  }
  if (last.caughtUp !== (versionVector !== null)) {
    return refuse(session, violationError('a version vector in the ACK of a batch'))
  }
  let acked = 0
  let { known } = session
  for (const { changeCount, holds } of session.unacked.slice(0, count)) {
    acked += changeCount
    if (holds !== null) known = joinVectors(known, holds)
  }
  const next: SendSession = {
    ...session,
    known,
    ackedThrough: cursor,
    unacked: session.unacked.slice(count),
    tally: { ...session.tally, acked: session.tally.acked + acked },
  }
  if (versionVector === null) return stay(next)
  if (!dominates(versionVector, subscribedVector(session))) {
    return refuse(session, violationError('a version vector that lost what it covered'))
  }
  return {
    session: { ...next, complete: true, known: learned(next, versionVector) },
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

/** An ACK may have made room for what had to wait. */
const ackWhileCaughtUp: On<'ack'> = (session, frame) => {
  const step = ack(session, frame)
  if (step.session.phase === 'closed') return step
  const next = resumeOwn(step.session)
  return { session: next.session, effects: [...step.effects, ...next.effects] }
}

const committed: On<'committed'> = (session) =>
  session.subscription?.live === true ? resume({ ...session, behind: 'all' }, []) : stay(session)

const wrote: On<'wrote'> = (session) =>
  session.subscription?.live === true ? resumeOwn(atLeast(session, 'own')) : stay(session)

const holds: On<'holds'> = (session, { versionVector, sources = session.sources }) =>
  sources === session.sources && dominates(session.known, versionVector)
    ? stay(session)
    : stay({
        ...session,
        sources,
        known: learned(session, versionVector),
      })

const compare: On<'compare'> = (session, { ranges, payloads = false }) => ({
  session,
  effects: [{ type: 'summarize', ranges, payloads }],
})

const summarized: On<'summarized'> = (session, { answers }) => ({
  session,
  effects: [{ type: 'send', frame: { type: 'ranges', answers } }],
})

const need: On<'need'> = (session, { ids }) => ({
  session,
  effects: [{ type: 'readRecords', ids }],
})

const recordsRead: On<'recordsRead'> = (session, { bytes }) => ({
  session,
  effects: [{ type: 'sendAnswer', bytes }],
})

const done: On<'done'> = (session) => closeInOrder(session, true)

const stop: On<'stop'> = (session) =>
  refuse(session, new SqliteVectorError('SYNC_CLOSED', 'the sender stops'))

/** Frames that a sender never receives. */
const NEVER_SENT = {
  welcome: violation,
  batch: violation,
  caughtUp: violation,
  invite: violation,
  ping: violation,
  pong: violation,
  push: violation,
  ranges: violation,
  records: violation,
} as const

/** Events that the driver of a sender never reports. */
const NEVER_TOLD = {
  start: impossible,
  applied: impossible,
  joined: impossible,
  behind: impossible,
  doubtful: impossible,
  compared: impossible,
  repaired: impossible,
  payloadsCompared: impossible,
  moved: stay,
} as const

/** Questions that a subscriber may ask at any time once it was welcomed. */
const ASKED = { compare, summarized, need, recordsRead } as const

const COMMON = {
  ...NEVER_SENT,
  ...NEVER_TOLD,
  hello: violation,
  subscribe: violation,
  ack: violation,
  done: violation,
  inspected: impossible,
  read: impossible,
  readOwn: impossible,
  holds: violation,
  compare: violation,
  need: violation,
  summarized: impossible,
  recordsRead: impossible,
  committed: stay,
  wrote: stay,
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
  reading: {
    ...COMMON,
    ...ASKED,
    read,
    ack,
    holds,
    done,
  },
  // Reading our own writes sees what was committed meanwhile; the rest has to be read again.
  pushing: {
    ...COMMON,
    ...ASKED,
    readOwn,
    ack,
    holds,
    committed: (session) => stay({ ...session, behind: 'all' }),
    done,
  },
  waiting: {
    ...COMMON,
    ...ASKED,
    ack: ackWhileWaiting,
    holds,
    done,
  },
  caughtUp: { ...COMMON, ...ASKED, ack: ackWhileCaughtUp, committed, wrote, holds, done },
  absent: { ...COMMON, done },
}
