/**
 * The side of a session that wants data, as a pure transition table. session/step.ts is the front
 * door.
 *
 *   idle ──start──► greeting ──welcome──► streaming ◄──applied── applying
 *                                            │  └───────batch───────►┘
 *                                         caughtUp
 *                                            ▼
 *                     leaving ◄──joined── joining ──joined (live)──► live ──batch──► applying
 *                        └──finished──► closed
 *
 *   applying ──applied (embeddings lacking)──► fetching ──records──► applying
 *   joining ──behind, or joined with other rows──► comparing ──ranges──► differing
 *   differing ──compared──► comparing │ fetching
 *   joining ──doubtful──► fetching
 *   fetching ──records──► repairing ──repaired──► comparing │ fetching │ joining
 *
 * The cursor moves when a batch was committed, and is acknowledged after that. The version vector
 * is joined at CAUGHT_UP only: before, a superseding write may hide one that has not arrived. A
 * live sender may send its own writes ahead (PUSH, then BATCH); they move no cursor, and the part
 * of the vector that PUSH names is joined with them.
 */
import { must } from '../../assert.ts'
import { SqliteVectorError } from '../../errors.ts'
import type { WelcomeFrame } from '../wire/control-frames.ts'
import {
  closeInOrder,
  divergence,
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
import {
  ask,
  compare,
  comparedRows,
  join,
  payloadsCompared,
  ranges,
  records,
  repaired,
  sourceOf,
  addToTally,
} from './inquiry.ts'
import type {
  Compared,
  PullPhase,
  PullSession,
  SessionEffect,
  SessionEventType,
  Step,
  Transition,
  TransitionTable,
} from './types.ts'
import type { VersionVector } from '../../model/types.ts'
import {
  EMPTY_VECTOR,
  joinVectors,
  vectorsEqual,
  withWritesOf,
} from '../../model/version-vector.ts'

const NOT_COMPARED: Compared = {
  since: null,
  equal: 0,
  found: 0,
  extra: 0,
  payloads: false,
  damagedCount: 0,
  damaged: [],
}

/**
 * Comparisons after which rows that still differ are reported; others may repair them meanwhile.
 */
const COMPARISONS_MAX = 3

/** A request to pull. */
export interface PullRequest {
  /** Fingerprint of the peer. */
  readonly peer: string
  readonly shardId: string
  /** True to go on after CAUGHT_UP. */
  readonly live: boolean
  /** True to compare rows even where digests are equal. @defaultValue `false` */
  readonly verify?: boolean
  /** Compare what was written, too, once rows are equal by name. @defaultValue `false` */
  readonly payloads?: boolean
}

/** A puller that has not begun. */
export function createPuller(request: PullRequest): PullSession {
  return {
    role: 'puller',
    phase: 'idle',
    ...request,
    verify: request.verify ?? false,
    payloads: request.payloads ?? false,
    local: null,
    peerNodeId: null,
    peerActor: null,
    logId: null,
    cursor: 0,
    caughtUp: null,
    inquiry: null,
    compared: NOT_COMPARED,
    vouched: null,
    peerVector: EMPTY_VECTOR,
    advertised: EMPTY_VECTOR,
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
      divergences: 0,
      dropped: 0,
      repaired: 0,
    },
    error: null,
  }
}

type On<T extends SessionEventType> = Transition<PullSession, T>

