/**
 * Filters on the records of a shard: the ones that pass, their number, and SQLite's plan.
 *
 * Not here: the meaning of a filter (search/filter.ts) and its SQL (store/query/filter-sql.ts).
 */
import { assert, must } from '../../assert.ts'
import { type Condition } from '../../search/filter.ts'
import { type FilterSql, filterToSql } from './filter-sql.ts'
import type { SearchStatements } from '../search-index/statements.ts'
import type { ShardRow } from '../feed/shards.ts'

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
): Float64Array {
  // One value in place of a row for each record: calls between SQLite and JavaScript cost more than
  // the digits.
  const statement = statements.prepared(matchingStatement(filter))
  const row = must(statement.get(shard.shard, ...filter.params), 'the row of an aggregate')
  const count = Number(row['count'])
  // NULL where none passes.
  return count === 0 ? new Float64Array() : decimals(row['records'] as Uint8Array, count)
}

function matchingStatement({ sql }: ShardFilter): string {
  return `SELECT count(*) AS count, CAST(group_concat(v.record) AS BLOB) AS records
    FROM vectors v WHERE v.shard = ? AND ${sql}`
}

const COMMA = 0x2c
const ZERO = 0x30

/** The `count` natural numbers that `digits` writes, with commas in between. */
function decimals(digits: Uint8Array, count: number): Float64Array {
  const numbers = new Float64Array(count)
  let at = 0
  let number = 0
  for (let i = 0; i < digits.length; i += 1) {
    const byte = digits[i] ?? COMMA
    if (byte === COMMA) {
      numbers[at] = number
      at += 1
      number = 0
    } else number = number * 10 + (byte - ZERO)
  }
  numbers[at] = number
  assert(at === count - 1, 'as many numbers as rows')
  return numbers
}

/** Ids of records that pass, in any order: an order by id would keep SQLite from the index. */
export function matchingIds(
  statements: SearchStatements,
  shard: ShardRow,
  filter: ShardFilter,
): readonly string[] {
  const statement = statements.prepared(
    `SELECT v.vector_id FROM vectors v WHERE v.shard = ? AND ${filter.sql}`,
  )
  return statement.all(shard.shard, ...filter.params).map((row) => String(row['vector_id']))
}

/** Number of records that pass. */
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

/** The statement that a search runs for the filter, its condition, and the plan SQLite makes. */
export function explainFilter(
  statements: SearchStatements,
  shard: ShardRow,
  filter: ShardFilter,
): {
  readonly sql: string
  readonly statement: string
  readonly queryPlan: readonly string[]
} {
  const statement = matchingStatement(filter)
  const rows = statements
    .prepared(`EXPLAIN QUERY PLAN ${statement}`)
    .all(shard.shard, ...filter.params)
  return { sql: filter.sql, statement, queryPlan: rows.map((row) => String(row['detail'])) }
}
