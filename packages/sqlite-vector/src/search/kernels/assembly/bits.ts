/**
 * Keys over bit rows: the Hamming distance to the query's bits, as float32 (exact up to 2^24).
 *
 * Words of 64 bits and the scalar popcnt: on x86 without AVX-512 the SIMD popcnt is a table look-up
 * of several instructions. Rows and query are padded with zero bits to a multiple of 64.
 */
import { rowAddress } from './layout'

function hamming(row: usize, query: usize, bytes: usize): f32 {
  let a: i64 = 0
  let b: i64 = 0
  let i: usize = 0
  for (; i + 16 <= bytes; i += 16) {
    a += popcnt<i64>(load<i64>(row + i) ^ load<i64>(query + i))
    b += popcnt<i64>(load<i64>(row + i, 8) ^ load<i64>(query + i, 8))
  }
  if (i < bytes) a += popcnt<i64>(load<i64>(row + i) ^ load<i64>(query + i))
  return <f32>(<i32>(a + b))
}

/** Writes `count` keys of consecutive rows to `out`. */
export function bitsRun(rows: usize, bytes: usize, count: u32, query: usize, out: usize): void {
  for (let i: u32 = 0; i < count; i += 1) {
    store<f32>(out, hamming(rows, query, bytes))
    rows += bytes
    out += 4
  }
}

/** As {@link bitsRun} for the slots of a list; `rows` is the region of block 0. */
export function bitsList(
  rows: usize,
  bytes: usize,
  list: usize,
  count: u32,
  query: usize,
  out: usize,
): void {
  for (let i: u32 = 0; i < count; i += 1) {
    store<f32>(out, hamming(rowAddress(rows, load<u32>(list), bytes), query, bytes))
    list += 4
    out += 4
  }
}
