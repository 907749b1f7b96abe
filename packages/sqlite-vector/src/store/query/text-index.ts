/**
 * Full-text search over the texts of one shard, by its own FTS5 table (file/texts.ts): costs and
 * BM25 weights belong to the shard.
 *
 * Not here: keeping the table (feed/register.ts, local/bulk.ts) and reading a query
 * (search/text-analysis.ts). Reference: https://www.sqlite.org/fts5.html
 */
import { compareUtf8 } from '../../bytes.ts'
import { DEFAULT_ANALYSIS, ftsQuery } from '../../search/text-analysis.ts'
import { textTable } from '../file/texts.ts'
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
  const query = ftsQuery(text, shard.text_analysis ?? DEFAULT_ANALYSIS)
  const table = textTable(shard.shard)
  if (query === null || !hasIndex(statements, table)) return []
  if (filter === null) {
    // SQLite's own ranking reads no row. Where the last of k ties with the next, ids decide.
    const ranked = statements
      .prepared(`SELECT rowid AS record, rank AS cost FROM ${table} WHERE ${table} MATCH ?
        ORDER BY rank LIMIT ?`)
      .all(query, k + 1)
    const [last, next] = [ranked[k - 1], ranked[k]]
    if (next === undefined || next['cost'] !== last?.['cost']) {
      return byIds(statements, ranked.slice(0, k).map(rowToHit))
    }
  }
  const where = filter === null ? '' : ` AND ${filter.sql}`
  const statement = statements.prepared(
    `SELECT v.record, bm25(${table}) AS cost
     FROM ${table} JOIN vectors v ON v.record = ${table}.rowid
     WHERE ${table} MATCH ? AND v.shard = ?${where} ORDER BY cost, v.vector_id LIMIT ?`,
  )
  return statement.all(query, shard.shard, ...(filter?.params ?? []), k).map(rowToHit)
}

/** Hits of equal score by the bytes of their ids. */
function byIds(statements: SearchStatements, hits: readonly TextHit[]): TextHit[] {
  const sorted: TextHit[] = []
  for (let from = 0; from < hits.length;) {
    const score = hits[from]?.score
    let to = from + 1
    while (to < hits.length && hits[to]?.score === score) to += 1
    const ties = hits.slice(from, to)
    sorted.push(...(ties.length === 1 ? ties : sortedById(statements, ties)))
    from = to
  }
  return sorted
}

function sortedById(statements: SearchStatements, ties: readonly TextHit[]): TextHit[] {
  const ids = new Map(
    ties.map(({ record }) => [record, String(statements.idOf.get(record)?.['vector_id'])]),
  )
  return ties.toSorted((a, b) => compareUtf8(ids.get(a.record) ?? '', ids.get(b.record) ?? ''))
}

function rowToHit(row: Readonly<Record<string, unknown>>): TextHit {
  // FTS5 gives minus the score, so that ascending order is best first.
  return { record: Number(row['record']), score: -Number(row['cost']) }
}

/** A shard without a text has no table. */
function hasIndex(statements: SearchStatements, table: string): boolean {
  const statement = statements.prepared(
    `SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?`,
  )
  return statement.get(table) !== undefined
}
