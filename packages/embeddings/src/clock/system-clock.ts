/**
 * The real clock: the only place of this package that reads the time or sets a timer.
 */

/** Timers of a retry; tests own them. */
export interface RetryClock {
  /** Calls `callback` once after `delayMs`; the result cancels it. */
  schedule(delayMs: number, callback: () => void): () => void
}

/** Timers of this machine. They keep the process alive, as a call that waits for them does. */
export const systemClock: RetryClock = Object.freeze({
  schedule(delayMs: number, callback: () => void) {
    const timer = setTimeout(callback, delayMs)
    return () => clearTimeout(timer)
  },
})
