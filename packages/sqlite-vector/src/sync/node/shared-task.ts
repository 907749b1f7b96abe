/**
 * One task that several callers wait for: it begins with the first and is ended when the last of
 * them has given up. Knows nothing of what the task does.
 */
import { whileWaiting } from '../../transport/abortable.ts'

/** A task under way. */
export class SharedTask<T> {
  readonly #abort = new AbortController()
  readonly #promise: Promise<T>
  #waiting = 0
  #ended = false

  constructor(start: (signal: AbortSignal) => Promise<T>) {
    this.#promise = start(this.#abort.signal)
    // Every waiter sees the failure; after all have given up, none is left to see it.
    const end = (): void => {
      this.#ended = true
    }
    this.#promise.then(end, end)
  }

  /** True when the task is over, or about to be for want of waiters. */
  get ended(): boolean {
    return this.#ended || this.#abort.signal.aborted
  }

  /** The task's result. The wait ends with `signal`, and the task with the last wait. */
  async wait(signal: AbortSignal | undefined): Promise<T> {
    this.#waiting += 1
    try {
      return await whileWaiting(this.#promise, signal)
    } finally {
      this.#waiting -= 1
      if (this.#waiting === 0) this.#abort.abort(signal?.reason)
    }
  }
}
