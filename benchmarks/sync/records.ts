/**
 * The records that both sides of the sync benchmark move. Seeded, so every process makes the same.
 */
import type { RecordInput } from '@agentic-flow/sqlite-vector'

export const DIMENSION = 384

/** Unit vectors and a small JSON each. */
export function makeRecords(count: number): readonly RecordInput[] {
  let seed = 42
  const random = (): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    return seed / 2 ** 32
  }
  return Array.from({ length: count }, (_, index) => {
    const embedding = Float32Array.from({ length: DIMENSION }, () => random() - 0.5)
    const norm = Math.hypot(...embedding)
    return {
      id: `record-${index}`,
      embedding: embedding.map((component) => component / norm),
      metadata: { source: `document-${index % 97}.md`, page: index % 13, language: 'en' },
    }
  })
}

/** Bytes of what is in the records: ids, embeddings, metadata. */
export function rawBytes(records: readonly RecordInput[]): number {
  return records.reduce(
    (sum, { id, metadata }) =>
      sum + Buffer.byteLength(id) + Buffer.byteLength(JSON.stringify(metadata)) + DIMENSION * 4,
    0,
  )
}
