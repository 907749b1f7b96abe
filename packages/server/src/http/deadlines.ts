/**
 * Ends requests that take too long. One sweep serves all requests: a timer for each would cost more
 * than a small read.
 */
import { performance } from 'node:perf_hooks'
import { setInterval as every } from 'node:timers/promises'
import { HttpError } from './errors.ts'

/** Interval of the sweep, in milliseconds. */
const SWEEP_MS = 100

interface Deadline {
  readonly endMs: number
  readonly end: () => void
}

export class Deadlines {
  readonly ms: number
  /** All have the same length, so they are in the order of their ends. */
  readonly #open = new Set<Deadline>()

  constructor(ms: number) {
    this.ms = ms
  }

  /** Sweeps until `signal` aborts. */
  async sweep(signal: AbortSignal): Promise<void> {
    try {
      for await (const _ of every(SWEEP_MS, null, { signal, ref: false })) this.#endDue()
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }

  /** Calls `end` when the time is over, unless the returned function was called before. */
  start(end: () => void): () => void {
    const deadline = { endMs: performance.now() + this.ms, end }
    this.#open.add(deadline)
    return () => this.#open.delete(deadline)
  }

  /** The error of a request that took too long. */
  error(): HttpError {
    return new HttpError('HTTP_TIMEOUT', `the request took longer than ${this.ms} ms`)
  }

  #endDue(): void {
    const nowMs = performance.now()
    for (const deadline of this.#open) {
      if (deadline.endMs > nowMs) return
      this.#open.delete(deadline)
      deadline.end()
    }
  }
}
