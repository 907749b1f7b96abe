/**
 * The store as others see it: the records a caller reads and writes, and the narrow interface
 * through which sync reads the change feed and applies what peers sent. Types only.
 *
 * Every method is synchronous, as SQLite is; `insertBatch` alone is a promise, because it yields
 * between transactions.
 */
import type { Hlc } from '../clock/hlc.ts'
import type { Filter } from '../search/filter.ts'
import type { TextOptions } from '../search/text-analysis.ts'

export type { TextOptions } from '../search/text-analysis.ts'
export type { StemmedLanguage } from '../search/words.ts'
import type { ActorId, ConflictStrategyName, Dot } from '../model/types.ts'
import {
  type JsonValue,
  type Metadata,
  type Metric,
  type ReplicaIdentity,
  type ShardState,
  type VectorInput,
} from '../model/records.ts'

/** A record as callers give it. */
export interface RecordInput<M extends object = Metadata> {
  /** 1 to 1,024 UTF-8 bytes, unique in its shard. */
  readonly id: string
  /** `dimension` finite components; not all zero when the metric is cosine. Kept as float32. */
  readonly embedding: VectorInput
  /** A JSON object. @defaultValue `{}` */
  readonly metadata?: M & JsonOnly<M>
  /** The text the vector was made from, if it is to travel along. */
  readonly text?: string
}

/** A record as the store gives it. */
export interface VectorRecord<M extends object = Metadata> {
  readonly id: string
  readonly metadata: M
  readonly text: string | null
  /** Present when asked for with `includeVectors`; always present from `get()`. */
  readonly embedding?: Float32Array
}

/** A record with its vector. */
export interface EmbeddedRecord<M extends object = Metadata> extends VectorRecord<M> {
  readonly embedding: Float32Array
}

/**
 * The type of a JSON value: an interface too, but no Date, bigint, function or Promise within it.
 */
export type JsonOnly<T> = T extends JsonValue
  ? T
  : T extends bigint | symbol | Date | ((...given: never[]) => unknown) | PromiseLike<unknown>
    ? never
    : { readonly [K in keyof T]: JsonOnly<T[K]> }

/** Some keys of metadata. */
type PartOf<M extends object> = string extends keyof M ? M : Partial<M>

/** The changes of `update()`; at least one key. */
export interface RecordUpdate<M extends object = Metadata> {
  /** The new vector. */
  readonly embedding?: VectorInput
  /** Merged key by key into the present metadata (a null stays a null), or replaces it. */
  readonly metadata?: PartOf<M> & JsonOnly<PartOf<M>>
  /** null removes the text. */
  readonly text?: string | null
  /** Merges the metadata key by key, or replaces it. @defaultValue `'merge'` */
  readonly metadataMode?: 'merge' | 'replace'
}

/** Options of `list()`. */
export interface ListOptions<M extends object = Metadata> {
  /** `nextCursor` of the page before; null starts at the beginning. @defaultValue `null` */
  readonly cursor?: string | null
  /** Any id: the page begins after it. Another name of `cursor`. @defaultValue `null` */
  readonly after?: string | null
  /** Only records whose metadata passes. */
  readonly filter?: Filter<M>
  /** Only records whose id begins with it. @defaultValue `''` */
  readonly prefix?: string
  /** Most records of the page. Integer, 1 to 10,000. @defaultValue `100` */
  readonly limit?: number
  /**
   * Makes records carry their embedding; a page then holds at most 128 MiB of them, and may have
   * fewer records than `limit`. @defaultValue `false`
   */
  readonly includeVectors?: boolean
}

/** Records in the order of the bytes of their ids. */
export interface ListPage<M extends object = Metadata> {
  readonly records: readonly VectorRecord<M>[]
  /** Give it to the next `list()`; null when no record follows. */
  readonly nextCursor: string | null
}

/** Options of `insertBatch()`. */
export interface BatchOptions {
  /**
   * A record that exists is an error (`insert`) or is replaced (`upsert`). @defaultValue `'insert'`
   */
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
   * `'full'`: what was acknowledged survives power loss. `'normal'`: only a killed process; faster,
   * and for files that never replicate. @defaultValue `'full'`
   */
  readonly durability?: 'full' | 'normal'
  /**
   * Longest wait for another writer, in milliseconds. Integer, 0 to 60,000. @defaultValue `5000`
   */
  readonly busyTimeoutMs?: number
  /**
   * Memory for the vectors that searches scan, in bytes, over all shards; 0 scans the file. A shard
   * that does not fit as float32 is held as codes, and its candidates are compared by their rows.
   * @defaultValue `536870912`
   */
  readonly searchMemoryBytes?: number
  /**
   * Keeps the codes by which large shards are searched in `<path>-index/`, so that the
   * first search after an open does not read every row. @defaultValue `true`
   */
  readonly saveIndex?: boolean
  /**
   * Opens a file that exists, and refuses every write with `STORE_READ_ONLY`. Reads, searches,
   * statistics and snapshots work. A file on a read-only file system is opened so by itself.
   * @defaultValue `false`
   */
  readonly readOnly?: boolean
  /** Hears of what the store did or met without being asked. @defaultValue none */
  readonly onEvent?: (event: StoreEvent) => void
}

