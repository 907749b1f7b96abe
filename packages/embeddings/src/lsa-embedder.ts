/**
 * An embedder without a model or a network: latent semantic analysis, fitted on the texts that are
 * to be searched (Deerwester et al. 1990). tf-idf of words, then a truncated singular value
 * decomposition: words that occur in the same texts come to lie near one another. A text is the sum
 * of its words.
 *
 * The fitted embedder is a table of one vector per word, so it is kept as the records of a shard of
 * its own and replicates like any other ({@link saveLsaEmbedder}, {@link loadLsaEmbedder}). It
 * knows only words it was fitted on.
 */
import { createHash } from 'node:crypto'
import type { SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import { LSA_TEXTS_MAX, LSA_WORDS_MAX } from '@agentic-flow/sqlite-vector/limits'
import { integerIn, rejectUnknownKeys, shown } from '@agentic-flow/sqlite-vector/options'
import { rightSingularVectors, type SparseMatrix } from './svd.ts'
import type { Embedder } from './types.ts'
import { contentWords } from './words.ts'

/** A fitted embedder. */
export interface LsaEmbedder extends Embedder {
  /** Each word's vector, its weight included. */
  readonly words: ReadonlyMap<string, Float32Array>
  embed(texts: readonly string[]): readonly Float32Array[]
}

export interface FitLsaOptions {
  /**
   * Components of a vector, at most: few texts have fewer. Integer, 2 to 1,024. @defaultValue `128`
   */
  readonly dimension?: number
  /**
   * Words in fewer texts are left out. Integer, 1 to 1,000. @defaultValue `2`, or `1` below 200
   * texts
   */
  readonly textsOfWordMin?: number
}

/**
 * Fits an embedder on texts. The same texts give the same embedder.
 * @throws RangeError when the texts have no two words in common use
 */
export async function fitLsaEmbedder(
  texts: readonly string[],
  options: FitLsaOptions = {},
): Promise<LsaEmbedder> {
  rejectUnknownKeys('fitLsaEmbedder', options, ['dimension', 'textsOfWordMin'])
  const { dimension = 128, textsOfWordMin = texts.length < 200 ? 1 : 2 } = options
  integerIn('dimension', dimension, 2, 1_024)
  integerIn('textsOfWordMin', textsOfWordMin, 1, 1_000)
  if (texts.length > LSA_TEXTS_MAX) {
    throw new RangeError(
      `texts must be at most ${LSA_TEXTS_MAX}, got ${texts.length}: give a sample`,
    )
  }
  const counts = texts.map((text) => countsOf(text))
  const words = vocabularyOf(counts, textsOfWordMin)
  if (words.size < 2 || texts.length < 2) {
    throw new RangeError(
      `texts must have two words or more that ${textsOfWordMin} texts share, got ${shown(texts)}`,
    )
  }
  const matrix = matrixOf(counts, words)
  const { rank, vectors } = await rightSingularVectors(matrix, dimension)
  const table = new Map<string, Float32Array>()
  for (const [word, { index, weight }] of words) {
    const row = vectors.subarray(index * rank, (index + 1) * rank)
    table.set(
      word,
      Float32Array.from(row, (component) => component * weight),
    )
  }
  return lsaEmbedderOf(table, rank)
}

interface Word {
  readonly index: number
  /** Inverse document frequency. */
  readonly weight: number
}

function countsOf(text: string): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const word of contentWords(text)) counts.set(word, (counts.get(word) ?? 0) + 1)
  return counts
}

