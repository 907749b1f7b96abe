/**
 * What the live benchmark and a node process of it say to each other. Types only.
 */
import type { AutoSyncState, VectorSyncConfig } from '@agentic-flow/sqlite-vector/sync'

/** Requests of the parent, with what a node answers. */
export interface LiveRequests {
  open: {
    request: { path: string; nodeId: string; config: VectorSyncConfig; idleTimeoutMs?: number }
    answer: { certificatePem: string; fingerprint: string }
  }
  trust: { request: { nodeId: string; certificatePem: string }; answer: null }
  listen: { request: { address: string }; answer: { address: string } }
  createShards: { request: { shardIds: readonly string[]; dimension: number }; answer: null }
  autoSync: { request: { shardId: string; address: string }; answer: null }
  stopAutoSyncs: { request: Record<string, never>; answer: number }
  autoSyncs: { request: Record<string, never>; answer: readonly AutoSyncState[] }
  /** Writes at a steady rate; resolves with when each was committed, in nanoseconds of the machine. */
  writeSteadily: {
    request: { shardId: string; dimension: number; from: number; count: number; perSecond: number }
    answer: readonly bigint[]
  }
  /** Writes in batches for a time, waiting when the peer lags by more than `lagMax`. */
  flood: {
    request: {
      shardId: string
      dimension: number
      batch: number
      durationMs: number
      idPrefix: string
      /** Distinct ids: after that many, records are replaced. */
      idCount: number
      perSecond: number
    }
    answer: { written: number }
  }
  /** From now on notes when each record is first found by a search. */
  watchSearch: { request: { shardId: string; dimension: number; k: number }; answer: null }
  found: { request: Record<string, never>; answer: readonly (readonly [string, bigint])[] }
  /** One random write: insert, update or delete of one of `ids` records. */
  randomWrites: {
    request: { shardId: string; dimension: number; count: number; ids: number; seed: number }
    answer: { written: number }
  }
  state: {
    request: { shardId: string }
    answer: {
      records: number
      digest: string
      settled: boolean
      vector: readonly (readonly [string, number])[]
    } | null
  }
  usage: {
    request: Record<string, never>
    answer: {
      rssBytes: number
      heapBytes: number
      wireBytesSent: number
      wireBytesReceived: number
      connections: number
      sessions: number
      /** Changes that came in batches, and how many of them changed a record. */
      received: number
      applied: number
    }
  }
  ping: { request: { address: string }; answer: number }
  collect: { request: Record<string, never>; answer: null }
  close: { request: Record<string, never>; answer: null }
}

export interface LiveRequest {
  readonly number: number
  readonly name: keyof LiveRequests
  readonly request: unknown
}

export type LiveReply =
  | { readonly number: number; readonly answer: unknown }
  | { readonly number: number; readonly error: string }
