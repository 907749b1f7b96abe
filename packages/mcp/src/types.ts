/**
 * A node as the MCP server needs it: a file of this process, or a server elsewhere. Types only.
 *
 * The node clients of the command line have these methods, too.
 */
import type { Embedder, Filter, JsonValue, RecordInput } from '@agentic-flow/sqlite-vector'

type Metadata = { readonly [key: string]: JsonValue }

/** A record as a node gives it. */
export interface MemoryRecord {
  readonly id: string
  readonly metadata: Metadata
  readonly text: string | null
  readonly embedding?: Float32Array | readonly number[]
  readonly distance?: number | null
  readonly score?: number
}

export interface MemoryShard {
  readonly shardId: string
  readonly dimension: number
  readonly metric: string
  readonly modelId: string | null
  readonly recordCount: number
  readonly conflictCount: number
}

export interface MemoryPeer {
  readonly nodeId: string
  readonly address: string
  readonly status: string
  readonly lastSeenMs: number | null
}

export interface MemoryQuery {
  readonly vector?: readonly number[] | Float32Array
  readonly text?: string
  readonly k: number
  readonly filter?: Filter
  readonly weights?: { readonly text: number; readonly vector: number }
}

/** One of the writes in conflict; `dot` names it. */
export interface MemorySibling {
  readonly dot: string
  readonly nodeId: string | null
  readonly atMs: number
  readonly value: Omit<MemoryRecord, 'id'> | null
}

/** The calls that the tools make. */
export interface MemoryNode {
  shards(): Promise<readonly MemoryShard[]>
  createShard(
    shardId: string,
    options: { dimension: number; modelId?: string; metric?: 'l2' },
  ): Promise<void>
  get(shardId: string, id: string): Promise<MemoryRecord | null>
  list(
    shardId: string,
    page: { readonly cursor: string | null; readonly limit: number },
  ): Promise<{ readonly records: readonly MemoryRecord[]; readonly nextCursor: string | null }>
  query(shardId: string, query: MemoryQuery): Promise<readonly MemoryRecord[]>
  write(shardId: string, records: readonly RecordInput[], mode: 'upsert'): Promise<void>
  delete(shardId: string, id: string): Promise<boolean>
  peers(check: boolean): Promise<readonly MemoryPeer[]>
  conflicts(
    shardId: string,
    page: { readonly cursor: string | null; readonly limit: number },
  ): Promise<{
    readonly conflicts: readonly { readonly id: string; readonly siblingCount: number }[]
  }>
  conflict(
    shardId: string,
    id: string,
  ): Promise<{
    readonly siblings: readonly MemorySibling[]
    readonly shown: MemoryRecord | null
  } | null>
  resolveConflict(
    shardId: string,
    id: string,
    decision: { readonly choose: string } | { readonly delete: true },
  ): Promise<unknown>
}

/** What the server may do, and for whom. */
export interface McpServerOptions {
  readonly node: MemoryNode
  /** Shard that tools use when they are called without one. @defaultValue `'memory'` */
  readonly shardId?: string
  /**
   * Embedder of a shard, or null: texts wait for one, and are found by their words. @defaultValue
   * none
   */
  readonly embedderOf?: (shardId: string) => Promise<Embedder | null>
  /** Leaves out the tools that write. @defaultValue `false` */
  readonly readOnly?: boolean
  /**
   * False for shards that the caller may not see; they answer as if they were not there.
   * @defaultValue all
   */
  readonly mayUse?: (shardId: string) => boolean
  /** New ids. @defaultValue random ones */
  readonly newId?: () => string
  /** Version that the server names. @defaultValue `'0.1.0'` */
  readonly version?: string
}
