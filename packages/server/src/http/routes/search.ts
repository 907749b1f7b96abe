/**
 * Routes for search: by vector, by text, by both, by filter; and the plan of a search.
 */
import { setImmediate as turn } from 'node:timers/promises'
import type {
  Filter,
  HybridOptions,
  SearchOptions,
  TextSearchOptions,
  SearchResult,
  SQLiteVectorDB,
  VectorInput,
} from '@agentic-flow/sqlite-vector'
import type { NodeContext } from '../context.ts'
import { plain, recordJson } from '../json.ts'
import { HttpError } from '../errors.ts'
import { Items } from '../json-parts.ts'
import type { Call, JsonSchema, Route } from '../route.ts'
import {
  count,
  filter,
  flag,
  listOf,
  metadata,
  nullableText,
  object,
  text,
  vector,
} from '../schemas.ts'

/** Most vectors per request; each is one search. */
const VECTORS_MAX = 100

/** Most results of a batch together; a search of the library has the same bound. */
const BATCH_RESULTS_MAX = 20_000

/** Results up to here need no reservation: they leave at once. */
const FEW_RESULTS = 100

/** Work between two turns of the event loop that a batch aims at, in milliseconds. */
const SLICE_MS = 20

const SHARD = '/v1/shards/{shard}'
const number: JsonSchema = { type: 'number' }
const nullableNumber: JsonSchema = { type: ['number', 'null'] }

const modeOptions = {
  filter,
  exact: { ...flag, description: 'Compare every record; recall is 1.' },
  rescore: { type: 'integer', minimum: 1, maximum: 65_536 },
}

const k: JsonSchema = { type: 'integer', minimum: 1, maximum: 10_000, default: 10 }

const searchOptions = {
  k,
  threshold: { ...number, description: 'Largest distance of a result.' },
  includeVectors: flag,
  mmr: object({ lambda: number, candidates: count }, []),
  ...modeOptions,
}

const hybridOptions = {
  text,
  vector,
  k,
  weights: object({ text: number, vector: number }, []),
  depth: count,
  includeVectors: flag,
  ...modeOptions,
}

function foundWith(extra: Readonly<Record<string, JsonSchema>>): JsonSchema {
  const found = { id: text, metadata, text: nullableText, ...extra }
  return object({ ...found, embedding: vector }, Object.keys(found))
}

const found = foundWith({ distance: number, score: number })

function results(item: JsonSchema): JsonSchema {
  return object({ results: listOf(item) })
}

export function searchRoutes(context: NodeContext): readonly Route[] {
  return [...byVector(context), ...byText(context), ...others(context)]
}

function byVector({ db, metrics }: NodeContext): readonly Route[] {
  return [
    {
      method: 'POST',
      path: `${SHARD}/query`,
      id: 'query',
      tag: 'search',
      summary: 'Searches the k records nearest to a vector, nearest first.',
      access: 'read',
      body: object({ vector, ...searchOptions }, ['vector']),
      answer: { status: 200, description: 'Smaller distances are nearer.', schema: results(found) },
      errors: ['STORE_SHARD_UNKNOWN', 'STORE_DIMENSION_MISMATCH'],
      run: (call) => {
        const { vector: near, ...options } = call.body as {
          readonly vector: VectorInput
        } & SearchOptions
        const shardId = call.params['shard'] ?? ''
        reserve(db, call, options, 1)
        return metrics.store.query('vector', () => ({
          results: new Items(db.search(shardId, near, options), recordJson),
        }))
      },
    },
    {
      method: 'POST',
      path: `${SHARD}/query-batch`,
      id: 'queryBatch',
      tag: 'search',
      summary: 'Searches for up to 100 vectors; each sees the latest state of the file.',
      access: 'read',
      body: object({ vectors: { ...listOf(vector, VECTORS_MAX), minItems: 1 }, ...searchOptions }, [
        'vectors',
      ]),
      answer: {
        status: 200,
        description: 'Results of each vector, in the order of the vectors.',
        schema: object({ batches: listOf(listOf(found)) }),
      },
      run: (call) => {
        const given = call.body as { readonly vectors: readonly VectorInput[] } & SearchOptions
        const { vectors, ...options } = given
        reserve(db, call, options, vectors.length)
        return metrics.store.queryInTurns('vector-batch', async () => ({
          batches: new Items(
            await searchInTurns(db, call, vectors, options),
            (batch: readonly SearchResult[]) => new Items(batch, recordJson),
          ),
        }))
      },
    },
  ]
}

