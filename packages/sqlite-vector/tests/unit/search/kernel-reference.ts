/**
 * The result of each kernel, as plain TypeScript: the definition the compiled code is compared
 * with.
 *
 * Scalar, in double precision, one row at a time. Kernels sum float32 in another order, so float
 * keys agree within rounding; integers and bits agree exactly.
 */

/** Key of a float32 row under dot and cosine: minus the dot product, times the row's factor. */
export function dotKey(row: Float32Array, query: Float32Array, factor: number): number {
  let sum = 0
  for (let i = 0; i < row.length; i += 1) sum += (row[i] ?? 0) * (query[i] ?? 0)
  return -sum * factor
}

/** Key of a float32 row under L2: the squared distance. */
export function squaredKey(row: Float32Array, query: Float32Array): number {
  let sum = 0
  for (let i = 0; i < row.length; i += 1) sum += ((row[i] ?? 0) - (query[i] ?? 0)) ** 2
  return sum
}

/** The integer product that an int8 key is made of: exact. */
export function int8Product(row: Int8Array, query: Int16Array): number {
  let sum = 0
  for (let i = 0; i < row.length; i += 1) sum += (row[i] ?? 0) * (query[i] ?? 0)
  return sum
}

/**
 * Key of an int8 row: offset − gain × scale × product, rounded to float32 after every operation.
 */
export function int8Key(
  row: Int8Array,
  query: Int16Array,
  scale: number,
  offset: number,
  gain: number,
): number {
  const scaled = Math.fround(scale * Math.fround(int8Product(row, query)))
  return Math.fround(offset - Math.fround(Math.fround(gain) * scaled))
}

/** Key of a bit row: the number of bits that differ. */
export function hammingKey(row: Uint8Array, query: Uint8Array): number {
  let count = 0
  for (let i = 0; i < row.length; i += 1) {
    for (let byte = (row[i] ?? 0) ^ (query[i] ?? 0); byte !== 0; byte &= byte - 1) count += 1
  }
  return count
}

/** The bits of a row, least significant first: 1 where row × scale > threshold, in float32. */
export function bitsOf(row: Float32Array, thresholds: Float32Array, scale: number): Uint8Array {
  const bits = new Uint8Array(Math.ceil(row.length / 64) * 8)
  for (let i = 0; i < row.length; i += 1) {
    if (Math.fround((row[i] ?? 0) * scale) <= (thresholds[i] ?? 0)) continue
    bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7))
  }
  return bits
}

/** A row as int8 codes and what they stand for: centre + scale × step × code. */
export interface Int8Row {
  readonly codes: Int8Array
  readonly scale: number
  /** Squared length of scale × step × code. */
  readonly squares: number
}

/** The int8 codes of a row whose components were multiplied by `factor` already or by 1. */
export function int8Of(
  row: Float32Array,
  centre: Float32Array,
  step: Float32Array,
  factor: number,
): Int8Row {
  const scaled = Array.from(row, (value, i) => (value * factor - (centre[i] ?? 0)) / (step[i] ?? 1))
  const largest = scaled.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  const scale = largest / 127
  const codes = Int8Array.from(scaled, (value) => (scale === 0 ? 0 : Math.round(value / scale)))
  let squares = 0
  for (let i = 0; i < codes.length; i += 1) {
    squares += (scale * (step[i] ?? 0) * (codes[i] ?? 0)) ** 2
  }
  return { codes, scale, squares }
}

/** The `capacity` smallest keys, ascending. */
export function smallestKeys(keys: readonly number[], capacity: number): number[] {
  return keys.toSorted((a, b) => a - b).slice(0, capacity)
}

/** Slots of the bits set in `mask`, ascending. */
export function maskSlots(mask: Uint8Array, first: number): number[] {
  const slots: number[] = []
  for (let i = 0; i < mask.length * 8; i += 1) {
    if ((((mask[i >> 3] ?? 0) >> (i & 7)) & 1) === 1) slots.push(first + i)
  }
  return slots
}
