/**
 * The ranking of an answer: by vector, by words, or both fused by reciprocal ranks; texts without a
 * vector take part in the ranking by words. Works on one state of the file.
 */
import type { Filter, SQLiteVectorDB, VectorInput, VectorRecord } from '@agentic-flow/sqlite-vector'
import type { AskResult } from './types.ts'

export interface AskRequest {
  /** null where there is no such shard yet. */
  readonly shardId: string | null
  /** null where no text waits for a vector. */
  readonly waitingId: string | null
  /** The words that count; null ranks by vector alone. */
  readonly question: string | null
  /** null ranks by words alone. */
  readonly vector: VectorInput | null
  readonly k: number
  readonly filter: Filter | undefined
}

/**
 * How much each ranking counts. Measured on the judged questions of tests/quality: a question in
 * whole sentences is told better by its vector than by its words.
 */
export const ASK_WEIGHTS: { readonly text: number; readonly vector: number } = Object.freeze({
  text: 0.25,
  vector: 1,
})

/** Cormack, Clarke and Büttcher 2009: score = Σ 1 / (60 + rank). */
const RRF_CONSTANT = 60

/** The `k` best, best first. */
export function askShard(db: SQLiteVectorDB, request: AskRequest): readonly AskResult[] {
  const { shardId, waitingId, question, vector, k, filter } = request
  const filtered = filter === undefined ? {} : { filter }
  if (shardId !== null && waitingId === null) return askOne(db, shardId, request)
  return db.transaction(() => {
    const depth = Math.min(10_000, Math.max(4 * k, 100))
    const byVector =
      vector === null || shardId === null
        ? []
        : db.search(shardId, vector, { k: depth, ...filtered })
    // Words are weighed by the texts of a shard, so scores of two shards are not compared, only
    // ranks.
    const shards = [shardId, waitingId].filter((shard) => shard !== null)
    const byText =
      question === null
        ? []
        : shards.map((shard) => db.searchText(shard, question, { k: depth, ...filtered }))
    return fused(
      [
        { ranking: byVector, weight: ASK_WEIGHTS.vector },
        ...byText.map((ranking) => ({ ranking, weight: ASK_WEIGHTS.text })),
      ],
      k,
    )
  })
}

function askOne(
  db: SQLiteVectorDB,
  shardId: string,
  { question, vector, k, filter }: AskRequest,
): readonly AskResult[] {
  const options = { k, ...(filter === undefined ? {} : { filter }) }
  if (vector === null) {
    return db
      .searchText(shardId, question ?? '', options)
      .map((found) => result(found, found.score, null))
  }
  if (question === null) {
    return db
      .search(shardId, vector, options)
      .map((found) => result(found, found.score, found.distance))
  }
  return db
    .hybrid(shardId, { ...options, text: question, vector, weights: ASK_WEIGHTS })
    .map((found) => result(found, found.score, found.distance))
}

interface Ranked extends VectorRecord {
  readonly distance?: number
}

interface Weighted {
  readonly ranking: readonly Ranked[]
  readonly weight: number
}

function fused(rankings: readonly Weighted[], k: number): readonly AskResult[] {
  const found = new Map<string, AskResult>()
  for (const { ranking, weight } of rankings) {
    for (const [index, record] of ranking.entries()) {
      const before = found.get(record.id)
      const score = (before?.score ?? 0) + weight / (RRF_CONSTANT + index + 1)
      const distance = record.distance ?? before?.distance ?? null
      found.set(record.id, result(record, score, distance))
    }
  }
  return [...found.values()]
    .toSorted((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1))
    .slice(0, k)
}

function result(
  { id, text, metadata }: VectorRecord,
  score: number,
  distance: number | null,
): AskResult {
  return { id, text, metadata, score, distance }
}
