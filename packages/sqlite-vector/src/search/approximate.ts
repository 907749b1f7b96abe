/**
 * Approximate nearest neighbours: a scan of small codes chooses candidates, float32 decides.
 *
 * ```
 * bits ──depth──► int8, where held ──depth──► float32 of the arena, or of the table ──► k
 * ```
 *
 * Every distance that is returned was computed in float64 from the record's own float32 row; only
 * which records are looked at is approximate. No graph and no training over the rows: an insert
 * costs one row's encoding and a delete moves one row. How deep each stage goes is measured per
 * shard (calibrate.ts). Rescoring after binary codes: Yamada, Asai, Hajishirzi 2021 (arXiv
 * 2106.00882), section 3.2, with learnt thresholds in place of learnt hashes.
 */
import type { Arena } from './arena.ts'
import { type RankedRecord, type Ranking, nearestInArena, nearestOf } from './exact-arena.ts'
import { CANDIDATES_MAX } from './memory-layout.ts'
import { type LoadedQuery, type Selection, scanSmallest, selectionCount } from './scan.ts'
import { selectionSlots } from './scan.ts'

/** How many candidates each stage hands on. */
export interface Depths {
  /** From bits; null where bits are not used. */
  readonly bits: number | null
  /** From int8; null where codes are not used. */
  readonly int8: number | null
}

/** Computes distances of records from their rows in the table; NaN for a row that has gone. */
export type RowDistances = (records: readonly number[]) => Float64Array

/**
 * The nearest `k` among the candidates, nearest first: exact distances, approximate recall. At
 * least `k` records whenever the selection holds as many.
 */
export function nearestApproximate(
  arena: Arena,
  query: LoadedQuery,
  selection: Selection,
  k: number,
  depths: Depths,
  ranking: Ranking,
  fromTable: RowDistances,
): RankedRecord[] {
  const chosen = candidates(arena, query, selection, k, depths)
  if (arena.rows.float32) return nearestInArena(arena, query, chosen, k, ranking)
  const records = Array.from(selectionSlots(arena, chosen), (slot) => arena.recordAt(slot))
  const distances = fromTable(records)
  const present = records.map((_, i) => i).filter((i) => !Number.isNaN(distances[i]))
  return nearestOf(
    present.map((i) => records[i] ?? 0),
    Float64Array.from(present, (i) => distances[i] ?? 0),
    k,
    ranking.compareIds,
  )
}

/** The candidates that the stages hand on to float32. */
export function candidates(
  arena: Arena,
  query: LoadedQuery,
  selection: Selection,
  k: number,
  depths: Depths,
): Selection {
  let left = selection
  for (const kind of ['bits', 'int8'] as const) {
    const depth = depths[kind]
    if (depth === null) continue
    const capacity = Math.min(CANDIDATES_MAX, Math.max(depth, k))
    if (selectionCount(arena, left) <= capacity) continue
    left = { type: 'list', slots: scanSmallest(arena, kind, query, left, capacity).slots }
  }
  return left
}
