/**
 * One session over one store: frames in, effects on the store carried out, frames out. Synchronous,
 * and without a network: session-runner.ts moves its frames over QUIC, the simulator over a
 * simulated lossy network.
 *
 * Decides nothing about the protocol (session/step.ts does). Effects are carried out in their
 * order, one per {@link SessionDriver.advance}, or a slice of one that reads many rows, so that the
 * caller can wait, crash or give up between any two.
 *
 * Invariant: what `advance` returns was earned; an ACK is returned only after the commit it tells
 * of.
 */
import { AssertionError, must, unreachable } from '../../assert.ts'
import { SqliteVectorError } from '../../errors.ts'
import { FRAMES_HELD_MAX } from '../../limits.ts'
import {
  type Compression,
  expandFrame,
  FrameCompressor,
  offeredCodecs,
} from '../wire/compression.ts'
import { decodeDelta } from '../wire/delta-decode.ts'
import { encodeRecords, readBatch, readOwnBatch } from './encoded-reads.ts'
import { FRAME_TYPES } from '../wire/frame.ts'
import {
  type ControlFrame,
  decodeFrame,
  descriptorOf,
  encodeFrame,
} from '../wire/control-frames.ts'
import { violationError } from './endings.ts'
import { step } from './step.ts'
import type { LocalReplica, Session, SessionEffect, SessionEvent } from './types.ts'
import type { VersionVector } from '../../model/types.ts'
import { dominates, EMPTY_VECTOR, vectorsEqual } from '../../model/version-vector.ts'
import { type DeltaSource, type Doubtful, type ReplicaStore } from '../../store/replica/types.ts'
import { type ShardState } from '../../model/records.ts'
import { type Sliced } from '../../store/file/sliced.ts'

/** The calls of the store that sessions make; guarded-store.ts stands in front of each. */
export type SessionStore = Pick<
  ReplicaStore,
  | 'uncoveredVector'
  | 'applyDelta'
  | 'behindFloor'
  | 'claimedVector'
  | 'comparePayloads'
  | 'compareRanges'
  | 'ensureShard'
  | 'identity'
  | 'isDoubted'
  | 'joinCompared'
  | 'joinVector'
  | 'meet'
  | 'nameActor'
  | 'peerCursor'
  | 'readDelta'
  | 'readRecords'
  | 'recordAck'
  | 'recountInSlices'
  | 'repairRecords'
  | 'shardState'
  | 'shards'
  | 'summarizeRanges'
>

/** The parts of a driver. */
export interface DriverSetup {
  readonly store: SessionStore
  readonly nodeId: string
  /** Most records of one batch. Integer, 1 to 4,096. */
  readonly batchSize: number
  /** How batches that we send are compressed. @defaultValue `'none'` */
  readonly compression?: Compression
}

/** Equal ACKs in a row of which only the first and the last are recorded. */
const ACKS_UNRECORDED_MAX = 30

/** Questions: a sender whose answer is not handed out yet looks at the next one later. */
const QUESTION_TYPES: ReadonlySet<number> = new Set([FRAME_TYPES.need, FRAME_TYPES.compare])

/** Questions that are held: an honest puller asks once it has the answer, so one is enough. */
const QUESTIONS_HELD_MAX = 1

/** The feed's frames: a puller that waits for an answer looks at them later. */
const HELD_TYPES: ReadonlySet<number> = new Set([
  FRAME_TYPES.batch,
  FRAME_TYPES.caughtUp,
  FRAME_TYPES.push,
])

/** Work for the channel. */
export type ChannelEffect =
  | { readonly type: 'send'; readonly bytes: Uint8Array }
  | { readonly type: 'finish' }
  | { readonly type: 'close' }

