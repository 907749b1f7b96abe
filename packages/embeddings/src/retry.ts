/**
 * Repeats a call that failed for a passing reason: exponential backoff with jitter, or the wait
 * that the service asked for. Only `SqliteVectorError`s whose `retryable` is true are repeated.
 *
 * Time and chance are arguments.
 */
import { SqliteVectorError } from '@agentic-flow/sqlite-vector/errors'
import type { RetryClock } from './clock/system-clock.ts'
import { EmbedderError } from './failure.ts'

/** One failed attempt that is followed by another. */
export interface RetryNotice {
  /** Attempts made so far. */
  readonly attempt: number
  readonly delayMs: number
  readonly error: SqliteVectorError
}

export interface RetryOptions {
  /** Most attempts, the first one included. */
  readonly attempts: number
  readonly firstDelayMs: number
  readonly lastDelayMs: number
  readonly clock: RetryClock
  /** From 0 to below 1. */
  readonly chance: () => number
  readonly signal: AbortSignal | undefined
  readonly onRetry: ((notice: RetryNotice) => void) | undefined
}

/** Resolves with the first success; rejects with the last failure, or the signal's reason. */
export async function withRetries<T>(call: () => Promise<T>, options: RetryOptions): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    options.signal?.throwIfAborted()
    try {
      return await call()
    } catch (error) {
      options.signal?.throwIfAborted()
      const isPassing = error instanceof SqliteVectorError && error.retryable
      if (!isPassing || attempt >= options.attempts) throw error
      const delayMs = delayOf(error, attempt, options)
      options.onRetry?.({ attempt, delayMs, error })
      await wait(delayMs, options)
    }
  }
}

/**
 * Half of the delay is certain, half is chance: callers that failed together do not return
 * together.
 */
function delayOf(error: SqliteVectorError, attempt: number, options: RetryOptions): number {
  const { firstDelayMs, lastDelayMs, chance } = options
  const grown = Math.min(lastDelayMs, firstDelayMs * 2 ** Math.min(attempt - 1, 30))
  const backoff = grown / 2 + (grown / 2) * chance()
  const asked = error instanceof EmbedderError ? (error.retryAfterMs ?? 0) : 0
  return Math.max(backoff, Math.min(asked, lastDelayMs))
}

function wait(delayMs: number, { clock, signal }: RetryOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      cancel()
      reject(signal?.reason as Error)
    }
    const cancel = clock.schedule(delayMs, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}
