/**
 * The clock that everything above takes as an argument, so that tests can own time.
 */

/** Physical time and timers. */
export interface Clock {
  /** Milliseconds since 1970-01-01T00:00:00Z, an integer; may stutter or jump. */
  nowMs(): number
  /** Milliseconds since some fixed moment, never falling; for durations. */
  monotonicMs(): number
  /**
   * Calls `callback` once after `delayMs`; the result cancels it. Does not keep the process alive.
   */
  schedule(delayMs: number, callback: () => void): () => void
}
