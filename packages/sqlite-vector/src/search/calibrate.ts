/**
 * Measures, on a shard's own rows, how a search by bits must run for the recall wanted, and what
 * each kind of scan costs on this machine.
 *
 * Several hundred queries, most of them unlike the rows (held-out.ts), are searched exactly and by
 * bits, and a search by bits (approximate.ts) is replayed from each starting depth. The cheapest
 * start is taken at which every family of queries, and every cluster of rows, has the recall
 * wanted, with a lower confidence bound above the recall promised. The truth comes from the rows:
 * from bounds of int8 codes, which miss nothing, or from a scan of the table.
 *
 * A query whose k-th code lies farther than `keyMax` is unlike all that was measured; it is
 * searched by int8 and counts here with that cost.
 */
import type { Arena } from './arena.ts'
import { deepest, isSettled, leastDepth, scanBits } from './approximate.ts'
import { type DistanceOf, isCertain, withinKth } from './certain.ts'
import { distanceFrom } from './distance.ts'
import { type RankedRecord, nearestInArena } from './exact-arena.ts'
import type { Family, HeldOutQuery } from './held-out.ts'
import { EVERYTHING, type LoadedQuery, keysOfSlots, loadQuery, scanBand } from './scan.ts'

/** Numbers of neighbours for which a search by bits is measured; others take the next larger. */
export const CALIBRATION_KS: readonly number[] = [10, 100, 1_000]

/** The recall promised by default, and the mean that is asked for to hold it. */
export const RECALL_PROMISED = 0.99
export const RECALL_WANTED = 0.995

/** One-sided 95 % of a normal distribution. */
const CONFIDENCE = 1.645

/** Numbers of neighbours that are not a small part of the rows are not measured. */
const ROWS_PER_NEIGHBOUR = 16

/** Scans are timed for one query in so many. */
const TIMED_EVERY = 8

/** Above the key of any row: a vector has at most 8,192 bits. Finite, since it is saved as JSON. */
export const ANY_KEY = 65_536

/** A family or cluster with fewer queries says too little alone. */
const GROUP_MIN = 8

/** The result for one number of neighbours. */
export interface DepthRecall {
  /** Neighbours wanted. */
  readonly k: number
  /** Candidates at the start of a search by bits. */
  readonly depth: number
  /** Largest key of the k-th candidate for which this holds. */
  readonly keyMax: number
  /** Mean recall@k of the family with the least. */
  readonly recall: number
  /** Mean recall@k of the tenth of all queries with the least. */
  readonly worstDecile: number
  /** Candidates of a query like the rows, on average, and the share that ends with int8. */
  readonly depthMean: number
  readonly int8Share: number
  /** True when the recall wanted is reached. */
  readonly sufficient: boolean
}

/** Measured nanoseconds on this shard. */
export interface ScanCosts {
  /** Per row of a scan in order. */
  readonly bits: number
  readonly int8: number
  /** Per candidate of a search by bits, all stages together. */
  readonly candidate: number
}

/** The result of a calibration. */
export interface Calibration {
  /** Records in the shard when it was measured. */
  readonly count: number
  /** Queries that were used. */
  readonly queries: number
  /** By k, ascending; null where the index holds no bits. */
  readonly bits: readonly DepthRecall[] | null
  readonly costs: ScanCosts
}

/** The exact neighbours of a query: at least `k`, and all that are as near as the k-th. */
export type TruthOf = (query: HeldOutQuery, loaded: LoadedQuery, k: number) => RankedRecord[]

/** Access to rows that a calibration needs. */
export interface CalibrationSource {
  readonly truthOf: TruthOf
  readonly distanceOf: (query: Float32Array) => DistanceOf
  /** Milliseconds, never falling. */
  readonly monotonicMs: () => number
}

