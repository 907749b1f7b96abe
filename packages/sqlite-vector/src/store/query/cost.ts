/**
 * The price of a read, known before any of it is paid: work and memory that grow with a product of
 * arguments, each of which is within its own bound.
 */
import { SqliteVectorError } from '../../errors.ts'
import { ANSWER_VECTOR_BYTES_MAX, BATCH_RESULTS_MAX, MMR_COMPONENTS_MAX } from '../../limits.ts'

/** The arguments that decide what a search costs. */
interface SearchCost {
  readonly k: number
  readonly includeVectors: boolean
  readonly mmr: { readonly candidates: number } | null
}

/** The part of a shard's row that decides what a read costs. */
interface CostlyShard {
  readonly dimension: number
  readonly record_count: number
}

/** @throws SqliteVectorError `STORE_QUERY_TOO_COSTLY` naming the bound */
export function refuseCostlySearch(shard: CostlyShard, search: SearchCost, queries: number): void {
  const { dimension, record_count: count } = shard
  const results = queries * Math.min(search.k, count)
  if (results > BATCH_RESULTS_MAX) {
    throw tooCostly(
      `${queries} searches with k ${search.k} give up to ${results} records`,
      `${BATCH_RESULTS_MAX} records (BATCH_RESULTS_MAX)`,
    )
  }
  if (search.includeVectors) refuseCostlyVectors(dimension, results)
  if (search.mmr === null) return
  const candidates = Math.min(search.mmr.candidates, count)
  // A comparison costs as much as 64 components, however few it compares.
  const pairs = queries * Math.min(search.k, candidates) * candidates
  const components = pairs * Math.max(dimension, 64)
  if (components > MMR_COMPONENTS_MAX) {
    throw tooCostly(
      `mmr with k ${search.k} of ${candidates} candidates at ${dimension} dimensions` +
        `${queries === 1 ? '' : `, ${queries} times,`} compares ${components} components`,
      `${MMR_COMPONENTS_MAX} components (MMR_COMPONENTS_MAX)`,
    )
  }
}

/** @throws SqliteVectorError `STORE_QUERY_TOO_COSTLY` when the vectors of `records` fill memory */
export function refuseCostlyVectors(dimension: number, records: number): void {
  if (records <= vectorsInAnswer(dimension)) return
  throw tooCostly(
    `${records} records with vectors of ${dimension} dimensions take ${records * dimension * 4} bytes`,
    `${ANSWER_VECTOR_BYTES_MAX} bytes (ANSWER_VECTOR_BYTES_MAX), ` +
      `${vectorsInAnswer(dimension)} records`,
  )
}

/** Records whose vectors fit one answer. */
export function vectorsInAnswer(dimension: number): number {
  return Math.floor(ANSWER_VECTOR_BYTES_MAX / (4 * dimension))
}

function tooCostly(cost: string, bound: string): SqliteVectorError {
  return new SqliteVectorError('STORE_QUERY_TOO_COSTLY', `${cost}; the bound is ${bound}`)
}
