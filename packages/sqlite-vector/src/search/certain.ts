/**
 * Exact nearest neighbours by int8 codes: recall 1.0 on any data, for any query.
 *
 * A scan of the codes gives a lower bound of every row's distance (kernels/assembly/certify.ts).
 * Rows are then compared in float64, those with the least bound first, until the next bound is
 * above the k-th distance found: no row that is left can be nearer. VA-file: Weber, Schek and Blott
 * 1998, "A quantitative analysis and performance study for similarity-search methods", section 4,
 * with one byte a component and the bound of a whole row in place of one for each component.
 *
 * Reads a quarter of the bytes of float32 rows, and asks few rows of a table. It takes more rows
 * where codes are coarse (a few components far larger than the rest), never fewer results.
 */
import type { Arena } from './arena.ts'
import { type RankedRecord, nearestOf } from './exact-arena.ts'
import { KthSmallest } from './kth-smallest.ts'
import { type Band, type LoadedQuery, type Selection, scanBand } from './scan.ts'

/** The exact distance of the record in a slot; NaN when its row has gone. */
export type DistanceOf = (slot: number, record: number) => number

/** True when bounds by int8 codes hold for the rows of this arena. */
export function isCertain(arena: Arena): boolean {
  return arena.rows.int8 && arena.quantizer !== null && arena.wildCount === 0
}

/**
 * The `k` nearest records of the selection, nearest first, ties by id; null when more rows than
 * can be held are too near to tell apart.
 */
export function nearestCertain(
  arena: Arena,
  query: LoadedQuery,
  selection: Selection,
  k: number,
  distanceOf: DistanceOf,
  compareIds: (a: number, b: number) => number,
): RankedRecord[] | null {
  const within = withinKth(arena, query, selection, k, distanceOf)
  if (within === null) return null
  const records = within.map(({ record }) => record)
  const distances = Float64Array.from(within, ({ distance }) => distance)
  return nearestOf(records, distances, k, compareIds)
}

/** The `k` nearest records and all that are as near as the k-th, in no order; or null as above. */
export function withinKth(
  arena: Arena,
  query: LoadedQuery,
  selection: Selection,
  k: number,
  distanceOf: DistanceOf,
): RankedRecord[] | null {
  const band = scanBand(arena, query, selection, k)
  return band === null ? null : nearestInBand(arena, query, band, k, distanceOf)
}

function nearestInBand(
  arena: Arena,
  query: LoadedQuery,
  { slots, lower }: Band,
  k: number,
  distanceOf: DistanceOf,
): RankedRecord[] {
  // Bounds sort as numbers with their place in the low bits: a comparison in JavaScript is slow.
  const order = sortedPlaces(lower)
  const nearest = new KthSmallest(k)
  const found: RankedRecord[] = []
  for (const at of order) {
    const limit = nearest.kth - query.origin
    if ((lower[at] ?? 0) > limit + 1e-9 * (1 + Math.abs(limit))) break
    const slot = slots[at] ?? 0
    const record = arena.recordAt(slot)
    const distance = distanceOf(slot, record)
    if (Number.isNaN(distance) || distance > nearest.kth) continue
    nearest.add(distance)
    found.push({ record, distance })
  }
  return found.filter(({ distance }) => distance <= nearest.kth)
}

/** The places of `values` in ascending order of the values. */
function sortedPlaces(values: Float32Array): Uint32Array {
  const words = new Uint32Array(values.length)
  words.set(new Uint32Array(values.buffer, values.byteOffset, values.length))
  const packed = new Float64Array(values.length)
  for (let i = 0; i < values.length; i += 1) {
    const word = words[i] ?? 0
    // The bits of a float32 as a number of the same order.
    const rank = word >= 0x8000_0000 ? 0xffff_ffff - word : word + 0x8000_0000
    packed[i] = rank * 2 ** 17 + i
  }
  packed.sort()
  return Uint32Array.from(packed, (value) => value % 2 ** 17)
}