/** Rows and truth of an arena that holds float32 rows. */
export function sourceOfArena(arena: Arena, monotonicMs: () => number): CalibrationSource {
  const distanceOf = (query: Float32Array): DistanceOf => {
    const distanceTo = distanceFrom(arena.metric, query)
    return (slot) => distanceTo(arena.float32At(slot))
  }
  const truthOf: TruthOf = ({ vector }, loaded, k) => {
    const distanceTo = distanceFrom(arena.metric, vector)
    const within = isCertain(arena)
      ? withinKth(arena, loaded, EVERYTHING, k, distanceOf(vector))
      : null
    if (within !== null) return within
    const ranking = { distanceTo, compareIds: (a: number, b: number) => a - b }
    return nearestInArena(arena, loaded, EVERYTHING, k, ranking)
  }
  return { monotonicMs, distanceOf, truthOf }
}

/** One query, replayed at every depth for one number of neighbours. */
interface Replay {
  readonly family: Family
  readonly cluster: number
  /** Key of the k-th candidate. */
  readonly key: number
  /** By depth of the ladder: whether a search would stop here, and its recall if it did. */
  readonly settled: readonly boolean[]
  readonly recall: readonly number[]
}

/**
 * Measures step by step: each step is one query, so that a caller can do other things in between,
 * writes to the arena included.
 */
export function* calibrate(
  arena: Arena,
  queries: readonly HeldOutQuery[],
  source: CalibrationSource,
): Generator<void, Calibration> {
  const replays = new Map<number, Replay[]>(CALIBRATION_KS.map((k) => [k, []]))
  const times = { bits: 0, int8: 0, candidate: 0, rows: 0, candidates: 0 }
  let used = 0
  for (const query of queries) {
    const { record } = query
    if (record !== null && !arena.has(record)) continue
    const loaded = loadQuery(arena, query.vector)
    if (used % TIMED_EVERY === 0) timeScans(arena, loaded, source, query.vector, times)
    if (arena.rows.bits) {
      for (const [k, replay] of replaysOf(arena, query, loaded, source))
        replays.get(k)?.push(replay)
    }
    used += 1
    yield
  }
  const costs = {
    bits: nanosecondsPer(times.bits, times.rows),
    int8: nanosecondsPer(times.int8, times.rows),
    candidate: nanosecondsPer(times.candidate, times.candidates),
  }
  const { count } = arena
  const bits = [...replays].flatMap(([k, each]) =>
    each.length === 0 ? [] : [bestDepth(k, each, costs, count)],
  )
  return { count, queries: used, bits: arena.rows.bits ? bits : null, costs }
}

function nanosecondsPer(ms: number, count: number): number {
  return (ms * 1e6) / Math.max(1, count)
}

/** Depths from which a search for `k` neighbours may start. */
export function depthLadder(k: number, rows: number): number[] {
  const depths: number[] = []
  for (let depth = Math.max(48, leastDepth(k)); depth <= deepest(rows); depth *= 2) {
    depths.push(depth)
  }
  return depths
}

interface Times {
  bits: number
  int8: number
  candidate: number
  rows: number
  candidates: number
}

/** Adds the time of one scan of each kind. */
function timeScans(
  arena: Arena,
  loaded: LoadedQuery,
  source: CalibrationSource,
  vector: Float32Array,
  times: Times,
): void {
  const start = source.monotonicMs()
  const scanned = arena.rows.bits
    ? scanBits(arena, loaded, EVERYTHING, Math.min(256, arena.count)).slots
    : new Uint32Array()
  const afterBits = source.monotonicMs()
  if (arena.rows.int8) scanBand(arena, loaded, EVERYTHING, 10)
  const afterInt8 = source.monotonicMs()
  const distanceOf = source.distanceOf(vector)
  if (arena.rows.int8) withinKth(arena, loaded, { type: 'list', slots: scanned }, 10, distanceOf)
  else for (const slot of scanned) distanceOf(slot, arena.recordAt(slot))
  times.candidate += source.monotonicMs() - afterInt8
  times.bits += afterBits - start
  times.int8 += afterInt8 - afterBits
  times.rows += arena.count
  times.candidates += scanned.length
}

