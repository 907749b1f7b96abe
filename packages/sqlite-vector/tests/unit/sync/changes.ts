/**
 * Changes for tests, in short form. No tests here.
 */
import type { Change, Dot, RecordValue, Sibling, VersionVector } from '../../../src/model/types.ts'

export const ACTOR_A: string = 'a1'.repeat(16)
export const ACTOR_B: string = 'b2'.repeat(16)

export function dotOf(actor: string, counter: number): Dot {
  return { actor, counter }
}

export function put(dot: Dot, over: Partial<RecordValue> = {}): Sibling {
  const value: RecordValue = {
    embedding: Float32Array.of(0.25, -0.5, 1),
    embeddingDot: dot,
    metadata: '{"page":1}',
    text: null,
    ...over,
  }
  return { dot, stamp: { ms: 1_700_000_000_000 + dot.counter, logical: 0 }, value }
}

export function tombstone(dot: Dot): Sibling {
  return { dot, stamp: { ms: 1_700_000_000_000 + dot.counter, logical: 7 }, value: null }
}

export function changeOf(
  id: string,
  siblings: readonly Sibling[],
  context: VersionVector | null = null,
): Change {
  return { id, siblings, context }
}
