/**
 * Approximate nearest neighbours: a scan of bits chooses candidates, finer rows decide.
 *
 * ```
 * bits ──depth──► bounds by int8, where held ──the few that can be near──► float64 ──► k
 *    ▲                                                                               │
 *    └── twice the depth, while the k found lie deep among the candidates ───────────┘
 * ```
 *
 * Every distance that is returned was computed in float64 from the record's own float32 row; only
 * the choice of rows is approximate. A query stops being approximate in two ways. Its k-th code is
 * farther than any that the calibration knows: the query is unlike the rows. Or the neighbours
 * found do not lie in the first half of the candidates, so that bits say little here: the depth
 * doubles, and beyond BITS_DEPTH_MAX bits are not used. Both times the caller searches by int8
 * (certain.ts).
 *
 * No graph and no training over the rows: an insert costs one row's encoding, a delete moves one
 * row. Rescoring after binary codes: Yamada, Asai, Hajishirzi 2021 (arXiv 2106.00882), section 3.2,
 * with learnt thresholds in place of learnt hashes.
 */
import type { Arena } from './arena.ts'
import { type DistanceOf, nearestCertain } from './certain.ts'
import { type RankedRecord, nearestOf } from './exact-arena.ts'
import { type LoadedQuery, type Selection, scanSmallest, selectionCount } from './scan.ts'

/** Most candidates of one search by bits; beyond, int8 costs no more. */
export const BITS_DEPTH_MAX = 8_192

/** Deepest search by bits among so many rows: beyond a quarter of them bits choose nothing. */
export function deepest(rows: number): number {
  return Math.min(BITS_DEPTH_MAX, Math.max(256, rows >>> 2))
}

/** Neighbours must lie in this share of the candidates, by the order of their bits. */
const SETTLED_SHARE = 0.5

/** How a search by bits runs. */
export interface BitsPlan {
  /** Candidates at the start; at least twice as many as neighbours wanted. */
  readonly depth: number
  /** Largest key of the `keyRank`-th candidate for which the calibration holds. */
  readonly keyMax: number
  readonly keyRank: number
}

/** Candidates by the order of their bits, nearest first. */
export interface Candidates {
  readonly slots: Uint32Array
  readonly keys: Float32Array
}

/** The fewest candidates among which `k` neighbours can settle. */
export function leastDepth(k: number): number {
  return Math.ceil(k / SETTLED_SHARE) + 12
}

/** The nearest `k` by bits, nearest first, ties by id; null when bits do not suffice here. */
export function nearestByBits(
  arena: Arena,
  query: LoadedQuery,
  selection: Selection,
  k: number,
  plan: BitsPlan,
  distanceOf: DistanceOf,
  compareIds: (a: number, b: number) => number,
): RankedRecord[] | null {
  const total = selectionCount(arena, selection)
  const limit = Math.max(deepest(total), plan.depth)
  let depth = Math.max(plan.depth, leastDepth(k))
  let candidates = scanBits(arena, query, selection, Math.min(depth, total))
  if ((candidates.keys[Math.min(plan.keyRank, total) - 1] ?? 0) > plan.keyMax) return null
  for (;;) {
    const slots = candidates.slots.subarray(0, depth)
    const near = nearestOfSlots(arena, query, slots, k, distanceOf, compareIds)
    if (near === null || depth >= total) return near
    const keys = candidates.keys.subarray(0, depth)
    let farthest = 0
    for (const { record } of near) {
      const at = slots.indexOf(arena.slotOf(record))
      farthest = Math.max(farthest, keys[at] ?? 0)
    }
    if (isSettled(keys, farthest)) return near
    depth *= 2
    if (depth > limit) return null
    // Twice what is wanted now, so that doubling again needs no scan.
    if (depth > candidates.slots.length && candidates.slots.length < total) {
      candidates = scanBits(arena, query, selection, Math.min(2 * depth, limit, total))
    }
  }
}

/**
 * Whether the rows found, the farthest of which has this key, lie well before the end of `keys`.
 */
export function isSettled(keys: Float32Array, farthest: number): boolean {
  // Among equal keys the order is chance, so all of them count as nearer.
  let before = 0
  while (before < keys.length && (keys[before] ?? 0) <= farthest) before += 1
  return before <= SETTLED_SHARE * keys.length
}

/** The `depth` candidates with the smallest keys, ascending. */
export function scanBits(
  arena: Arena,
  query: LoadedQuery,
  selection: Selection,
  depth: number,
): Candidates {
  const found = scanSmallest(arena, 'bits', query, selection, depth)
  // Keys are whole numbers up to 8,192, so key and slot sort as one number.
  const count = found.slots.length
  const packed = new Float64Array(count)
  for (let i = 0; i < count; i += 1) {
    packed[i] = (found.keys[i] ?? 0) * 2 ** 32 + (found.slots[i] ?? 0)
  }
  packed.sort()
  const slots = new Uint32Array(count)
  const keys = new Float32Array(count)
  for (let i = 0; i < count; i += 1) {
    const key = Math.floor((packed[i] ?? 0) / 2 ** 32)
    keys[i] = key
    slots[i] = (packed[i] ?? 0) - key * 2 ** 32
  }
  return { slots, keys }
}

function nearestOfSlots(
  arena: Arena,
  query: LoadedQuery,
  slots: Uint32Array,
  k: number,
  distanceOf: DistanceOf,
  compareIds: (a: number, b: number) => number,
): RankedRecord[] | null {
  if (arena.rows.int8) {
    return nearestCertain(arena, query, { type: 'list', slots }, k, distanceOf, compareIds)
  }
  const records: number[] = []
  const distances: number[] = []
  for (const slot of slots) {
    const record = arena.recordAt(slot)
    const distance = distanceOf(slot, record)
    if (Number.isNaN(distance)) continue
    records.push(record)
    distances.push(distance)
  }
  return nearestOf(records, Float64Array.from(distances), k, compareIds)
}
