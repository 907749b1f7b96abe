/**
 * Keys over int8 rows against an int16 query: offset − gain × scale × (row · query).
 *
 * One form serves every metric (search/quantizer.ts says how): the row's scale and offset are the
 * first two float32 of its correction. The query is int16 because widening the row is needed
 * anyway, and it makes the query's rounding negligible; the caller bounds it so that int32 lanes
 * cannot overflow. Rows and query are padded with zeros to a multiple of sixteen components.
 */
import { CORRECTION_BYTES, rowAddress, touchRows } from './layout'

function dot(row: usize, query: usize, bytes: usize): i32 {
  let low = i32x4.splat(0)
  let high = i32x4.splat(0)
  for (let i: usize = 0; i < bytes; i += 16) {
    const codes = v128.load(row + i)
    const at = query + (i << 1)
    low = i32x4.add(low, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(codes), v128.load(at)))
    high = i32x4.add(high, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(codes), v128.load(at, 16)))
  }
  const both = i32x4.add(low, high)
  return (
    i32x4.extract_lane(both, 0) +
    i32x4.extract_lane(both, 1) +
    i32x4.extract_lane(both, 2) +
    i32x4.extract_lane(both, 3)
  )
}

/** Writes `count` keys of consecutive rows to `out`. */
export function int8Run(
  rows: usize,
  bytes: usize,
  corrections: usize,
  count: u32,
  query: usize,
  gain: f32,
  out: usize,
): void {
  for (let i: u32 = 0; i < count; i += 1) {
    const product = <f32>dot(rows, query, bytes)
    store<f32>(out, load<f32>(corrections, 4) - gain * (load<f32>(corrections) * product))
    rows += bytes
    corrections += CORRECTION_BYTES
    out += 4
  }
}

/** As {@link int8Run} for the slots of a list; `rows` and `corrections` are regions of block 0. */
export function int8List(
  rows: usize,
  bytes: usize,
  corrections: usize,
  list: usize,
  count: u32,
  query: usize,
  gain: f32,
  out: usize,
): void {
  while (count > 0) {
    touchRows(corrections, CORRECTION_BYTES, list, count, out)
    const next = touchRows(rows, bytes, list, count, out)
    for (let i: u32 = 0; i < next; i += 1) {
      const slot = load<u32>(list)
      const product = <f32>dot(rowAddress(rows, slot, bytes), query, bytes)
      const correction = rowAddress(corrections, slot, CORRECTION_BYTES)
      store<f32>(out, load<f32>(correction, 4) - gain * (load<f32>(correction) * product))
      list += 4
      out += 4
    }
    count -= next
  }
}
