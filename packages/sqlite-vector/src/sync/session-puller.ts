/**
 * The side of a session that wants data, as a pure transition table. session.ts is the front door.
 *
 *   idle ──start──► greeting ──welcome──► streaming ◄──applied── applying
 *                                            │  └───────batch───────►┘
 *                                         caughtUp
 *                                            ▼
 *                     leaving ◄──joined── joining ──joined (live)──► live ──batch──► applying
 *                        └──finished──► closed
 *
 * The cursor moves when a batch was committed, and is acknowledged after that. The version vector is
 * joined at CAUGHT_UP only: before, a superseding write may hide one that has not arrived. A live sender
 * may send its own writes ahead (AHEAD, then BATCH); they move no cursor, and the part of the vector that
 * AHEAD names is joined with them.
 */
import { must } from '../assert.ts'
import { SqliteVectorError } from '../errors.ts'
import type { DeltaSource, ShardState } from '../store/types.ts'
import type { CaughtUpFrame, WelcomeFrame } from './protocol.ts'
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
  PullPhase,
  PullSession,
  SessionEffect,
  SessionEventType,
  Step,
  Transition,
  TransitionTable,
} from './session-types.ts'
import type { VersionVector } from './types.ts'
import { EMPTY_VECTOR, joinVectors, vectorsEqual } from './version-vector.ts'

/** What a pull is about. */
export interface PullRequest {
  /** Fingerprint of the peer. */
  readonly peer: string
  readonly shardId: string
  /** Whether it goes on after CAUGHT_UP. */
  readonly live: boolean
}

/** A puller that has not begun. */
export function createPuller(request: PullRequest): PullSession {
  return {
    role: 'puller',
    phase: 'idle',
    ...request,
    local: null,
    peerNodeId: null,
    peerActor: null,
    logId: null,
    cursor: 0,
    caughtUp: null,
    ahead: null,
    theirs: EMPTY_VECTOR,
    told: EMPTY_VECTOR,
    state: null,
    complete: false,
    tally: {
      batches: 0,
      received: 0,
      applied: 0,
      redundant: 0,
      conflicts: 0,
      quarantined: 0,
      skewMsMax: 0,
    },
    error: null,
  }
}

type On<T extends SessionEventType> = Transition<PullSession, T>

const start: On<'start'> = (session, { local }) => ({
  session: { ...session, phase: 'greeting', local, told: local.versionVector },
  effects: [
    {
      type: 'send',
      frame: { type: 'hello', nodeId: local.nodeId, actor: local.identity.actor },
    },
    {
      type: 'send',
      frame: {
        type: 'subscribe',
        shardId: session.shardId,
        shard: local.shard,
        logId: local.pulled?.logId ?? null,
        cursor: local.pulled?.cursor ?? 0,
        versionVector: local.versionVector,
        live: session.live,
      },
    },
  ],
})

const welcome: On<'welcome'> = (session, frame) => {
  const local = must(session.local, 'a greeting puller knows its own side')
  const greeted = { ...session, peerNodeId: frame.nodeId, peerActor: frame.actor }
  if (frame.shard === null) return absent(greeted)
  if (local.shard !== null) {
    const error = mismatch(session.shardId, local.shard, frame.shard)
    if (error !== null) return refuse(greeted, error)
  }
  if (!cursorIsOurs(frame, local.pulled)) {
    return refuse(greeted, violationError(`the feed is read from ${frame.cursor}, unasked`))
  }
  const effects: SessionEffect[] = []
  if (local.shard === null) {
    effects.push({ type: 'createShard', shardId: session.shardId, shard: frame.shard })
  }
  return {
    session: { ...greeted, phase: 'streaming', logId: frame.logId, cursor: frame.cursor },
    effects,
  }
}

/** The sender begins at 0, or at the cursor that we gave for the feed that it has. */
function cursorIsOurs(
  frame: WelcomeFrame,
  pulled: { readonly logId: string; readonly cursor: number } | null,
): boolean {
  if (frame.cursor === 0) return true
  return pulled !== null && frame.logId === pulled.logId && frame.cursor === pulled.cursor
}

/** The sender has nothing of this name for us: nothing to pull, unless we have nothing either. */
function absent(session: PullSession): Step<PullSession> {
  if (session.local?.shard === null) {
    return refuse(
      session,
      new SqliteVectorError(
        'SYNC_SHARD_UNKNOWN',
        `neither side has a shard ${JSON.stringify(session.shardId)}`,
      ),
    )
  }
  return leave({ ...session, complete: true }, [])
}

function leave(session: PullSession, effects: readonly SessionEffect[]): Step<PullSession> {
  return {
    session: { ...session, phase: 'leaving' },
    effects: [...effects, { type: 'send', frame: { type: 'done' } }, { type: 'finish' }],
  }
}

function sourceOf(session: PullSession, cursor: number): DeltaSource {
  const logId = must(session.logId, 'a streaming puller knows the feed')
  return { peer: session.peer, logId, cursor }
}

const batch: On<'batch'> = (session, { delta }) => {
  // Ahead of the cursor, which stays: only a live sender does that.
  const isAhead = session.live && session.complete && delta.through === session.cursor
  if (!isAhead && (delta.through <= session.cursor || session.ahead !== null)) {
    return refuse(
      session,
      violationError(`a batch through ${delta.through} after ${session.cursor}`),
    )
  }
  return {
    session: {
      ...session,
      phase: 'applying',
      ahead: null,
      ...(session.ahead === null ? {} : vouched(session, session.ahead)),
    },
    effects: [
      { type: 'apply', delta, source: sourceOf(session, delta.through), join: session.ahead },
    ],
  }
}

