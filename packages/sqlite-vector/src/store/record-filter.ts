/**
 * Filters on the records of a shard: which pass, how many, and how SQLite finds them.
 *
 * Not here: what a filter means (search/filter.ts) and its SQL (search/filter-sql.ts).
 */
import { type Condition } from '../search/filter.ts'
import { type FilterSql, filterToSql } from '../search/filter-sql.ts'
import type { SearchStatements } from './search-statements.ts'
import type { ShardRow } from './shards.ts'

/** A filter as a condition on rows of `vectors` under the name `v`. */
export type ShardFilter = FilterSql

export function compileShardFilter(condition: Condition): ShardFilter {
  return filterToSql(condition, 'v.metadata')
}

/** Records that pass, as rowids. */
export function matchingRecords(
  statements: SearchStatements,
  shard: ShardRow,
  filter: ShardFilter,
): readonly number[] {
  // One value in place of a row for each record: calls between SQLite and JavaScript cost more than the text.
  const statement = statements.prepared(
    `SELECT group_concat(v.record) AS records FROM vectors v WHERE v.shard = ? AND ${filter.sql}`,
  )
  const row = statement.get(shard.shard, ...filter.params)
  // NULL where none passes.
  return JSON.parse(`[${(row?.['records'] as string | null) ?? ''}]`) as number[]
}

/** Ids of records that pass, by their bytes. */
export function matchingIds(
  statements: SearchStatements,
  shard: ShardRow,
  filter: ShardFilter,
): readonly string[] {
  const statement = statements.prepared(
    `SELECT v.vector_id FROM vectors v WHERE v.shard = ? AND ${filter.sql} ORDER BY v.vector_id`,
  )
  return statement.all(shard.shard, ...filter.params).map((row) => String(row['vector_id']))
}

/** How many records pass. */
export function countMatching(
  statements: SearchStatements,
  shard: ShardRow,
  filter: ShardFilter,
): number {
  const statement = statements.prepared(
    `SELECT count(*) AS count FROM vectors v WHERE v.shard = ? AND ${filter.sql}`,
  )
  return Number(statement.get(shard.shard, ...filter.params)?.['count'])
}

/** The condition, and the plan that SQLite makes for it. */
export function explainFilter(
  statements: SearchStatements,
  shard: ShardRow,
  filter: ShardFilter,
): { readonly sql: string; readonly queryPlan: readonly string[] } {
  const statement = statements.prepared(
    `EXPLAIN QUERY PLAN SELECT v.record FROM vectors v WHERE v.shard = ? AND ${filter.sql}`,
  )
  const rows = statement.all(shard.shard, ...filter.params)
  return { sql: filter.sql, queryPlan: rows.map((row) => String(row['detail'])) }
}
