/**
 * The failure of an embedder, with the time it asked to be left alone for.
 */
import { type ErrorCode, SqliteVectorError } from '@agentic-flow/sqlite-vector/errors'

/** Thrown by embedders; `retryable` says whether the same call may succeed later. */
export class EmbedderError extends SqliteVectorError {
  /** Milliseconds to wait before the next attempt, where the service named them. */
  readonly retryAfterMs: number | null

  constructor(
    code: Extract<ErrorCode, `EMBEDDER_${string}`>,
    message: string,
    options: ErrorOptions & { readonly retryAfterMs?: number | null } = {},
  ) {
    super(code, message, options)
    this.retryAfterMs = options.retryAfterMs ?? null
  }
}
