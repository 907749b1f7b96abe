/**
 * Decides how a search runs: which rows are scanned, how deep it rescores, and says why.
 *
 * Pure: counts, a calibration and a cost model in; a plan out. Costs are nanoseconds per component
 * measured with the kernels on 384-d rows (docs/explanation/performance.md); only their ratios
 * matter.
 */
import type { Depths } from './approximate.ts'
import type { Calibration, DepthRecall } from './calibrate.ts'
import type { ArenaRows } from './memory-layout.ts'

/** Up to this many components a shard is always searched exactly: about 20,000 rows of 384. */
export const EXACT_COMPONENTS_MAX = 8_388_608

/**
 * Up to this many components that pass a filter are compared exactly, 512 rows of 384: codes would
 * save less than a tenth of a millisecond.
 */
export const EXACT_FILTERED_COMPONENTS_MAX = 196_608

/** Nanoseconds per component scanned, by kind of row. */
const SCAN_NS = { float32: 0.34, int8: 0.15, bits: 0.012 } as const

/** Nanoseconds per component of a row that is fetched out of order. */
const GATHER_NS = { float32: 0.4, int8: 0.25 } as const

/** Nanoseconds to fetch and compare one row from the table. */
const TABLE_ROW_NS = 6_000

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
  /** True when float32 keys are to be trusted (arena.ts, I3). */
  readonly tame: boolean
  /** Asked for by the caller: exact search, or this depth in place of the calibrated one. */
  readonly exact: boolean
  readonly rescore: number | null
}

/** How a search runs. */
export interface Plan {
  readonly mode: 'exact' | 'int8' | 'bits'
  readonly depths: Depths
  /** Recall that calibration measured for this plan; 1 when exact. */
  readonly recall: number
  /** Source of the float32 rows. */
  readonly source: 'arena' | 'table'
  readonly reason: string
}

/** Chooses the cheapest plan that has the recall wanted. */
export function planSearch(input: PlanInput): Plan {
  const source = input.rows.float32 ? 'arena' : 'table'
  const exact = (reason: string): Plan => {
    return { mode: 'exact', depths: { bits: null, int8: null }, recall: 1, source, reason }
  }
  if (input.exact) return exact('asked for')
  if (!input.tame) return exact('values beyond the range of float32 sums')
  if (input.count * input.dimension <= EXACT_COMPONENTS_MAX && source === 'arena') {
    return exact(`${input.count} records of dimension ${input.dimension} are few`)
  }
  if (input.selected * input.dimension <= EXACT_FILTERED_COMPONENTS_MAX && source === 'arena') {
    return exact(`${input.selected} records pass the filter`)
  }
  if (input.calibration === null) return exact('not yet calibrated')
  const plans = [...approximatePlans(input, input.calibration, source)]
  const best = plans.toSorted((a, b) => a.cost - b.cost)[0]
  if (best === undefined) return exact('no code reaches the recall wanted on this data')
  if (exactCost(input) <= best.cost) return exact(`${input.selected} records pass the filter`)
  return best.plan
}

interface CostedPlan {
  readonly plan: Plan
  readonly cost: number
}

/**
 * Bits: calibrated for at least as many neighbours as the filter lets the search reach. The k
 * nearest of a filter that one record in n passes lie among the n × k nearest of all, far beyond
 * the query's own cluster: bits may not tell rows apart there. int8 codes are precise enough that
 * only k counts.
 */
function* approximatePlans(
  input: PlanInput,
  calibration: Calibration,
  source: Plan['source'],
): Generator<CostedPlan> {
  const reach = (input.k * input.count) / Math.max(1, input.selected)
  const bits = calibrated(calibration.bits, reach)
  const int8 = calibrated(calibration.int8, input.k) ?? extended(calibration.int8, input.k)
  const int8Depth = int8 === null ? null : (input.rescore ?? int8.depth)
  if (bits !== null) {
    const depths = {
      bits: input.rescore ?? bits.depth,
      int8: source === 'table' ? int8Depth : null,
    }
    const recall = depths.int8 === null ? bits.recall : bits.recall * (int8?.recall ?? 1)
    const reason = `bits find ${percent(bits.recall)} of ${bits.k} neighbours among ${bits.depth}`
    yield { plan: { mode: 'bits', depths, recall, source, reason }, cost: cost(input, depths) }
  }
  if (int8 !== null && int8Depth !== null) {
    const depths = { bits: null, int8: int8Depth }
    const reason = `int8 finds ${percent(int8.recall)} of ${int8.k} neighbours among ${int8.depth}`
    const plan = { mode: 'int8', depths, recall: int8.recall, source, reason } as const
    yield { plan, cost: cost(input, depths) }
  }
}

/** The measurement for `k` neighbours or the next more, if it reached the recall wanted. */
function calibrated(measured: readonly DepthRecall[] | null, k: number): DepthRecall | null {
  const found = measured?.find((each) => each.k >= k)
  return found?.sufficient === true ? found : null
}

/** The largest `k` measured, in proportion: for codes that hardly change the order. */
function extended(measured: readonly DepthRecall[] | null, k: number): DepthRecall | null {
  const last = measured?.at(-1)
  if (last?.sufficient !== true || last.k >= k) return null
  return { ...last, depth: Math.ceil((last.depth * k) / last.k) }
}

function exactCost(input: PlanInput): number {
  if (!input.rows.float32) return input.selected * TABLE_ROW_NS
  const perComponent = input.selected === input.count ? SCAN_NS.float32 : GATHER_NS.float32
  return input.selected * input.dimension * perComponent
}

/** Estimated nanoseconds of a plan with codes. */
function cost(input: PlanInput, depths: Depths): number {
  const { dimension, selected } = input
  let left = selected
  let total = 0
  if (depths.bits !== null) {
    total += left * dimension * SCAN_NS.bits
    left = Math.min(left, depths.bits)
  }
  if (depths.int8 !== null) {
    const perComponent = depths.bits === null ? SCAN_NS.int8 : GATHER_NS.int8
    total += left * dimension * perComponent
    left = Math.min(left, depths.int8)
  }
  return total + left * (input.rows.float32 ? dimension * GATHER_NS.float32 : TABLE_ROW_NS)
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}
