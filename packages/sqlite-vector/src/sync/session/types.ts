/**
 * The events and effects of a session (session/step.ts), and what its two roles remember. Types
 * only.
 *
 * Every frame that arrives is an event as it is; the other events are what the driver reports of
 * the store and of the channel. Effects are carried out by the driver, in their order.
 */
import type { ErrorCode } from '../../errors.ts'
import type { Delta } from '../delta.ts'
import type {
  CaughtUpFrame,
  ControlFrame,
  ShardDescriptor,
  SubscribeFrame,
} from '../wire/control-frames.ts'
import type { ActorId, Change, VersionVector } from '../../model/types.ts'
import {
  type ApplyResult,
  type CompareMode,
  type Comparison,
  type DeltaSource,
  type IdRange,
  type RangeAnswer,
  type RepairResult,
} from '../../store/replica/types.ts'
import { type ReplicaIdentity, type ShardState } from '../../model/records.ts'

/** A puller's own side when it begins. */
export interface LocalReplica {
  readonly nodeId: string
  readonly identity: ReplicaIdentity
  /** null while the shard does not exist here. */
  readonly shard: ShardDescriptor | null
  readonly versionVector: VersionVector
  /** Writes held beyond {@link versionVector}. */
  readonly uncovered: VersionVector
  /** How far this peer's feed was read before. */
  readonly pulled: { readonly logId: string; readonly cursor: number } | null
}

/** A batch read from the feed and encoded. */
export interface BatchRead {
  /** The BATCH frame; null when everything looked at was skipped. */
  readonly bytes: Uint8Array | null
  readonly changeCount: number
  readonly through: number
  readonly atHead: boolean
  readonly state: ShardState
}

/** Writes of our own, read from the feed ahead of what is relayed, and encoded. */
export interface OwnRead {
  /** The BATCH frame; null when there was nothing. */
  readonly bytes: Uint8Array | null
  readonly changeCount: number
  /** Looked at up to here. */
  readonly through: number
  readonly atHead: boolean
  readonly logId: string
  /** The newest write of our own as of this read. */
  readonly counter: number
  /** The newest write of our own whose delete may be forgotten by now. */
  readonly forgotten: number
}

/** Events of a session. */
export type SessionEvent =
  | ControlFrame
  | { readonly type: 'batch'; readonly delta: Delta }
  /** Whole records that were asked for by id. */
  | { readonly type: 'records'; readonly delta: Delta }
  /**
   * The sender forgot deletes that we may have missed: its vector is not joined before rows are
   * compared.
   */
  | {
      readonly type: 'behind'
      /** Of our feed, now. */
      readonly head: number
    }
  /**
   * Other sessions brought what the comparison did not see: nothing was joined, these are asked for
   * first.
   */
  | { readonly type: 'doubtful'; readonly ids: readonly string[]; readonly head: number }
  | { readonly type: 'compared'; readonly comparison: Comparison }
  | { readonly type: 'repaired'; readonly result: RepairResult }
  /** Of these, a write of one name is not the same on both sides. */
  | { readonly type: 'payloadsCompared'; readonly damaged: readonly string[] }
  | { readonly type: 'summarized'; readonly answers: readonly RangeAnswer[] }
  /** The RECORDS frame that answers NEED. */
  | { readonly type: 'recordsRead'; readonly bytes: Uint8Array }
  /** The channel is open and the session may begin. */
  | { readonly type: 'start'; readonly local: LocalReplica }
  | { readonly type: 'applied'; readonly cursor: number; readonly result: ApplyResult }
  | { readonly type: 'joined'; readonly state: ShardState }
  | {
      readonly type: 'inspected'
      readonly nodeId: string
      readonly identity: ReplicaIdentity
      readonly state: ShardState | null
    }
  | { readonly type: 'read'; readonly batch: BatchRead }
  /** The shard's feed moved: read all of it. */
  | { readonly type: 'committed' }
  /** We wrote to the shard: send that at once, ahead of what is relayed. */
  | { readonly type: 'wrote' }
  | { readonly type: 'readOwn'; readonly batch: OwnRead }
  /** Our version vector moved, by what another peer brought or we wrote: the news in it. */
  | {
      readonly type: 'moved'
      readonly versionVector: VersionVector
      /** Actors whose feeds we follow live by now; left out when unchanged. */
      readonly sources?: readonly ActorId[]
    }
  /** The caller wants no more. */
  | { readonly type: 'stop' }
  /** The peer sends no more frames. */
  | { readonly type: 'finished' }
  /** The channel, the store or a frame failed; nothing else can come of this session. */
  | { readonly type: 'failed'; readonly error: Error }

/** Names of {@link SessionEvent}s. */
export type SessionEventType = SessionEvent['type']