/** The words of enough texts, the most frequent ones where there are too many. */
function vocabularyOf(
  texts: readonly ReadonlyMap<string, number>[],
  textsMin: number,
): ReadonlyMap<string, Word> {
  const frequency = new Map<string, number>()
  for (const counts of texts) {
    for (const word of counts.keys()) frequency.set(word, (frequency.get(word) ?? 0) + 1)
  }
  const kept = [...frequency]
    .filter(([, count]) => count >= textsMin)
    .toSorted(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
    .slice(0, LSA_WORDS_MAX)
  return new Map(
    kept.map(([word, count], index) => [
      word,
      { index, weight: Math.log((1 + texts.length) / (0.5 + count)) },
    ]),
  )
}

/** One row per text: log tf × idf, of unit length. */
function matrixOf(
  texts: readonly ReadonlyMap<string, number>[],
  words: ReadonlyMap<string, Word>,
): SparseMatrix {
  const starts = new Uint32Array(texts.length + 1)
  const indexes: number[] = []
  const values: number[] = []
  for (const [row, counts] of texts.entries()) {
    const start = indexes.length
    let square = 0
    for (const [text, count] of counts) {
      const word = words.get(text)
      if (word === undefined) continue
      const value = frequencyWeight(count) * word.weight
      indexes.push(word.index)
      values.push(value)
      square += value * value
    }
    const scale = square === 0 ? 0 : 1 / Math.sqrt(square)
    for (let at = start; at < values.length; at += 1) values[at] = (values[at] ?? 0) * scale
    starts[row + 1] = indexes.length
  }
  return {
    rows: texts.length,
    columns: words.size,
    starts,
    indexes: Uint32Array.from(indexes),
    values: Float64Array.from(values),
  }
}

function frequencyWeight(count: number): number {
  return 1 + Math.log(count)
}

/** The embedder of a table of words that was kept elsewhere. */
export function lsaEmbedderOf(
  words: ReadonlyMap<string, Float32Array>,
  dimension: number,
): LsaEmbedder {
  const hash = createHash('sha256')
  for (const word of [...words.keys()].toSorted()) {
    hash.update(`${word}\0`).update(words.get(word) ?? new Float32Array())
  }
  const modelId = `lsa-${dimension}-${hash.digest('hex').slice(0, 16)}`
  return Object.freeze({
    modelId,
    dimension,
    batchTextsMax: 256,
    words,
    embed: (texts: readonly string[]) => texts.map((text) => embedOne(text, words, dimension)),
  })
}

function embedOne(
  text: string,
  words: ReadonlyMap<string, Float32Array>,
  dimension: number,
): Float32Array {
  const sum = new Float64Array(dimension)
  for (const [word, count] of countsOf(text)) {
    const vector = words.get(word)
    if (vector === undefined) continue
    const weight = frequencyWeight(count)
    for (let i = 0; i < dimension; i += 1) sum[i] = (sum[i] ?? 0) + weight * (vector[i] ?? 0)
  }
  const length = Math.hypot(...sum)
  // Without a known word every direction is as good; the last one is the least used.
  if (length === 0) sum[dimension - 1] = 1
  return Float32Array.from(sum, (component) => (length === 0 ? component : component / length))
}

/** Shard that keeps the words of the embedder of `shardId`. */
export function lsaShardOf(shardId: string): string {
  return `${shardId}.words`
}

/**
 * Keeps the embedder in the file, as shard `NAME.words`, where peers can sync it. Replaces nothing.
 * @throws SqliteVectorError `STORE_SHARD_MISMATCH` when another embedder is kept there
 */
export async function saveLsaEmbedder(
  db: SQLiteVectorDB,
  shardId: string,
  { words, dimension, modelId }: LsaEmbedder,
): Promise<void> {
  const name = lsaShardOf(shardId)
  db.createShard(name, { dimension, modelId, metric: 'l2' })
  const records = [...words].map(([id, embedding]) => ({ id, embedding }))
  await db.insertBatch(name, records, { mode: 'upsert' })
}

/**
 * The embedder that is kept for a shard, or null where there is none or its words have not all
 * arrived yet.
 */
export function loadLsaEmbedder(db: SQLiteVectorDB, shardId: string): LsaEmbedder | null {
  const name = lsaShardOf(shardId)
  const info = db.shards().find((shard) => shard.shardId === name)
  if (info === undefined) return null
  const words = new Map<string, Float32Array>()
  let cursor: string | null = null
  do {
    const page = db.list(name, { cursor, limit: 10_000, includeVectors: true })
    for (const { id, embedding } of page.records)
      if (embedding !== undefined) words.set(id, embedding)
    cursor = page.nextCursor
  } while (cursor !== null)
  const embedder = lsaEmbedderOf(words, info.dimension)
  return embedder.modelId === info.modelId ? embedder : null
}
