/**
 * What commands need of a node, whether it is a file of this machine (local.ts) or a server (remote.ts). Types only.
 *
 * Everything is a promise and plain JSON, except embeddings: those are as the store gives them or as numbers.
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

/** What to search for: a vector, words, or both; or a record whose neighbours are wanted. */
export interface QueryRequest {
  readonly vector?: readonly number[] | Float32Array
  readonly text?: string
  readonly k: number
  readonly filter?: Filter
  readonly exact?: boolean
  readonly threshold?: number
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

/** What one sync did, as far as it is shown. */
export interface SyncSummary {
  readonly shardId: string
  readonly address: string
  readonly peer: string
  /** False where permission was missing for that direction; absent where the server does not say. */
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

/** One of the writes in conflict, by the name that `--choose` takes. */
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

/** How to decide a conflict. */
export type DecisionRequest =
  | { readonly choose: string }
  | { readonly strategy: 'last-write-wins' | 'first-write-wins' | 'merge' }
  | { readonly delete: true }

/** What deciding wrote; {@link NodeClient.undoConflict} takes it as it is. */
export type ResolutionToken = { readonly [key: string]: JsonValue }

/** What counting a shard anew showed. */
export interface CheckSummary {
  readonly shardId: string
  /** False: what was kept differed from the rows; it was put right. */
  readonly correct: boolean
  readonly recordCount: number
  readonly digest: string
}

/** What comparing a shard with a peer's showed. */
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
  /** Records that are not the same on both sides; null: payloads were not compared. */
  readonly damaged: { readonly count: number; readonly ids: readonly string[] } | null
}

/** A node to ask. */
export interface NodeClient {
  /** Most that one {@link write} takes. */
  readonly batch: { readonly recordsMax: number; readonly vectorBytes: number }
  shards(): Promise<readonly ShardSummary[]>
  createShard(
    shardId: string,
    options: { dimension: number; metric?: Metric; modelId?: string },
  ): Promise<void>
  dropShard(shardId: string): Promise<boolean>
  stats(): Promise<JsonValue>
  get(shardId: string, id: string): Promise<ShownRecord | null>
  list(shardId: string, page: PageRequest): Promise<RecordPage>
  count(shardId: string, filter?: Filter): Promise<number>
  query(shardId: string, request: QueryRequest): Promise<readonly ShownRecord[]>
  explain(shardId: string, request: QueryRequest): Promise<JsonValue>
  /** Commits the records, all or none where there are at most 10,000. */
  write(shardId: string, records: readonly RecordInput[], mode: 'insert' | 'upsert'): Promise<void>
  /** True when there was one. */
  delete(shardId: string, id: string): Promise<boolean>
  deleteWhere(shardId: string, filter: Filter): Promise<number>
  peers(check: boolean): Promise<readonly PeerSummary[]>
  /** `address`: where the peer listens; for a server the name under which it knows it. */
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
  /** False when somebody wrote since. */
  undoConflict(token: ResolutionToken): Promise<boolean>
  quarantine(shardId: string): Promise<readonly QuarantineEntry[]>
  retryQuarantine(shardId: string, entry?: number): Promise<QuarantineRetry>
  discardQuarantine(shardId: string, entry: number): Promise<void>
  /** Counts the shard anew and puts right what was kept wrongly. */
  recount(shardId: string): Promise<CheckSummary>
  /** The bytes of the copy. A server takes a name in its folder. */
  snapshot(path: string, signal: AbortSignal): Promise<number>
  /** The result of the query now and after every change of it, until the signal. */
  watch(
    shardId: string,
    request: QueryRequest,
    signal: AbortSignal,
  ): AsyncIterable<readonly ShownRecord[]>
  close(): Promise<void>
}