/** Work for the driver. */
export type SessionEffect =
  | { readonly type: 'send'; readonly frame: ControlFrame }
  | { readonly type: 'sendBatch'; readonly bytes: Uint8Array }
  /** Send the RECORDS frame that answers NEED. */
  | { readonly type: 'sendAnswer'; readonly bytes: Uint8Array }
  /** Create the shard as the peer describes it. */
  | { readonly type: 'createShard'; readonly shardId: string; readonly shard: ShardDescriptor }
  /** Commit the changes with their cursor; answered by `applied`. */
  | {
      readonly type: 'apply'
      readonly delta: Delta
      readonly source: DeltaSource
      /** The vector to join in the same transaction; null for none. */
      readonly join: VersionVector | null
    }
  /** Join the sender's vector; answered by `joined`, by `behind`, or by `doubtful`. */
  | {
      readonly type: 'join'
      readonly source: DeltaSource
      readonly versionVector: VersionVector
      readonly gcFloor: VersionVector
      readonly digest: string | null
      /**
       * Head of our feed since which rows were compared, which satisfies the sender's floor; null
       * without comparison.
       */
      readonly since: number | null
    }
  /** Compare our rows with the sender's answers; answered by `compared`. */
  | {
      readonly type: 'compareRows'
      readonly ranges: readonly IdRange[]
      readonly answers: readonly RangeAnswer[]
      readonly mode: CompareMode
    }
  /** Compare the payloads of these records with ours; answered by `payloadsCompared`. */
  | { readonly type: 'comparePayloads'; readonly changes: readonly Change[] }
  /** Merge records that the comparison asked for; answered by `repaired`. */
  | {
      readonly type: 'repair'
      readonly changes: readonly Change[]
      /** Asked for, and not there. */
      readonly gone: readonly string[]
      readonly mode: CompareMode
      readonly theirs: VersionVector
      /** Our own when the comparison began. */
      readonly floor: VersionVector
    }
  /** Say what we hold of these ranges; answered by `summarized`. */
  | {
      readonly type: 'summarize'
      readonly ranges: readonly IdRange[]
      readonly payloads: boolean
    }
  /** Read whole records by id and encode them; answered by `recordsRead`. */
  | { readonly type: 'readRecords'; readonly ids: readonly string[] }
  /** Look the shard up; answered by `inspected`. */
  | { readonly type: 'inspect'; readonly shardId: string }
  /** Read and encode the next batch; answered by `read`. */
  | {
      readonly type: 'read'
      readonly after: number
      readonly known: VersionVector
    }
  /**
   * Read and encode writes of ours that are not in `known`, as a batch that leaves the cursor at
   * `through`; answered by `readOwn`.
   */
  | {
      readonly type: 'readOwn'
      readonly after: number
      readonly known: VersionVector
      readonly actor: ActorId
      readonly above: number
      readonly through: number
    }
  | {
      readonly type: 'recordAck'
      readonly cursor: number
      readonly versionVector: VersionVector
    }
  /** We send no more frames. */
  | { readonly type: 'finish' }
  /** The session is over: nothing follows. */
  | { readonly type: 'close' }

/** Why a session ended; null for an orderly end. */
export type SessionError = Error & { readonly code?: ErrorCode }

/** Phases of a puller. */
export type PullPhase =
  | 'idle'
  | 'greeting'
  | 'streaming'
  | 'applying'
  | 'joining'
  | 'comparing'
  | 'differing'
  | 'fetching'
  | 'repairing'
  | 'live'
  | 'leaving'

/** Counts of what was committed on our side. */
export interface PullTally {
  readonly batches: number
  /** Changes that came in committed batches. */
  readonly received: number
  readonly applied: number
  readonly redundant: number
  readonly conflicts: number
  readonly quarantined: number
  readonly skewMsMax: number
  /** Times that rows differed where they had to be equal. */
  readonly divergences: number
  /** Records dropped because the sender had deleted them and forgotten it. */
  readonly dropped: number
  /** Records that a comparison asked for and that changed ours. */
  readonly repaired: number
}

/** A puller's question to its sender besides the feed. */
export type Inquiry =
  /**
   * Records of a batch whose embedding was left out and is not here. The batch is not in before
   * they came.
   */
  | {
      readonly type: 'lacking'
      readonly source: DeltaSource
      readonly join: VersionVector | null
      readonly ids: readonly string[]
    }
  /** A search for the differences of the shard. */
  | {
      readonly type: 'comparison'
      readonly mode: CompareMode
      /** Asked about now, and to be asked about. */
      readonly asked: readonly IdRange[]
      readonly pending: readonly IdRange[]
      readonly ids: readonly string[]
    }

/** Results of comparisons since the last CAUGHT_UP. */
export interface Compared {
  /**
   * The head of our feed since when what we hold is compared behind the sender's floor; null for
   * not at all.
   */
  readonly since: number | null
  /** How often equal vectors were looked behind. */
  readonly equal: number
  /** Records that the last comparison found to differ. */
  readonly found: number
  /** Records that only we had. */
  readonly extra: number
  /**
   * True once payloads were compared; how many records differ in them, and the first of their ids.
   */
  readonly payloads: boolean
  readonly damagedCount: number
  readonly damaged: readonly string[]
}

