/**
 * Full-text search over the records' texts: FTS5, kept in the transaction that writes the record.
 *
 * Not here: keeping it (register.ts, bulk.ts). Not by triggers: they would cost every insert a
 * tenth, also of records without a text.
 *
 * The table `record_text` indexes `vectors.document` without a copy of it. One table serves all
 * shards of a file, so that BM25 weighs a word by how rare it is in the file. Reference:
 * https://www.sqlite.org/fts5.html, external content tables.
 */
import { QUERY_WORDS_MAX } from '../../limits.ts'
import type { SearchStatements } from '../search-index/statements.ts'
import type { ShardFilter } from './record-filter.ts'
import type { ShardRow } from '../feed/shards.ts'

/** A record whose text fits, larger is better. */
export interface TextHit {
  readonly record: number
  readonly score: number
}

/**
 * The `k` records of the shard whose texts fit best, best first, ties by id. None when `text` has
 * no word.
 */
export function searchText(
  statements: SearchStatements,
  shard: ShardRow,
  text: string,
  k: number,
  filter: ShardFilter | null,
): TextHit[] {
  const query = textToQuery(text)
  if (query === null) return []
  const where = filter === null ? '' : ` AND ${filter.sql}`
  const statement = statements.prepared(
    `SELECT v.record, bm25(record_text) AS cost
     FROM record_text JOIN vectors v ON v.record = record_text.rowid
     WHERE record_text MATCH ? AND v.shard = ?${where} ORDER BY cost, v.vector_id LIMIT ?`,
  )
  const rows = statement.all(query, shard.shard, ...(filter?.params ?? []), k)
  // FTS5 gives minus the score, so that ascending order is best first.
  return rows.map((row) => ({ record: Number(row['record']), score: -Number(row['cost']) }))
}

/**
 * The words of `text`, any of them, as an FTS5 query without operators; null when there is none.
 */
export function textToQuery(text: string): string | null {
  const words = text.match(/[\p{L}\p{N}\p{M}]+/gu)
  if (words === null) return null
  return [...new Set(words)]
    .slice(0, QUERY_WORDS_MAX)
    .map((word) => `"${word}"`)
    .join(' OR ')
}
