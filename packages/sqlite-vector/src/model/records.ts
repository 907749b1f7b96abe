/**
 * The plain values that every layer shares: metrics, metadata, vectors, and what a shard is and
 * holds. Types only.
 */
import { type ActorId, type VersionVector } from './types.ts'

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

/** The JSON object that a record carries beside its vector. */
export type Metadata = { readonly [key: string]: JsonValue }

/** A vector as callers give it: `dimension` finite components. */
export type VectorInput = Float32Array | readonly number[]

/** A shard as it is stored. */
export interface ShardInfo {
  readonly shardId: string
  readonly dimension: number
  readonly metric: Metric
  readonly modelId: string | null
  /** Tokenizer of the texts: `words:en`, `trigram`. Left out: `words`. */
  readonly text?: string
}

/** The contents of one shard, as one consistent read. */
export interface ShardState extends ShardInfo {
  /** Feed of this file; a cursor of another log is void. 32 hexadecimal digits. */
  readonly logId: string
  /** The newest change_id of the shard's feed; 0 when nothing was ever written. */
  readonly head: number
  readonly versionVector: VersionVector
  /**
   * True when the rows hold no write beyond {@link versionVector}: only then are they a function of
   * it, and digests of equal vectors must be equal. False after a batch, until the CAUGHT_UP that
   * covers it.
   */
  readonly settled: boolean
  /**
   * Writes held beyond it, the largest counter per actor; empty when {@link settled}. It stays when
   * the writer lost it to a backup, and never claimed what it had sent in part.
   */
  readonly uncovered: VersionVector
  /** The version vector at the last collection of tombstones. */
  readonly gcFloor: VersionVector
  /** Order-free sum of a 64-bit hash of id and dots of every record with a put; 16 hex digits. */
  readonly digest: string
  /** Visible records. */
  readonly recordCount: number
  /** Records whose visible state is a delete that still syncs. */
  readonly tombstoneCount: number
  /** Records that have more than one sibling. */
  readonly conflictCount: number
  /** Changes in quarantine because they could not be applied. */
  readonly quarantineCount: number
  /** Milliseconds since 1970 of the last commit to the shard. */
  readonly updatedAtMs: number
}

/** The writing identity of the open file. */
export interface ReplicaIdentity {
  readonly actor: ActorId
  readonly logId: string
}
