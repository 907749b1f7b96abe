/**
 * Measures, on a shard's own rows, how deep codes must be rescored for a wanted recall.
 *
 * Rows are queries: each is searched with itself left out, once exactly and once by each kind of
 * code, and the ranks at which the true neighbours appear among the codes are kept. From the ranks
 * follows recall@k for every depth. So nothing is assumed of the data: where bits cannot tell
 * neighbours apart (isotropic noise: half of them), the measurement says so and int8 is used.
 *
 * The caller's queries may differ from the rows; `recall()` measures with those.
 */
import type { Arena } from './arena.ts'
import { EVERYTHING, type RowKind, loadQuery, scanSmallest } from './scan.ts'

/**
 * Numbers of neighbours for which depths are measured. Not one, from which others follow: near
 * neighbours lie in the query's own cluster and are easy to tell from the rest, farther ones lie
 * between clusters and are not.
 */
export const CALIBRATION_KS: readonly number[] = [10, 100]

/** The recall that depths are chosen for: above the stated 0.99, since a sample is a sample. */
export const RECALL_WANTED = 0.995

/** Depths that are tried, from the least multiple of k on. */
const DEPTHS: { readonly [Kind in 'bits' | 'int8']: readonly number[] } = {
  bits: [32, 64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192],
  int8: [16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1_024],
}

/** Recall of one kind of code, measured on the shard's own data. */
export interface DepthRecall {
  /** Neighbours wanted. */
  readonly k: number
  /** The smallest depth tried that gave {@link RECALL_WANTED}; the largest tried where none did. */
  readonly depth: number
  /** Recall@k measured at that depth. */
  readonly recall: number
  /** True when `recall` reaches the recall wanted. */
  readonly sufficient: boolean
}

/** The result of a calibration. */
export interface Calibration {
  /** Records in the shard when it was measured. */
  readonly count: number
  /** Rows that were used as queries. */
  readonly queries: number
  /** By k, ascending; null where the index holds no such codes. */
  readonly bits: readonly DepthRecall[] | null
  readonly int8: readonly DepthRecall[] | null
}

/** Source of float32 rows for the measurement: the arena, or the table. */
export interface CalibrationRows {
  /** The row of a record, or null when it is gone. */
  readonly rowOf: (record: number) => Float32Array | null
  /** The records nearest to `row`, `record` itself left out, nearest first. */
  readonly nearest: (record: number, row: Float32Array, k: number) => readonly number[]
}

/**
 * Measures step by step: each step is one query, so that a caller can do other things in between,
 * writes to the arena included. `records` are the queries.
 */
export function* calibrate(
  arena: Arena,
  records: readonly number[],
  from: CalibrationRows,
): Generator<void, Calibration> {
  // Per query the ranks of its true neighbours, nearest first.
  const ranks = { bits: [] as number[][], int8: [] as number[][] }
  const deepest = Math.max(...CALIBRATION_KS)
  let queries = 0
  for (const record of records) {
    const row = from.rowOf(record)
    if (row === null || !arena.has(record)) continue
    queries += 1
    const truth = from.nearest(record, row, deepest)
    for (const kind of ['bits', 'int8'] as const) {
      if (arena.rows[kind]) ranks[kind].push(ranksOf(arena, kind, record, row, truth))
    }
    yield
  }
  return {
    count: arena.count,
    queries,
    bits: arena.rows.bits ? depthsByK(ranks.bits, DEPTHS.bits) : null,
    int8: arena.rows.int8 ? depthsByK(ranks.int8, DEPTHS.int8) : null,
  }
}

/**
 * Rows and neighbours by the float32 rows of the arena; float32 sums are good enough to measure by.
 */
export function rowsOfArena(arena: Arena): CalibrationRows {
  return {
    rowOf: (record) => {
      const slot = arena.slotOf(record)
      return slot < 0 ? null : Float32Array.from(arena.float32At(slot))
    },
    nearest: (record, row, k) => nearestByCode(arena, 'float32', record, row, k, k),
  }
}

/** `count` records spread evenly over the slots of the arena. */
export function sampleRecords(arena: Arena, count: number): number[] {
  const wanted = Math.min(count, arena.count)
  return Array.from({ length: wanted }, (_, i) =>
    arena.recordAt(Math.floor(((i + 0.5) * arena.count) / wanted)),
  )
}

/**
 * The `k` records nearest by one kind of row, out of a scan `depth` deep, `record` itself left out.
 */
export function nearestByCode(
  arena: Arena,
  kind: RowKind,
  record: number,
  row: Float32Array,
  k: number,
  depth: number,
): number[] {
  const found = scanSmallest(arena, kind, loadQuery(arena, row), EVERYTHING, depth + 1)
  return Array.from(found.slots, (slot, i) => ({
    other: arena.recordAt(slot),
    key: found.keys[i] ?? 0,
  }))
    .filter(({ other }) => other !== record)
    .sort((a, b) => a.key - b.key)
    .slice(0, k)
    .map(({ other }) => other)
}

/**
 * Ranks, from 0, of the true neighbours among the codes, the row itself left out; Infinity when
 * beyond.
 */
function ranksOf(
  arena: Arena,
  kind: Exclude<RowKind, 'float32'>,
  record: number,
  row: Float32Array,
  truth: readonly number[],
): number[] {
  const deepest = DEPTHS[kind].at(-1) ?? 0
  const found = scanSmallest(arena, kind, loadQuery(arena, row), EVERYTHING, deepest + 1)
  const wanted = new Set(truth)
  const order = Array.from(found.slots, (slot, i) => ({
    other: arena.recordAt(slot),
    key: found.keys[i] ?? 0,
  }))
    .filter(({ other }) => other !== record)
    // Equal keys in the least favourable order: whether a scan keeps the right ones is chance.
    .sort((a, b) => a.key - b.key || Number(wanted.has(a.other)) - Number(wanted.has(b.other)))
  const rankOf = new Map(order.map(({ other }, rank) => [other, rank]))
  return truth.map((neighbour) => rankOf.get(neighbour) ?? Infinity)
}

function depthsByK(
  ranks: readonly (readonly number[])[],
  depths: readonly number[],
): DepthRecall[] {
  return CALIBRATION_KS.map((k) => {
    const ofNearest = ranks.flatMap((each) => each.slice(0, k))
    return smallestDepth(
      k,
      ofNearest,
      depths.filter((depth) => depth > k),
    )
  })
}

function smallestDepth(
  k: number,
  ranks: readonly number[],
  depths: readonly number[],
): DepthRecall {
  let last: DepthRecall = { k, depth: depths[0] ?? k, recall: 1, sufficient: true }
  if (ranks.length === 0) return last
  for (const depth of depths) {
    const recall = ranks.filter((rank) => rank < depth).length / ranks.length
    last = { k, depth, recall, sufficient: recall >= RECALL_WANTED }
    if (last.sufficient) break
  }
  return last
}
