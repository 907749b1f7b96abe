/**
 * Labels with a bound: the first so many values are told apart, the rest are `other`. Pure.
 *
 * Each value of a label is a time series for ever, and shards and peers are named by whoever may make them.
 */

/** Values that are told apart. */
const VALUES_MAX = 100

export const OTHER = 'other'

export class BoundedLabel {
  readonly #seen = new Set<string>()
  readonly #countMax: number

  constructor(countMax: number = VALUES_MAX) {
    this.#countMax = countMax
  }

  /** The value itself, or `other`. */
  of(value: string): string {
    if (this.#seen.has(value)) return value
    if (this.#seen.size >= this.#countMax) return OTHER
    this.#seen.add(value)
    return value
  }
}

/** What identifies a peer in a label: enough of its fingerprint to find it. */
export function peerLabel(fingerprint: string): string {
  return fingerprint.slice(0, 16)
}