function byText({ db, metrics }: NodeContext): readonly Route[] {
  return [
    {
      method: 'POST',
      path: `${SHARD}/text`,
      id: 'searchText',
      tag: 'search',
      summary: 'Searches texts, ranked by BM25.',
      access: 'read',
      body: object({ text, k, filter }, ['text']),
      answer: {
        status: 200,
        description: 'Larger scores are better.',
        schema: results(foundWith({ score: number })),
      },
      run: ({ params, body }) => {
        const { text: words, ...options } = body as { readonly text: string } & TextSearchOptions
        return metrics.store.query('text', () => ({
          results: new Items(db.searchText(params['shard'] ?? '', words, options), recordJson),
        }))
      },
    },
    {
      method: 'POST',
      path: `${SHARD}/hybrid`,
      id: 'hybrid',
      tag: 'search',
      summary: 'Searches by vector and by text; the rankings are fused by reciprocal rank.',
      access: 'read',
      body: object(hybridOptions, ['text', 'vector']),
      answer: {
        status: 200,
        description: 'Larger scores are better.',
        schema: results(
          foundWith({
            score: number,
            vectorRank: nullableNumber,
            distance: nullableNumber,
            textRank: nullableNumber,
            textScore: nullableNumber,
          }),
        ),
      },
      run: (call) => {
        const options = call.body as HybridOptions
        reserve(db, call, options, 1)
        return metrics.store.query('hybrid', () => ({
          results: new Items(db.hybrid(call.params['shard'] ?? '', options), recordJson),
        }))
      },
    },
  ]
}

/**
 * Estimates the answer before the search runs. @throws HttpError `HTTP_ANSWER_TOO_LARGE`,
 * `HTTP_BUSY`
 */
function reserve(
  db: SQLiteVectorDB,
  call: Call,
  { k: wanted = 10, includeVectors = false }: { k?: number; includeVectors?: boolean },
  searches: number,
): void {
  if (wanted * searches <= FEW_RESULTS) return
  const { dimension, recordCount } = db.replica.shardState(call.params['shard'] ?? '')
  const records = searches * Math.min(wanted, recordCount)
  if (records > BATCH_RESULTS_MAX) {
    throw new HttpError(
      'HTTP_ANSWER_TOO_LARGE',
      `${searches} searches give up to ${records} results; the bound is ${BATCH_RESULTS_MAX} (BATCH_RESULTS_MAX)`,
    )
  }
  call.reserve({ records, dimension, includeVectors })
}

/** Searches a few vectors at a time, as many as fit a slice. Ends when the call does. */
async function searchInTurns(
  db: SQLiteVectorDB,
  { params, signal }: Call,
  vectors: readonly VectorInput[],
  options: SearchOptions,
): Promise<readonly (readonly SearchResult[])[]> {
  const batches: (readonly SearchResult[])[] = []
  let together = 1
  while (batches.length < vectors.length) {
    const some = vectors.slice(batches.length, batches.length + together)
    const startMs = performance.now()
    batches.push(...db.searchBatch(params['shard'] ?? '', some, options))
    const eachMs = Math.max(0.1, (performance.now() - startMs) / some.length)
    together = Math.max(1, Math.min(vectors.length, Math.floor(SLICE_MS / eachMs)))
    // oxlint-disable-next-line no-await-in-loop -- the event loop gets a turn between slices
    await turn()
    signal.throwIfAborted()
  }
  return batches
}

interface FindBody {
  readonly filter?: Filter
  readonly orderBy?: string
  readonly direction?: 'asc' | 'desc'
  readonly limit: number
  readonly offset: number
}

function others({ db, metrics }: NodeContext): readonly Route[] {
  return [
    {
      method: 'POST',
      path: `${SHARD}/find`,
      id: 'find',
      tag: 'search',
      summary: 'Finds records that match a filter, in an order.',
      access: 'read',
      body: object(
        {
          filter,
          orderBy: { ...text, description: 'Metadata path to order by; ties are ordered by id.' },
          direction: { enum: ['asc', 'desc'] },
          limit: { ...k },
          offset: { type: 'integer', minimum: 0, maximum: 10_000, default: 0 },
        },
        [],
      ),
      answer: { status: 200, description: 'Without embeddings.', schema: results(foundWith({})) },
      run: ({ params, body }) => {
        const given = { limit: 10, offset: 0, ...(body as Partial<FindBody>) }
        let query = db
          .query(params['shard'] ?? '')
          .limit(given.limit)
          .offset(given.offset)
        if (given.filter !== undefined) query = query.where(given.filter)
        if (given.orderBy !== undefined) query = query.orderBy(given.orderBy, given.direction)
        return metrics.store.query('find', () => ({
          results: new Items(query.all(), recordJson),
        }))
      },
    },
    {
      method: 'POST',
      path: `${SHARD}/explain`,
      id: 'explain',
      tag: 'search',
      summary: 'Explains how a search with these options would run now.',
      access: 'read',
      body: object(searchOptions, []),
      answer: {
        status: 200,
        description: 'The plan.',
        schema: {
          type: 'object',
          required: ['mode', 'reason', 'expectedRecall', 'count', 'selected', 'index'],
        },
      },
      run: ({ params, body }) => plain(db.explain(params['shard'] ?? '', body as SearchOptions)),
    },
  ]
}
