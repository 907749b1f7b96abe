/**
 * Reads of visible records: get, list, count, exact search.
 *
 * Not here: distances (search/distance.ts) and the replicated state (register.ts). Every function runs
 * inside one read transaction of its caller, so its answer is one state of the file.
 */
import { must } from '../assert.ts'
import { bytesToFloat32 } from '../bytes.ts'
import { distanceFrom, distanceToScore } from '../search/distance.ts'
import { type Candidate, exactSearch } from '../search/exact.ts'
import type { StoreCore } from './core.ts'
import type { ResolvedListOptions, ResolvedSearchOptions } from './options.ts'
import type { ShardRow } from './shards.ts'
import type { PayloadRow } from './statements.ts'
import type { ListPage, Metadata, SearchResult, VectorRecord } from './types.ts'

interface RecordRow {
  readonly vector_id: string
  readonly metadata: string
  readonly document: string | null
  readonly embedding?: Uint8Array
}

interface ScanRow {
  readonly record: number
  readonly vector_id: string
  readonly embedding: Uint8Array
}

/** The visible record `id`, or null. */
export function getRecord(core: StoreCore, shard: ShardRow, id: string): VectorRecord | null {
  const row = core.sql.getRecord.get(shard.shard, id)
  return row === undefined ? null : rowToRecord(row as unknown as RecordRow)
}

/** Visible records above the cursor, in the order of the bytes of their ids. */
export function listRecords(
  core: StoreCore,
  shard: ShardRow,
  options: ResolvedListOptions,
): ListPage {
  const { cursor, limit, includeVectors } = options
  const statement = includeVectors ? core.sql.listRecordsWithVectors : core.sql.listRecords
  // One more than asked for tells whether a page follows.
  const rows = statement.all(shard.shard, cursor ?? '', limit + 1) as unknown as RecordRow[]
  const records = rows.slice(0, limit).map(rowToRecord)
  const nextCursor = rows.length > limit ? must(records.at(-1), 'a full page').id : null
  return { records, nextCursor }
}

/** The nearest visible records by a scan of all of them, nearest first, ties by id. */
export function searchExact(
  core: StoreCore,
  shard: ShardRow,
  query: Float32Array,
  options: ResolvedSearchOptions,
): readonly SearchResult[] {
  const { metric } = shard
  const distanceTo = distanceFrom(metric, query)
  const neighbours = exactSearch(candidates(core, shard), distanceTo, options.k, options.threshold)
  return neighbours.map(({ record, distance }) => {
    const row = must(core.sql.getPayload.get(record), 'the row of a record just scanned')
    const { vector_id: id, metadata, document, embedding } = row as unknown as PayloadRow
    const found = {
      id,
      distance,
      score: distanceToScore(metric, distance),
      metadata: JSON.parse(metadata) as Metadata,
      text: document,
    }
    return options.includeVectors ? { ...found, embedding: bytesToFloat32(embedding) } : found
  })
}

function* candidates(core: StoreCore, shard: ShardRow): Iterable<Candidate> {
  for (const row of core.sql.scanEmbeddings.iterate(shard.shard)) {
    const { record, vector_id: id, embedding } = row as unknown as ScanRow
    yield { record, id, embedding: bytesToFloat32(embedding) }
  }
}

function rowToRecord(row: RecordRow): VectorRecord {
  const { vector_id: id, document: text, embedding } = row
  const record = { id, metadata: JSON.parse(row.metadata) as Metadata, text }
  return embedding === undefined ? record : { ...record, embedding: bytesToFloat32(embedding) }
}
