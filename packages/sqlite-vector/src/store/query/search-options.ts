/**
 * Options of searches: the only place where defaults meet a caller's options.
 */
import { K_MAX, QUERY_TEXT_BYTES_MAX } from '../../limits.ts'
import { utf8ByteLength } from '../../bytes.ts'
import { booleanGiven, integerIn, numberIn, objectGiven, rejectUnknownKeys } from '../../options.ts'
import { shown } from '../../options.ts'
import { type Condition, parseFilter } from '../../search/filter.ts'
import { CANDIDATES_MAX } from '../../search/memory-layout.ts'
import type { HybridOptions, MmrOptions, RecallOptions, TextSearchOptions } from './types.ts'
import { type SearchOptions } from './types.ts'
import { type VectorInput } from '../../model/records.ts'

/** Options of a search, checked. */
export interface ResolvedSearch {
  readonly k: number
  readonly threshold: number
  readonly includeVectors: boolean
  readonly condition: Condition | null
  readonly exact: boolean
  readonly rescore: number | null
  readonly mmr: { readonly lambda: number; readonly candidates: number } | null
  readonly groupBy: string | null
}

/** `hybrid()`, checked. */
export interface ResolvedHybrid {
  readonly text: string
  readonly vector: VectorInput
  readonly k: number
  readonly weights: { readonly text: number; readonly vector: number }
  /** The search for the vector's side, `depth` deep. */
  readonly search: ResolvedSearch
}

const SEARCH_KEYS = [
  'k',
  'threshold',
  'includeVectors',
  'filter',
  'exact',
  'rescore',
  'mmr',
  'groupBy',
]

/** Queries of one `recall()`, at most. */
const RECALL_QUERIES_MAX = 1_000

/** Checks the options of `search()` and its like; messages name the method `caller`. */
export function resolveSearch(given: SearchOptions, caller = 'search'): ResolvedSearch {
  objectGiven(`${caller}: options`, given)
  rejectUnknownKeys(caller, given, SEARCH_KEYS)
  const { k = 10, threshold = Infinity, includeVectors = false, exact = false } = given
  const { filter, rescore = null, mmr, groupBy = null } = given
  integerIn('k', k, 1, K_MAX)
  if (typeof threshold !== 'number') {
    throw new TypeError(`threshold must be a number, got ${shown(threshold)}`)
  }
  if (Number.isNaN(threshold)) throw new RangeError('threshold must be a distance, got NaN')
  booleanGiven('includeVectors', includeVectors)
  booleanGiven('exact', exact)
  if (groupBy !== null && typeof groupBy !== 'string') {
    throw new TypeError(`groupBy must be a path of the metadata, got ${shown(groupBy)}`)
  }
  if (groupBy !== null && mmr !== undefined) {
    throw new TypeError('groupBy and mmr exclude each other')
  }
  if (rescore !== null) integerIn('rescore', rescore, 1, CANDIDATES_MAX)
  return Object.freeze({
    k,
    threshold,
    includeVectors,
    condition: filter === undefined ? null : parseFilter(filter),
    exact,
    rescore,
    mmr: mmr === undefined ? null : resolveMmr(mmr, k),
    groupBy,
  })
}

/** Checks the options of `hybrid()`. */
export function resolveHybrid(given: HybridOptions): ResolvedHybrid {
  objectGiven('hybrid: options', given)
  const keys = ['text', 'vector', 'k', 'weights', 'depth', 'includeVectors', 'filter', 'exact']
  rejectUnknownKeys('hybrid', given, [...keys, 'rescore'])
  const { text, vector, k = 10, weights = {}, depth, ...search } = given
  queryTextGiven(text)
  integerIn('k', k, 1, K_MAX)
  const deep = depth ?? Math.min(K_MAX, Math.max(4 * k, 100))
  integerIn('depth', deep, k, K_MAX)
  objectGiven('weights', weights)
  rejectUnknownKeys('weights', weights, ['text', 'vector'])
  const { text: textWeight = 1, vector: vectorWeight = 1 } = weights
  numberIn('weights.text', textWeight, 0, 1e6)
  numberIn('weights.vector', vectorWeight, 0, 1e6)
  if (textWeight + vectorWeight === 0) throw new RangeError('weights must not both be 0')
  return Object.freeze({
    text,
    vector,
    k,
    weights: { text: textWeight, vector: vectorWeight },
    search: resolveSearch({ ...search, k: deep }, 'hybrid'),
  })
}

/** Checks the text of a query. @throws TypeError, RangeError */
export function queryTextGiven(text: unknown): asserts text is string {
  if (typeof text !== 'string') throw new TypeError(`text must be a string, got ${shown(text)}`)
  const bytes = text.length * 3 <= QUERY_TEXT_BYTES_MAX ? 0 : utf8ByteLength(text)
  if (bytes > QUERY_TEXT_BYTES_MAX) {
    throw new RangeError(
      `text must be at most ${QUERY_TEXT_BYTES_MAX} UTF-8 bytes, got ${bytes}; search for a part of it`,
    )
  }
}

/** Checks the options of `searchText()`. */
export function resolveTextSearch(given: TextSearchOptions): {
  readonly k: number
  readonly condition: Condition | null
} {
  objectGiven('searchText: options', given)
  rejectUnknownKeys('searchText', given, ['k', 'filter'])
  const { k = 10, filter } = given
  integerIn('k', k, 1, K_MAX)
  return Object.freeze({ k, condition: filter === undefined ? null : parseFilter(filter) })
}

/** Checks the options of `recall()`. */
export function resolveRecall(given: RecallOptions): {
  readonly queries: readonly VectorInput[] | null
  readonly sample: number
  readonly search: ResolvedSearch
} {
  objectGiven('recall: options', given)
  rejectUnknownKeys('recall', given, ['queries', 'sample', 'k', 'filter', 'rescore'])
  const { queries = null, sample = 50, ...search } = given
  if (queries !== null && !Array.isArray(queries)) {
    throw new TypeError(`queries must be an array of vectors, got ${shown(queries)}`)
  }
  if (queries !== null) integerIn('queries.length', queries.length, 1, RECALL_QUERIES_MAX)
  integerIn('sample', sample, 1, RECALL_QUERIES_MAX)
  return Object.freeze({ queries, sample, search: resolveSearch(search, 'recall') })
}

function resolveMmr(given: MmrOptions, k: number): { lambda: number; candidates: number } {
  objectGiven('mmr', given)
  rejectUnknownKeys('mmr', given, ['lambda', 'candidates'])
  const { lambda = 0.5, candidates = Math.min(K_MAX, Math.max(4 * k, 50)) } = given
  numberIn('mmr.lambda', lambda, 0, 1)
  integerIn('mmr.candidates', candidates, k, K_MAX)
  return Object.freeze({ lambda, candidates })
}
