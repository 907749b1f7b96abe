/**
 * Counts of a coordinator: sums, and the durations of the newest syncs. Pure; nothing is estimated.
 */

/** Durations kept for the quantiles: the newest ones. */
const DURATIONS_MAX = 1_024

/** Sums since the statistics began. */
export interface SyncTotals {
  /** Tasks that ended in order. */
  readonly syncs: number
  /** Tasks that failed for good. */
  readonly failures: number
  /** Attempts that failed and were followed by another. */
  readonly retries: number
  readonly applied: number
  readonly sent: number
  readonly conflicts: number
  readonly quarantined: number
  /** Bytes of frames, both ways. */
  readonly bytes: number
}

/** {@link SyncTotals}, and quantiles of the durations of the newest syncs that ended in order. */
export interface CoordinatorStats extends SyncTotals {
  /** Milliseconds; null before the first sync. */
  readonly durationMsP50: number | null
  readonly durationMsP99: number | null
  /** Over how many syncs the quantiles are taken; at most 1,024. */
  readonly durationCount: number
}

type Counts = { -readonly [Key in keyof SyncTotals]: number }

/** See the head of this file. */
export class Statistics {
  readonly #totals: Counts = {
    syncs: 0,
    failures: 0,
    retries: 0,
    applied: 0,
    sent: 0,
    conflicts: 0,
    quarantined: 0,
    bytes: 0,
  }
  readonly #durations: number[] = []
  #newest = 0

  add(counts: Partial<SyncTotals>): void {
    for (const key of Object.keys(counts) as (keyof SyncTotals)[]) {
      this.#totals[key] += counts[key] ?? 0
    }
  }

  took(durationMs: number): void {
    if (this.#durations.length < DURATIONS_MAX) this.#durations.push(durationMs)
    else this.#durations[this.#newest] = durationMs
    this.#newest = (this.#newest + 1) % DURATIONS_MAX
  }

  get totals(): SyncTotals {
    return { ...this.#totals }
  }

  /** `live`: work of sessions that no task began. */
  report(live: Partial<SyncTotals> = {}): CoordinatorStats {
    const sorted = this.#durations.toSorted((a, b) => a - b)
    return {
      ...withWork(this.#totals, live),
      durationMsP50: quantile(sorted, 0.5),
      durationMsP99: quantile(sorted, 0.99),
      durationCount: sorted.length,
    }
  }
}

/** The sums of both. */
export function withWork(totals: SyncTotals, work: Partial<SyncTotals>): SyncTotals {
  const sums: Counts = { ...totals }
  for (const key of Object.keys(work) as (keyof SyncTotals)[]) sums[key] += work[key] ?? 0
  return sums
}

/** Nearest rank: the smallest value that at least `part` of the values do not exceed. */
function quantile(sorted: readonly number[], part: number): number | null {
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)] ?? null
}