const start: On<'start'> = (session, { local }) => ({
  session: { ...session, phase: 'greeting', local, advertised: local.versionVector },
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
        uncovered: local.uncovered,
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
    return refuse(
      greeted,
      violationError(`it reads its feed from ${frame.cursor}, which was not asked for`),
    )
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

const batch: On<'batch'> = (session, { delta }) => {
  // Ahead of the cursor, which stays: only a live sender does that.
  const isPush = session.live && session.complete && delta.through === session.cursor
  if (!isPush && (delta.through <= session.cursor || session.vouched !== null)) {
    return refuse(
      session,
      violationError(`a batch through ${delta.through} after ${session.cursor}`),
    )
  }
  // While it writes faster than we take, the sender vouches for nothing, and what it sends us must
  // not go back to it.
  const peerVector = withWritesOf(session.peerActor, delta.changes, session.peerVector)
  return {
    session: {
      ...session,
      phase: 'applying',
      peerVector,
      ...(session.vouched === null ? {} : noteVouched({ ...session, peerVector }, session.vouched)),
    },
    effects: [
      { type: 'apply', delta, source: sourceOf(session, delta.through), join: session.vouched },
    ],
  }
}

/** The sender holds this, and knows by our ACK that we do. */
function noteVouched(
  { peerVector, advertised }: PullSession,
  vector: VersionVector,
): Pick<PullSession, 'peerVector' | 'advertised'> {
  return {
    peerVector: joinVectors(peerVector, vector),
    advertised: joinVectors(advertised, vector),
  }
}

const push: On<'push'> = (session, frame) => {
  const isDue = session.live && session.complete && session.vouched === null
  if (!isDue) return violation(session, frame)
  for (const actor of frame.versionVector.keys()) {
    if (actor !== session.peerActor) {
      return refuse(session, violationError('PUSH vouches for writes of another than the sender'))
    }
  }
  return stay({ ...session, vouched: frame.versionVector })
}

/** Tells the sender what it need not send. */
const moved: On<'moved'> = (session, { versionVector, sources }) =>
  session.live && session.complete
    ? {
        session: { ...session, advertised: joinVectors(session.advertised, versionVector) },
        effects: [
          {
            type: 'send',
            frame: { type: 'holds', versionVector, ...(sources === undefined ? {} : { sources }) },
          },
        ],
      }
    : stay(session)

const applied: On<'applied'> = (session, { cursor, result }) => {
  const { inquiry } = session
  const tallied = { ...session, tally: addToTally(session, result) }
  if (inquiry?.type === 'lacking') {
    if (result.lacking.length > 0) {
      return refuse(tallied, violationError('a record without its embedding, which was asked for'))
    }
    return inquiry.ids.length > 0 ? ask(tallied, inquiry) : committed(tallied, cursor)
  }
  if (result.lacking.length === 0) return committed(tallied, cursor)
  return ask(tallied, {
    type: 'lacking',
    source: sourceOf(session, cursor),
    join: session.vouched,
    ids: result.lacking,
  })
}

/** A batch is in, whole. */
function committed(session: PullSession, cursor: number): Step<PullSession> {
  const tally = { ...session.tally, batches: session.tally.batches + 1 }
  return {
    session: { ...session, phase: 'streaming', cursor, vouched: null, inquiry: null, tally },
    effects: [{ type: 'send', frame: { type: 'ack', cursor, versionVector: null } }],
  }
}

const caughtUp: On<'caughtUp'> = (session, frame) => {
  if (frame.head < session.cursor) {
    return refuse(session, violationError(`caught up at ${frame.head} after ${session.cursor}`))
  }
  return join({
    ...session,
    caughtUp: frame,
    compared: NOT_COMPARED,
    peerVector: joinVectors(session.peerVector, frame.versionVector),
  })
}

const joined: On<'joined'> = (session, { state }) => {
  const frame = must(session.caughtUp, 'a joining puller has been told CAUGHT_UP')
  const { compared } = session
  const error = divergence(session.shardId, frame, state)
  const isComparable = vectorsEqual(frame.versionVector, state.versionVector)
  if (compared.equal === 0 && isComparable && (error !== null || session.verify)) {
    const { tally } = session
    const divergences = tally.divergences + (error === null ? 0 : 1)
    return compare({ ...session, state, tally: { ...tally, divergences } }, 'equal')
  }
  // Records that only we hold are fetched by the sender when it compares. Rows that compared equal
  // are equal: the sender's digest may predate a repair.
  if (error !== null && compared.extra === 0 && compared.found > 0) {
    if (compared.equal === COMPARISONS_MAX) return refuse({ ...session, state }, error)
    return compare({ ...session, state }, 'equal')
  }
  if (session.payloads && !compared.payloads && isComparable && error === null) {
    return compare({ ...session, state, compared: { ...compared, payloads: true } }, 'payloads')
  }
  const advertised = joinVectors(session.advertised, state.versionVector)
  const next: PullSession = { ...session, state, advertised, cursor: frame.head, complete: true }
  const ack: SessionEffect = {
    type: 'send',
    frame: { type: 'ack', cursor: frame.head, versionVector: state.versionVector },
  }
  if (session.live) return { session: { ...next, phase: 'live' }, effects: [ack] }
  return leave(next, [ack])
}

const behind: On<'behind'> = (session, { head }) =>
  compare({ ...session, compared: { ...session.compared, since: head } }, 'floor')

/**
 * The rest was compared: only these are asked for, and what comes until then is asked for in its
 * turn.
 */
const doubtful: On<'doubtful'> = (session, { ids, head }) =>
  ask(
    { ...session, compared: { ...session.compared, since: head } },
    { type: 'comparison', mode: 'floor', asked: [], pending: [], ids },
  )

const stop: On<'stop'> = (session) => leave(session, [])

/** Frames that a puller never receives. */
const NEVER_SENT = {
  hello: violation,
  subscribe: violation,
  ack: violation,
  done: violation,
  invite: violation,
  ping: violation,
  pong: violation,
  holds: violation,
  need: violation,
  compare: violation,
} as const

/** Events that the driver of a puller never reports. */
const NEVER_TOLD = {
  inspected: impossible,
  read: impossible,
  readOwn: impossible,
  summarized: impossible,
  recordsRead: impossible,
  committed: stay,
  wrote: stay,
} as const

const COMMON = {
  ...NEVER_SENT,
  ...NEVER_TOLD,
  start: impossible,
  welcome: violation,
  batch: violation,
  caughtUp: violation,
  push: violation,
  ranges: violation,
  records: violation,
  applied: impossible,
  joined: impossible,
  behind: impossible,
  doubtful: impossible,
  compared: impossible,
  repaired: impossible,
  payloadsCompared: impossible,
  moved: stay,
  stop,
  error: failedByPeer,
  finished: endedEarly,
  failed: fail,
} as const

/** The driver takes no frame of the peer before it has carried out the effects of the last. */
const BUSY = {
  ...COMMON,
  batch: impossible,
  caughtUp: impossible,
  push: impossible,
  ranges: impossible,
  records: impossible,
  moved,
} as const

/** The driver keeps the feed's frames back until the answer has come. */
const WAITING = {
  ...COMMON,
  batch: impossible,
  caughtUp: impossible,
  push: impossible,
  moved,
} as const

/** The puller's table. */
export const PULL_TABLE: TransitionTable<PullSession, PullPhase> = {
  idle: { ...COMMON, start, stop: (session) => closeInOrder(session, true) },
  greeting: { ...COMMON, welcome },
  streaming: { ...COMMON, batch, caughtUp, push, moved },
  applying: { ...BUSY, applied },
  joining: { ...BUSY, joined, behind, doubtful },
  comparing: { ...WAITING, ranges },
  differing: { ...BUSY, compared: comparedRows },
  fetching: { ...WAITING, records },
  repairing: { ...BUSY, repaired, payloadsCompared },
  live: { ...COMMON, batch, caughtUp, push, moved },
  // Frames under way when we left are ignored; our commits stand, so the end is an orderly one.
  leaving: {
    ...COMMON,
    welcome: stay,
    batch: stay,
    caughtUp: stay,
    push: stay,
    applied: (session, event) => stay({ ...applied(session, event).session, phase: 'leaving' }),
    joined: stay,
    ranges: stay,
    records: stay,
    behind: stay,
    doubtful: stay,
    compared: stay,
    repaired: stay,
    payloadsCompared: stay,
    stop: stay,
    error: (session) => closeInOrder(session, false),
    finished: (session) => closeInOrder(session, false),
    failed: (session) => closeInOrder(session, false),
  },
}
