/**
 * What a test and a node process say to each other. Types only.
 */
import type { Metric } from '@agentic-flow/sqlite-vector'

export interface NodeRequests {
  open: {
    request: { path: string; nodeId: string; shardId: string }
    answer: { fingerprint: string; certificatePem: string }
  }
  trust: { request: { nodeId: string; certificatePem: string }; answer: null }
  listen: { request: Record<string, never>; answer: { address: string } }
  fill: {
    request: { shardId: string; dimension: number; count: number; metric: Metric }
    answer: null
  }
  write: { request: { shardId: string; dimension: number; index: number }; answer: null }
  sync: {
    request: { shardId: string; address: string }
    answer: { applied: number; sent: number; received: number }
  }
  state: {
    request: { shardId: string }
    answer: { records: number; digest: string } | null
  }
  /** Changes that the peer acknowledged as committed, in the newest session. */
  acked: { request: Record<string, never>; answer: number }
  missing: { request: { shardId: string; ids: readonly string[] }; answer: readonly string[] }
  close: { request: Record<string, never>; answer: null }
}

export interface NodeRequest {
  readonly number: number
  readonly name: keyof NodeRequests
  readonly request: unknown
}

export type NodeEvent =
  | { readonly type: 'answer'; readonly number: number; readonly answer: unknown }
  | { readonly type: 'failure'; readonly number: number; readonly message: string }
  | { readonly type: 'committed'; readonly records: number }
