/**
 * The configuration of one node, complete and checked, and the error of a wrong one. resolve.ts makes it.
 */
import type { Metric } from '@agentic-flow/sqlite-vector'
import type { Compression, ConflictStrategyName, Topology } from '@agentic-flow/sqlite-vector/sync'

/** What the bearer of an API key may do. */
export type Access = 'read-only' | 'read-write'

/** A key of the HTTP API. The key itself is not kept, only its hash. */
export interface ApiKeyConfig {
  /** Names the key in logs; never secret. */
  readonly name: string
  readonly access: Access
  /** SHA-256 of the key, 64 lowercase hexadecimal digits. */
  readonly sha256: string
}

/** A peer to sync with. */
export interface PeerConfig {
  readonly nodeId: string
  readonly address: string
  /** null: every shard that is here. */
  readonly shards: readonly string[] | null
}

/** A shard that is made at the start where it is missing. */
export interface ShardConfig {
  readonly shardId: string
  readonly dimension: number
  readonly metric: Metric
  readonly modelId: string | null
  /** null: what the shard has. */
  readonly conflictStrategy: ConflictStrategyName | null
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** Everything that `startNode()` needs. Nothing is optional. */
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
  }
  readonly sync: {
    /** null: takes no connections, only dials. */
    readonly listen: string | null
    /** null: where it listens. */
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
  readonly snapshots: { readonly folder: string | null }
  readonly shutdown: { readonly graceMs: number }
  readonly log: { readonly level: LogLevel }
}

/** Where a value came from. */
export type Origin = 'default' | 'file' | 'environment' | 'flag'

/** The configuration is wrong; the message says where, and what would be right. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}
