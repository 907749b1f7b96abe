/**
 * What a strategy must show, written a second time and as plainly as it can be: the simulator holds
 * the store's visible rows against this, so it shares no code with model/strategies.ts.
 *
 * Definitions: last-write-wins and manual show the largest (stamp, actor), first-write-wins the
 * smallest; merge ignores deletes while there is a put, takes metadata key by key and the text from
 * the later (stamp, actor), and the mean of the embeddings in the order of their dots.
 */
import type { ConflictSibling, ConflictValue } from '../../src/store/types.ts'
import type { ConflictStrategyName, Sibling } from '../../src/model/types.ts'

/** The strategies that have a name, and a function of a caller's. */
export type SimStrategy = ConflictStrategyName | 'function'

/** A caller's strategy: the put with the longest metadata, the first of equals; a delete if there is none. */
export function longestMetadata(siblings: readonly ConflictSibling[]): ConflictValue | null {
  let best: ConflictSibling['value'] = null
  for (const { value } of siblings) {
    if (value === null) continue
    if (best === null || metadataLength(value) > metadataLength(best)) best = value
  }
  return best
}

function metadataLength({ metadata }: { readonly metadata: object }): number {
  return JSON.stringify(metadata).length
}

/** A visible record. */
export interface VisibleRow {
  readonly metadata: string
  readonly text: string | null
  readonly embedding: Float32Array
}

export function referenceView(
  strategy: SimStrategy,
  siblings: readonly Sibling[],
  cosine: boolean,
): VisibleRow | null {
  if (siblings.length === 1) return rowOf(siblings[0])
  if (strategy === 'function') {
    const puts = siblings.toSorted(inDotOrder).filter((sibling) => sibling.value !== null)
    const longest = Math.max(...puts.map((put) => put.value?.metadata.length ?? 0))
    return rowOf(puts.find((put) => put.value?.metadata.length === longest))
  }
  const byTime = siblings.toSorted(laterLast)
  if (strategy === 'first-write-wins') return rowOf(byTime[0])
  if (strategy !== 'merge') return rowOf(byTime.at(-1))
  const puts = byTime.filter((sibling) => sibling.value !== null)
  const last = rowOf(puts.at(-1))
  if (puts.length < 2 || last === null) return last
  const metadata = new Map<string, unknown>()
  for (const put of puts) {
    for (const [key, value] of Object.entries(JSON.parse(put.value?.metadata ?? '{}') as object)) {
      metadata.set(key, value)
    }
  }
  return {
    metadata: `{${[...metadata].map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`,
    text: last.text,
    embedding: meanOf(puts, cosine) ?? last.embedding,
  }
}

function rowOf(sibling: Sibling | undefined): VisibleRow | null {
  const value = sibling?.value ?? null
  if (value === null || value.embedding === null) return null
  return { metadata: value.metadata, text: value.text, embedding: value.embedding }
}

function meanOf(puts: readonly Sibling[], cosine: boolean): Float32Array | null {
  const vectors = puts.toSorted(inDotOrder).map((put) => [...(put.value?.embedding ?? [])])
  const dimension = vectors[0]?.length ?? 0
  const sum = Array.from({ length: dimension }, (_, index) =>
    vectors.reduce((total, vector) => total + (vector[index] ?? 0), 0),
  )
  if (!cosine) return Float32Array.from(sum, (component) => component * (1 / vectors.length))
  const normTotal = vectors.reduce((total, vector) => total + norm(vector), 0)
  if (norm(sum) <= normTotal * 1e-6) return null
  const scale = normTotal / vectors.length / norm(sum)
  return Float32Array.from(sum, (component) => component * scale)
}

function norm(vector: readonly number[]): number {
  return Math.sqrt(vector.reduce((total, component) => total + component * component, 0))
}

function laterLast(a: Sibling, b: Sibling): number {
  return a.stamp.ms - b.stamp.ms || a.stamp.logical - b.stamp.logical || inDotOrder(a, b)
}

function inDotOrder(a: Sibling, b: Sibling): number {
  if (a.dot.actor !== b.dot.actor) return a.dot.actor < b.dot.actor ? -1 : 1
  return a.dot.counter - b.dot.counter
}
