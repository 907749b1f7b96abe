/**
 * Conflict strategies: which record is visible, computed from its siblings. Pure.
 *
 * A strategy is a view. It never changes the replicated state, so replicas converge whatever their
 * strategies, and replicas with the same strategy show the same rows, byte for byte. Merging by
 * writing a merged value would be wrong: two replicas that both merge make a new conflict without
 * end.
 *
 * Not here: how siblings come about (conflict.ts) and where the view is kept
 * (store/feed/register.ts).
 */
import { must, unreachable } from '../assert.ts'
import { compareSiblings, firstWrite, lastWrite } from './merge.ts'
import type { ConflictStrategyName, RecordValue, Sibling } from './types.ts'

/** The strategies that have a name. */
export const CONFLICT_STRATEGIES: readonly ConflictStrategyName[] = [
  'last-write-wins',
  'first-write-wins',
  'merge',
  'manual',
]

/**
 * The view of `strategy` on `siblings` (two or more, in the order of their dots); null is a delete.
 * `unitNorm` rescales a merged embedding to the mean length of its sources, as cosine wants.
 */
export function viewOf(
  strategy: ConflictStrategyName,
  siblings: readonly Sibling[],
  unitNorm: boolean,
): RecordValue | null {
  switch (strategy) {
    // Manual shows the last write until a person decides; the conflict itself stays open.
    case 'last-write-wins':
    case 'manual':
      return lastWrite(siblings).value
    case 'first-write-wins':
      return firstWrite(siblings).value
    case 'merge':
      return mergedView(siblings, unitNorm)
    default:
      return unreachable(strategy)
  }
}

/**
 * The `merge` view: a put survives a concurrent delete; metadata key by key and the text, the later
 * (stamp, actor) winning; the embedding is the mean of the puts' in the order of their dots.
 */
function mergedView(siblings: readonly Sibling[], unitNorm: boolean): RecordValue | null {
  const puts = siblings.filter((sibling) => sibling.value !== null)
  if (puts.length === 0) return null
  const byTime = puts.toSorted(compareSiblings).map(({ value }) => must(value, 'a put'))
  const latest = must(byTime.at(-1), 'at least one put')
  if (puts.length === 1) return latest
  const embeddings = puts.map(({ value }) => must(value?.embedding, 'the embedding of a sibling'))
  return {
    ...latest,
    metadata: mergeMetadata(byTime.map(({ metadata }) => metadata)),
    embedding: meanEmbedding(embeddings, unitNorm) ?? latest.embedding,
  }
}

/** JSON objects merged key by key, a later one winning; keys in the order of first appearance. */
export function mergeMetadata(texts: readonly string[]): string {
  // Without a prototype, `__proto__` is a key like any other.
  const merged = Object.create(null) as Record<string, unknown>
  for (const text of texts) {
    for (const [key, value] of Object.entries(JSON.parse(text) as object)) merged[key] = value
  }
  return JSON.stringify(merged)
}

/** The mean, summed in float64 in the order given; null when the mean has no direction left. */
function meanEmbedding(
  embeddings: readonly Float32Array[],
  unitNorm: boolean,
): Float32Array | null {
  const dimension = must(embeddings[0], 'at least one embedding').length
  const sum = new Float64Array(dimension)
  let normSum = 0
  for (const embedding of embeddings) {
    let square = 0
    for (let index = 0; index < dimension; index += 1) {
      const component = embedding[index] as number
      sum[index] = (sum[index] as number) + component
      square += component * component
    }
    normSum += Math.sqrt(square)
  }
  let scale = 1 / embeddings.length
  if (unitNorm) {
    let square = 0
    for (const component of sum) square += component * component
    // Opposite vectors cancel out: a mean of rounding errors has no direction worth showing.
    if (Math.sqrt(square) <= normSum * 1e-6) return null
    scale = normSum / embeddings.length / Math.sqrt(square)
  }
  return Float32Array.from(sum, (component) => component * scale)
}
