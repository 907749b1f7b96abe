/**
 * Sessions in every phase, and an event of every type, for the tests of the tables. No tests here.
 */
import { step } from '../../../../src/sync/session/step.ts'
import { createPuller } from '../../../../src/sync/session/puller.ts'
import { createSender } from '../../../../src/sync/session/sender.ts'
import type {
  BatchRead,
  LocalReplica,
  OwnRead,
  PullSession,
  SendSession,
  Session,
  SessionEffect,
  SessionEvent,
  SessionEventType,
} from '../../../../src/sync/session/types.ts'
import { ACTOR_A, ACTOR_B } from '../changes.ts'
import { type ApplyResult } from '../../../../src/store/replica/types.ts'
import { type ShardState } from '../../../../src/model/records.ts'

export const PEER: string = 'f'.repeat(64)
export const LOG_OURS: string = '01'.repeat(16)
export const LOG_THEIRS: string = '02'.repeat(16)
export const SHARD = { dimension: 3, metric: 'cosine', modelId: null } as const

/** Our side of a puller that has the shard and has read the peer's feed up to 5. */
export const LOCAL: LocalReplica = {
  nodeId: 'us',
  identity: { actor: ACTOR_A, logId: LOG_OURS },
  shard: SHARD,
  versionVector: new Map([[ACTOR_A, 2]]),
  uncovered: new Map(),
  pulled: { logId: LOG_THEIRS, cursor: 5 },
}

export function stateOf(over: Partial<ShardState> = {}): ShardState {
  return {
    shardId: 'notes',
    ...SHARD,
    logId: LOG_OURS,
    head: 30,
    versionVector: new Map([[ACTOR_A, 30]]),
    settled: true,
    uncovered: new Map(),
    gcFloor: new Map(),
    digest: '00000000000000aa',
    recordCount: 30,
    tombstoneCount: 0,
    conflictCount: 0,
    quarantineCount: 0,
    updatedAtMs: 0,
    ...over,
  }
}

export function batchOf(over: Partial<BatchRead> = {}): BatchRead {
  return {
    bytes: new Uint8Array(8),
    changeCount: 10,
    through: 10,
    atHead: false,
    state: stateOf(),
    ...over,
  }
}

export function ownOf(over: Partial<OwnRead> = {}): OwnRead {
  return {
    bytes: new Uint8Array(8),
    changeCount: 1,
    through: 31,
    atHead: true,
    logId: LOG_OURS,
    counter: 31,
    forgotten: 0,
    ...over,
  }
}

const RESULT: ApplyResult = {
  applied: 2,
  redundant: 1,
  conflicts: 1,
  quarantined: 1,
  skewMsMax: 3,
  lacking: [],
}

/** One event of every type, as it would come in good order. */
export const EVENTS: { readonly [T in SessionEventType]: SessionEvent & { readonly type: T } } = {
  hello: { type: 'hello', nodeId: 'them', actor: ACTOR_B },
  subscribe: {
    type: 'subscribe',
    shardId: 'notes',
    shard: SHARD,
    logId: null,
    cursor: 0,
    versionVector: new Map([[ACTOR_B, 1]]),
    live: false,
    uncovered: new Map(),
  },
  welcome: {
    type: 'welcome',
    nodeId: 'them',
    actor: ACTOR_B,
    logId: LOG_THEIRS,
    shard: SHARD,
    cursor: 5,
  },
  batch: { type: 'batch', delta: { through: 9, changes: [] } },
  caughtUp: {
    type: 'caughtUp',
    head: 9,
    versionVector: new Map([[ACTOR_B, 9]]),
    digest: '00000000000000bb',
    recordCount: 9,
    gcFloor: new Map(),
    uncovered: new Map(),
  },
  need: { type: 'need', ids: ['first'] },
  compare: { type: 'compare', ranges: [{ from: '', to: null }] },
  ranges: { type: 'ranges', answers: [{ type: 'list', records: [] }] },
  records: { type: 'records', delta: { through: 0, changes: [] } },
  behind: { type: 'behind', head: 7 },
  doubtful: { type: 'doubtful', ids: ['first'], head: 8 },
  compared: {
    type: 'compared',
    comparison: { descend: [], need: [], extra: 0 },
  },
  payloadsCompared: { type: 'payloadsCompared', damaged: ['d'] },
  repaired: { type: 'repaired', result: { ...RESULT, dropped: 2, extra: 0 } },
  summarized: { type: 'summarized', answers: [] },
  recordsRead: { type: 'recordsRead', bytes: new Uint8Array(8) },
  ack: { type: 'ack', cursor: 10, versionVector: null },
  error: { type: 'error', code: 'SYNC_SHARD_UNKNOWN', message: 'no such shard' },
  done: { type: 'done' },
  invite: { type: 'invite', shardId: 'notes', live: false },
  push: { type: 'push', versionVector: new Map([[ACTOR_B, 12]]) },
  holds: { type: 'holds', versionVector: new Map([[ACTOR_B, 12]]) },
  ping: { type: 'ping', nonce: 1 },
  pong: { type: 'pong', nonce: 1 },
  start: { type: 'start', local: LOCAL },
  applied: { type: 'applied', cursor: 9, result: RESULT },
  joined: { type: 'joined', state: stateOf() },
  inspected: {
    type: 'inspected',
    nodeId: 'us',
    identity: { actor: ACTOR_A, logId: LOG_OURS },
    state: stateOf(),
  },
  read: { type: 'read', batch: batchOf() },
  committed: { type: 'committed' },
  wrote: { type: 'wrote' },
  readOwn: { type: 'readOwn', batch: ownOf() },
  moved: { type: 'moved', versionVector: new Map([[ACTOR_A, 31]]) },
  stop: { type: 'stop' },
  finished: { type: 'finished' },
  failed: { type: 'failed', error: new TypeError('a bug') },
}

