/**
 * The store as sync sees it: the feed read from a cursor, peers' changes applied, rows compared.
 * Types only.
 */
import { type ActorId, type Change, type VersionVector } from '../../model/types.ts'
import { type CommitNotice } from '../file/open-shard.ts'
import { type DeltaQuery, type DeltaRead } from '../feed/types.ts'
import { type Recount } from '../types.ts'
import { type ReplicaIdentity, type ShardInfo, type ShardState } from '../../model/records.ts'
import { type Sliced } from '../file/sliced.ts'

/**
 * A peer's introduction: its writing identity, what it says it holds, and what it holds beyond
 * that.
 */
export interface PeerClaims {
  readonly actor: ActorId
  readonly versionVector: VersionVector
  readonly uncovered: VersionVector
}

/**
 * A peer's claims, judged. `doubted`: it must show its rows; `awaited`: and is to be sent nothing
 * before that.
 */
export type Verdict = 'credible' | 'doubted' | 'awaited'

/** The name under which a peer writes as an actor. */
export interface ActorName {
  readonly actor: ActorId
  readonly nodeId: string
  /** Fingerprint of the peer that says so. */
  readonly peer: string
}

/** The origin of a batch of changes; the cursor moves in the same transaction. */
export interface DeltaSource {
  /** Fingerprint of the sending peer. */
  readonly peer: string
  /** The sender's feed. */
  readonly logId: string
  /** The sender's change_id up to which this batch reaches. */
  readonly cursor: number
  /**
   * Our own log id when the session began. When it is another by now, our identity was renewed and
   * what the sender was told we hold is void: `SYNC_IDENTITY_RENEWED`. @defaultValue not checked
   */
  readonly reader?: string
  /**
   * True when the sender was told no more than {@link FeedReader.claimedVector} before it sent
   * this: then what it holds under our actor has all been compared with ours. @defaultValue false
   */
  readonly verified?: boolean
}

/** The effect of a batch; counts only committed changes. */
export interface ApplyResult {
  /** Records whose replicated state changed. */
  readonly applied: number
  /** Records that we had already, or newer. */
  readonly redundant: number
  /** Records that have more than one sibling since this batch and had one or none before. */
  readonly conflicts: number
  /** Changes quarantined with their reason. */
  readonly quarantined: number
  /** Largest lead of a stamp over the local clock, in milliseconds; 0 when none leads. */
  readonly skewMsMax: number
  /**
   * Records whose embedding was left out and is not here: to be asked for whole. While there is
   * one, neither the cursor moves nor the vector is joined; applying the batch again then does
   * both.
   */
  readonly lacking: readonly string[]
}

/**
 * Ids from `from` (included) to `to` (not included; null: to the end), in the order of their bytes.
 */
export interface IdRange {
  readonly from: string
  readonly to: string | null
}

/** A part of a range, from where the part before it ended. Digests as in {@link ShardState}. */
export interface RangePart {
  readonly to: string | null
  readonly count: number
  readonly digest: string
}

/** A record by its id and what it adds to the digest. */
export interface ListedRecord {
  readonly id: string
  readonly hash: string
}

/** A replica's rows in a range: few records one by one, many as sums over parts. */
export type RangeAnswer =
  | { readonly type: 'parts'; readonly parts: readonly RangePart[] }
  | { readonly type: 'list'; readonly records: readonly ListedRecord[] }

/**
 * Why rows are compared. `payloads`: what bears the same name on both sides must be the same, and
 * nothing is changed where it is not. `floor`: the peer forgot deletes that we never saw, and what
 * it covers and lacks is dropped. `equal`: equal version vectors with different rows, and what
 * either side has is restored.
 */
export type CompareMode = 'floor' | 'equal' | 'payloads'

/** The findings of a comparison of some ranges. */
export interface Comparison {
  /** Parts that differ and hold many records: to be asked about next. */
  readonly descend: readonly IdRange[]
  /** Records to be asked for. */
  readonly need: readonly string[]
  /** Records that only we have, and keep. */
  readonly extra: number
}

/** The effect of merging records that a comparison asked for. */
export interface RepairResult extends ApplyResult {
  /** Records that were dropped, whole or in part, because the peer had deleted them. */
  readonly dropped: number
  /** Records of which we hold more than the peer, and keep it. */
  readonly extra: number
}

/** Whole records by id. */
export interface RecordsRead {
  readonly changes: readonly Change[]
  readonly dimension: number
}

