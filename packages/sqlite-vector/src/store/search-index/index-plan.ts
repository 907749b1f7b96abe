/**
 * The plan of a search on one index, and a check of it against exact search.
 */
import { nearestByPlan } from '../../search/by-plan.ts'
import { distanceFrom } from '../../search/distance.ts'
import { type Plan, planSearch } from '../../search/planner.ts'
import { countRecalled, recallOf } from '../../search/recall.ts'
import { EVERYTHING, loadQuery } from '../../search/scan.ts'
import type { AskedQuery } from './asked-queries.ts'
import { distanceOfRows } from './calibration-source.ts'
import type { ShardIndex } from './shard-index.ts'
import type { SearchStatements } from './statements.ts'

/** A search that is to be planned. */
export interface Planned {
  readonly k: number
  /** Records that pass the filter. */
  readonly selected: number
  readonly exact: boolean
  readonly rescore: number | null
}

/** The plan of a search on this index, which is current. */
export function planOf({ arena, calibration, stale }: ShardIndex, search: Planned): Plan {
  const { dimension, count, rows, wildCount } = arena
  return planSearch({
    dimension,
    count,
    rows,
    calibration,
    stale,
    tame: wildCount === 0,
    ...search,
  })
}

/** The recall of the default search for a query, or null where it is exact. */
export function checkedRecall(
  index: ShardIndex,
  statements: SearchStatements,
  { vector, k }: AskedQuery,
): number | null {
  const { arena } = index
  const plan = planOf(index, { k, selected: arena.count, exact: false, rescore: null })
  if (plan.bits === null || !arena.rows.int8) return null
  const loaded = loadQuery(arena, vector)
  const ranking = { distanceTo: distanceFrom(arena.metric, vector), compareIds: byRecord }
  const distanceOf = distanceOfRows(arena, statements, vector)
  const [found, truth] = [plan, { bits: null }].map((each) => {
    const near = nearestByPlan(arena, each, loaded, EVERYTHING, k, ranking, distanceOf)
    return near?.map(({ distance }) => distance)
  })
  if (found === undefined || truth === undefined) return null
  return recallOf([countRecalled(found, truth)])
}

function byRecord(a: number, b: number): number {
  return a - b
}