/** The session after `events`, and every effect on the way. */
export function after<S extends Session>(
  session: S,
  ...events: readonly SessionEvent[]
): { session: S; effects: SessionEffect[] } {
  let now: Session = session
  const effects: SessionEffect[] = []
  for (const event of events) {
    const next = step(now, event)
    now = next.session
    effects.push(...next.effects)
  }
  return { session: now as S, effects }
}

const { start, welcome, batch, caughtUp, joined, hello, subscribe, inspected, read, done } = EVENTS

export function newPuller(live = false): PullSession {
  return createPuller({ peer: PEER, shardId: 'notes', live })
}

export function newSender(shardId: string | null = null): SendSession {
  return createSender({ peer: PEER, shardId })
}

/** The comparison finds one record to ask for. */
const toFetching: readonly SessionEvent[] = [
  start,
  welcome,
  caughtUp,
  EVENTS.behind,
  EVENTS.ranges,
  {
    type: 'compared',
    comparison: { descend: [], need: ['first'], extra: 0 },
  },
]

/** A puller in every phase. */
export const PULLERS: Readonly<Record<PullSession['phase'], PullSession>> = {
  idle: newPuller(),
  greeting: after(newPuller(), start).session,
  streaming: after(newPuller(), start, welcome).session,
  applying: after(newPuller(), start, welcome, batch).session,
  joining: after(newPuller(), start, welcome, caughtUp).session,
  comparing: after(newPuller(), start, welcome, caughtUp, EVENTS.behind).session,
  differing: after(newPuller(), start, welcome, caughtUp, EVENTS.behind, EVENTS.ranges).session,
  fetching: after(newPuller(), ...toFetching).session,
  repairing: after(newPuller(), ...toFetching, EVENTS.records).session,
  live: after(newPuller(true), start, welcome, caughtUp, joined).session,
  leaving: after(newPuller(), start, welcome, caughtUp, joined).session,
  closed: after(newPuller(), start, EVENTS.error).session,
}

const fullWindow = Array.from({ length: 16 }, (_, index) => ({
  type: 'read' as const,
  batch: batchOf({ through: 1 + index, changeCount: 1 }),
}))

const atHead = { type: 'read' as const, batch: batchOf({ through: 30, atHead: true }) }

/** A sender in every phase. */
export const SENDERS: Readonly<Record<SendSession['phase'], SendSession>> = {
  awaitingHello: newSender(),
  awaitingSubscribe: after(newSender(), hello).session,
  inspecting: after(newSender(), hello, subscribe).session,
  reading: after(newSender(), hello, subscribe, inspected, read).session,
  pushing: after(
    newSender(),
    hello,
    { ...subscribe, live: true },
    inspected,
    read,
    atHead,
    EVENTS.wrote,
  ).session,
  waiting: after(newSender(), hello, subscribe, inspected, ...fullWindow).session,
  caughtUp: after(newSender(), hello, subscribe, inspected, read, atHead).session,
  absent: after(newSender(), hello, subscribe, { ...inspected, state: null }).session,
  closed: after(newSender(), hello, subscribe, inspected, atHead, done).session,
}
