/**
 * Keys over bit rows: the Hamming distance to the query's bits, as float32 (exact up to 2^24).
 *
 * Words of 64 bits and the scalar popcnt: on x86 without AVX-512 the SIMD popcnt is a table look-up
 * of several instructions. Rows and query are padded with zero bits to a multiple of 64.
 *
 * A run goes over its rows once per tile of six words (384 bits), then of two, then of one, so that
 * the query's words stay in registers: 2.3 ns a row of 384 bits against 6 ns when they are loaded
 * for each row.
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

/** Adds what six words of each row differ by to its key. */
function tile6(rows: usize, bytes: usize, count: u32, query: usize, out: usize): void {
  const a = load<i64>(query)
  const b = load<i64>(query, 8)
  const c = load<i64>(query, 16)
  const d = load<i64>(query, 24)
  const e = load<i64>(query, 32)
  const f = load<i64>(query, 40)
  for (let i: u32 = 0; i < count; i += 1) {
    const differing =
      popcnt<i64>(load<i64>(rows) ^ a) +
      popcnt<i64>(load<i64>(rows, 8) ^ b) +
      popcnt<i64>(load<i64>(rows, 16) ^ c) +
      popcnt<i64>(load<i64>(rows, 24) ^ d) +
      popcnt<i64>(load<i64>(rows, 32) ^ e) +
      popcnt<i64>(load<i64>(rows, 40) ^ f)
    store<f32>(out, load<f32>(out) + <f32>(<i32>differing))
    rows += bytes
    out += 4
  }
}

/** Adds what two words of each row differ by to its key. */
function tile2(rows: usize, bytes: usize, count: u32, query: usize, out: usize): void {
  const a = load<i64>(query)
  const b = load<i64>(query, 8)
  for (let i: u32 = 0; i < count; i += 1) {
    const differing = popcnt<i64>(load<i64>(rows) ^ a) + popcnt<i64>(load<i64>(rows, 8) ^ b)
    store<f32>(out, load<f32>(out) + <f32>(<i32>differing))
    rows += bytes
    out += 4
  }
}

/** Adds what one word of each row differs by to its key. */
function tile1(rows: usize, bytes: usize, count: u32, query: usize, out: usize): void {
  const a = load<i64>(query)
  for (let i: u32 = 0; i < count; i += 1) {
    store<f32>(out, load<f32>(out) + <f32>(<i32>popcnt<i64>(load<i64>(rows) ^ a)))
    rows += bytes
    out += 4
  }
}

/** Writes `count` keys of consecutive rows to `out`. */
export function bitsRun(rows: usize, bytes: usize, count: u32, query: usize, out: usize): void {
  memory.fill(out, 0, (<usize>count) << 2)
  let at: usize = 0
  for (; at + 48 <= bytes; at += 48) tile6(rows + at, bytes, count, query + at, out)
  for (; at + 16 <= bytes; at += 16) tile2(rows + at, bytes, count, query + at, out)
  if (at < bytes) tile1(rows + at, bytes, count, query + at, out)
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
