/**
 * An embedder, the records it is given as text, and the answers to a question. Types only.
 */
import type { Embedder as CoreEmbedder, Metadata } from '@agentic-flow/sqlite-vector'

export type { EmbedOptions } from '@agentic-flow/sqlite-vector'

/**
 * Makes vectors from texts. Its failures are `EMBEDDER_FAILED` (worth a retry), `EMBEDDER_REFUSED`
 * and
 * `EMBEDDER_INVALID`.
 */
export interface Embedder extends CoreEmbedder {
  /** Most texts of one call; a caller sends no larger batch. @defaultValue `32` */
  readonly batchTextsMax?: number
}

/** A record as text. */
export interface TextRecord {
  readonly id: string
  /** The text that is embedded, kept and found by its words. Not empty. */
  readonly text: string
  /** @defaultValue `{}` */
  readonly metadata?: Metadata
}

/** A record found by `ask()`. */
export interface AskResult {
  readonly id: string
  readonly text: string | null
  readonly metadata: Metadata
  /** Larger is better; comparable within one answer only. */
  readonly score: number
  /** Distance to the question; null where the ranking by vector did not find the record. */
  readonly distance: number | null
}
