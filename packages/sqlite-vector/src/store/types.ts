/**
 * The store as others see it: the records a caller reads and writes, and the narrow interface
 * through which sync reads the change feed and applies what peers sent. Types only.
 *
 * Every method is synchronous, as SQLite is; `insertBatch` alone is a promise, because it yields
 * between transactions.
 */
import type { Hlc } from '../clock/hlc.ts'
import type { ActorId, Change, ConflictStrategyName, Dot, VersionVector } from '../sync/types.ts'
import type { MmrOptions, SearchModeOptions } from './search-types.ts'

/** How distance is measured; smaller is nearer in all three. */
export type Metric = 'cosine' | 'l2' | 'dot'

/** A JSON value, as metadata may hold it. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue }

/** What a record carries besides its vector: a JSON object. */
export type Metadata = { readonly [key: string]: JsonValue }

/** A vector as callers give it: `dimension` finite components. */
export type VectorInput = Float32Array | readonly number[]

/** A record as callers give it. */
export interface RecordInput {
  /** 1 to 1,024 UTF-8 bytes, unique in its shard. */
  readonly id: string
  /** `dimension` finite components; not all zero when the metric is cosine. Kept as float32. */
  readonly embedding: VectorInput
  /** @defaultValue `{}` */
  readonly metadata?: Metadata
  /** The text the vector was made from, if it is to travel along. */
  readonly text?: string
}

/** A record as the store gives it. */
export interface VectorRecord {
  readonly id: string
  readonly metadata: Metadata
  readonly text: string | null
  /** Present when asked for with `includeVectors`; always present from `get()`. */
  readonly embedding?: Float32Array
}

/** What `update()` changes; at least one key. */
export interface RecordUpdate {
  readonly embedding?: VectorInput
  /** Merged key by key into the present metadata (a null stays a null), or replaces it. */
  readonly metadata?: Metadata
  /** null removes the text. */
  readonly text?: string | null
  /** @defaultValue `'merge'` */
  readonly metadataMode?: 'merge' | 'replace'
}

/** A record found by `search()`. */
export interface SearchResult extends VectorRecord {
  /** cosine: 1 − cosine similarity, 0 to 2. l2: Euclidean distance. dot: minus the dot product. */
  readonly distance: number
  /** cosine: cosine similarity. l2: 1 / (1 + distance). dot: the dot product. Larger is nearer. */
  readonly score: number
}

/** Options of `search()`. */
export interface SearchOptions extends SearchModeOptions {
  /** Neighbours wanted. Integer, 1 to 10,000. @defaultValue `10` */
  readonly k?: number
  /** Only records at most this far, in the shard's distance. @defaultValue none */
  readonly threshold?: number
  /** Whether results carry their embedding. @defaultValue `false` */
  readonly includeVectors?: boolean
  /** Results that are near the query and unlike one another. @defaultValue nearest first */
  readonly mmr?: MmrOptions
}

/** Options of `list()`. */
export interface ListOptions {
  /** `nextCursor` of the page before; null starts at the beginning. @defaultValue `null` */
  readonly cursor?: string | null
  /** Most records of the page. Integer, 1 to 10,000. @defaultValue `100` */
  readonly limit?: number
  /** Whether records carry their embedding. @defaultValue `false` */
  readonly includeVectors?: boolean
}

/** Records in the order of the bytes of their ids. */
export interface ListPage {
  readonly records: readonly VectorRecord[]
  /** Give it to the next `list()`; null when no record follows. */
  readonly nextCursor: string | null
}