/** The result of `stats()`, counted from the file. */
export interface StoreStats {
  readonly path: string
  /** Bytes of the database, without its write-ahead log; free pages included. */
  readonly fileBytes: number
  /** Bytes of {@link fileBytes} that hold nothing at present. */
  readonly freeBytes: number
  readonly sqliteVersion: string
  readonly durability: 'full' | 'normal'
  readonly readOnly: boolean
  readonly identity: ReplicaIdentity
  readonly shards: readonly ShardState[]
}

/** Options of a shard; fixed at creation. */
export interface ShardOptions {
  /** Components of every vector. Integer, 1 to 8,192. */
  readonly dimension: number
  /** How distance is measured: `cosine`, `l2` or `dot`. @defaultValue `'cosine'` */
  readonly metric?: Metric
  /** Names the model that makes the vectors, so that two models never mix. @defaultValue none */
  readonly modelId?: string
  /** How texts are cut into words. @defaultValue `{ tokenizer: 'words' }` */
  readonly text?: TextOptions
}

/** The result of counting a shard again from its rows. */
export interface Recount {
  /** True when the kept counts and digest were those of the rows. */
  readonly correct: boolean
  readonly digest: string
  readonly recordCount: number
  readonly tombstoneCount: number
  readonly conflictCount: number
  /** Ids of records whose rows are damaged, at most 1,000. Sync with a peer restores them. */
  readonly damaged: readonly string[]
}

/** How a shard's conflicts are shown: by name, or by a function. */
export type ConflictStrategy = ConflictStrategyName | ConflictFunction

/**
 * Chooses the visible value from the siblings of a record (two or more, in the order of their
 * dots); null shows a delete. Must be deterministic and the same on every replica, or replicas show
 * different records.
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

/** The value that a record shows or gets. */
export interface ConflictValue {
  /** The vector, as in `RecordInput`. */
  readonly embedding: VectorInput
  /** A JSON object. @defaultValue `{}` */
  readonly metadata?: Metadata
  /** The text; null for none. */
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
export type ConflictListOptions = Pick<ListOptions, 'cursor' | 'limit'>

/** Records in conflict, in the order of the bytes of their ids. */
export interface ConflictPage {
  readonly conflicts: readonly ConflictInfo[]
  /** Give it to the next `listConflicts()`; null when none follows. */
  readonly nextCursor: string | null
}

/** Options of `collectTombstones()`. */
export interface CollectOptions {
  /**
   * Peers that were not heard of for longer are not waited for; when they come back, they compare
   * their rows. Integer, 0 to 10 years in milliseconds. @defaultValue 30 days
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

/** The result of `retryQuarantine()`. */
export interface QuarantineRetry {
  /**
   * Entries that were news still; one whose writes have been superseded meanwhile goes, and does
   * not count.
   */
  readonly applied: number
  /** Entries of the shard that are still in quarantine. */
  readonly left: number
}

/** Options of `snapshot()`. */
export interface SnapshotOptions {
  /** Ends the copy; the call rejects with the reason of the signal. */
  readonly signal?: AbortSignal
}

/** Events inside the store that its caller did not ask for. */
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
  /**
   * A peer brought a write of `actor` that is here under the same name with another stamp: one of
   * the two is forged, or comes from a copy of a file. The one that was here stays.
   */
  | {
      readonly type: 'write-contradicted'
      readonly shardId: string
      readonly peer: string
      readonly id: string
      readonly actor: ActorId
    }
  /**
   * A comparison dropped records that the peer says it deleted and forgot; they left no tombstones.
   */
  | {
      readonly type: 'records-dropped'
      readonly shardId: string
      readonly peer: string
      readonly ids: readonly string[]
    }
  /** The file cannot be written, and was opened for reading only. */
  | { readonly type: 'opened-read-only'; readonly path: string; readonly reason: string }
  /** A record of the file was damaged. Its rows were set aside; a peer gives it back. */
  | {
      readonly type: 'record-damaged'
      readonly shardId: string
      readonly id: string
      readonly reason: string
    }
  /** A change could not be applied and was quarantined. */
  | {
      readonly type: 'change-quarantined'
      readonly shardId: string
      readonly peer: string
      readonly id: string
      readonly reason: string
    }
  /**
   * The codes of a shard that were kept beside the file are not used; they are made again from its
   * rows.
   */
  | { readonly type: 'index-refused'; readonly shardId: string; readonly reason: string }
  /**
   * The codes of a shard could not be kept beside the file; the next open takes longer to search.
   */
  | { readonly type: 'index-not-saved'; readonly shardId: string; readonly reason: string }
  /** A caller's strategy function threw or gave no valid value; the last write is shown instead. */
  | {
      readonly type: 'strategy-failed'
      readonly shardId: string
      readonly id: string
      readonly error: unknown
    }