/** The durable notes about one peer's copy of one shard. */
export interface PeerCursor {
  readonly peer: string
  readonly shardId: string
  /** The feed we read from the peer, and how far; null before the first batch. */
  readonly pulled: { readonly logId: string; readonly cursor: number } | null
  /** The peer's last report of what it holds; null before the first. */
  readonly versionVector: VersionVector | null
  /** How far the peer has read our feed, as it acknowledged. */
  readonly ackedCursor: number
  readonly lastContactMs: number
}

/** Records that must be asked for before a vector is joined, and the head of our feed by then. */
export interface Doubtful {
  readonly doubtful: readonly string[]
  readonly head: number
}

/** The feed and the state of shards, read. */
export interface FeedReader {
  shards(): readonly ShardInfo[]
  /** @throws SqliteVectorError `STORE_SHARD_UNKNOWN` */
  shardState(shardId: string): ShardState
  /** Of all shards, as one consistent read. */
  shardStates(): readonly ShardState[]
  readDelta(shardId: string, query: DeltaQuery): DeltaRead
  /** Whole records, as many as fit, at least one of those there are; in the order of `ids`. */
  readRecords(shardId: string, ids: readonly string[], bytesMax: number): RecordsRead
  /**
   * From now on every write of the shard is noted as sent in its own transaction, because a session
   * sends it at once; the result ends that. Only after a read that exposed the whole feed: what was
   * written before must have been noted.
   */
  expose(shardId: string): () => void
  /**
   * The vector that we may claim to a peer: without own writes that another copy may have made,
   * too.
   */
  claimedVector(shardId: string, peer?: string): VersionVector
  /**
   * True while `peer` is to be asked for all that it holds under our names: its feed is then read
   * from the start.
   */
  isDoubted(shardId: string, peer: string): boolean
  /**
   * Writes that we hold and the version vector does not cover yet: a transfer has not come to its
   * end.
   */
  uncoveredVector(shardId: string): VersionVector
  /**
   * Calls `listener` after every commit that moved a feed or a version vector, local or applied;
   * returns the unsubscriber. Commits of other processes are heard of by {@link poll}.
   */
  onCommit(listener: (notice: CommitNotice) => void): () => void
  /** Looks for commits of other processes, tells listeners, and returns how many shards moved. */
  poll(): number
}

/** Writes that peers send, merged into the feed. */
export interface FeedReceiver {
  /**
   * Creates the shard as a peer describes it, or checks that ours is the same. @throws
   * `STORE_SHARD_MISMATCH`
   */
  ensureShard(info: ShardInfo): void
  /**
   * A peer that may write introduces itself. Where what it says would mean that this file was
   * restored or cloned, nothing is changed: the peer must show its rows
   * ({@link FeedReader.isDoubted}).
   */
  meet(shardId: string, peer: string, claims: PeerClaims): Verdict
  /**
   * Merges `changes` and moves the cursor, in one transaction. The version vector is joined with
   * `join` only: what the sender vouches for once these changes are in.
   */
  applyDelta(
    shardId: string,
    changes: readonly Change[],
    source: DeltaSource,
    join?: VersionVector | null,
  ): ApplyResult
  /**
   * At CAUGHT_UP: joins the sender's vector, moves the cursor, and returns the state after.
   * `gcFloor` is the sender's; where we were behind it, ours is raised, too: call
   * {@link behindFloor} first.
   */
  joinVector(
    shardId: string,
    source: DeltaSource,
    versionVector: VersionVector,
    gcFloor?: VersionVector,
  ): ShardState
  /**
   * The same after rows were compared because we were behind the floor, from when the head of our
   * feed was `since`. Nothing is joined when another peer's batch meanwhile brought writes that
   * `versionVector` covers: the sender may have deleted them and forgotten it, and is asked for
   * these records first.
   */
  joinCompared(
    shardId: string,
    source: DeltaSource,
    versionVector: VersionVector,
    gcFloor: VersionVector,
    since: number,
  ): ShardState | Doubtful
  /**
   * True when a sender with this floor forgot deletes that we may have missed, so that rows must be
   * compared before its vector is joined. False when `digest` shows that the rows are equal.
   */
  behindFloor(shardId: string, gcFloor: VersionVector, digest: string | null): boolean
}

