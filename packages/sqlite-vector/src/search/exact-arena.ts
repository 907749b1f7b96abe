/**
 * Exact nearest neighbours over the float32 rows of an arena: recall 1.0, and a function of the
 * rows.
 *
 * The kernel's float32 sums choose candidates; what is returned was computed in float64 from the
 * rows, by the same function that a scan of the table uses, ties by id. So the answer does not
 * depend on slots, on the order of inserts or on the kernel. Why no neighbour is missed:
 *
 *   Let e bound the error of a key. The heap holds the k + margin smallest keys, and every row
 *   outside has a key of at least the largest in it, B. If the k-th exact distance, as a key, plus
 *   e is below B, no row outside can be among the k nearest, nor tie with the k-th. Otherwise all
 *   rows whose key is within k-th + e are collected by a second scan and ranked.
 *
 * The bound is the standard one for sums in floating point (Higham, Accuracy and Stability of
 * Numerical Algorithms, 2nd ed., section 3.1), taken generously. It needs products that stay inside
 * float32's range: where a row or the query leaves it ("wild", arena.ts), every row is computed in
 * float64.
 */
import { type Arena, isTame } from './arena.ts'
import type { DistanceTo } from './distance.ts'
import { CANDIDATES_MAX } from './memory-layout.ts'
import { norm } from './quantizer.ts'
import { type LoadedQuery, type Selection, scanSmallest, scanWithin } from './scan.ts'
import { selectionCount, selectionSlots } from './scan.ts'

/** A record by its rowid, with its distance in float64. */
export interface RankedRecord {
  readonly record: number
  readonly distance: number
}

/** Ranks rows: the distance from the query in float64, and the order of ids for equal distances. */
export interface Ranking {
  readonly distanceTo: DistanceTo
  /** Negative when the id of record `a` sorts first. Called for equal distances only. */
  readonly compareIds: (a: number, b: number) => number
}

/** The `k` nearest records of the selection, nearest first. */
export function nearestInArena(
  arena: Arena,
  query: LoadedQuery,
  selection: Selection,
  k: number,
  ranking: Ranking,
): RankedRecord[] {
  const total = selectionCount(arena, selection)
  if (total === 0) return []
  const margin = Math.max(16, k >>> 2)
  const capacity = Math.min(k + margin, total)
  if (
    arena.wildCount > 0 ||
    capacity > CANDIDATES_MAX ||
    !isTame(norm(query.vector), arena.metric)
  ) {
    return rank(arena, selectionSlots(arena, selection), k, ranking)
  }
  const candidates = scanSmallest(arena, 'float32', query, selection, capacity)
  const neighbours = rank(arena, candidates.slots, k, ranking)
  if (capacity === total) return neighbours
  const kth = neighbours.at(-1)?.distance ?? 0
  const limit = keyLimit(arena, query, kth)
  if (limit < candidates.keys.reduce((most, key) => Math.max(most, key), -Infinity)) {
    return neighbours
  }
  const within = scanWithin(arena, 'float32', query, selection, limit)
  return rank(arena, within, k, ranking)
}

/** The `k` nearest of these slots, in float64, ties by id. */
function rank(arena: Arena, slots: Uint32Array, k: number, ranking: Ranking): RankedRecord[] {
  const distances = new Float64Array(slots.length)
  for (let i = 0; i < slots.length; i += 1) {
    distances[i] = ranking.distanceTo(arena.float32At(slots[i] ?? 0))
  }
  return nearestOf(
    Array.from(slots, (slot) => arena.recordAt(slot)),
    distances,
    k,
    ranking.compareIds,
  )
}

/** The `k` nearest of `records`, whose distances are given, nearest first, ties by id. */
export function nearestOf(
  records: readonly number[],
  distances: Float64Array,
  k: number,
  compareIds: Ranking['compareIds'],
): RankedRecord[] {
  const kth = distances.toSorted()[Math.min(k, distances.length) - 1] ?? Infinity
  const nearer: RankedRecord[] = []
  const tied: number[] = []
  for (let i = 0; i < records.length; i += 1) {
    const distance = distances[i] ?? 0
    if (distance < kth) nearer.push({ record: records[i] ?? 0, distance })
    else if (distance === kth) tied.push(records[i] ?? 0)
  }
  nearer.sort((a, b) => a.distance - b.distance || compareIds(a.record, b.record))
  const room = Math.min(k, records.length) - nearer.length
  for (const record of firstOf(tied, room, compareIds)) nearer.push({ record, distance: kth })
  return nearer
}

/** The `count` records that sort first: one comparison refuses most of many that are tied. */
function firstOf(records: number[], count: number, compareIds: Ranking['compareIds']): number[] {
  if (records.length <= count) return records.sort(compareIds)
  const first = records.slice(0, count).sort(compareIds)
  for (const record of records.slice(count)) {
    const last = first.at(-1)
    if (last === undefined || compareIds(record, last) >= 0) continue
    let at = first.length - 1
    while (at > 0 && compareIds(record, first[at - 1] ?? 0) < 0) at -= 1
    first.splice(at, 0, record)
    first.pop()
  }
  return first
}

/** No row whose key is above this is as near as `distance`. */
function keyLimit(arena: Arena, query: LoadedQuery, distance: number): number {
  const gamma = (arena.dimension / 8 + 16) * 2 ** -24
  if (arena.metric === 'l2') {
    // Sums of squares have a relative error; the summand covers underflow.
    return distance ** 2 * (1 + 2 * gamma) + 1e-30
  }
  const length = norm(query.vector)
  if (arena.metric === 'dot') return distance + gamma * length * arena.normMax + 1e-30
  return (distance - 1) * length + gamma * length + 1e-30
}
