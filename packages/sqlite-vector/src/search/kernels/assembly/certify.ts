/**
 * Bounds on distances from int8 codes: which rows of a scan can be among the k nearest, proven.
 *
 * A row lies within `error` (the third float32 of its correction) of the vector that its codes
 * stand for. So its distance from the query lies between a lower and an upper bound, in units of
 * the key (dot, cosine) or of the distance (L2):
 *
 *   dot, cosine   key ± (weight × error + slope × f + gamma × |key|)
 *   L2            √(base + key ± rounding) ± error
 *
 * `weight` is the length of the query, `base` its squared distance from the centre, `slope` × f
 * bounds the rounding of the query's int16, `gamma` that of float32 sums. A heap keeps the k
 * smallest upper bounds: a row whose lower bound is above the largest of them is not among the k
 * nearest. The others are written to a list:
 *
 * | bytes | list                                        |
 * | ----- | ------------------------------------------- |
 * | 4     | u32 entries held                            |
 * | 4     | u32 capacity                                |
 * | 4     | u32 1 when an entry was lost: no room       |
 * | 4     | unused                                      |
 * | 8 × n | f32 lower bound, u32 slot, in no order      |
 */
import { CORRECTION_BYTES, rowAddress } from './layout'
import { ENTRIES, offer } from './select'

let square: bool = false
let base: f32 = 0
let weight: f32 = 0
let slope: f32 = 0
let gamma: f32 = 0

/** Sets the query of the following calls. */
export function certifyQuery(l2: bool, from: f32, length: f32, rounding: f32, sums: f32): void {
  square = l2
  base = from
  weight = length
  slope = rounding
  gamma = sums
}

/** Empties the list at `list` and gives it room for `capacity` entries. */
export function listReset(list: usize, capacity: u32): void {
  store<u32>(list, 0)
  store<u32>(list, capacity, 4)
  store<u32>(list, 0, 8)
}

function boundOf(key: f32, correction: usize, sign: f32): f32 {
  const rounding = slope * load<f32>(correction)
  const error = load<f32>(correction, 8)
  if (!square) return key + sign * (weight * error + rounding + gamma * abs<f32>(key))
  const sums = gamma * (load<f32>(correction, 4) + abs<f32>(key) + base)
  return sqrt<f32>(max<f32>(0, base + key + sign * (rounding + sums))) + sign * error
}

/** Drops the entries above `bound`. */
function compact(list: usize, bound: f32): void {
  const count = load<u32>(list)
  let to = list + ENTRIES
  for (let i: u32 = 0; i < count; i += 1) {
    const from = list + ENTRIES + ((<usize>i) << 3)
    if (load<f32>(from) > bound) continue
    store<u64>(to, load<u64>(from))
    to += 8
  }
  store<u32>(list, <u32>((to - list - ENTRIES) >> 3))
}

function append(list: usize, lower: f32, slot: u32, bound: f32): void {
  if (load<u32>(list) === load<u32>(list, 4)) {
    if (load<u32>(list, 8) !== 0) return
    compact(list, bound)
    // Compacting again for each further row would take the square of the rows.
    if (load<u32>(list) > load<u32>(list, 4) - (load<u32>(list, 4) >> 3)) {
      store<u32>(list, 1, 8)
      return
    }
  }
  const count = load<u32>(list)
  const at = list + ENTRIES + ((<usize>count) << 3)
  store<f32>(at, lower)
  store<u32>(at, slot, 4)
  store<u32>(list, count + 1)
}

/** Offers `count` keys of consecutive slots, the first of which is `first`. */
export function certifyRun(
  keys: usize,
  corrections: usize,
  count: u32,
  first: u32,
  heap: usize,
  list: usize,
): void {
  let bound = load<f32>(heap, 8)
  for (let i: u32 = 0; i < count; i += 1) {
    const key = load<f32>(keys)
    const lower = boundOf(key, corrections, -1)
    if (lower <= bound) {
      append(list, lower, first + i, bound)
      const upper = boundOf(key, corrections, 1)
      if (upper < bound) bound = offer(heap, upper, first + i)
    }
    keys += 4
    corrections += CORRECTION_BYTES
  }
}

/** As {@link certifyRun} for the slots of a list; `corrections` is the region of block 0. */
export function certifyList(
  keys: usize,
  corrections: usize,
  slots: usize,
  count: u32,
  heap: usize,
  list: usize,
): void {
  let bound = load<f32>(heap, 8)
  for (let i: u32 = 0; i < count; i += 1) {
    const slot = load<u32>(slots + ((<usize>i) << 2))
    const key = load<f32>(keys + ((<usize>i) << 2))
    const correction = rowAddress(corrections, slot, CORRECTION_BYTES)
    const lower = boundOf(key, correction, -1)
    if (lower > bound) continue
    append(list, lower, slot, bound)
    const upper = boundOf(key, correction, 1)
    if (upper < bound) bound = offer(heap, upper, slot)
  }
}
