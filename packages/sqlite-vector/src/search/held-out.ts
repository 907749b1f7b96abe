/**
 * Queries for a calibration, made from a shard's own rows, and unlike them in several ways. Pure.
 *
 * | family    | query                                                                  |
 * | --------- | ---------------------------------------------------------------------- |
 * | row       | a row, left out of its own answer; the same number from each cluster   |
 * | perturbed | a row plus noise of the spread of the data, times 0.3 or 1             |
 * | mixed     | the middle of two rows                                                 |
 * | foreign   | each component from another row: right margins, no structure           |
 * | asked     | a query that callers asked lately                                      |
 *
 * Rows alone would say nothing of queries that are unlike rows, and rows drawn evenly would hardly
 * meet a topic that a fiftieth of the shard is about: so rows are drawn by cluster.
 */

/** Kinds of query. */
export type Family = 'row' | 'perturbed' | 'mixed' | 'foreign' | 'asked'

/** One query of a calibration. */
export interface HeldOutQuery {
  readonly family: Family
  readonly vector: Float32Array
  /** The record that is left out of the answer; null unless the query is a row. */
  readonly record: number | null
  /** The cluster of a row; 0 for others. */
  readonly cluster: number
}

/** A record with its embedding. */
export interface SampleRow {
  readonly record: number
  readonly row: Float32Array
}

/** How many queries of each family are made. */
export interface HeldOutCounts {
  readonly row: number
  readonly perturbed: number
  readonly mixed: number
  readonly foreign: number
}

/** Queries of a calibration of one shard. */
export const HELD_OUT: HeldOutCounts = { row: 144, perturbed: 48, mixed: 48, foreign: 32 }

const CLUSTERS = 24
const KMEANS_ROUNDS = 3

/**
 * Makes the queries from a sample of rows, of which at least one is needed; `asked` are queries of
 * callers. The same arguments give the same queries. `spread` is the deviation of each dimension.
 */
export function heldOutQueries(
  sample: readonly SampleRow[],
  spread: Float32Array,
  asked: readonly Float32Array[],
  counts: HeldOutCounts = HELD_OUT,
): HeldOutQuery[] {
  const random = seededRandom(sample.length)
  const pick = (): Float32Array => sample[Math.floor(random() * sample.length)]?.row ?? spread
  const queries = rowsByCluster(sample, counts.row, random)
  for (let i = 0; i < counts.perturbed; i += 1) {
    const noise = i % 2 === 0 ? 0.3 : 1
    const vector = pick().map((value, d) => value + noise * (spread[d] ?? 0) * normal(random))
    queries.push(unlikeRows('perturbed', vector))
  }
  for (let i = 0; i < counts.mixed; i += 1) {
    const [a, b] = [pick(), pick()]
    queries.push(
      unlikeRows(
        'mixed',
        a.map((value, d) => (value + (b[d] ?? 0)) / 2),
      ),
    )
  }
  for (let i = 0; i < counts.foreign; i += 1) {
    queries.push(
      unlikeRows(
        'foreign',
        spread.map((_, d) => pick()[d] ?? 0),
      ),
    )
  }
  for (const vector of asked) queries.push(unlikeRows('asked', vector))
  return queries.filter(({ vector }) => vector.some((value) => value !== 0))
}

function unlikeRows(family: Family, vector: Float32Array): HeldOutQuery {
  return { family, vector, record: null, cluster: 0 }
}

/** The deviation of each dimension, robust: from the 10th to the 90th percentile. */
export function spreadOfRows(sample: readonly SampleRow[], dimension: number): Float32Array {
  const column = new Float32Array(sample.length)
  return Float32Array.from({ length: dimension }, (_, d) => {
    for (const [i, { row }] of sample.entries()) column[i] = row[d] ?? 0
    column.sort()
    const at = (share: number): number => column[Math.floor(share * (column.length - 1))] ?? 0
    return (at(0.9) - at(0.1)) / 2.56
  })
}

/** Rows taken in turn from the clusters of the sample, so that small ones have as many as large. */
function rowsByCluster(
  sample: readonly SampleRow[],
  wanted: number,
  random: () => number,
): HeldOutQuery[] {
  const clusters = clustersOf(sample, Math.min(CLUSTERS, sample.length), random)
  const queries: HeldOutQuery[] = []
  for (let round = 0; queries.length < Math.min(wanted, sample.length); round += 1) {
    for (const [cluster, members] of clusters.entries()) {
      const found = members[round]
      if (found === undefined || queries.length >= wanted) continue
      queries.push({ family: 'row', vector: found.row.slice(), record: found.record, cluster })
    }
  }
  return queries
}

/** k-means over unit rows, a few rounds: strata of a sample, not an index. */
function clustersOf(
  sample: readonly SampleRow[],
  count: number,
  random: () => number,
): SampleRow[][] {
  const units = sample.map(({ row }) => {
    let square = 0
    for (const value of row) square += value * value
    const scale = 1 / Math.sqrt(square || 1)
    return row.map((value) => value * scale)
  })
  let centres = Array.from({ length: count }, () =>
    (units[Math.floor(random() * units.length)] ?? new Float32Array()).slice(),
  )
  let nearest: number[] = []
  for (let round = 0; round < KMEANS_ROUNDS; round += 1) {
    nearest = units.map((unit) => nearestCentre(unit, centres))
    centres = centres.map((centre, c) =>
      meanOf(
        units.filter((_, i) => nearest[i] === c),
        centre,
      ),
    )
  }
  return centres.map((_, c) => sample.filter((__, i) => nearest[i] === c))
}

function nearestCentre(unit: Float32Array, centres: readonly Float32Array[]): number {
  let best = 0
  let least = Infinity
  for (const [c, centre] of centres.entries()) {
    let sum = 0
    for (let d = 0; d < unit.length; d += 1) sum += ((unit[d] ?? 0) - (centre[d] ?? 0)) ** 2
    if (sum >= least) continue
    least = sum
    best = c
  }
  return best
}

function meanOf(
  rows: readonly Float32Array[],
  otherwise: Float32Array<ArrayBuffer>,
): Float32Array<ArrayBuffer> {
  if (rows.length === 0) return otherwise
  const mean = new Float32Array(otherwise.length)
  for (const row of rows) {
    for (let d = 0; d < mean.length; d += 1) mean[d] = (mean[d] ?? 0) + (row[d] ?? 0) / rows.length
  }
  return mean
}

/** Numbers in [0, 1): mulberry32, so that a calibration repeats. Not for secrets. */
function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** A normal deviate by Box and Muller. */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}
