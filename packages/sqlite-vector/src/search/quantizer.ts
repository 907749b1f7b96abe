/**
 * How float32 rows become int8 codes and bits: parameters learnt from a sample of the shard's rows.
 *
 * A component x (of the row, or of row/|row| where the metric is cosine) is coded as
 *
 *     bit   = x > threshold            per-dimension median of the sample
 *     code  = round((x − centre) / (step × f)),   f = the row's own scale, so that |code| ≤ 127
 *
 * so that x ≈ centre + f × step × code. Both are relative to the middle of the data, dimension by
 * dimension: data that is not centred, or whose dimensions differ in scale, loses nothing by it.
 * Middle and spread are quantiles, not mean and deviation: a few rows of 1e5 among rows of 1 must
 * not decide.
 *
 * With w = query × step (dot, cosine) or (query − centre) × step (L2), every metric's order is
 *
 *     key = offset − gain × f × Σ w code
 *
 * where for dot and cosine offset = 0 (the query's product with the centre is the same for all
 * rows), and for L2 offset = |f step code|², and gain is doubled: |q − x|² without its constant |q
 * − centre|².
 *
 * Not here: which of these is used when (planner.ts), how deep to rescore (calibrate.ts).
 */
import { type Metric } from '../model/records.ts'

/** Rows a quantizer is learnt from at most: quantiles are then known to about 1.5 %. */
export const TRAINING_ROWS_MAX = 1_024

/**
 * The smallest step, as a share of the largest: bounds what one dimension can take from the others.
 */
const STEP_SHARE_MIN = 1 / 16

/** Largest magnitude of an int16 query component. */
const QUERY_MAGNITUDE_MAX = 32_767

/** Parameters of a quantizer: arrays of `dimension` components. */
export interface Quantizer {
  readonly thresholds: Float32Array
  readonly centre: Float32Array
  /** Positive: the relative spread of each dimension. */
  readonly step: Float32Array
}

/** Learns a quantizer from rows: any sample, at least one row, of which at most 1,024 are used. */
export function trainQuantizer(
  sample: readonly Float32Array[],
  dimension: number,
  metric: Metric,
): Quantizer {
  const rows = thin(sample, TRAINING_ROWS_MAX)
  const scales = rows.map((row) => (metric === 'cosine' ? inverseNorm(row) : 1))
  const thresholds = new Float32Array(dimension)
  const centre = new Float32Array(dimension)
  const spread = new Float64Array(dimension)
  const column = new Float32Array(rows.length)
  for (let d = 0; d < dimension; d += 1) {
    for (let i = 0; i < rows.length; i += 1) column[i] = (rows[i]?.[d] ?? 0) * (scales[i] ?? 1)
    column.sort()
    const median = quantile(column, 0.5)
    centre[d] = median
    thresholds[d] = median < quantile(column, 1) ? median : belowTop(column, median)
    spread[d] = spreadOf(column)
  }
  const widest = spread.reduce((most, value) => Math.max(most, value), 0)
  const floor = widest > 0 ? widest * STEP_SHARE_MIN : 1
  return { thresholds, centre, step: Float32Array.from(spread, (value) => Math.max(value, floor)) }
}

/** A query made ready for int8 rows. */
export interface Int8Query {
  readonly codes: Int16Array
  /** The value in the key of one unit of the integer product. */
  readonly gain: number
  /** Added to a bound of a key, this makes it a distance (scan.ts); 0 under L2. */
  readonly origin: number
  /** Parameters of the bounds (kernels/assembly/certify.ts). */
  readonly base: number
  readonly weight: number
  readonly slope: number
}

/** Quantizes a query against int8 rows. `scale` is 1/|query| for cosine, else 1. */
export function quantizeQuery(
  quantizer: Quantizer,
  metric: Metric,
  query: Float32Array,
  scale: number,
): Int8Query {
  const { centre, step } = quantizer
  const weights = new Float64Array(query.length)
  let largest = 0
  let product = 0
  let apart = 0
  let square = 0
  for (let d = 0; d < query.length; d += 1) {
    const value = (query[d] ?? 0) * scale
    const middle = centre[d] ?? 0
    const relative = metric === 'l2' ? value - middle : value
    const weight = relative * (step[d] ?? 0)
    weights[d] = weight
    largest = Math.max(largest, Math.abs(weight))
    product += value * middle
    apart += (value - middle) ** 2
    square += value * value
  }
  const gain = metric === 'l2' ? 2 : 1
  const codes = new Int16Array(query.length)
  const unit = largest / queryMagnitude(query.length)
  let lost = 0
  for (let d = 0; d < query.length; d += 1) {
    const code = unit === 0 ? 0 : Math.round((weights[d] ?? 0) / unit)
    codes[d] = code
    lost += ((weights[d] ?? 0) - code * unit) ** 2
  }
  return {
    codes,
    gain: gain * unit,
    origin: metric === 'l2' ? 0 : (metric === 'cosine' ? 1 : 0) - product,
    base: metric === 'l2' ? apart : 0,
    weight: metric === 'l2' ? 0 : Math.sqrt(square) * 1.000_001,
    // A row's codes are at most 127 each, and its scale is a factor of its own.
    slope: gain * Math.sqrt(lost) * 127 * Math.sqrt(query.length) * 1.000_001,
  }
}

/** The bits of a query, least significant first, in whole 64-bit words. */
export function queryBits(quantizer: Quantizer, query: Float32Array, scale: number): Uint8Array {
  const bits = new Uint8Array(Math.ceil(query.length / 64) * 8)
  for (let d = 0; d < query.length; d += 1) {
    if (Math.fround((query[d] ?? 0) * scale) <= (quantizer.thresholds[d] ?? 0)) continue
    bits[d >> 3] = (bits[d >> 3] ?? 0) | (1 << (d & 7))
  }
  return bits
}

/** Euclidean length of a row, summed in float64. */
export function norm(row: Float32Array): number {
  let sum = 0
  for (let i = 0; i < row.length; i += 1) sum += (row[i] ?? 0) ** 2
  return Math.sqrt(sum)
}

/** 1/|row|, or 1 for a row of zeros. */
export function inverseNorm(row: Float32Array): number {
  const length = norm(row)
  return length === 0 ? 1 : 1 / length
}

/** Largest |code| of a query such that the integer product of the longest row fits an int32. */
function queryMagnitude(dimension: number): number {
  const products = Math.ceil(dimension / 16) * 16
  return Math.min(QUERY_MAGNITUDE_MAX, Math.floor((2 ** 31 - 1) / (127 * products)))
}

/** Every n-th row, so that at most `count` remain. */
function thin(rows: readonly Float32Array[], count: number): readonly Float32Array[] {
  if (rows.length <= count) return rows
  return Array.from({ length: count }, (_, i) => rows[Math.floor((i * rows.length) / count)]!)
}

function quantile(sorted: Float32Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
}

/**
 * A threshold below the largest value, for a column in which the median equals the largest value.
 */
function belowTop(sorted: Float32Array, top: number): number {
  const below = sorted.findLast((value) => value < top)
  return below === undefined ? top : (below + top) / 2
}

/**
 * A robust deviation: what the 80 % in the middle span; the whole range where those are one value.
 */
function spreadOf(sorted: Float32Array): number {
  const middle = quantile(sorted, 0.9) - quantile(sorted, 0.1)
  return middle > 0 ? middle : quantile(sorted, 1) - quantile(sorted, 0)
}
