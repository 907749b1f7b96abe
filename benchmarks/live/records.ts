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

/** Record `index` is nearer to the query than every one before: a search for few neighbours finds it. */
export function nearRecord(index: number, dimension: number): RecordInput {
  const query = queryVector(dimension)
  const noise = randomVector(randomFrom(index + 2), dimension)
  const scale = 1 / (index + 1)
  return {
    id: `near-${index}`,
    embedding: query.map((value, at) => value + (noise[at] ?? 0) * scale),
  }
}
