/**
 * Records and chance for the live benchmark. No I/O.
 */
import type { RecordInput } from '@agentic-flow/sqlite-vector'

/** mulberry32: numbers from 0 to below 1, the same for the same seed. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

export function randomVector(random: () => number, dimension: number): Float32Array {
  return Float32Array.from({ length: dimension }, () => random() - 0.5)
}

/** What the reader searches for. */
export function queryVector(dimension: number): Float32Array {
  return randomVector(randomFrom(1), dimension)
}

/** Angle to the query of record 0, and how much less each record has than the one before, in radians. */
const FIRST_ANGLE = 1.4
const ANGLE_STEP = 5e-5

/** Most records of {@link nearRecord}. */
export const NEAR_RECORDS_MAX = 24_000

/**
 * Record `index` is nearer to the query than every one before, so a search for few neighbours finds it, by a
 * distance that float32 tells apart: the angle falls by the same step each time.
 */
export function nearRecord(index: number, dimension: number): RecordInput {
  if (index >= NEAR_RECORDS_MAX) throw new RangeError(`only ${NEAR_RECORDS_MAX} records get nearer`)
  const query = unit(queryVector(dimension))
  const noise = randomVector(randomFrom(index + 2), dimension)
  const along = dot(noise, query)
  const across = unit(noise.map((value, at) => value - along * (query[at] ?? 0)))
  const angle = FIRST_ANGLE - index * ANGLE_STEP
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)]
  return {
    id: `near-${index}`,
    embedding: query.map((value, at) => cos * value + sin * (across[at] ?? 0)),
  }
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0)
}

function unit(vector: Float32Array): Float32Array {
  const length = Math.sqrt(dot(vector, vector))
  return vector.map((value) => value / length)
}
