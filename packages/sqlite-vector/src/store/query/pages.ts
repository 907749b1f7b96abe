/**
 * Pages of records in the order of their ids, filtered: through a declared index on the metadata
 * where few records pass, and along the index of ids where many do.
 *
 * SQLite keeps no statistics of our tables, and takes the index of ids for any ORDER BY on them: a
 * filter that a hundred of a million records pass would read a million. So the records that pass
 * are counted first, through the declared index, up to the number at which the order of ids is
 * cheaper.
 */
import type { SearchStatements } from '../search-index/statements.ts'
import type { ShardRow } from '../feed/shards.ts'
import type { ShardFilter } from './record-filter.ts'

/** A page of the records that pass. */
export interface PageOptions {
  readonly filter: ShardFilter | null
  /** Only ids after this one, in the page's direction; null starts at the beginning. */
  readonly after: string | null
  /** Only ids that begin with it. */
  readonly prefix: string
  readonly direction: 'asc' | 'desc'
  readonly limit: number
  readonly offset: number
}

/** The statement of a page, and its parameters. */
interface PageStatement {
  readonly sql: string
  readonly params: readonly (string | number)[]
}

/** Rowids of a page. Inside a read transaction. */
export function pageOfRowids(
  statements: SearchStatements,
  shard: ShardRow,
  options: PageOptions,
): number[] {
  const { sql, params } = pageStatement(statements, shard, options)
  return statements
    .prepared(sql)
    .all(...params)
    .map((row) => Number(row['record']))
}

/** The statement that {@link pageOfRowids} runs. */
export function pageStatement(
  statements: SearchStatements,
  shard: ShardRow,
  options: PageOptions,
): PageStatement {
  const { filter, after, prefix, direction, limit, offset } = options
  // A plus keeps SQLite from using the index of ids for the column.
  const id = isSelective(statements, shard, options) ? '+v.vector_id' : 'v.vector_id'
  const where = ['v.shard = ?']
  const params: (string | number)[] = [shard.shard]
  if (after !== null) {
    where.push(`${id} ${direction === 'asc' ? '>' : '<'} ?`)
    params.push(after)
  }
  if (prefix !== '') {
    where.push(`${id} >= ?`)
    params.push(prefix)
    const end = prefixEnd(prefix)
    if (end !== null) {
      where.push(`${id} < ?`)
      params.push(end)
    }
  }
  if (filter !== null) {
    where.push(filter.sql)
    params.push(...filter.params)
  }
  const sql = `SELECT v.record FROM vectors v WHERE ${where.join(' AND ')}
    ORDER BY ${id} ${direction} LIMIT ? OFFSET ?`
  return { sql, params: [...params, limit, offset] }
}

/**
 * True when visiting the records that pass, by a declared index, is cheaper than visiting by id.
 */
function isSelective(
  statements: SearchStatements,
  shard: ShardRow,
  { filter, limit, offset }: PageOptions,
): boolean {
  if (filter === null || !usesMetadataIndex(statements, shard, filter)) return false
  // Of N records m pass: by id a page takes N × limit / m visits, by the declared index m.
  const most = Math.ceil(Math.sqrt(shard.record_count * (limit + offset)))
  const probe = statements.prepared(
    `SELECT count(*) AS count FROM
      (SELECT 1 FROM vectors v WHERE v.shard = ? AND ${filter.sql} LIMIT ?)`,
  )
  const row = probe.get(shard.shard, ...filter.params, most + 1)
  return Number(row?.['count']) <= most
}

function usesMetadataIndex(
  statements: SearchStatements,
  shard: ShardRow,
  filter: ShardFilter,
): boolean {
  return statements
    .prepared(
      `EXPLAIN QUERY PLAN SELECT v.record FROM vectors v WHERE v.shard = ? AND ${filter.sql}`,
    )
    .all(shard.shard, ...filter.params)
    .some((row) => /USING (COVERING )?INDEX metadata:/.test(String(row['detail'])))
}

/** The least text above all that begin with `prefix`, by the bytes of UTF-8; null when none is. */
export function prefixEnd(prefix: string): string | null {
  const points = Array.from(prefix, (character) => character.codePointAt(0) ?? 0)
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    if (last === 0x10ffff) continue
    // Surrogates are no characters.
    const next = last === 0xd7ff ? 0xe000 : last + 1
    return String.fromCodePoint(...points, next)
  }
  return null
}
