/**
 * Batches on their way to a node, several at once. Their results count in the order of the input,
 * so that "the first N records are committed" is true whenever it is said.
 *
 * A batch that repeats an id of one still under way waits for it: the later record must win.
 */

/** One batch under way. */
interface Lane {
  readonly ids: ReadonlySet<string>
  /** Resolves with the records committed; rejects after counting them. */
  readonly written: Promise<void>
  readonly progress: { done: number }
}

export class Lanes {
  readonly #countMax: number
  readonly #progress: { done: number }
  readonly #lanes: Lane[] = []
  #hasFailed = false

  constructor(countMax: number, progress: { done: number }) {
    this.#countMax = countMax
    this.#progress = progress
  }

  /** Starts a batch once there is room. Rejects with the error of an earlier batch. */
  async send(
    ids: ReadonlySet<string>,
    write: (progress: { done: number }) => Promise<void>,
  ): Promise<void> {
    while (this.#lanes.length >= this.#countMax || this.#repeats(ids)) await this.#settleFirst()
    const progress = { done: 0 }
    const written = write(progress)
    // Awaited in order below; until then a failure is not unhandled.
    written.catch(() => undefined)
    this.#lanes.push({ ids, written, progress })
  }

  /** Waits for all batches. Rejects with the error of the first that failed. */
  async drain(): Promise<void> {
    while (this.#lanes.length > 0) await this.#settleFirst()
  }

  /** Waits until nothing is under way, whatever came of it. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#lanes.map(({ written }) => written))
  }

  #repeats(ids: ReadonlySet<string>): boolean {
    return this.#lanes.some((lane) => [...ids].some((id) => lane.ids.has(id)))
  }

  async #settleFirst(): Promise<void> {
    const [first] = this.#lanes
    if (first === undefined) return
    try {
      await first.written
    } catch (error) {
      if (!this.#hasFailed) this.#progress.done += first.progress.done
      this.#hasFailed = true
      this.#lanes.shift()
      throw error
    }
    // Records committed after a failure are not part of the first records.
    if (!this.#hasFailed) this.#progress.done += first.progress.done
    this.#lanes.shift()
  }
}