/** Replays one query for every number of neighbours. */
function* replaysOf(
  arena: Arena,
  query: HeldOutQuery,
  loaded: LoadedQuery,
  source: CalibrationSource,
): Generator<readonly [k: number, replay: Replay]> {
  const own = query.record
  // A row is its own nearest neighbour: one more is looked for, and it is left out.
  const more = own === null ? 0 : 1
  const ks = CALIBRATION_KS.filter((k) => k * ROWS_PER_NEIGHBOUR <= arena.count)
  const most = (ks.at(-1) ?? 0) + more
  if (most === more) return
  const truth = source
    .truthOf(query, loaded, most)
    .filter(({ record }) => record !== own)
    .sort((a, b) => a.distance - b.distance)
  const wanted = Math.min(deepest(arena.count) + more, arena.count)
  const found = scanBits(arena, loaded, EVERYTHING, wanted)
  const ownSlot = own === null ? -1 : arena.slotOf(own)
  const kept = Array.from(found.slots.keys()).filter((i) => found.slots[i] !== ownSlot)
  const slots = Uint32Array.from(kept, (i) => found.slots[i] ?? 0)
  const keys = Float32Array.from(kept, (i) => found.keys[i] ?? 0)
  const fine = fineOrder(arena, loaded, slots, source.distanceOf(query.vector))
  const near = new Map(truth.map(({ record, distance }) => [arena.slotOf(record), distance]))
  for (const k of ks) {
    const kth = truth[k - 1]?.distance ?? Infinity
    // Among equal keys the neighbours come last: whether a scan keeps them is chance.
    const hits = hitsByDepth(slots, keys, near, kth)
    const { family, cluster } = query
    const ladder = depthLadder(k, arena.count)
    yield [
      k,
      {
        family,
        cluster,
        key: keys[k - 1] ?? ANY_KEY,
        settled: ladder.map(
          (depth) => depth >= slots.length || settles(keys, fine, k, Math.min(depth, keys.length)),
        ),
        recall: ladder.map((depth) => Math.min(k, hits(depth)) / k),
      },
    ]
  }
}

/** The candidates by distance as int8 tells it, or by distance where there is no int8. */
function fineOrder(
  arena: Arena,
  loaded: LoadedQuery,
  slots: Uint32Array,
  distanceOf: DistanceOf,
): Uint32Array {
  const fine = arena.rows.int8
    ? keysOfSlots(arena, 'int8', loaded, slots)
    : Float32Array.from(slots, (slot) => distanceOf(slot, arena.recordAt(slot)))
  return Uint32Array.from(slots.keys()).sort((a, b) => (fine[a] ?? 0) - (fine[b] ?? 0))
}

/**
 * Whether a search would stop at this depth: the k best of the first `depth` lie well before it.
 */
function settles(keys: Float32Array, fine: Uint32Array, k: number, depth: number): boolean {
  let farthest = 0
  let taken = 0
  for (const at of fine) {
    if (at >= depth) continue
    farthest = Math.max(farthest, keys[at] ?? 0)
    taken += 1
    if (taken === k) break
  }
  return isSettled(keys.subarray(0, depth), farthest)
}

/** How many of the rows within `kth` are surely among the first so many candidates. */
function hitsByDepth(
  slots: Uint32Array,
  keys: Float32Array,
  near: ReadonlyMap<number, number>,
  kth: number,
): (depth: number) => number {
  const ranks: number[] = []
  let end = 0
  for (let from = 0; from < slots.length; from = end) {
    for (end = from; end < slots.length && keys[end] === keys[from]; end += 1);
    let last = end
    for (let i = from; i < end; i += 1) {
      if ((near.get(slots[i] ?? 0) ?? Infinity) > kth) continue
      last -= 1
      ranks.push(last)
    }
  }
  return (depth) => ranks.filter((rank) => rank < depth).length
}