/** The side that wants data. */
export interface PullSession {
  readonly role: 'puller'
  readonly phase: PullPhase | 'closed'
  /** Fingerprint of the peer. */
  readonly peer: string
  readonly shardId: string
  readonly live: boolean
  /** True to compare rows even where digests are equal. */
  readonly verify: boolean
  /** True to compare payloads as well. */
  readonly payloads: boolean
  readonly local: LocalReplica | null
  readonly peerNodeId: string | null
  readonly peerActor: ActorId | null
  /** The sender's feed; null before WELCOME, and when the sender has no such shard. */
  readonly logId: string | null
  /** Committed up to here. */
  readonly cursor: number
  readonly caughtUp: CaughtUpFrame | null
  readonly inquiry: Inquiry | null
  readonly compared: Compared
  /** The vector to join with the next batch, a push; null when none was announced. */
  readonly vouched: VersionVector | null
  /** Everything that the sender vouched to hold. */
  readonly peerVector: VersionVector
  /** Everything that the sender knows we hold. */
  readonly advertised: VersionVector
  /** Our state when the vectors were last joined. */
  readonly state: ShardState | null
  /** True once everything that the sender had at CAUGHT_UP is committed. */
  readonly complete: boolean
  readonly tally: PullTally
  readonly error: Error | null
}

/** Phases of a sender. */
export type SendPhase =
  | 'awaitingHello'
  | 'awaitingSubscribe'
  | 'inspecting'
  | 'reading'
  | 'pushing'
  | 'waiting'
  | 'caughtUp'
  | 'absent'

/** A frame that waits for its ACK. */
export interface Unacked {
  readonly through: number
  readonly changeCount: number
  readonly caughtUp: boolean
  /** The peer's gain once it acknowledged this; null when that follows from the ACK. */
  readonly holds: VersionVector | null
}

/** How far a live sender has sent the writes of its own file, ahead of the rest. */
export interface OwnLane {
  /** Looked at up to here in the feed. */
  readonly cursor: number
  /** Every write up to this counter, or what superseded it, is sent. */
  readonly counter: number
}

/** Reading that a live sender has postponed: of its own writes, or of the whole feed. */
export type Behind = 'no' | 'own' | 'all'

/** Counts of what was sent, and of what the peer says it committed. */
export interface SendTally {
  readonly batches: number
  readonly sent: number
  readonly acked: number
}

/** The side that has data. */
export interface SendSession {
  readonly role: 'sender'
  readonly phase: SendPhase | 'closed'
  readonly peer: string
  readonly peerNodeId: string | null
  readonly peerActor: ActorId | null
  /** The only shard that may be asked for; null when the peer chooses. */
  readonly shardId: string | null
  readonly subscription: SubscribeFrame | null
  readonly logId: string | null
  /** Our own writing identity; null before we looked at the shard. */
  readonly actor: ActorId | null
  /** null before the first CAUGHT_UP. */
  readonly own: OwnLane | null
  readonly behind: Behind
  /** Our vector as the last CAUGHT_UP gave it. */
  readonly announced: VersionVector
  /** Our version vector when we last read the feed. */
  readonly ours: VersionVector
  /** Actors whose feeds the subscriber says it follows; null before it said so. */
  readonly sources: readonly ActorId[] | null
  /** The known part of what the subscriber holds. */
  readonly known: VersionVector
  /** Everything up to here was sent or skipped. */
  readonly sentThrough: number
  /** The peer's cursor once it has taken what is on the way; skipped rows do not move it. */
  readonly cursorSent: number
  readonly ackedThrough: number
  readonly unacked: readonly Unacked[]
  /** True once the peer acknowledged a CAUGHT_UP. */
  readonly complete: boolean
  readonly tally: SendTally
  readonly error: Error | null
}

/** One shard, one peer, one direction. */
export type Session = PullSession | SendSession

/** The session after an event, and what is to be done. */
export interface Step<S extends Session = Session> {
  readonly session: S
  readonly effects: readonly SessionEffect[]
}

/** For every phase, what every event does there: a missing pair does not compile. */
export type TransitionTable<S extends Session, P extends string> = Readonly<
  Record<P, { readonly [T in SessionEventType]: Transition<S, T> }>
>

/** The effect of one event in one phase. */
export type Transition<S extends Session, T extends SessionEventType> = (
  session: S,
  event: Extract<SessionEvent, { readonly type: T }>,
) => Step<S>

/** A session under way, as others in the node see it. */
export interface Running {
  readonly session: Session
  /** Tells it of what did not come over its channel. */
  tell(event: SessionEvent): void
}
