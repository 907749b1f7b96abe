/**
 * Waiting that a signal can end, and a queue with one consumer. No I/O, no time.
 */
import { SqliteVectorError } from '../errors.ts'

/** The error of a wait that its caller's signal ended. */
export function abortedError(signal: AbortSignal): SqliteVectorError {
  return new SqliteVectorError('TRANSPORT_ABORTED', 'the wait was ended by its signal', {
    cause: signal.reason,
  })
}

/** @throws SqliteVectorError `TRANSPORT_ABORTED` */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw abortedError(signal)
}

/**
 * A promise that `start` settles, or that the signal rejects with `TRANSPORT_ABORTED`. `start`
 * returns the function that undoes it then.
 */
export function abortable<T>(
  signal: AbortSignal | undefined,
  start: (resolve: (value: T) => void, reject: (error: unknown) => void) => () => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    if (signal === undefined) {
      start(resolve, reject)
      return
    }
    if (signal.aborted) {
      reject(abortedError(signal))
      return
    }
    const settle = <A>(callback: (value: A) => void): ((value: A) => void) => {
      return (value) => {
        signal.removeEventListener('abort', onAbort)
        callback(value)
      }
    }
    const undo = start(settle(resolve), settle(reject))
    function onAbort(): void {
      undo()
      reject(abortedError(signal as AbortSignal))
    }
    signal.addEventListener('abort', onAbort, { once: true })
  })
}

/** `promise`, but the wait for it ends with the signal; the work behind it goes on. */
export function whileWaiting<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return abortable<T>(signal, (resolve, reject) => {
    promise.then(resolve, reject)
    return () => {}
  })
}

/** Values in order for one consumer; unbounded, so the producer must be bounded elsewhere. */
export class AsyncQueue<T> implements AsyncIterable<T> {
  readonly #values: T[] = []
  readonly #waiters: ((result: IteratorResult<T, undefined>) => void)[] = []
  #ended = false

  get count(): number {
    return this.#values.length
  }

  /** False when the queue has ended and `value` was not taken. */
  push(value: T): boolean {
    if (this.#ended) return false
    const waiter = this.#waiters.shift()
    if (waiter === undefined) this.#values.push(value)
    else waiter({ done: false, value })
    return true
  }

  /** No more values; queued values can still be taken. */
  end(): void {
    this.#ended = true
    for (const waiter of this.#waiters.splice(0)) waiter({ done: true, value: undefined })
  }

  /** Takes the values that are queued and were not taken. */
  drain(): T[] {
    return this.#values.splice(0)
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return {
      next: () => {
        const value = this.#values.shift()
        if (value !== undefined) return Promise.resolve({ done: false, value })
        if (this.#ended) return Promise.resolve({ done: true, value: undefined })
        return new Promise((resolve) => this.#waiters.push(resolve))
      },
    }
  }
}
