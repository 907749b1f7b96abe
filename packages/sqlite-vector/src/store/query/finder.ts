/**
 * The queries of `SQLiteVectorDB`: checks the arguments, opens the read transaction, and runs
 * searcher.ts in it.
 *
 * Not here: reads by id (query/by-id.ts) and anything that writes records.
 */
import { SqliteVectorError } from '../../errors.ts'
import { compareUtf8 } from '../../bytes.ts'
import { BATCH_QUERIES_MAX, SEARCH_SHARDS_MAX } from '../../limits.ts'
import { integerIn, objectGiven, shown } from '../../options.ts'
import { parseFilter, parsePath } from '../../search/filter.ts'
import { indexExpression } from './filter-sql.ts'
import type { OpenFile } from '../file/transaction.ts'
import { prepareVector } from '../input.ts'
import type { ResolvedListOptions, ResolvedVectorDBOptions } from '../options.ts'
import type { FindOptions } from './query-builder.ts'
import {
  compileShardFilter,
  countMatching,
  matchingIds,
  type ShardFilter,
} from './record-filter.ts'
import { registerSqlFunctions } from './sql-functions.ts'
import { SearchIndexes } from '../search-index/indexes.ts'
import {
  queryTextGiven,
  type ResolvedSearch,
  resolveHybrid,
  resolveRecall,
  resolveSearch,
  resolveTextSearch,
} from './search-options.ts'
import { listRecords, pageLimit } from './by-id.ts'
import { refuseCostlySearch, refuseCostlyVectors } from './cost.ts'
import { facetsOf } from './facets.ts'
import { nearestOfGroups } from './groups.ts'
import { pageOfRowids } from './pages.ts'
import { SearchStatements } from '../search-index/statements.ts'
import type {
  Embedder,
  Facet,
  FacetOptions,
  Filter,
  HybridOptions,
  HybridResult,
  IndexInfo,
  RecallOptions,
  RecallReport,
  SearchPlan,
  TextResult,
  TextSearchOptions,
} from './types.ts'
import { Searcher } from './searcher.ts'
import { rowToInfo, type ShardRow, shardRow } from '../feed/shards.ts'
import type { ListPage, VectorRecord } from '../types.ts'
import { type SearchOptions, type SearchResult, type ShardSearchResult } from './types.ts'
import { type VectorInput } from '../../model/records.ts'

export class Finder {
  readonly #core: OpenFile
  readonly #statements: SearchStatements
  readonly #indexes: SearchIndexes
  readonly #searcher: Searcher

  constructor(
    core: OpenFile,
    options: Pick<ResolvedVectorDBOptions, 'searchMemoryBytes' | 'saveIndex'>,
  ) {
    this.#core = core
    registerSqlFunctions(core.db)
    this.#statements = new SearchStatements(core.db)
    this.#indexes = new SearchIndexes(core, this.#statements, options)
    this.#searcher = new Searcher(this.#statements, this.#indexes)
  }

