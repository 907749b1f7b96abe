/**
 * Runs a plan over an arena: bits where the plan says so and the query allows it, then bounds of
 * int8 codes, then float32 rows. Each step that cannot answer hands on to the next, finer one.
 */
import { nearestByBits } from './approximate.ts'
import { type Arena, isTame } from './arena.ts'
import { type DistanceOf, isCertain, nearestCertain } from './certain.ts'
import { type RankedRecord, type Ranking, nearestInArena } from './exact-arena.ts'
import type { Plan } from './planner.ts'
import { norm } from './quantizer.ts'
import { type LoadedQuery, type Selection } from './scan.ts'

/** The `k` nearest of the selection, nearest first; null when only the table can answer. */
export function nearestByPlan(
  arena: Arena,
  plan: Pick<Plan, 'bits'>,
  query: LoadedQuery,
  selection: Selection,
  k: number,
  ranking: Ranking,
  distanceOf: DistanceOf,
): RankedRecord[] | null {
  const { compareIds } = ranking
  // Codes are made for queries of the range that float32 sums can hold.
  const coded = arena.quantizer !== null && isTame(norm(query.vector), arena.metric)
  if (coded && plan.bits !== null) {
    const near = nearestByBits(arena, query, selection, k, plan.bits, distanceOf, compareIds)
    if (near !== null) return near
  }
  if (coded && isCertain(arena)) {
    const near = nearestCertain(arena, query, selection, k, distanceOf, compareIds)
    if (near !== null) return near
  }
  if (!arena.rows.float32) return null
  return nearestInArena(arena, query, selection, k, ranking)
}
