/**
 * Decides how a search runs: which rows are scanned, from which depth on, and says why.
 *
 * Pure: counts, a calibration and its costs in; a plan out. Three ways lead to an answer, and two
 * of them miss nothing:
 *
 * | mode    | reads                                                   | recall            |
 * | ------- | ------------------------------------------------------- | ----------------- |
 * | `exact` | float32 rows, or bounds of int8 codes, or the table     | 1                 |
 * | `int8`  | bounds of int8 codes (certain.ts), by choice or by need | 1                 |
 * | `bits`  | bits, deeper where they say little (approximate.ts)     | by a calibration  |
 */
import { type BitsPlan, leastDepth } from './approximate.ts'
import { ANY_KEY, type Calibration, type DepthRecall, type ScanCosts } from './calibrate.ts'
import type { ArenaRows } from './memory-layout.ts'

/** Up to this many components a shard is always searched exactly: about 20,000 rows of 384. */
export const EXACT_COMPONENTS_MAX = 8_388_608

/**
 * Up to this many components that pass a filter are compared exactly, 512 rows of 384: codes would
 * save less than a tenth of a millisecond.
 */
export const EXACT_FILTERED_COMPONENTS_MAX = 196_608

/**
 * Bits are used under a filter that passes this share of the records: how far its neighbours lie
 * from the query is then known well enough, and int8 is fast where fewer pass.
 */
const BITS_SHARE_MIN = 0.1

/** A row that is fetched out of order costs this much more than one in order. */
const GATHER_FACTOR = 2

/** Input of the planner. */
export interface PlanInput {
  readonly dimension: number
  /** Records in the shard. */
  readonly count: number
  /** Records that pass the filter; equal to `count` without one. */
  readonly selected: number
  readonly k: number
  readonly rows: ArenaRows
  readonly calibration: Calibration | null
  /** The reason that the calibration says nothing now; null while it holds. */
  readonly stale: string | null
  /** True when float32 keys and bounds of codes are to be trusted (arena.ts, I3). */
  readonly tame: boolean
  /** Asked for by the caller: exact search, or this depth in place of the calibrated one. */
  readonly exact: boolean
  readonly rescore: number | null
}

/** How a search runs. */
export interface Plan {
  readonly mode: 'exact' | 'int8' | 'bits'
  /** Set when `mode` is `bits`. */
  readonly bits: BitsPlan | null
  /**
   * Recall that calibration measured for this plan, of the queries that fare worst; 1 when exact.
   */
  readonly recall: number
  /** The same of the tenth of queries with the least. */
  readonly worstDecile: number
  /** Source of the float32 rows. */
  readonly source: 'arena' | 'table'
  readonly reason: string
}

/** Chooses the cheapest plan that has the recall wanted. */
export function planSearch(input: PlanInput): Plan {
  const source = input.rows.float32 ? 'arena' : 'table'
  const certain = (mode: 'exact' | 'int8', reason: string): Plan => {
    return { mode, bits: null, recall: 1, worstDecile: 1, source, reason }
  }
  const { count, dimension, selected, calibration, stale } = input
  if (input.exact) return certain('exact', 'asked for')
  if (!input.tame) return certain('exact', 'values beyond the range of float32 sums')
  if (count * dimension <= EXACT_COMPONENTS_MAX && source === 'arena') {
    return certain('exact', `${count} records of dimension ${dimension} are few`)
  }
  if (selected * dimension <= EXACT_FILTERED_COMPONENTS_MAX && source === 'arena') {
    return certain('exact', `${selected} records pass the filter`)
  }
  const fallback = input.rows.int8 ? 'int8' : 'exact'
  if (stale !== null) return certain(fallback, stale)
  if (calibration === null) return certain(fallback, 'not yet calibrated')
  if (input.rows.int8 && selected < BITS_SHARE_MIN * count && input.rescore === null) {
    return certain('int8', `${selected} of ${count} records pass the filter`)
  }
  const reach = (input.k * count) / Math.max(1, selected)
  const bits = measuredFor(calibration.bits, reach)
  if (bits === null) return certain(fallback, `bits do not reach the recall wanted for this`)
  const depth = input.rescore ?? depthUnderFilter(bits.depth, input)
  if (input.rescore === null && input.rows.int8 && !isCheaper(input, bits, calibration.costs)) {
    return certain('int8', `int8 costs no more than bits for ${selected} records`)
  }
  // For fewer neighbours than were measured, the key is compared at the rank that was.
  const keyRank = selected === count ? Math.max(input.k, CALIBRATED_MIN) : input.k
  return {
    mode: 'bits',
    bits: { depth, keyMax: bits.keyMax, keyRank },
    recall: bits.recall,
    worstDecile: bits.worstDecile,
    source,
    reason: `bits find ${percent(bits.recall)} of ${input.k} neighbours from ${depth} candidates on`,
  }
}

/** The least number of neighbours that calibrations measure. */
const CALIBRATED_MIN = 10

/**
 * The measurement for `k` neighbours: between two that were measured, depth and key lie between
 * theirs. Null beyond the last, or where the recall wanted was not reached.
 */
function measuredFor(measured: readonly DepthRecall[] | null, k: number): DepthRecall | null {
  if (measured === null) return null
  const above = measured.find((each) => each.k >= k)
  if (above?.sufficient !== true) return null
  const below = measured.findLast((each) => each.k < k)
  if (below?.sufficient !== true) return above
  const share = Math.log(k / below.k) / Math.log(above.k / below.k)
  const between = (a: number, b: number): number => a * (b / a) ** share
  const anyKey = below.keyMax === ANY_KEY || above.keyMax === ANY_KEY
  return {
    ...above,
    depth: Math.ceil(between(below.depth, above.depth)),
    depthMean: between(below.depthMean, above.depthMean),
    keyMax: anyKey
      ? Math.min(below.keyMax, above.keyMax)
      : below.keyMax + (above.keyMax - below.keyMax) * share,
    recall: Math.min(below.recall, above.recall),
    worstDecile: Math.min(below.worstDecile, above.worstDecile),
    int8Share: Math.max(below.int8Share, above.int8Share),
  }
}

/**
 * The k nearest that pass a filter of one record in n lie among the n × k nearest of all; of the
 * candidates for those, one in n passes.
 */
function depthUnderFilter(depth: number, { selected, count, k }: PlanInput): number {
  return Math.max(leastDepth(k), Math.ceil((depth * selected) / Math.max(1, count)))
}

/** True when bits are expected to be faster than bounds of int8 codes. */
function isCheaper(input: PlanInput, bits: DepthRecall, costs: ScanCosts): boolean {
  const { selected, count } = input
  const share = selected / Math.max(1, count)
  const gather = share < 0.1 ? GATHER_FACTOR : 1
  const int8 = selected * costs.int8 * gather
  const rescans = 1 + Math.log2(Math.max(1, bits.depthMean / bits.depth))
  const candidates = Math.max(leastDepth(input.k), bits.depthMean * share)
  const byBits = selected * costs.bits * gather * rescans + candidates * costs.candidate
  return byBits + bits.int8Share * int8 < int8
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}