/** Options of `insertBatch()`. */
export interface BatchOptions {
  /** Whether a record that exists is an error or is replaced. @defaultValue `'insert'` */
  readonly mode?: 'insert' | 'upsert'
  /** Called after every commit of the batch. */
  readonly onProgress?: (progress: BatchProgress) => void
  /** Ends the batch between commits; the call rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

/** How far a batch has come: records that are committed. */
export interface BatchProgress {
  readonly done: number
  readonly total: number
}

/** Options of `createVectorDB()`. */
export interface VectorDBOptions {
  /** The database file; made when missing. `:memory:` keeps everything in memory. */
  readonly path: string
  /**
   * `'full'`: what was acknowledged survives power loss. `'normal'`: only a killed process; faster, and
   * for files that never replicate. @defaultValue `'full'`
   */
  readonly durability?: 'full' | 'normal'
  /** Longest wait for another writer, in milliseconds. Integer, 0 to 60,000. @defaultValue `5000` */
  readonly busyTimeoutMs?: number
  /**
   * Memory for the vectors that searches scan, in bytes, over all shards; 0 scans the file. A shard that does not
   * fit as float32 is held as codes, and its candidates are compared by their rows. @defaultValue `536870912`
   */
  readonly searchMemoryBytes?: number
  /**
   * Whether the codes by which large shards are searched are kept in `<path>-index/`, so that the first search after an
   * open does not read every row. @defaultValue `true`
   */
  readonly saveIndex?: boolean
  /** Told of what the store did or met without being asked. @defaultValue nobody is told */
  readonly onEvent?: (event: StoreEvent) => void
}

/** What `stats()` says, counted from the file. */
export interface StoreStats {
  readonly path: string
  /** Bytes of the database, without its write-ahead log; free pages included. */
  readonly fileBytes: number
  /** Bytes of {@link fileBytes} that hold nothing at present. */
  readonly freeBytes: number
  readonly sqliteVersion: string
  readonly durability: 'full' | 'normal'
  readonly identity: ReplicaIdentity
  readonly shards: readonly ShardState[]
}

/** Options of a shard; fixed at creation. */
export interface ShardOptions {
  /** Components of every vector. Integer, 1 to 8,192. */
  readonly dimension: number
  /** @defaultValue `'cosine'` */
  readonly metric?: Metric
  /** Names the model that makes the vectors, so that two models never mix. @defaultValue none */
  readonly modelId?: string
}

/** A shard as it is stored. */
export interface ShardInfo {
  readonly shardId: string
  readonly dimension: number
  readonly metric: Metric
  readonly modelId: string | null
}

/** What one shard holds, as one consistent read. */
export interface ShardState extends ShardInfo {
  /** Feed of this file; a cursor of another log is void. 32 hexadecimal digits. */
  readonly logId: string
  /** The newest change_id of the shard's feed; 0 when nothing was ever written. */
  readonly head: number
  readonly versionVector: VersionVector
  /**
   * True when the rows hold no write beyond {@link versionVector}: only then are they a function of it, and
   * fingerprints of equal vectors must be equal. False after a batch, until the CAUGHT_UP that covers it.
   */
  readonly settled: boolean
  /**
   * What they hold beyond it, largest counters: empty when {@link settled}. It stays when the writer lost it to a
   * backup, and never claimed what it had sent in part.
   */
  readonly ahead: VersionVector
  /** The version vector at the last collection of tombstones. */
  readonly gcFloor: VersionVector
  /** Order-free sum of a 64-bit hash of id and dots of every record with a put; 16 hex digits. */
  readonly fingerprint: string
  /** Visible records. */
  readonly recordCount: number
  /** Records whose visible state is a delete that still syncs. */
  readonly tombstoneCount: number
  /** Records that have more than one sibling. */
  readonly conflictCount: number
  /** Changes put aside because they could not be applied. */
  readonly quarantineCount: number
  /** Milliseconds since 1970 of the last commit to the shard. */
  readonly updatedAtMs: number
}

/** The writing identity of the open file. */
export interface ReplicaIdentity {
  readonly actor: ActorId
  readonly logId: string
}

/** A read of the change feed. */
export interface DeltaQuery {
  /** Changes with a change_id above this, in its order. */
  readonly after: number
  /** Most rows looked at; a read may return fewer changes and still advance. */
  readonly countMax: number
  /** Stop once the payloads read reach this many bytes; at least one change is returned. */
  readonly bytesMax: number
  /** Skip records all of whose siblings' dots this covers: the reader has them. */
  readonly known: VersionVector
  /** Whether what is read goes to a peer: our own writes are noted as seen by others first. @defaultValue no */
  readonly expose?: boolean
  /** Skip records that hold and supersede no write of this actor above this counter. @defaultValue all records */
  readonly only?: Dot
}

/** Changes read from the feed. */
export interface DeltaRead {
  readonly changes: readonly Change[]
  /** Everything up to here was returned or skipped: the reader's next `after`. */
  readonly through: number
  /** True when `through` is the head of the feed in this read. */
  readonly atHead: boolean
  /** The shard as of the same read transaction. */
  readonly state: ShardState
}

/** Where a batch of changes came from; the cursor moves in the same transaction. */
export interface DeltaSource {
  /** Fingerprint of the sending peer. */
  readonly peer: string
  /** The sender's feed. */
  readonly logId: string
  /** The sender's change_id up to which this batch reaches. */
  readonly cursor: number
  /**
   * Our own actor when the session began. When it is another by now, what the sender was told we hold is
   * void: `SYNC_IDENTITY_RENEWED`. @defaultValue not checked
   */
  readonly reader?: ActorId
  /**
   * True when the sender was told no more than {@link ReplicaStore.claimedVector} before it sent this: then what
   * it holds under our name has all been held against ours. @defaultValue false
   */
  readonly verified?: boolean
}

/** What applying a batch did; counts only what was committed. */
export interface ApplyResult {
  /** Records whose replicated state changed. */
  readonly applied: number
  /** Records that we had already, or newer. */
  readonly redundant: number
  /** Records that have more than one sibling since this batch and had one or none before. */
  readonly conflicts: number
  /** Changes put aside with their reason. */
  readonly quarantined: number
  /** Largest lead of a stamp over the local clock, in milliseconds; 0 when none leads. */
  readonly skewMsMax: number
  /**
   * Records whose embedding was left out and is not here: to be asked for whole. While there is one, neither
   * the cursor moves nor the vector is joined; applying the batch again then does both.
   */
  readonly lacking: readonly string[]
}

/** Ids from `from` (included) to `to` (not included; null: to the end), in the order of their bytes. */
export interface IdRange {
  readonly from: string
  readonly to: string | null
}

/** A part of a range, from where the part before it ended. Fingerprints as in {@link ShardState}. */
export interface RangePart {
  readonly to: string | null
  readonly count: number
  readonly fingerprint: string
}

/** A record by its id and what it adds to the fingerprint. */
export interface ListedRecord {
  readonly id: string
  readonly hash: string
}

/** What a replica holds of a range: few records one by one, many as sums over parts. */
export type RangeAnswer =
  | { readonly type: 'parts'; readonly parts: readonly RangePart[] }
  | { readonly type: 'list'; readonly records: readonly ListedRecord[] }

/**
 * Work in slices: each step reads a bounded number of rows, in a transaction of its own, and yields how many to account
 * for; the last one returns the result. Whoever drives it lets others have their turn between two.
 */
export type Sliced<T> = Generator<number, T, void>

/**
 * Why rows are compared. `payloads`: what bears the same name on both sides must be the same, and nothing is changed where it is
 * not. `floor`: the peer forgot deletes that we never saw, and what it covers and lacks is
 * dropped. `equal`: equal version vectors with different rows, and what either side has is restored.
 */
export type CompareMode = 'floor' | 'equal' | 'payloads'

/** What a comparison of some ranges found. */
export interface Comparison {
  /** Parts that differ and hold many records: to be asked about next. */
  readonly descend: readonly IdRange[]
  /** Records to be asked for. */
  readonly need: readonly string[]
  /** Records that only we have, and keep. */
  readonly extra: number
}

/** What merging records that a comparison asked for did. */
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

/** What counting a shard anew from its rows showed. */
export interface Recount {
  /** True when the kept counts and fingerprint were those of the rows. */
  readonly correct: boolean
  readonly fingerprint: string
  readonly recordCount: number
  readonly tombstoneCount: number
  readonly conflictCount: number
}

/** What is known of one peer's copy of one shard, durable. */
export interface PeerCursor {
  readonly peer: string
  readonly shardId: string
  /** The feed we read from the peer, and how far; null before the first batch. */
  readonly pulled: { readonly logId: string; readonly cursor: number } | null
  /** What the peer last said it holds; null before it said so. */
  readonly versionVector: VersionVector | null
  /** How far the peer has read our feed, as it acknowledged. */
  readonly ackedCursor: number
  readonly lastContactMs: number
}

/** A commit that others may want to act on: the shard's feed or its version vector moved. */
export interface CommitNotice {
  readonly shardId: string
  readonly head: number
}

/** Records that must be asked for before a vector is joined, and the head of our feed by then. */
export interface Doubtful {
  readonly doubtful: readonly string[]
  readonly head: number
}

/**
 * What sync needs of the store. `SQLiteVectorDB.replica` implements it; nothing else in sync/ knows
 * SQLite. Each method is one transaction.
 */
export interface ReplicaStore {
  readonly path: string
  identity(): ReplicaIdentity
  shards(): readonly ShardInfo[]
  /** @throws SqliteVectorError `STORE_SHARD_UNKNOWN` */
  shardState(shardId: string): ShardState
  /** Of all shards, as one consistent read. */
  shardStates(): readonly ShardState[]
  /** Creates the shard as a peer describes it, or checks that ours is the same. @throws `STORE_SHARD_MISMATCH` */
  ensureShard(info: ShardInfo): void
  readDelta(shardId: string, query: DeltaQuery): DeltaRead
  /**
   * From now on what peers send is committed without waiting for the disk; the result ends that. Whoever tells a peer
   * anything of this file awaits {@link whenDurable} before.
   */
  deferFlush(): () => Promise<void>
  /** Resolves once everything committed so far, also by other processes, would survive power loss. @throws `STORE_IO` */
  whenDurable(): Promise<void>
  /**
   * From now on every write of the shard is noted as sent in its own transaction, because a session sends it at
   * once; the result ends that. Only after a read that exposed the whole feed: what was written before must have been noted.
   */
  expose(shardId: string): () => void
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
   * At CAUGHT_UP: joins the sender's vector, moves the cursor, and returns the state after. `gcFloor` is the
   * sender's; where we were behind it, ours is raised, too: call {@link behindFloor} first.
   */
  joinVector(
    shardId: string,
    source: DeltaSource,
    versionVector: VersionVector,
    gcFloor?: VersionVector,
  ): ShardState
  /**
   * The same after rows were compared because we were behind the floor, from when the head of our feed was `since`. Nothing
   * is joined when somebody else's batch meanwhile brought writes that `versionVector` covers: the sender may have deleted
   * them and forgotten it, and is asked for these records first.
   */
  joinCompared(
    shardId: string,
    source: DeltaSource,
    versionVector: VersionVector,
    gcFloor: VersionVector,
    since: number,
  ): ShardState | Doubtful
  /**
   * True when a sender with this floor forgot deletes that we may have missed, so that rows must be compared
   * before its vector is joined. False when `fingerprint` shows that the rows are equal.
   */
  behindFloor(shardId: string, gcFloor: VersionVector, fingerprint: string | null): boolean
  /** What we hold of these ranges, for a peer that compares: names of writes, with `payloads` what they wrote as well. */
  summarizeRanges(
    shardId: string,
    ranges: readonly IdRange[],
    payloads?: boolean,
  ): Sliced<readonly RangeAnswer[]>
  /** Holds our rows against a peer's answers. */
  compareRanges(
    shardId: string,
    ranges: readonly IdRange[],
    answers: readonly RangeAnswer[],
    mode: CompareMode,
  ): Sliced<Comparison>
  /** Whole records, as many as fit, at least one of those there are; in the order of `ids`. */
  readRecords(shardId: string, ids: readonly string[], bytesMax: number): RecordsRead
  /**
   * Merges records that a comparison asked for; `gone` are those that the peer has no trace of: in mode
   * `floor`, what its vector `theirs` covers of them is dropped. In mode `equal`, what was lost is restored, unless our
   * floor has risen above `floor` since the comparison began: then it may be what we have forgotten meanwhile.
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
  /** Ids of `changes` of which a write is here as well, and is another one by what it wrote: one of the two is damaged. */
  comparePayloads(shardId: string, changes: readonly Change[]): readonly string[]
  /** Counts the shard anew from its rows and puts right what was kept wrongly. */
  recount(shardId: string): Recount
  /** The same in slices; null when the shard was written to for as long as they took, several times over. */
  recountInSlices(shardId: string): Sliced<Recount | null>
  /**
   * The same a slice per turn of the event loop, and in one go where the shard does not stand still. Rejects with the
   * reason of `signal`.
   */
  recountInTurns(shardId: string, signal?: AbortSignal): Promise<Recount>
  /** What we may say to a peer that we hold: without own writes that somebody else may have made, too. */
  claimedVector(shardId: string): VersionVector
  /** Writes that we hold and the version vector does not cover yet: a transfer has not come to its end. */
  aheadVector(shardId: string): VersionVector
  /**
   * A peer introduces itself: its writing identity, what it says it holds, and what it holds beyond that. Draws
   * a new identity for this file when they show that it was restored or cloned; true then.
   */
  meet(shardId: string, actor: ActorId, versionVector: VersionVector, ahead: VersionVector): boolean
  /** Notes what a peer calls itself, for {@link nodeOf}. */
  nameActor(actor: ActorId, nodeId: string): void
  /** What the node that wrote as `actor` last called itself to us; null when it never did. */
  nodeOf(actor: ActorId): string | null
  /**
   * Notes in the file and in the folder beside it, once there is one, that they belong together: see
   * {@link StoreEvent}, `file-replaced`.
   */
  keepToken(): void
  /** Forgets deletes that every known replica has; how many. */
  collectTombstones(shardId: string, replicaRetentionMs: number): number
  /**
   * Calls `listener` when a peer said what it durably holds of a shard, in this process; returns the
   * unsubscriber. What another process heard is in {@link peerCursors}.
   */
  onReport(listener: (shardId: string, peer: string) => void): () => void
  /** A peer says what it durably holds. */
  recordAck(shardId: string, peer: string, cursor: number, versionVector: VersionVector): void
  /**
   * The peer has said that it does not come back, or that it is here again. While it has left, deletes are forgotten without
   * waiting for it; when it comes back all the same, it compares rows.
   */
  notePeerLeft(peer: string, hasLeft: boolean): void
  peerCursor(shardId: string, peer: string): PeerCursor | null
  peerCursors(): readonly PeerCursor[]
  /**
   * Calls `listener` after every commit that moved a feed or a version vector, local or applied;
   * returns the unsubscriber. Commits of other processes are heard of by {@link poll}.
   */
  onCommit(listener: (notice: CommitNotice) => void): () => void
  /** Looks for commits of other processes, tells listeners, and returns how many shards moved. */
  poll(): number
  /** The fingerprint counted anew from the rows; differs from the kept one only by a fault. O(records). */
  recomputeFingerprint(shardId: string): string
  /** Draws a new actor and a new log together, as a restored or cloned file needs. */
  renewIdentity(): ReplicaIdentity
  /** What sync keeps under `key` across restarts; null when there is nothing. */
  syncState(key: string): string | null
  /** Keeps `value` under `key`; null removes it. */
  saveSyncState(key: string, value: string | null): void
}

/** How a shard's conflicts are shown: by name, or by a function. */
export type ConflictStrategy = ConflictStrategyName | ConflictFunction

/**
 * What is shown of the siblings of a record (two or more, in the order of their dots); null shows a
 * delete. Must be deterministic and the same on every replica, or replicas show different records.
 */
export type ConflictFunction = (siblings: readonly ConflictSibling[]) => ConflictValue | null

/** One of the writes that are in conflict. */
export interface ConflictSibling {
  readonly dot: Dot
  readonly stamp: Hlc
  /** null is a delete. */
  readonly value: {
    readonly embedding: Float32Array
    readonly metadata: Metadata
    readonly text: string | null
  } | null
}

/** What a record is to show or to become. */
export interface ConflictValue {
  readonly embedding: VectorInput
  /** @defaultValue `{}` */
  readonly metadata?: Metadata
  readonly text?: string | null
}

/** How to decide a conflict: for one of the siblings, or by a value of one's own (null deletes). */
export type ConflictChoice = { readonly choose: Dot } | { readonly value: ConflictValue | null }

/** A record in conflict. */
export interface ConflictInfo {
  readonly id: string
  readonly siblingCount: number
  /** False when the strategy shows a delete. */
  readonly visible: boolean
}

/** Options of `listConflicts()`. */
export type ConflictListOptions = Omit<ListOptions, 'includeVectors'>

/** Records in conflict, in the order of the bytes of their ids. */
export interface ConflictPage {
  readonly conflicts: readonly ConflictInfo[]
  /** Give it to the next `listConflicts()`; null when none follows. */
  readonly nextCursor: string | null
}

/** Options of `collectTombstones()`. */
export interface CollectOptions {
  /**
   * Peers that were not heard of for longer are not waited for; when they come back, they compare their rows.
   * Integer, 0 to 10 years in milliseconds. @defaultValue 30 days
   */
  readonly replicaRetentionMs?: number
}

/** A change that could not be applied. */
export interface QuarantineEntry {
  /** Names the entry for `retryQuarantine()` and `discardQuarantine()`. */
  readonly entry: number
  /** The record. */
  readonly id: string
  /** Fingerprint of the peer that sent it. */
  readonly peer: string
  readonly reason: string
  /** Milliseconds since 1970. */
  readonly atMs: number
}

/** Options of `listQuarantine()`. */
export interface QuarantineListOptions {
  /** Only entries above this one. @defaultValue `0` */
  readonly after?: number
  /** Most entries. Integer, 1 to 10,000. @defaultValue `100` */
  readonly limit?: number
}

/** What `retryQuarantine()` did. */
export interface QuarantineRetry {
  /** Entries that were news still; one whose writes have been superseded meanwhile goes, and does not count. */
  readonly applied: number
  /** Entries of the shard that are still in quarantine. */
  readonly left: number
}

/** Options of `snapshot()`. */
export interface SnapshotOptions {
  readonly signal?: AbortSignal
}

/** What happened inside the store that its caller did not ask for. */
export type StoreEvent =
  /** The file got a new actor and a new log; cursors of the old log are void. */
  | {
      readonly type: 'identity-renewed'
      readonly reason:
        | 'unclean-open'
        | 'file-replaced'
        | 'own-writes-unknown'
        | 'cloned'
        | 'shard-dropped'
        | 'requested'
      readonly identity: ReplicaIdentity
    }
  /** A stamp further ahead of the local clock than the drift bound was stored but not absorbed. */
  | {
      readonly type: 'clock-skew'
      readonly shardId: string
      readonly peer: string
      readonly skewMs: number
    }
  /** A change could not be applied and was put aside. */
  | {
      readonly type: 'change-quarantined'
      readonly shardId: string
      readonly peer: string
      readonly id: string
      readonly reason: string
    }
  /** The codes of a shard that were kept beside the file are not used; they are made anew from its rows. */
  | { readonly type: 'index-refused'; readonly shardId: string; readonly reason: string }
  /** The codes of a shard could not be kept beside the file; the next open takes longer to search. */
  | { readonly type: 'index-not-saved'; readonly shardId: string; readonly reason: string }
  /** A caller's strategy function threw or gave no valid value; the last write is shown instead. */
  | {
      readonly type: 'strategy-failed'
      readonly shardId: string
      readonly id: string
      readonly error: unknown
    }
