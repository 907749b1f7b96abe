/**
 * The complete, checked configuration of one node, and the error for a wrong one. Built by
 * resolve.ts.
 */
import type { Metric } from '@agentic-flow/sqlite-vector'
import type { Compression, ConflictStrategyName, Topology } from '@agentic-flow/sqlite-vector/sync'

/** Permission of an API key. */
export type Access = 'read-only' | 'read-write'

/** A key of the HTTP API. Only its hash is kept. */
export interface ApiKeyConfig {
  /** Names the key in logs; never secret. */
  readonly name: string
  readonly access: Access
  /** SHA-256 of the key, 64 lowercase hexadecimal digits. */
  readonly sha256: string
  /** Shards or patterns with `*` that the key may use; null: all. */
  readonly shards: readonly string[] | null
  /** Operation ids or tags of the API that the key may use; null: all. */
  readonly operations: readonly string[] | null
  /** 0: unlimited; null: `http.requestsPerMinuteMax`. */
  readonly requestsPerMinuteMax: number | null
}

/** A peer to sync with. */
export interface PeerConfig {
  readonly nodeId: string
  readonly address: string
  /** null: every shard of this node. */
  readonly shards: readonly string[] | null
}

/** A shard to create at start when it is missing. */
export interface ShardConfig {
  readonly shardId: string
  readonly dimension: number
  readonly metric: Metric
  readonly modelId: string | null
  /** null: keep the shard's own. */
  readonly conflictStrategy: ConflictStrategyName | null
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** All that `startNode()` needs. Nothing is optional. */
export interface NodeConfig {
  readonly database: string
  readonly nodeId: string
  readonly durability: 'full' | 'normal'
  readonly busyTimeoutMs: number
  readonly searchMemoryBytes: number
  readonly http: {
    readonly listen: string
    readonly apiKeys: readonly ApiKeyConfig[]
    readonly bodyBytesMax: number
    /** 0: no limit. */
    readonly requestsPerMinuteMax: number
    readonly eventStreamsMax: number
    readonly requestTimeoutMs: number
    readonly connectionsMax: number
    /** Both null: plain HTTP. */
    readonly tls: { readonly certificate: string | null; readonly key: string | null }
  }
  readonly sync: {
    /** null: dials only. */
    readonly listen: string | null
    /** null: the listening address. */
    readonly advertise: string | null
    readonly compression: Compression
    readonly collectIntervalMs: number
    readonly replicaRetentionMs: number
    readonly intervalMs: number
    readonly retryMs: number
    readonly relayDelayMs: number
    readonly batchSize: number
    readonly concurrencyMax: number
    readonly topology: Topology
  }
  readonly peers: readonly PeerConfig[]
  readonly shards: readonly ShardConfig[]
  readonly metadataIndexes: readonly string[]
  /** Tools that `/mcp` offers to agents. */
  readonly mcp: 'off' | 'read-only' | 'read-write'
  readonly snapshots: { readonly folder: string | null }
  readonly shutdown: { readonly graceMs: number; readonly drainMs: number }
  readonly audit: { readonly file: string | null }
  readonly log: { readonly level: LogLevel }
}

/** The source of a value. */
export type Origin = 'default' | 'file' | 'environment' | 'flag'

/** A wrong configuration. The message names the place, the rule and the value. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}
