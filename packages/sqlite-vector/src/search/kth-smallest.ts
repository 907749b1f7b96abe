/**
 * The k-th smallest of numbers that come one by one: a binary heap with the largest on top. Pure.
 */
export class KthSmallest {
  readonly #heap: Float64Array
  #count = 0

  constructor(k: number) {
    this.#heap = new Float64Array(k)
  }

  /** Infinity while fewer than k were added. */
  get kth(): number {
    return this.#count < this.#heap.length ? Infinity : (this.#heap[0] ?? Infinity)
  }

  add(value: number): void {
    if (this.#count < this.#heap.length) this.#rise(value)
    else if (value < this.kth) this.#sink(value)
  }

  #rise(value: number): void {
    const heap = this.#heap
    let child = this.#count
    this.#count += 1
    while (child > 0) {
      const parent = (child - 1) >> 1
      if ((heap[parent] ?? 0) >= value) break
      heap[child] = heap[parent] ?? 0
      child = parent
    }
    heap[child] = value
  }

  #sink(value: number): void {
    const heap = this.#heap
    let parent = 0
    for (;;) {
      let child = 2 * parent + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && (heap[child + 1] ?? 0) > (heap[child] ?? 0)) child += 1
      if ((heap[child] ?? 0) <= value) break
      heap[parent] = heap[child] ?? 0
      parent = child
    }
    heap[parent] = value
  }
}
