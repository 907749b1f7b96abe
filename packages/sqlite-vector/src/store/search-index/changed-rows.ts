/**
 * Counts the rows of an index that have changed since something was derived from them.
 *
 * A row that changes again counts once, so that one record under constant writes makes nothing
 * stale. Pure.
 */

/** Records remembered at most; a shard with more changes is stale whatever follows. */
const REMEMBERED_MAX = 262_144

export class ChangedRows {
  /** Changes before this began to count, from a file of saved codes. */
  #before: number
  readonly #records = new Set<number>()
  #more = 0

  constructor(before = 0) {
    this.#before = before
  }

  get count(): number {
    return this.#before + this.#records.size + this.#more
  }

  /** Records that changed, of which there may be more than these. */
  get records(): ReadonlySet<number> {
    return this.#records
  }

  /** `record` is new, has another embedding, or has gone. */
  add(record: number): void {
    if (this.#records.size < REMEMBERED_MAX) this.#records.add(record)
    else if (!this.#records.has(record)) this.#more += 1
  }
}