/** Runs one session; see the head of this file. */
export class SessionDriver<S extends Session = Session> {
  #session: S
  readonly #setup: DriverSetup
  #effects: SessionEffect[] = []
  /** An effect that is carried out in slices; the effects after it wait. */
  #task: Sliced<SessionEvent> | null = null
  /** Frames of the feed that came while a puller waits for an answer. */
  #held: Uint8Array[] = []
  /** Our log id when the session began: what the peer was told holds for no other identity. */
  #reader: string | null = null
  #dimension: number | null = null
  #isRecounted = false
  /** True from a question of the puller until its answer is handed out. */
  #isAnswering = false
  #recorded: { cursor: number; versionVector: VersionVector; repeats: number } | null = null
  #compressor: FrameCompressor | null = null

  constructor(session: S, setup: DriverSetup) {
    this.#session = session
    this.#setup = setup
  }

  get session(): S {
    return this.#session
  }

  /** True while effects are left: call {@link advance}. */
  get busy(): boolean {
    return (
      this.#task !== null ||
      this.#effects.length > 0 ||
      (this.#held.length > 0 && !this.#isHolding())
    )
  }

  /** True while the next effect is a frame that only has to be sent. */
  get sending(): boolean {
    const type = this.#effects[0]?.type
    return this.#task === null && type !== undefined && SENDS.has(type)
  }

  /**
   * True when the next frame may be taken. A puller first finishes what the last one began; a
   * sender takes ACKs at any time, or full buffers both ways would wait for each other.
   */
  get ready(): boolean {
    return this.#session.phase !== 'closed' && (this.#session.role === 'sender' || !this.busy)
  }

  /** Begins a pull: our side as it is now. */
  start(): void {
    const { session } = this
    if (session.role !== 'puller') throw new AssertionError('a sender waits for its puller')
    const { store, nodeId } = this.#setup
    this.#guarded(() => {
      const local = localReplica(store, nodeId, session.shardId, session.peer)
      this.#reader = local.identity.logId
      this.tell({ type: 'start', local })
    })
  }

  /** Takes a frame of the peer. A fault in it ends the session; the peer is told. */
  take(frame: Uint8Array): void {
    if (this.#isHolding() && this.#heldTypes().has(frame[0] ?? 0)) {
      this.#hold(frame)
      return
    }
    this.#guarded(() => {
      const event = this.#decode(frame)
      if (event.type === 'need' || event.type === 'compare') this.#isAnswering = true
      this.tell(event)
    })
  }

  /** Tells the session of something that did not come over the channel. */
  tell(event: SessionEvent): void {
    const next = step(this.#session, event)
    this.#session = next.session as S
    this.#effects.push(...next.effects)
    // A closed session needs no result; what a task has committed stands.
    if (next.session.phase === 'closed') this.#task = null
  }

  /**
   * Carries out the next effect, or a slice of it. Returns what the channel is to do, or null when
   * it was the store's task. A failure of the store ends the session; the peer is told.
   */
  advance(): ChannelEffect | null {
    if (this.#task !== null) {
      this.#guarded(() => {
        this.#continue()
      })
      return null
    }
    const effect = this.#effects.shift()
    if (effect === undefined) {
      this.take(must(this.#held.shift(), 'advance() while there is something to do'))
      return null
    }
    switch (effect.type) {
      case 'send':
        if (effect.frame.type === 'ranges') this.#isAnswering = false
        return { type: 'send', bytes: encodeFrame(withCodecs(effect.frame)) }
      case 'sendAnswer':
        this.#isAnswering = false
        return { type: 'send', bytes: this.#compressor?.compress(effect.bytes) ?? effect.bytes }
      case 'sendBatch':
        return { type: 'send', bytes: this.#compressor?.compress(effect.bytes) ?? effect.bytes }
      case 'finish':
      case 'close':
        return effect
      case 'createShard':
      case 'apply':
      case 'join':
      case 'inspect':
      case 'read':
      case 'readOwn':
      case 'recordAck':
      case 'comparePayloads':
      case 'compareRows':
      case 'repair':
      case 'summarize':
      case 'readRecords':
        this.#guarded(() => {
          this.#work(effect)
        })
        return null
      default:
        return unreachable(effect)
    }
  }

  #work(effect: StoreEffect): void {
    const { store, nodeId, batchSize } = this.#setup
    switch (effect.type) {
      case 'createShard':
        store.ensureShard({ shardId: effect.shardId, ...effect.shard })
        return
      case 'apply': {
        const { delta, source, join } = effect
        const result = store.applyDelta(this.#shardId(), delta.changes, this.#from(source), join)
        this.tell({ type: 'applied', cursor: source.cursor, result })
        return
      }
      case 'join':
        this.#begin(this.#joining(effect))
        return
      case 'comparePayloads':
      case 'compareRows':
      case 'repair':
      case 'summarize':
      case 'readRecords':
        this.#compare(effect)
        return
      case 'inspect':
        this.#meet(effect.shardId)
        this.tell({
          type: 'inspected',
          nodeId,
          identity: store.identity(),
          state: stateOrNull(store, effect.shardId),
        })
        return
      case 'read': {
        const batch = readBatch(store, this.#shardId(), effect, batchSize)
        this.tell({ type: 'read', batch })
        return
      }
      case 'readOwn': {
        const batch = readOwnBatch(store, this.#shardId(), effect, batchSize)
        this.tell({ type: 'readOwn', batch })
        return
      }
      case 'recordAck':
        this.#recordAck(effect)
        return
      default:
        unreachable(effect)
    }
  }

  #begin(task: Sliced<SessionEvent>): void {
    this.#task = task
    this.#continue()
  }

  #continue(): void {
    const slice = must(this.#task, 'a task under way').next()
    if (slice.done !== true) return
    this.#task = null
    this.tell(slice.value)
  }

  *#joining(effect: EffectOf<'join'>): Sliced<SessionEvent> {
    const { store } = this.#setup
    const { gcFloor, digest, since } = effect
    const shardId = this.#shardId()
    if (since === null && store.behindFloor(shardId, gcFloor, digest)) {
      return { type: 'behind', head: store.shardState(shardId).head }
    }
    const joined = this.#join(effect)
    if ('doubtful' in joined) return { type: 'doubtful', ids: joined.doubtful, head: joined.head }
    return { type: 'joined', state: yield* this.#settled(joined, effect) }
  }

  /**
   * The state to judge by. Where rows differ over equal vectors, and only uncovered writes excuse
   * that, counts again if these are still there. Once per session: it costs a pass over the shard.
   */
  *#settled(state: ShardState, { versionVector, digest }: EffectOf<'join'>): Sliced<ShardState> {
    const isSuspect =
      !state.settled &&
      digest !== null &&
      digest !== state.digest &&
      vectorsEqual(versionVector, state.versionVector)
    if (!isSuspect || this.#isRecounted) return state
    this.#isRecounted = true
    yield* this.#setup.store.recountInSlices(state.shardId)
    return this.#setup.store.shardState(state.shardId)
  }

  /** Joins the sender's vector. A check of replicas that agree already writes nothing. */
  #join({ source, versionVector, gcFloor, since }: EffectOf<'join'>): ShardState | Doubtful {
    const { store, session } = { store: this.#setup.store, session: this.#session }
    const shardId = this.#shardId()
    if (session.role === 'puller' && session.complete && session.cursor === source.cursor) {
      const state = store.shardState(shardId)
      if (dominates(state.versionVector, versionVector)) return state
    }
    const verified = session.role === 'puller' && !session.complete
    const from = { ...this.#from(source), verified }
    const joined =
      since === null
        ? store.joinVector(shardId, from, versionVector, gcFloor)
        : store.joinCompared(shardId, from, versionVector, gcFloor, since)
    this.#nameActor()
    return joined
  }

  #from(source: DeltaSource): DeltaSource {
    return this.#reader === null ? source : { ...source, reader: this.#reader }
  }

  /**
   * The puller has introduced itself. A claim that this file is a copy is looked into before
   * anything is sent.
   */
  #meet(shardId: string): void {
    const { store, session } = { store: this.#setup.store, session: this.#session }
    if (session.role === 'puller' || session.subscription === null) return
    if (session.peerActor === null || stateOrNull(store, shardId) === null) return
    const { versionVector, uncovered } = session.subscription
    const claims = { actor: session.peerActor, versionVector, uncovered }
    if (store.meet(shardId, session.peer, claims) === 'awaited') {
      throw new SqliteVectorError(
        'SYNC_IDENTITY_DOUBTED',
        `the peer claims writes of this node in shard ${JSON.stringify(shardId)} that are not here`,
      )
    }
    this.#nameActor()
  }

  #nameActor(): void {
    const { peer, peerActor: actor, peerNodeId: nodeId } = this.#session
    if (actor === null || nodeId === null) return
    this.#setup.store.nameActor(this.#shardId(), { actor, nodeId, peer })
  }

  #compare(
    effect: EffectOf<'comparePayloads' | 'compareRows' | 'repair' | 'summarize' | 'readRecords'>,
  ): void {
    const { store } = this.#setup
    const shardId = this.#shardId()
    switch (effect.type) {
      case 'compareRows': {
        const work = store.compareRanges(shardId, effect.ranges, effect.answers, effect.mode)
        this.#begin(told(work, (comparison) => ({ type: 'compared', comparison })))
        return
      }
      case 'repair': {
        const { changes, gone, mode, theirs, floor } = effect
        const { peer } = this.#session
        const result = store.repairRecords(shardId, changes, gone, mode, theirs, peer, floor)
        this.tell({ type: 'repaired', result })
        return
      }
      case 'summarize': {
        const work = store.summarizeRanges(shardId, effect.ranges, effect.payloads)
        this.#begin(told(work, (answers) => ({ type: 'summarized', answers })))
        return
      }
      case 'comparePayloads':
        this.tell({
          type: 'payloadsCompared',
          damaged: store.comparePayloads(shardId, effect.changes),
        })
        return
      case 'readRecords':
        this.tell({ type: 'recordsRead', bytes: encodeRecords(store, shardId, effect.ids) })
        return
      default:
        unreachable(effect)
    }
  }

  /**
   * True while a puller waits for an answer, as the feed may go on meanwhile, and while a sender
   * has one to give.
   */
  #isHolding(): boolean {
    const { phase, role } = this.#session
    return role === 'sender' ? this.#isAnswering : phase === 'comparing' || phase === 'fetching'
  }

  #heldTypes(): ReadonlySet<number> {
    return this.#session.role === 'sender' ? QUESTION_TYPES : HELD_TYPES
  }

  #hold(frame: Uint8Array): void {
    const max = this.#session.role === 'sender' ? QUESTIONS_HELD_MAX : FRAMES_HELD_MAX
    if (this.#held.length < max) {
      this.#held.push(frame)
      return
    }
    this.#guarded(() => {
      throw violationError(
        this.#session.role === 'sender'
          ? 'it asks on without taking the answers'
          : 'it kept sending without waiting for acknowledgements',
      )
    })
  }

  #recordAck({ cursor, versionVector }: EffectOf<'recordAck'>): void {
    const recorded = this.#recorded
    const isSame =
      recorded !== null &&
      recorded.cursor === cursor &&
      vectorsEqual(recorded.versionVector, versionVector)
    // An equal record only renews the time of contact: now and then is enough.
    if (isSame && recorded.repeats < ACKS_UNRECORDED_MAX) {
      recorded.repeats += 1
      return
    }
    this.#recorded = { cursor, versionVector, repeats: 0 }
    this.#setup.store.recordAck(this.#shardId(), this.#session.peer, cursor, versionVector)
  }

  #decode(frame: Uint8Array): SessionEvent {
    if (frame[0] !== FRAME_TYPES.batch && frame[0] !== FRAME_TYPES.records) {
      return this.#noteCodecs(decodeFrame(frame))
    }
    if (this.#session.role === 'sender') {
      throw new SqliteVectorError(
        'SYNC_PROTOCOL_VIOLATION',
        'the peer sent records to their sender',
      )
    }
    // After a shard was dropped and created again, the store refuses what this session brings.
    this.#dimension ??= this.#setup.store.shardState(this.#shardId()).dimension
    const dimension = this.#dimension
    const type = frame[0] === FRAME_TYPES.batch ? 'batch' : 'records'
    return { type, delta: decodeDelta(expandFrame(frame), dimension) }
  }

  /** The codecs that the puller can read decide how we may compress. */
  #noteCodecs(frame: ControlFrame): ControlFrame {
    if (frame.type === 'hello') {
      this.#compressor = FrameCompressor.for(this.#setup.compression ?? 'none', frame.codecs ?? 0)
    }
    return frame
  }

  /** The world's failures end the session; ours are not caught. */
  #guarded(fn: () => void): void {
    try {
      fn()
    } catch (error) {
      if (!(error instanceof SqliteVectorError)) throw error
      // The remaining effects assumed that this worked. A session that is over already has said its
      // last words: they still go out, or the peer would wait for them.
      this.#task = null
      const isOver = this.#session.phase === 'closed'
      this.#effects = isOver ? this.#effects.filter(isChannelEffect) : []
      this.tell({ type: 'failed', error })
    }
  }

  #shardId(): string {
    const { session } = this
    if (session.role === 'puller') return session.shardId
    return must(session.subscription, 'a sender that was subscribed to').shardId
  }
}

