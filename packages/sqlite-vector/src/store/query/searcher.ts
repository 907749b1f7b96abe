/**
 * Searches of one open file: exact and approximate, filtered, by text, fused, varied, explained,
 * measured.
 *
 * Combines the choice of an index (search-index/indexes.ts), the plan (search/planner.ts), kernels
 * and ranking (search/). Every method runs inside one read transaction of its caller, so an answer
 * is one state of the file.
 */
import { parseMetadata, stored } from '../file/damage.ts'
import { assert, must } from '../../assert.ts'
import { K_MAX } from '../../limits.ts'
import { bytesToFloat32, compareUtf8 } from '../../bytes.ts'
import { nearestByPlan } from '../../search/by-plan.ts'
import { type DistanceTo, distanceFrom, distanceToScore } from '../../search/distance.ts'
import { exactSearch } from '../../search/exact.ts'
import { type RankedRecord, type Ranking } from '../../search/exact-arena.ts'
import { fuseRankings } from '../../search/fusion.ts'
import { pickByMmr } from '../../search/mmr.ts'
import { type Plan } from '../../search/planner.ts'
import { countRecalled, recallOf, worstDecileOf } from '../../search/recall.ts'
import { EVERYTHING, type Selection, emptyMask, loadQuery } from '../../search/scan.ts'
import {
  type ShardFilter,
  compileShardFilter,
  explainFilter,
  matchingRecords,
} from './record-filter.ts'
import { distanceOfRows } from '../search-index/calibration-source.ts'
import { planOf } from '../search-index/index-plan.ts'
import type { SearchIndexes } from '../search-index/indexes.ts'
import type { ResolvedHybrid, ResolvedSearch } from './search-options.ts'
import type { SearchStatements } from '../search-index/statements.ts'
import type { HybridResult, IndexInfo, RecallReport, SearchPlan, TextResult } from './types.ts'
import type { FilteredSlots, ShardIndex } from '../search-index/shard-index.ts'
import type { ShardRow } from '../feed/shards.ts'
import { searchText } from './text-index.ts'
import type { VectorRecord } from '../types.ts'
import { type SearchResult } from './types.ts'

/** A filter that passes at least this share of the records is visited in order, as a mask. */
const MASK_SHARE_MIN = 0.1

/** The plan without an up-to-date index: always right, never fast. */
const TABLE_SCAN: Plan = {
  mode: 'exact',
  bits: null,
  recall: 1,
  worstDecile: 1,
  source: 'table',
  reason: 'no index in memory is up to date with the file',
}

/** A search that is ready to run. */
interface Prepared {
  readonly plan: Plan
  readonly index: ShardIndex | null
  readonly selection: Selection
  readonly selected: number
  readonly filter: ShardFilter | null
}

export class Searcher {
  readonly #statements: SearchStatements
  readonly #indexes: SearchIndexes

  constructor(statements: SearchStatements, indexes: SearchIndexes) {
    this.#statements = statements
    this.#indexes = indexes
  }

  /** The nearest records to each query; the filter is applied once. */
  search(
    shard: ShardRow,
    queries: readonly Float32Array[],
    options: ResolvedSearch,
  ): (readonly SearchResult[])[] {
    const wanted = options.mmr?.candidates ?? options.k
    const prepared = this.#prepare(shard, options, wanted)
    return queries.map((query) => {
      const near = this.#nearest(shard, query, options, wanted, prepared)
      const picked = options.mmr === null ? near : this.#varied(shard, near, options)
      return picked.map(({ record, distance }) => ({
        ...this.read(record, options.includeVectors),
        distance,
        score: distanceToScore(shard.metric, distance),
      }))
    })
  }

