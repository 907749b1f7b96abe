/**
 * The real clock: the only place that reads the time or sets a timer.
 */
import type { Clock } from './types.ts'

/** Physical time of this machine. */
export const systemClock: Clock = Object.freeze({
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  schedule(delayMs: number, callback: () => void) {
    const timer = setTimeout(callback, delayMs)
    timer.unref()
    return () => clearTimeout(timer)
  },
})
