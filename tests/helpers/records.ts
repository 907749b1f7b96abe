/**
 * Records and chance for tests: the same seed or index gives the same values everywhere.
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

/** Record number `index`: its id, vector and metadata follow from the index alone. */
export function testRecord(index: number, dimension: number): RecordInput {
  const random = randomFrom(index + 1)
  const embedding = Float32Array.from({ length: dimension }, () => random() - 0.5)
  return { id: `record-${index}`, embedding, metadata: { index } }
}
