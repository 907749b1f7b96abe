/**
 * Keys over float32 rows: minus the dot product times a factor per row, and squared L2.
 *
 * Smaller is nearer. Sums are float32 in four lanes and four accumulators: good enough to choose
 * candidates, not to rank neighbours; the caller recomputes what it returns in float64. Rows and
 * query are padded with zeros to a multiple of four components, which adds nothing to either sum.
 */
import { rowAddress } from './layout'

function sum(lanes: v128): f32 {
  return (
    f32x4.extract_lane(lanes, 0) +
    f32x4.extract_lane(lanes, 1) +
    (f32x4.extract_lane(lanes, 2) + f32x4.extract_lane(lanes, 3))
  )
}

function dot(row: usize, query: usize, bytes: usize): f32 {
  let a = f32x4.splat(0)
  let b = f32x4.splat(0)
  let c = f32x4.splat(0)
  let d = f32x4.splat(0)
  let i: usize = 0
  for (; i + 64 <= bytes; i += 64) {
    a = f32x4.add(a, f32x4.mul(v128.load(row + i), v128.load(query + i)))
    b = f32x4.add(b, f32x4.mul(v128.load(row + i, 16), v128.load(query + i, 16)))
    c = f32x4.add(c, f32x4.mul(v128.load(row + i, 32), v128.load(query + i, 32)))
    d = f32x4.add(d, f32x4.mul(v128.load(row + i, 48), v128.load(query + i, 48)))
  }
  for (; i < bytes; i += 16) {
    a = f32x4.add(a, f32x4.mul(v128.load(row + i), v128.load(query + i)))
  }
  return sum(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)))
}

function squared(row: usize, query: usize, bytes: usize): f32 {
  let a = f32x4.splat(0)
  let b = f32x4.splat(0)
  let i: usize = 0
  for (; i + 32 <= bytes; i += 32) {
    const x = f32x4.sub(v128.load(row + i), v128.load(query + i))
    const y = f32x4.sub(v128.load(row + i, 16), v128.load(query + i, 16))
    a = f32x4.add(a, f32x4.mul(x, x))
    b = f32x4.add(b, f32x4.mul(y, y))
  }
  if (i < bytes) {
    const x = f32x4.sub(v128.load(row + i), v128.load(query + i))
    a = f32x4.add(a, f32x4.mul(x, x))
  }
  return sum(f32x4.add(a, b))
}

/** Euclidean length of a row, summed in float64 so that no component overflows or vanishes. */
export function rowNorm(row: usize, bytes: usize): f64 {
  let a = f64x2.splat(0)
  let b = f64x2.splat(0)
  for (let i: usize = 0; i < bytes; i += 16) {
    const four = v128.load(row + i)
    const low = f64x2.promote_low_f32x4(four)
    const high = f64x2.promote_low_f32x4(
      v128.shuffle<i8>(four, four, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15),
    )
    a = f64x2.add(a, f64x2.mul(low, low))
    b = f64x2.add(b, f64x2.mul(high, high))
  }
  const both = f64x2.add(a, b)
  return sqrt<f64>(f64x2.extract_lane(both, 0) + f64x2.extract_lane(both, 1))
}

/** Writes `count` keys of consecutive rows to `out`: −(row · query) × factor. */
export function dotRun(
  rows: usize,
  bytes: usize,
  factors: usize,
  count: u32,
  query: usize,
  out: usize,
): void {
  for (let i: u32 = 0; i < count; i += 1) {
    store<f32>(out, -dot(rows, query, bytes) * load<f32>(factors))
    rows += bytes
    factors += 4
    out += 4
  }
}

/** As {@link dotRun} for the slots of a list; `rows` and `factors` are regions of block 0. */
export function dotList(
  rows: usize,
  bytes: usize,
  factors: usize,
  list: usize,
  count: u32,
  query: usize,
  out: usize,
): void {
  for (let i: u32 = 0; i < count; i += 1) {
    const slot = load<u32>(list)
    const key = dot(rowAddress(rows, slot, bytes), query, bytes)
    store<f32>(out, -key * load<f32>(rowAddress(factors, slot, 4)))
    list += 4
    out += 4
  }
}

/** Writes `count` keys of consecutive rows to `out`: the squared Euclidean distance. */
export function squaredRun(rows: usize, bytes: usize, count: u32, query: usize, out: usize): void {
  for (let i: u32 = 0; i < count; i += 1) {
    store<f32>(out, squared(rows, query, bytes))
    rows += bytes
    out += 4
  }
}

/** As {@link squaredRun} for the slots of a list; `rows` is the region of block 0. */
export function squaredList(
  rows: usize,
  bytes: usize,
  list: usize,
  count: u32,
  query: usize,
  out: usize,
): void {
  for (let i: u32 = 0; i < count; i += 1) {
    store<f32>(out, squared(rowAddress(rows, load<u32>(list), bytes), query, bytes))
    list += 4
    out += 4
  }
}
