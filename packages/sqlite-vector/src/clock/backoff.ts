/**
 * When to try again: exponential backoff with jitter, and a budget of attempts. Pure: time and
 * chance are arguments.
 *
 * Full jitter over the upper half of the delay (Brooker 2015, "Exponential Backoff and Jitter"):
 * peers that lost the same hub do not come back at the same instant, and no peer waits without
 * need.
 */

/** How a backoff grows. */
export interface BackoffOptions {
  readonly firstMs: number
  readonly lastMs: number
}

/** Delays between attempts that fail in a row. */
export class Backoff {
  readonly #options: BackoffOptions
  #failures = 0

  constructor(options: BackoffOptions) {
    this.#options = options
  }

  /** Attempts that failed in a row. */
  get failures(): number {
    return this.#failures
  }

  /**
   * Counts a failure; milliseconds to wait before the next attempt. `chance` is from 0 to below 1.
   */
  failed(chance: number): number {
    const { firstMs, lastMs } = this.#options
    const delayMs = Math.min(lastMs, firstMs * 2 ** Math.min(this.#failures, 30))
    this.#failures += 1
    return delayMs / 2 + (delayMs / 2) * chance
  }

  succeeded(): void {
    this.#failures = 0
  }
}

/** A bucket of attempts that fills up again with time. */
export class RetryBudget {
  readonly #capacity: number
  readonly #refillMs: number
  #tokens: number
  #filledMs: number

  /** `capacity` attempts at once, then one per `refillMs`. */
  constructor(capacity: number, refillMs: number, nowMs: number) {
    this.#capacity = capacity
    this.#refillMs = refillMs
    this.#tokens = capacity
    this.#filledMs = nowMs
  }

  /** Takes an attempt from the budget; milliseconds to wait until it may be made, 0 for now. */
  take(nowMs: number): number {
    const filled = this.#tokens + Math.max(0, nowMs - this.#filledMs) / this.#refillMs
    this.#tokens = Math.min(this.#capacity, filled) - 1
    this.#filledMs = nowMs
    return this.#tokens >= 0 ? 0 : -this.#tokens * this.#refillMs
  }
}
