/**
 * Events for readers that iterate: each has a buffer of its own, of bounded length, and is told how
 * many events it missed when it was slower than they came. Knows nothing of what the events mean.
 */

/** Stands where events were dropped because the reader was too slow. */
export interface DroppedEvent {
  readonly type: 'dropped'
  readonly count: number
}

/** Hands every event to every reader. */
export class EventHub<T> {
  readonly #readers = new Set<EventReader<T>>()

  get readerCount(): number {
    return this.#readers.size
  }

  emit(event: T): void {
    for (const reader of this.#readers) reader.push(event)
  }

  /**
   * A new reader: sees what is emitted from now on, until it leaves the loop, `signal` ends it or
   * the hub does.
   */
  read(bufferMax: number, signal?: AbortSignal): AsyncIterableIterator<T | DroppedEvent> {
    const reader = new EventReader<T>(bufferMax, () => {
      signal?.removeEventListener('abort', end)
      this.#readers.delete(reader)
    })
    const end = (): void => reader.end()
    this.#readers.add(reader)
    if (signal?.aborted === true) end()
    else signal?.addEventListener('abort', end, { once: true })
    return reader
  }

  /** Ends every reader after what it has buffered. */
  end(): void {
    for (const reader of this.#readers) reader.end()
  }
}

class EventReader<T> implements AsyncIterableIterator<T | DroppedEvent> {
  readonly #bufferMax: number
  readonly #onEnd: () => void
  readonly #buffer: T[] = []
  #dropped = 0
  #isOver = false
  #waiting: ((result: IteratorResult<T | DroppedEvent, undefined>) => void)[] = []

  constructor(bufferMax: number, onEnd: () => void) {
    this.#bufferMax = bufferMax
    this.#onEnd = onEnd
  }

  push(event: T): void {
    const waiter = this.#waiting.shift()
    if (waiter !== undefined) {
      waiter({ done: false, value: event })
      return
    }
    // The oldest go: who reads on wants to know how things are now.
    if (this.#buffer.length >= this.#bufferMax) {
      this.#buffer.shift()
      this.#dropped += 1
    }
    this.#buffer.push(event)
  }

  next(): Promise<IteratorResult<T | DroppedEvent, undefined>> {
    if (this.#dropped > 0) {
      const count = this.#dropped
      this.#dropped = 0
      return Promise.resolve({ done: false, value: { type: 'dropped', count } })
    }
    const event = this.#buffer.shift()
    if (event !== undefined) return Promise.resolve({ done: false, value: event })
    if (this.#isOver) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  return(): Promise<IteratorResult<T | DroppedEvent, undefined>> {
    this.#buffer.length = 0
    this.#dropped = 0
    this.end()
    return Promise.resolve({ done: true, value: undefined })
  }

  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#onEnd()
    for (const waiter of this.#waiting.splice(0)) waiter({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
