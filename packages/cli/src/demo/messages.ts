/**
 * Messages between the demo's orchestrator and its two node processes. Types only.
 *
 * This is the remote control of a demonstration, over the pipe to a child process; records travel
 * between the nodes over QUIC alone.
 */
import type { Passage } from './passages.ts'

/** A request and what answers it. */
export interface Calls {
  /** Opens the file and the identity beside it. */
  open: { request: { path: string; nodeId: string }; answer: NodeIdentityCard }
  /** Reads documents, embeds their passages and inserts them. Reports progress. */
  ingest: { request: { shardId: string; folder: string; packages: boolean }; answer: IngestResult }
  /** Pins the other node's certificate. */
  trust: { request: { nodeId: string; certificatePem: string }; answer: null }
  /** Takes connections; answers with the address really bound. */
  listen: { request: { address: string }; answer: { address: string } }
  /** Syncs the shard both ways; reports progress where it is known how many changes will come. */
  sync: {
    request: { shardId: string; address: string; expected: number | null }
    answer: SyncReport
  }
  /**
   * By vector and words, or by words alone: an embedder fitted before a text was written knows none
   * of its words.
   */
  ask: {
    request: { shardId: string; question: string; k: number; ranking?: 'hybrid' | 'text' }
    answer: readonly Answer[]
  }
  /** Local writes while the other node is away. */
  edit: { request: { shardId: string; edits: Edits }; answer: EditResult }
  has: { request: { shardId: string; id: string }; answer: boolean }
  state: { request: { shardId: string }; answer: NodeState }
  /** Closes everything, says so, and lets the process end. */
  close: { request: Record<string, never>; answer: null }
}

export type CallName = keyof Calls

/** A node's identity, as an operator would copy it to the other machine. */
export interface NodeIdentityCard {
  readonly fingerprint: string
  readonly certificatePem: string
}

export interface IngestResult {
  readonly files: number
  readonly passages: number
  readonly embedMs: number
  readonly insertMs: number
  readonly embedder: string
  readonly dimension: number
  /** Records of the shard that holds the embedder. */
  readonly words: number
  /** A few of them, for the edits that follow. */
  readonly sample: readonly Passage[]
}

/** The result of one sync, counted by the library. */
export interface SyncReport {
  readonly applied: number
  readonly sent: number
  readonly conflicts: number
  /** Bytes of UDP payload in both directions. */
  readonly wireBytes: number
  readonly durationMs: number
}

export interface Answer {
  readonly id: string
  readonly source: string
  readonly heading: string
  readonly text: string
  /** null for a passage that was found by its words. */
  readonly distance: number | null
}

export interface Edits {
  readonly update: { readonly id: string; readonly note: string }
  readonly remove: string
  readonly add: readonly { readonly id: string; readonly text: string }[]
}

export interface EditResult {
  readonly updated: number
  readonly deleted: number
  readonly inserted: number
}

export interface NodeState {
  readonly rows: number
  readonly tombstones: number
  readonly conflicts: number
  /** Of the shard's contents, not of the certificate. */
  readonly digest: string
  readonly versionVector: Readonly<Record<string, number>>
}

/** From the orchestrator to a node. */
export interface RequestMessage {
  readonly number: number
  readonly call: CallName
  readonly request: unknown
}

/** From a node to the orchestrator. */
export type NodeMessage =
  | { readonly type: 'answer'; readonly number: number; readonly answer: unknown }
  | { readonly type: 'failure'; readonly number: number; readonly message: string }
  | {
      readonly type: 'progress'
      readonly label: string
      readonly done: number
      readonly total: number
    }