/** Says in HELLO what we can read. */
function withCodecs(frame: ControlFrame): ControlFrame {
  return frame.type === 'hello' ? { ...frame, codecs: offeredCodecs() } : frame
}

const SENDS: ReadonlySet<string> = new Set(['send', 'sendBatch', 'sendAnswer'])

function isChannelEffect({ type }: SessionEffect): boolean {
  return SENDS.has(type) || type === 'finish' || type === 'close'
}

type StoreEffect = Exclude<
  SessionEffect,
  { readonly type: 'send' | 'sendBatch' | 'sendAnswer' | 'finish' | 'close' }
>

/** The state of its own side that a puller tells. */
export function localReplica(
  store: SessionStore,
  nodeId: string,
  shardId: string,
  peer: string,
): LocalReplica {
  const identity = store.identity()
  const state = stateOrNull(store, shardId)
  if (state === null) {
    return {
      nodeId,
      identity,
      shard: null,
      versionVector: EMPTY_VECTOR,
      uncovered: EMPTY_VECTOR,
      pulled: null,
    }
  }
  // A peer in doubt is asked for all that it holds under our names: its feed is read from the
  // start.
  const isDoubted = store.isDoubted(shardId, peer)
  const pulled = isDoubted ? null : (store.peerCursor(shardId, peer)?.pulled ?? null)
  return {
    nodeId,
    identity,
    shard: descriptorOf(state),
    versionVector: store.claimedVector(shardId, peer),
    uncovered: store.uncoveredVector(shardId),
    pulled,
  }
}

/** Work whose result the session is told as an event. */
function* told<T>(work: Sliced<T>, event: (result: T) => SessionEvent): Sliced<SessionEvent> {
  return event(yield* work)
}

type EffectOf<T extends SessionEffect['type']> = Extract<SessionEffect, { readonly type: T }>

const ABSENT: ReadonlySet<string> = new Set(['STORE_SHARD_UNKNOWN', 'SYNC_FORBIDDEN'])

/** The shard's state, or null without such a shard. */
export function stateOrNull(
  store: Pick<SessionStore, 'shardState'>,
  shardId: string,
): ShardState | null {
  try {
    return store.shardState(shardId)
  } catch (error) {
    // One row, also among thousands of shards. For a peer that may not read it, a shard does not
    // exist.
    if (error instanceof SqliteVectorError && ABSENT.has(error.code)) return null
    throw error
  }
}
