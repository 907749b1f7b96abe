/**
 * Bounded labels: the first values are kept, the rest become `other`. Pure.
 *
 * Each label value is a time series that never goes away, and callers choose the names of shards
 * and peers.
 */

/** Number of values kept. */
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

/** Shortens a fingerprint to a label that still identifies the peer. */
export function peerLabel(fingerprint: string): string {
  return fingerprint.slice(0, 16)
}
