/**
 * Facets: the values at a path of the metadata, and how many records have each.
 */
import { FACETS_MAX } from '../../limits.ts'
import { integerIn, objectGiven, rejectUnknownKeys, shown } from '../../options.ts'
import { parseFilter, parsePath } from '../../search/filter.ts'
import { indexExpressions } from './filter-sql.ts'
import { compileShardFilter } from './record-filter.ts'
import type { SearchStatements } from '../search-index/statements.ts'
import type { ShardRow } from '../feed/shards.ts'
import type { Facet, FacetOptions } from './types.ts'

/**
 * The values at `path`, the most frequent first, ties by value. Strings, numbers, booleans and
 * null; records without a value there, or with an array or object, are not counted.
 */
export function facetsOf(
  statements: SearchStatements,
  shard: ShardRow,
  path: string,
  options: FacetOptions,
): Facet[] {
  objectGiven('facets: options', options)
  rejectUnknownKeys('facets', options, ['filter', 'limit'])
  if (typeof path !== 'string') throw new TypeError(`path must be a string, got ${shown(path)}`)
  const { filter, limit = 100 } = options
  integerIn('limit', limit, 1, FACETS_MAX)
  const compiled = filter === undefined ? null : compileShardFilter(parseFilter(filter))
  const where = compiled === null ? '' : ` AND ${compiled.sql}`
  const [value = '', type = ''] = indexExpressions(parsePath(path), 'v.metadata')
  const rows = statements
    .prepared(
      `SELECT ${value} AS value, ${type} AS type, count(*) AS count FROM vectors v
       WHERE v.shard = ? AND ${type} IN ('text', 'integer', 'real', 'true', 'false', 'null')${where}
       GROUP BY 1, CASE ${type} WHEN 'real' THEN 'integer' ELSE ${type} END
       ORDER BY count DESC, value LIMIT ?`,
    )
    .all(shard.shard, ...(compiled?.params ?? []), limit)
  return rows.map((row) => ({ value: valueOf(row), count: Number(row['count']) }))
}

function valueOf({ value, type }: Readonly<Record<string, unknown>>): Facet['value'] {
  if (type === 'true' || type === 'false') return type === 'true'
  if (type === 'null') return null
  return typeof value === 'string' ? value : Number(value)
}
