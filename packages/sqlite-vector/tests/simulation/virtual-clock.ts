/**
 * Time in a simulation: one true time that the simulation moves, and per node a clock that is wrong.
 *
 * A node's clock is skewed, may stand still (stutter) and may jump either way; its monotonic time is
 * the true time. Timers run when the simulation moves time past them, in the order of their moment.
 */
import type { Clock } from '../../src/clock/types.ts'

interface Timer {
  readonly atMs: number
  readonly order: number
  readonly callback: () => void
}

/** 2026-01-01T00:00:00Z; any moment would do. */
const START_MS = 1_767_225_600_000

/** The true time. */
export class VirtualTime {
  nowMs = START_MS
  #timers: Timer[] = []
  #order = 0

  /** Moves on by `ms` and runs what came due. */
  advance(ms: number): void {
    const target = this.nowMs + ms
    for (;;) {
      const due = this.#timers.filter(({ atMs }) => atMs <= target)
      if (due.length === 0) break
      due.sort((a, b) => a.atMs - b.atMs || a.order - b.order)
      const [first] = due
      if (first === undefined) break
      this.#timers = this.#timers.filter((timer) => timer !== first)
      this.nowMs = Math.max(this.nowMs, first.atMs)
      first.callback()
    }
    this.nowMs = target
  }

  schedule(delayMs: number, callback: () => void): () => void {
    this.#order += 1
    const timer: Timer = { atMs: this.nowMs + delayMs, order: this.#order, callback }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer)
    }
  }
}

/** What one node takes for the time. */
export class VirtualClock implements Clock {
  skewMs = 0
  readonly #time: VirtualTime
  #stoppedAtMs: number | null = null

  constructor(time: VirtualTime) {
    this.#time = time
  }

  nowMs(): number {
    return this.#stoppedAtMs ?? Math.max(0, this.#time.nowMs + this.skewMs)
  }

  monotonicMs(): number {
    return this.#time.nowMs
  }

  schedule(delayMs: number, callback: () => void): () => void {
    return this.#time.schedule(delayMs, callback)
  }

  /** Stands still until {@link resume}. */
  stop(): void {
    this.#stoppedAtMs = this.nowMs()
  }

  resume(): void {
    this.#stoppedAtMs = null
  }
}