/** The sender holds this, and knows by our ACK that we do. */
function vouched(
  { theirs, told }: PullSession,
  vector: VersionVector,
): Pick<PullSession, 'theirs' | 'told'> {
  return { theirs: joinVectors(theirs, vector), told: joinVectors(told, vector) }
}

const ahead: On<'ahead'> = (session, frame) =>
  session.live && session.complete && session.ahead === null
    ? stay({ ...session, ahead: frame.versionVector })
    : violation(session, frame)

/** Tells the sender what it need not send. */
const moved: On<'moved'> = (session, { versionVector }) =>
  session.live && session.complete
    ? {
        session: { ...session, told: joinVectors(session.told, versionVector) },
        effects: [{ type: 'send', frame: { type: 'holds', versionVector } }],
      }
    : stay(session)

const applied: On<'applied'> = (session, { cursor, result }) => {
  const { tally } = session
  return {
    session: {
      ...session,
      phase: 'streaming',
      cursor,
      tally: {
        batches: tally.batches + 1,
        received: tally.received + result.applied + result.redundant + result.quarantined,
        applied: tally.applied + result.applied,
        redundant: tally.redundant + result.redundant,
        conflicts: tally.conflicts + result.conflicts,
        quarantined: tally.quarantined + result.quarantined,
        skewMsMax: Math.max(tally.skewMsMax, result.skewMsMax),
      },
    },
    effects: [{ type: 'send', frame: { type: 'ack', cursor, versionVector: null } }],
  }
}

const caughtUp: On<'caughtUp'> = (session, frame) => {
  if (frame.head < session.cursor) {
    return refuse(session, violationError(`caught up at ${frame.head} after ${session.cursor}`))
  }
  return {
    session: {
      ...session,
      phase: 'joining',
      caughtUp: frame,
      theirs: joinVectors(session.theirs, frame.versionVector),
    },
    effects: [
      {
        type: 'join',
        source: sourceOf(session, frame.head),
        versionVector: frame.versionVector,
      },
    ],
  }
}

const joined: On<'joined'> = (session, { state }) => {
  const frame = must(session.caughtUp, 'a joining puller has been told CAUGHT_UP')
  const error = divergence(session.shardId, frame, state)
  if (error !== null) return refuse({ ...session, state }, error)
  const told = joinVectors(session.told, state.versionVector)
  const next: PullSession = { ...session, state, told, cursor: frame.head, complete: true }
  const ack: SessionEffect = {
    type: 'send',
    frame: { type: 'ack', cursor: frame.head, versionVector: state.versionVector },
  }
  if (session.live) return { session: { ...next, phase: 'live' }, effects: [ack] }
  return leave(next, [ack])
}

/**
 * Equal vectors mean equal rows; where the fingerprints say otherwise, something is broken. Not so
 * while either side holds writes of a transfer that has not come to its end: rows are ahead, then.
 */
function divergence(
  shardId: string,
  frame: CaughtUpFrame,
  state: ShardState,
): SqliteVectorError | null {
  if (frame.fingerprint === null || !state.settled) return null
  if (frame.fingerprint === state.fingerprint) return null
  if (!vectorsEqual(frame.versionVector, state.versionVector)) return null
  return new SqliteVectorError(
    'SYNC_DIVERGED',
    `shard ${JSON.stringify(shardId)}: equal version vectors, but fingerprints ` +
      `${frame.fingerprint} and ${state.fingerprint} of ${frame.recordCount} and ${state.recordCount} records`,
  )
}

const stop: On<'stop'> = (session) => leave(session, [])

/** What no puller is ever sent. */
const NEVER_SENT = {
  hello: violation,
  subscribe: violation,
  ack: violation,
  done: violation,
  invite: violation,
  ping: violation,
  pong: violation,
  holds: violation,
} as const

/** What a puller's shell never reports. */
const NEVER_TOLD = {
  inspected: impossible,
  read: impossible,
  readOwn: impossible,
  committed: stay,
  wrote: stay,
  relay: stay,
} as const

const COMMON = {
  ...NEVER_SENT,
  ...NEVER_TOLD,
  start: impossible,
  welcome: violation,
  batch: violation,
  caughtUp: violation,
  ahead: violation,
  applied: impossible,
  joined: impossible,
  moved: stay,
  stop,
  error: failedByPeer,
  finished: endedEarly,
  failed: fail,
} as const

/** The shell looks at nothing that the peer sends before it has done what it was told. */
const BUSY = {
  ...COMMON,
  batch: impossible,
  caughtUp: impossible,
  ahead: impossible,
  moved,
} as const

/** The puller's table. */
export const PULL_TABLE: TransitionTable<PullSession, PullPhase> = {
  idle: { ...COMMON, start, stop: (session) => closeInOrder(session, true) },
  greeting: { ...COMMON, welcome },
  streaming: { ...COMMON, batch, caughtUp, ahead, moved },
  applying: { ...BUSY, applied },
  joining: { ...BUSY, joined },
  live: { ...COMMON, batch, caughtUp, ahead, moved },
  // What was on its way when we left is not looked at; our commits stand, so the end is an orderly one.
  leaving: {
    ...COMMON,
    welcome: stay,
    batch: stay,
    caughtUp: stay,
    ahead: stay,
    applied: (session, event) => stay({ ...applied(session, event).session, phase: 'leaving' }),
    joined: stay,
    stop: stay,
    error: (session) => closeInOrder(session, false),
    finished: (session) => closeInOrder(session, false),
    failed: (session) => closeInOrder(session, false),
  },
}
