/**
 * The queries that callers asked lately, and how a few of them fared against exact search.
 *
 * Calibrations use the queries; the checks show when a calibration no longer holds for what is
 * asked. Kept in memory only, and bounded. Pure.
 */

/** Queries kept: enough for a family of a calibration. */
const KEPT_MAX = 64

/** One query in so many is kept, so that the kept ones span a while. */
const KEPT_EVERY = 8

/**
 * One query in so many is checked: at the cost of some fifty searches, two per cent of the time.
 */
const CHECKED_EVERY = 512

/** Checks that a judgement looks at. */
const CHECKS = 24

/** A query to be checked. */
export interface AskedQuery {
  readonly vector: Float32Array
  readonly k: number
}

export class AskedQueries {
  readonly #kept: Float32Array[] = []
  readonly #recalls: number[] = []
  #asked = 0
  #due: AskedQuery | null = null

  /** Queries kept, in no order. */
  get kept(): readonly Float32Array[] {
    return this.#kept
  }

  /** True when a query waits to be checked. */
  get due(): boolean {
    return this.#due !== null
  }

  /** A caller searched for `vector` by an approximate plan. */
  asked(vector: Float32Array, k: number): void {
    this.#asked += 1
    if (this.#asked % KEPT_EVERY === 1) {
      this.#kept[Math.floor(this.#asked / KEPT_EVERY) % KEPT_MAX] = vector.slice()
    }
    // The first queries are checked sooner: they may be unlike any that was measured.
    const early = this.#asked === 16 || this.#asked === 48 || this.#asked === 128
    if (early || this.#asked % CHECKED_EVERY === 0) this.#due = { vector: vector.slice(), k }
  }

  /** Takes the query that is due; null when there is none. */
  take(): AskedQuery | null {
    const due = this.#due
    this.#due = null
    return due
  }

  /** The recall of a query that was checked. */
  checked(recall: number): void {
    this.#recalls.push(recall)
    if (this.#recalls.length > CHECKS) this.#recalls.shift()
  }

  /**
   * True when the queries checked lately fall short of `promised`, by more than chance explains.
   */
  fallsShort(promised: number): boolean {
    const count = this.#recalls.length
    const missed = this.#recalls.reduce((sum, recall) => sum + 1 - recall, 0)
    // Of one query, half may be missed; of several, twice what was promised to be found less.
    return missed > Math.max(0.5, 2 * count * (1 - promised))
  }

  /** Forgets the checks: another calibration holds now. */
  forgetChecks(): void {
    this.#recalls.length = 0
  }
}