/** Rows compared with a peer's, repaired, and counted again. */
export interface RowComparison {
  /**
   * Our rows in these ranges, for a peer that compares: names of writes, with `payloads` their
   * values as well.
   */
  summarizeRanges(
    shardId: string,
    ranges: readonly IdRange[],
    payloads?: boolean,
  ): Sliced<readonly RangeAnswer[]>
  /** Compares our rows with a peer's answers. */
  compareRanges(
    shardId: string,
    ranges: readonly IdRange[],
    answers: readonly RangeAnswer[],
    mode: CompareMode,
  ): Sliced<Comparison>
  /**
   * Ids of `changes` of which a write is here as well, and is another one by what it wrote: one of
   * the two is damaged.
   */
  comparePayloads(shardId: string, changes: readonly Change[]): readonly string[]
  /**
   * Merges records that a comparison asked for; `gone` are those that the peer has no trace of: in
   * mode `floor`, what its vector `theirs` covers of them is dropped. In mode `equal`, what was
   * lost is restored, unless our floor has risen above `floor` since the comparison began: then it
   * may be what we have forgotten meanwhile.
   */
  repairRecords(
    shardId: string,
    changes: readonly Change[],
    gone: readonly string[],
    mode: CompareMode,
    theirs: VersionVector,
    peer: string,
    floor: VersionVector,
  ): RepairResult
  /**
   * Confirms for a day that records which `peer` says it deleted and forgot are to be dropped,
   * however many: beyond a tenth of a shard, {@link RowComparison.repairRecords} throws
   * `SYNC_DELETIONS_REFUSED` until then.
   */
  confirmDrops(shardId: string, peer: string): void
  /** Counts the shard again from its rows and corrects the stored figures. */
  recount(shardId: string): Recount
  /**
   * The same in slices; null when the shard was written to for as long as they took, several times
   * over.
   */
  recountInSlices(shardId: string): Sliced<Recount | null>
  /**
   * The same a slice per turn of the event loop, and in one go where the shard does not stand
   * still. Rejects with the reason of `signal`.
   */
  recountInTurns(shardId: string, signal?: AbortSignal): Promise<Recount>
  /**
   * The digest computed again from the rows; differs from the kept one only by a fault. O(records).
   */
  recomputeDigest(shardId: string): string
}

/** Durable notes about peers, and the tombstones that they let go. */
export interface PeerLedger {
  /**
   * Notes what a peer that may write to the shard calls itself, for {@link PeerLedger.nodeOf}.
   * Ignored for actors of this file, for actors of which no write is known, and for those that
   * another peer has named.
   */
  nameActor(shardId: string, name: ActorName): void
  /** Notes what this node calls itself, for {@link PeerLedger.nodeOf}. */
  nameOwnActor(nodeId: string): void
  /** The last name that the node behind `actor` gave itself; null when it never did. */
  nodeOf(actor: ActorId): string | null
  peerCursor(shardId: string, peer: string): PeerCursor | null
  peerCursors(): readonly PeerCursor[]
  /**
   * A peer says what it durably holds. `isWriter` false: it may only read, and changes nothing
   * else.
   */
  recordAck(
    shardId: string,
    peer: string,
    cursor: number,
    versionVector: VersionVector,
    isWriter?: boolean,
  ): void
  /**
   * Calls `listener` when a peer said what it durably holds of a shard, in this process; returns
   * the unsubscriber. Reports to other processes are in {@link PeerLedger.peerCursors}.
   */
  onReport(listener: (shardId: string, peer: string) => void): () => void
  /**
   * The peer has said that it does not come back, or that it is here again. While it has left,
   * deletes are forgotten without waiting for it; when it comes back all the same, it compares
   * rows.
   */
  notePeerLeft(peer: string, hasLeft: boolean): void
  /** Forgets deletes that every known replica has; how many. */
  collectTombstones(shardId: string, replicaRetentionMs: number): number
  /** The text that sync keeps under `key` across restarts; null without one. */
  syncState(key: string): string | null
  /** Keeps `value` under `key`; null removes it. */
  saveSyncState(key: string, value: string | null): void
}

/** The identity of the file, and when its commits survive power loss. */
export interface Durability {
  readonly path: string
  identity(): ReplicaIdentity
  /** Draws a new actor and a new log together, as a restored or cloned file needs. */
  renewIdentity(): ReplicaIdentity
  /**
   * Notes in the file and in the folder beside it, once there is one, that they belong together:
   * see {@link StoreEvent}, `file-replaced`.
   */
  keepToken(): void
  /**
   * From now on peers' changes are committed without waiting for the disk; the result ends that.
   * Code that tells a peer anything of this file awaits {@link Durability.whenDurable} before.
   */
  deferFlush(): () => Promise<void>
  /**
   * Resolves once everything committed so far, also by other processes, would survive power loss.
   * @throws `STORE_IO`
   */
  whenDurable(): Promise<void>
}

/**
 * The store as sync sees it. `SQLiteVectorDB.replica` implements it; nothing else in sync/ knows
 * SQLite. Each method is one transaction.
 */
export interface ReplicaStore
  extends FeedReader, FeedReceiver, RowComparison, PeerLedger, Durability {}
