/**
 * The node interface of commands, implemented for a file (local.ts) and a server (remote.ts). Types
 * only.
 *
 * Results are promises of plain JSON; embeddings are typed arrays or arrays of numbers.
 */
import type {
  Filter,
  JsonValue,
  Metric,
  QuarantineEntry,
  QuarantineRetry,
  RecordInput,
} from '@agentic-flow/sqlite-vector'

/** A record as it is shown. */
export interface ShownRecord {
  readonly id: string
  readonly metadata: { readonly [key: string]: JsonValue }
  readonly text: string | null
  readonly embedding?: Float32Array | readonly number[]
  readonly distance?: number | null
  readonly score?: number
}

export interface ShardSummary {
  readonly shardId: string
  readonly dimension: number
  readonly metric: Metric
  readonly modelId: string | null
  readonly recordCount: number
  readonly tombstoneCount: number
  readonly conflictCount: number
  readonly quarantineCount: number
  readonly digest: string
}

/** A search: a vector, words, or both. */
export interface QueryRequest {
  readonly vector?: readonly number[] | Float32Array
  readonly text?: string
  readonly k: number
  readonly filter?: Filter
  readonly exact?: boolean
  readonly threshold?: number
  /** How much each ranking counts where there are two. */
  readonly weights?: { readonly text: number; readonly vector: number }
  readonly includeVectors?: boolean
}

export interface PageRequest {
  readonly cursor: string | null
  readonly limit: number
}

export interface RecordPage {
  readonly records: readonly ShownRecord[]
  readonly nextCursor: string | null
}

/** The result of one sync. */
export interface SyncSummary {
  readonly shardId: string
  readonly address: string
  readonly peer: string
  /** False when permission is missing for that direction; absent from older servers. */
  readonly pulled?: boolean
  readonly pushed?: boolean
  readonly applied: number
  readonly sent: number
  readonly conflicts: number
  readonly quarantined: number
  readonly wireBytes: number
  readonly durationMs: number
}

export interface PeerSummary {
  readonly nodeId: string
  readonly address: string
  readonly status: string
  readonly peer: string | null
  readonly lastSeenMs: number | null
  readonly rttMs: number | null
}

export interface ConflictSummary {
  readonly id: string
  readonly siblingCount: number
  readonly visible: boolean
}

/** One of the writes in conflict; `--choose` takes its dot. */
export interface SiblingSummary {
  /** `actor:counter`. */
  readonly dot: string
  readonly nodeId: string | null
  readonly atMs: number
  /** null: this write deleted the record. */
  readonly value: Omit<ShownRecord, 'id'> | null
}

export interface ConflictDetail {
  readonly id: string
  readonly siblings: readonly SiblingSummary[]
  readonly shown: ShownRecord | null
}

/** A decision on a conflict. */
export type DecisionRequest =
  | { readonly choose: string }
  | { readonly strategy: 'last-write-wins' | 'first-write-wins' | 'merge' }
  | { readonly delete: true }

/** The result of a decision, and the input of {@link NodeClient.undoConflict}. */
export type ResolutionToken = { readonly [key: string]: JsonValue }

/** The result of recounting a shard. */
export interface CheckSummary {
  readonly shardId: string
  /** False: the stored counts or digest differed from the rows and were corrected. */
  readonly correct: boolean
  readonly recordCount: number
  readonly digest: string
}

/** The result of comparing a shard with a peer. */
export interface VerifySummary {
  readonly shardId: string
  readonly address: string
  readonly peer: string
  readonly correct: boolean
  readonly compared: boolean
  readonly equal: boolean
  readonly divergences: number
  readonly repaired: number
  readonly dropped: number
  readonly onlyHere: number
  /** Records whose payloads differ; null: payloads were not compared. */
  readonly damaged: { readonly count: number; readonly ids: readonly string[] } | null
}

/** A node as commands see it. */
export interface NodeClient {
  /** Largest batch for {@link write}. */
  readonly batch: {
    readonly recordsMax: number
    readonly vectorBytes: number
    /** Most batches under way at once. */
    readonly parallel: number
  }
  shards(): Promise<readonly ShardSummary[]>
  createShard(
    shardId: string,
    options: { dimension: number; metric?: Metric; modelId?: string },
  ): Promise<void>
  dropShard(shardId: string): Promise<boolean>
  /** Sets how the node shows conflicts of the shard. */
  setStrategy(
    shardId: string,
    strategy: 'last-write-wins' | 'first-write-wins' | 'merge' | 'manual',
  ): Promise<void>
  stats(): Promise<JsonValue>
  get(shardId: string, id: string): Promise<ShownRecord | null>
  list(shardId: string, page: PageRequest): Promise<RecordPage>
  count(shardId: string, filter?: Filter): Promise<number>
  query(shardId: string, request: QueryRequest): Promise<readonly ShownRecord[]>
  explain(shardId: string, request: QueryRequest): Promise<JsonValue>
  /** Commits the records; all or none up to 10,000 records. */
  write(shardId: string, records: readonly RecordInput[], mode: 'insert' | 'upsert'): Promise<void>
  /** Returns true when the record existed. */
  delete(shardId: string, id: string): Promise<boolean>
  deleteWhere(shardId: string, filter: Filter): Promise<number>
  peers(check: boolean): Promise<readonly PeerSummary[]>
  /** `address`: the peer's address; for a server, the peer's name. */
  sync(shardId: string, address: string, signal: AbortSignal): Promise<SyncSummary>
  verify(
    shardId: string,
    address: string,
    payloads: boolean,
    signal: AbortSignal,
  ): Promise<VerifySummary>
  conflicts(
    shardId: string,
    page: PageRequest,
  ): Promise<{
    readonly conflicts: readonly ConflictSummary[]
    readonly nextCursor: string | null
  }>
  conflict(shardId: string, id: string): Promise<ConflictDetail | null>
  resolveConflict(shardId: string, id: string, decision: DecisionRequest): Promise<ResolutionToken>
  /** Returns false when the record was written since. */
  undoConflict(token: ResolutionToken): Promise<boolean>
  quarantine(shardId: string): Promise<readonly QuarantineEntry[]>
  retryQuarantine(shardId: string, entry?: number): Promise<QuarantineRetry>
  discardQuarantine(shardId: string, entry: number): Promise<void>
  /** Recounts the shard and corrects the stored counts. */
  recount(shardId: string): Promise<CheckSummary>
  /** Returns the size of the copy in bytes. A server takes a file name in its snapshot folder. */
  snapshot(path: string, signal: AbortSignal): Promise<number>
  /** Yields the result of the query now and after every change, until the signal aborts. */
  watch(
    shardId: string,
    request: QueryRequest,
    signal: AbortSignal,
  ): AsyncIterable<readonly ShownRecord[]>
  close(): Promise<void>
}