  search(shardId: string, vector: VectorInput, options: SearchOptions): readonly SearchResult[] {
    const resolved = resolveSearch(options)
    return this.#read(shardId, (shard) => {
      const query = queryOf(shard, vector, 'vector')
      refuseCostlySearch(shard, resolved, 1)
      return this.#searchOne(shard, query, resolved)
    })
  }

  #searchOne(
    shard: ShardRow,
    query: Float32Array,
    options: ResolvedSearch,
  ): readonly SearchResult[] {
    const run = (k: number): readonly SearchResult[] =>
      this.#searcher.search(shard, [query], { ...options, k })[0] ?? []
    return options.groupBy === null
      ? run(options.k)
      : nearestOfGroups(options.groupBy, options.k, run)
  }

  /** The nearest records of several shards, over one state of the file; ties by shard, then id. */
  searchShards(
    shardIds: readonly string[],
    vector: VectorInput,
    options: SearchOptions,
  ): readonly ShardSearchResult[] {
    integerIn('shardIds.length', shardIds.length, 1, SEARCH_SHARDS_MAX)
    const resolved = resolveSearch(options)
    return this.#core.read(() => {
      const shards = [...new Set(shardIds)].map((shardId) => shardRow(this.#core, shardId))
      const [first] = shards
      const other = shards.find(({ metric }) => metric !== first?.metric)
      if (first !== undefined && other !== undefined) {
        throw new SqliteVectorError(
          'STORE_SHARD_MISMATCH',
          `distances of shards ${shown(first.shard_id)} (${first.metric}) and ` +
            `${shown(other.shard_id)} (${other.metric}) cannot be compared`,
        )
      }
      const run = (k: number): readonly ShardSearchResult[] =>
        shards
          .flatMap((shard) => {
            const query = queryOf(shard, vector, 'vector')
            refuseCostlySearch(shard, { ...resolved, k }, shards.length)
            const found = this.#searcher.search(shard, [query], { ...resolved, k })[0] ?? []
            return found.map((result) => ({ ...result, shardId: shard.shard_id }))
          })
          .toSorted((a, b) => a.distance - b.distance || compareUtf8(a.shardId, b.shardId))
          .slice(0, k)
      return resolved.groupBy === null
        ? run(resolved.k)
        : (nearestOfGroups(resolved.groupBy, resolved.k, run) as readonly ShardSearchResult[])
    })
  }

  /** The values at a path of the metadata, the most frequent first. */
  facets(shardId: string, path: string, options: FacetOptions): readonly Facet[] {
    return this.#read(shardId, (shard) => facetsOf(this.#statements, shard, path, options))
  }

  searchBatch(
    shardId: string,
    vectors: readonly VectorInput[],
    options: SearchOptions,
  ): readonly (readonly SearchResult[])[] {
    const resolved = resolveSearch(options, 'searchBatch')
    return this.#read(shardId, (shard) => {
      const queries = queriesOf(shard, vectors, 'vectors')
      if (resolved.groupBy !== null) throw new TypeError('searchBatch: groupBy is for search()')
      refuseCostlySearch(shard, resolved, queries.length)
      return this.#searcher.search(shard, queries, resolved)
    })
  }

  searchText(shardId: string, text: string, options: TextSearchOptions): readonly TextResult[] {
    const { k, condition } = resolveTextSearch(options)
    queryTextGiven(text)
    const filter = condition === null ? null : compileShardFilter(condition)
    return this.#read(shardId, (shard) => this.#searcher.searchText(shard, text, k, filter))
  }

  hybrid(shardId: string, options: HybridOptions): readonly HybridResult[] {
    const resolved = resolveHybrid(options)
    return this.#read(shardId, (shard) => {
      const query = queryOf(shard, resolved.vector, 'vector')
      refuseCostlySearch(shard, { ...resolved.search, k: resolved.k }, 1)
      return this.#searcher.hybrid(shard, query, resolved)
    })
  }

  indexInfo(shardId: string): IndexInfo {
    return this.#read(shardId, ({ shard_id }) => this.#searcher.indexInfo(shard_id))
  }

  explain(shardId: string, options: SearchOptions): SearchPlan {
    const resolved = resolveSearch(options, 'explain')
    return this.#read(shardId, (shard) => this.#searcher.explain(shard, resolved))
  }

  recall(shardId: string, options: RecallOptions): RecallReport {
    const { queries, sample, search } = resolveRecall(options)
    return this.#read(shardId, (shard) => {
      const given = queries === null ? null : queriesOf(shard, queries, 'queries')
      return this.#searcher.recall(shard, given, sample, search)
    })
  }

  count(shardId: string, filter: Filter | undefined): number {
    if (filter === undefined) return this.#read(shardId, (shard) => shard.record_count)
    const compiled = compileShardFilter(parseFilter(filter))
    return this.#read(shardId, (shard) => countMatching(this.#statements, shard, compiled))
  }

  /** Ids of the records that pass, in any order. */
  idsWhere(shardId: string, filter: Filter): readonly string[] {
    const compiled = compileShardFilter(parseFilter(filter))
    return this.#read(shardId, (shard) => matchingIds(this.#statements, shard, compiled))
  }

  find(shardId: string, options: FindOptions): readonly VectorRecord[] {
    const { filter, orderBy, direction, limit, offset, includeVectors } = options
    const compiled = filter === undefined ? null : compileShardFilter(parseFilter(filter))
    return this.#read(shardId, (shard) => {
      if (includeVectors) refuseCostlyVectors(shard.dimension, limit)
      const rowids =
        orderBy === null
          ? pageOfRowids(this.#statements, shard, {
              filter: compiled,
              after: null,
              prefix: '',
              direction,
              limit,
              offset,
            })
          : this.#orderedRowids(shard, compiled, orderBy, options)
      return rowids.map((rowid) => this.#searcher.read(rowid, includeVectors))
    })
  }

  #orderedRowids(
    shard: ShardRow,
    filter: ShardFilter | null,
    orderBy: string,
    { direction, limit, offset }: FindOptions,
  ): number[] {
    const where = filter === null ? '' : ` AND ${filter.sql}`
    const order = `${indexExpression(parsePath(orderBy), 'v.metadata')} ${direction}`
    const sql = `SELECT v.record FROM vectors v WHERE v.shard = ?${where}
      ORDER BY ${order}, v.vector_id LIMIT ? OFFSET ?`
    const rows = this.#statements
      .prepared(sql)
      .all(shard.shard, ...(filter?.params ?? []), limit, offset)
    return rows.map((row) => Number(row['record']))
  }

  /** A page of records in the order of the bytes of their ids. */
  list(shardId: string, options: ResolvedListOptions): ListPage {
    const { condition, prefix, cursor, includeVectors } = options
    return this.#read(shardId, (shard) => {
      if (condition === null && prefix === '') return listRecords(this.#core, shard, options)
      const limit = pageLimit(shard.dimension, options)
      const rowids = pageOfRowids(this.#statements, shard, {
        filter: condition === null ? null : compileShardFilter(condition),
        after: cursor,
        prefix,
        direction: 'asc',
        // One more than asked for tells that a page follows.
        limit: limit + 1,
        offset: 0,
      })
      const records = rowids
        .slice(0, limit)
        .map((rowid) => this.#searcher.read(rowid, includeVectors))
      const nextCursor = rowids.length > limit ? (records.at(-1)?.id ?? null) : null
      return { records, nextCursor }
    })
  }

  /** Checks that an embedder makes vectors of the shard's kind. @throws `STORE_SHARD_MISMATCH` */
  checkEmbedder(shardId: string, embedder: Embedder): void {
    objectGiven('embedder', embedder)
    const { modelId, dimension } = this.#read(shardId, rowToInfo)
    if (modelId !== null && modelId !== embedder.modelId) {
      throw new SqliteVectorError(
        'STORE_SHARD_MISMATCH',
        `shard ${shown(shardId)} holds vectors of model ${shown(modelId)}, ` +
          `the embedder makes those of ${shown(embedder.modelId)}`,
      )
    }
    if (dimension !== embedder.dimension) {
      throw new SqliteVectorError(
        'STORE_SHARD_MISMATCH',
        `shard ${shown(shardId)} has dimension ${dimension}, ` +
          `embedder ${shown(embedder.modelId)} makes ${embedder.dimension} components`,
      )
    }
  }

  /** Builds the index of the shard and calibrates it, as far as memory and size want it. */
  async warm(shardId: string): Promise<void> {
    this.#read(shardId, () => undefined)
    await this.#indexes.warm(shardId)
  }

  close(): void {
    this.#indexes.close()
  }

  #read<T>(shardId: string, fn: (shard: ShardRow) => T): T {
    return this.#core.read(() => fn(shardRow(this.#core, shardId)))
  }
}

function queryOf(shard: ShardRow, vector: unknown, name: string): Float32Array {
  return prepareVector(rowToInfo(shard), vector, name)
}

function queriesOf(shard: ShardRow, vectors: unknown, name: string): Float32Array[] {
  if (!Array.isArray(vectors)) {
    throw new TypeError(`${name} must be an array of vectors, got ${shown(vectors)}`)
  }
  if (vectors.length > BATCH_QUERIES_MAX) {
    throw new RangeError(
      `${name} must be at most ${BATCH_QUERIES_MAX} vectors, got ${vectors.length}; search in parts`,
    )
  }
  return vectors.map((vector, i) => queryOf(shard, vector, `${name}[${i}]`))
}