/** The cheapest start at which every group of queries has the recall wanted. */
function bestDepth(
  k: number,
  replays: readonly Replay[],
  costs: ScanCosts,
  count: number,
): DepthRecall {
  const like = replays.filter(({ family }) => family === 'row' || family === 'asked')
  const keys = like.map(({ key }) => key).sort((a, b) => a - b)
  const keyLimits = [ANY_KEY, keys.at(-1) ?? 0, keys[Math.floor(0.9 * keys.length)] ?? 0]
  let best: DepthRecall | null = null
  let least = Infinity
  let nearest: DepthRecall | null = null
  for (const keyMax of keyLimits) {
    for (const [start, depth] of depthLadder(k, count).entries()) {
      const result = measured(k, depth, keyMax, start, replays)
      if (nearest === null || result.recall > nearest.recall) nearest = result
      const rescans = 1 + Math.log2(Math.max(1, result.depthMean / depth))
      const cost =
        count * (costs.bits * rescans + result.int8Share * costs.int8) +
        2 * result.depthMean * costs.candidate
      if (!result.sufficient || cost >= least) continue
      best = result
      least = cost
    }
  }
  return best ?? { ...(nearest ?? measured(k, leastDepth(k), ANY_KEY, 0, [])), sufficient: false }
}

/** A search by bits from one start, over all queries that it would be used for. */
function measured(
  k: number,
  depth: number,
  keyMax: number,
  start: number,
  replays: readonly Replay[],
): DepthRecall {
  const groups = new Map<string, number[]>()
  const put = (group: string, recall: number): void => {
    const known = groups.get(group)
    if (known === undefined) groups.set(group, [recall])
    else known.push(recall)
  }
  const all: number[] = []
  const like = { count: 0, depth: 0, int8: 0 }
  for (const replay of replays) {
    const { family, cluster, key, settled } = replay
    const stop = key > keyMax ? -1 : settled.findIndex((each, i) => i >= start && each)
    const recall = stop < 0 ? 1 : (replay.recall[stop] ?? 0)
    if (family === 'row' || family === 'asked') {
      like.count += 1
      like.depth += stop < 0 ? depth : depth * 2 ** (stop - start)
      like.int8 += stop < 0 ? 1 : 0
    }
    if (key > keyMax) continue
    all.push(recall)
    put(family, recall)
    if (family === 'row') put(`cluster ${cluster}`, recall)
  }
  const large = [...groups].filter(([, recalls]) => recalls.length >= GROUP_MIN)
  const families = large.filter(([group]) => !group.startsWith('cluster'))
  const sorted = all.toSorted((a, b) => a - b)
  return {
    k,
    depth,
    keyMax,
    recall: Math.min(mean(all), ...families.map(([, recalls]) => mean(recalls))),
    worstDecile: mean(sorted.slice(0, Math.ceil(sorted.length / 10))),
    depthMean: like.depth / Math.max(1, like.count),
    int8Share: like.int8 / Math.max(1, like.count),
    sufficient:
      mean(all) >= RECALL_WANTED && large.every(([group, recalls]) => holds(group, recalls)),
  }
}

/** Whether a group of queries keeps the promise: by its mean, and by what chance may hide. */
function holds(group: string, recalls: readonly number[]): boolean {
  const middle = mean(recalls)
  // Some eight queries of one cluster: a single neighbour missed is a hundredth.
  if (group.startsWith('cluster')) return middle >= RECALL_PROMISED - 0.015
  const square = mean(recalls.map((recall) => (recall - middle) ** 2))
  const error = Math.sqrt(square / recalls.length)
  return middle >= RECALL_WANTED && middle - CONFIDENCE * error >= RECALL_PROMISED
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 1 : values.reduce((sum, value) => sum + value, 0) / values.length
}

/** `count` records spread evenly over the slots of the arena. */
export function sampleRecords(arena: Arena, count: number): number[] {
  const wanted = Math.min(count, arena.count)
  return Array.from({ length: wanted }, (_, i) =>
    arena.recordAt(Math.floor(((i + 0.5) * arena.count) / wanted)),
  )
}
