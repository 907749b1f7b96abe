/**
 * Reads of visible records by id: get and list.
 *
 * Not here: search (searcher.ts) and the replicated state (register.ts). Every function runs
 * inside one read transaction of its caller, so its answer is one state of the file.
 */
import { damagedRecord } from '../file/damage.ts'
import { must } from '../../assert.ts'
import { vectorsInAnswer } from './cost.ts'
import { bytesToFloat32 } from '../../bytes.ts'
import type { OpenFile } from '../file/transaction.ts'
import type { ResolvedListOptions } from '../options.ts'
import type { ShardRow } from '../feed/shards.ts'
import type { EmbeddedRecord, ListPage, VectorRecord } from '../types.ts'
import { type Metadata } from '../../model/records.ts'

interface RecordRow {
  readonly record: number
  readonly vector_id: string
  readonly metadata: string
  readonly document: string | null
  readonly embedding?: Uint8Array | null
}

/** The visible record `id`, or null. */
export function getRecord(core: OpenFile, shard: ShardRow, id: string): EmbeddedRecord | null {
  const row = core.sql.getRecord.get(shard.shard, id)
  if (row === undefined) return null
  const { embedding, ...rest } = rowToRecord(core, shard, row as unknown as RecordRow)
  return { ...rest, embedding: must(embedding, 'the vector of a record') }
}

/** Visible records above the cursor, in the order of the bytes of their ids. */
export function listRecords(
  core: OpenFile,
  shard: ShardRow,
  options: ResolvedListOptions,
): ListPage {
  const { cursor, includeVectors } = options
  const limit = pageLimit(shard.dimension, options)
  const statement = includeVectors ? core.sql.listRecordsWithVectors : core.sql.listRecords
  // One more than asked for tells whether a page follows.
  const rows = statement.all(shard.shard, cursor ?? '', limit + 1) as unknown as RecordRow[]
  const records = rows.slice(0, limit).map((row) => rowToRecord(core, shard, row))
  const nextCursor = rows.length > limit ? must(records.at(-1), 'a full page').id : null
  return { records, nextCursor }
}

/** Records of a page: fewer than asked for where their vectors would not fit one answer. */
export function pageLimit(dimension: number, options: ResolvedListOptions): number {
  const { limit, includeVectors } = options
  return includeVectors ? Math.min(limit, vectorsInAnswer(dimension)) : limit
}

function rowToRecord(core: OpenFile, shard: ShardRow, row: RecordRow): VectorRecord {
  const { vector_id: id, document: text, embedding } = row
  const record = { id, metadata: storedMetadata(core, row), text }
  if (embedding === undefined) return record
  if (embedding?.byteLength !== shard.dimension * 4) {
    throw damagedRecord(core, row.record, 'its embedding is missing or has a wrong length')
  }
  return { ...record, embedding: bytesToFloat32(embedding) }
}

function storedMetadata(core: OpenFile, { record, metadata }: RecordRow): Metadata {
  try {
    return JSON.parse(metadata) as Metadata
  } catch {
    // The reason of the parser names a place in the text; the record is what its reader needs.
    throw damagedRecord(core, record, 'its metadata is not JSON')
  }
}