  /** The records whose texts fit best. */
  searchText(shard: ShardRow, text: string, k: number, filter: ShardFilter | null): TextResult[] {
    return searchText(this.#statements, shard, text, k, filter).map(({ record, score }) => ({
      ...this.read(record, false),
      score,
    }))
  }

  /** Both rankings fused by reciprocal ranks. */
  hybrid(shard: ShardRow, query: Float32Array, options: ResolvedHybrid): HybridResult[] {
    const { search, weights } = options
    const prepared = this.#prepare(shard, search, search.k)
    const byVector = this.#nearest(shard, query, search, search.k, prepared)
    const byText = searchText(this.#statements, shard, options.text, search.k, prepared.filter)
    const ids = new Map<string, number>()
    const idsOf = (found: readonly { readonly record: number }[]): string[] =>
      found.map(({ record }) => {
        const id = this.#idOf(record)
        ids.set(id, record)
        return id
      })
    const vectorIds = idsOf(byVector)
    const textIds = idsOf(byText)
    const fused = fuseRankings([
      { ids: vectorIds, weight: weights.vector },
      { ids: textIds, weight: weights.text },
    ])
    const vectorAt = new Map(vectorIds.map((id, index) => [id, index]))
    const textAt = new Map(textIds.map((id, index) => [id, index]))
    return fused.slice(0, options.k).map(({ id, score }) => {
      const vectorIndex = vectorAt.get(id) ?? -1
      const textIndex = textAt.get(id) ?? -1
      return {
        ...this.read(must(ids.get(id), 'a fused record'), search.includeVectors),
        score,
        vectorRank: vectorIndex < 0 ? null : vectorIndex + 1,
        distance: byVector[vectorIndex]?.distance ?? null,
        textRank: textIndex < 0 ? null : textIndex + 1,
        textScore: byText[textIndex]?.score ?? null,
      }
    })
  }

  /** State of a shard's index; builds nothing. */
  indexInfo(shardId: string): IndexInfo {
    const { state, index, reason } = this.#indexes.state(shardId)
    const kinds = ['float32', 'int8', 'bits'] as const
    return {
      state,
      reason,
      rows: index === null ? null : kinds.filter((kind) => index.arena.rows[kind]),
      bytes: index?.arena.bytes ?? 0,
      calibration: index?.calibration ?? null,
    }
  }

  /** How a search with these options would run now. */
  explain(shard: ShardRow, options: ResolvedSearch): SearchPlan {
    const prepared = this.#prepare(shard, options, options.mmr?.candidates ?? options.k)
    const { plan, selection, selected, filter } = prepared
    return {
      mode: plan.mode,
      source: plan.source,
      reason: plan.reason,
      expectedRecall: plan.recall,
      worstDecile: plan.worstDecile,
      depths: { bits: plan.bits?.depth ?? null, int8: null },
      count: shard.record_count,
      selected,
      visit: selection.type === 'list' ? 'gather' : selection.type,
      filter: filter === null ? null : explainFilter(this.#statements, shard, filter),
      index: this.indexInfo(shard.shard_id),
    }
  }

  /** The default search against exact search, on the same state of the file. */
  recall(
    shard: ShardRow,
    given: readonly Float32Array[] | null,
    sample: number,
    options: ResolvedSearch,
  ): RecallReport {
    // A row is its own nearest neighbour, which any search finds: it is left out.
    const k = given === null ? Math.min(options.k + 1, K_MAX) : options.k
    const prepared = this.#prepare(shard, options, k)
    const exact = this.#prepare(shard, { ...options, exact: true }, k)
    const queries =
      given?.map((vector) => ({ vector, record: -1 })) ?? this.#sampleRows(shard, sample)
    const counts = queries.map(({ vector, record }) => {
      const [found, truth] = [prepared, exact].map((each) =>
        this.#nearest(shard, vector, options, k, each)
          .filter((near) => near.record !== record)
          .slice(0, options.k),
      )
      return countRecalled(distancesOf(found ?? []), distancesOf(truth ?? []))
    })
    const missed = counts.reduce((sum, { found, possible }) => sum + possible - found, 0)
    return {
      recall: recallOf(counts),
      worstDecile: worstDecileOf(counts),
      k: options.k,
      queries: queries.length,
      missed,
      mode: prepared.plan.mode,
    }
  }

  #prepare(shard: ShardRow, options: ResolvedSearch, k: number): Prepared {
    const filter = options.condition === null ? null : compileShardFilter(options.condition)
    const index = this.#indexes.current(shard, options.exact)
    const { selection, selected } = this.#select(shard, index, filter)
    if (index === null) return { plan: TABLE_SCAN, index, selection, selected, filter }
    const { exact, rescore } = options
    const plan = planOf(index, { k, selected, exact, rescore })
    return { plan, index, selection, selected, filter }
  }

  /** Which slots of the arena pass the filter. */
  #select(shard: ShardRow, index: ShardIndex | null, filter: ShardFilter | null): FilteredSlots {
    if (filter === null) return { selection: EVERYTHING, selected: shard.record_count }
    // Without an index the filter becomes part of the scan; how many pass is known only after it.
    if (index === null) return { selection: EVERYTHING, selected: shard.record_count }
    const key = JSON.stringify([filter.sql, filter.params])
    return index.filteredBy(key, () => this.#slotsWhere(shard, index, filter))
  }

  #slotsWhere(shard: ShardRow, { arena }: ShardIndex, filter: ShardFilter): FilteredSlots {
    const records = matchingRecords(this.#statements, shard, filter)
    const slots = new Uint32Array(records.length)
    for (let i = 0; i < records.length; i += 1) {
      const slot = arena.slotOf(records[i] ?? 0)
      assert(slot >= 0, 'an up-to-date index holds every record of its shard')
      slots[i] = slot
    }
    if (slots.length < MASK_SHARE_MIN * arena.count) {
      return { selection: { type: 'list', slots }, selected: slots.length }
    }
    const words = emptyMask(arena)
    for (const slot of slots) words[slot >>> 5] = (words[slot >>> 5] ?? 0) | (1 << (slot & 31))
    return { selection: { type: 'mask', words, count: slots.length }, selected: slots.length }
  }

  #nearest(
    shard: ShardRow,
    query: Float32Array,
    options: ResolvedSearch,
    k: number,
    prepared: Prepared,
  ): readonly RankedRecord[] {
    const { plan, index, selection } = prepared
    const distanceTo = distanceFrom(shard.metric, query)
    const read = (record: number): string => this.#idOf(record)
    const idOf = (record: number): string => index?.idOf(record, read) ?? read(record)
    const ranking: Ranking = {
      distanceTo,
      compareIds: (a, b) => compareUtf8(idOf(a), idOf(b)),
    }
    if (index !== null) {
      const loaded = loadQuery(index.arena, query)
      const distanceOf = distanceOfRows(index.arena, this.#statements, query)
      const near = nearestByPlan(index.arena, plan, loaded, selection, k, ranking, distanceOf)
      if (near !== null) {
        const whole = prepared.filter === null && options.rescore === null
        if (plan.bits !== null && whole) this.#indexes.asked(index, query, k)
        return near.filter(({ distance }) => distance <= options.threshold)
      }
    }
    return this.#scanTable(shard, distanceTo, k, options.threshold, prepared.filter)
  }

  /** Exact search of the rows themselves. */
  #scanTable(
    shard: ShardRow,
    distanceTo: DistanceTo,
    k: number,
    threshold: number,
    filter: ShardFilter | null,
  ): RankedRecord[] {
    const where = filter === null ? '' : ` AND ${filter.sql}`
    const statement = this.#statements.prepared(
      `SELECT v.record, v.vector_id, e.embedding
       FROM vectors v CROSS JOIN embeddings e ON e.record = v.record WHERE v.shard = ?${where}`,
    )
    const rows = statement.iterate(shard.shard, ...(filter?.params ?? []))
    return exactSearch(candidates(rows), distanceTo, k, threshold)
  }

  #varied(shard: ShardRow, near: readonly RankedRecord[], options: ResolvedSearch): RankedRecord[] {
    const { lambda } = must(options.mmr, 'options of mmr')
    const score = (distance: number): number => distanceToScore(shard.metric, distance)
    const from = near.map(({ record, distance }) => ({
      embedding: this.#embeddingOf(record),
      score: score(distance),
    }))
    const picked = pickByMmr(from, options.k, lambda, (a, b) =>
      score(distanceFrom(shard.metric, a)(b)),
    )
    return picked.map((index) => must(near[index], 'a picked candidate'))
  }

  #sampleRows(shard: ShardRow, sample: number): { vector: Float32Array; record: number }[] {
    const wanted = Math.min(sample, shard.record_count)
    return Array.from({ length: wanted }, (_, i) => {
      const after = Math.floor((i * shard.head) / wanted)
      return this.#statements.embeddingAt.get(shard.shard, after)
    }).flatMap((row) => {
      if (row === undefined) return []
      const vector = bytesToFloat32(row['embedding'] as Uint8Array)
      return [{ vector, record: Number(row['record']) }]
    })
  }

  /** A record by its rowid. */
  read(record: number, includeVectors: boolean): VectorRecord {
    const row = stored(
      this.#statements.record.get(record),
      `the row of record ${record} is missing`,
    )
    const [id, metadata, text] = row as unknown as RecordRow
    const found = { id, metadata: parseMetadata(metadata), text }
    return includeVectors ? { ...found, embedding: this.#embeddingOf(record) } : found
  }

  #embeddingOf(record: number): Float32Array {
    const row = stored(
      this.#statements.embedding.get(record),
      `the embedding of record ${record} is missing`,
    )
    return bytesToFloat32(row['embedding'] as Uint8Array)
  }

  #idOf(record: number): string {
    return String(
      stored(this.#statements.idOf.get(record), `the row of record ${record} is missing`)[
        'vector_id'
      ],
    )
  }
}

function distancesOf(ranked: readonly RankedRecord[]): number[] {
  return ranked.map(({ distance }) => distance)
}

type RecordRow = readonly [id: string, metadata: string, text: string | null]

interface ScanRow {
  readonly record: number
  readonly vector_id: string
  readonly embedding: Uint8Array
}

function* candidates(
  rows: Iterable<unknown>,
): Iterable<{ readonly record: number; readonly id: string; readonly embedding: Float32Array }> {
  for (const row of rows) {
    const { record, vector_id: id, embedding } = row as ScanRow
    yield { record, id, embedding: bytesToFloat32(embedding) }
  }
}
