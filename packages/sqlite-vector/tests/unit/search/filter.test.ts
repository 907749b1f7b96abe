/**
 * Refusals of filters, and their SQL: each rule of input names the place, and the SQL can use an
 * index.
 */
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { FILTER_CONDITIONS_MAX, FILTER_DEPTH_MAX } from '../../../src/limits.ts'
import { parseFilter } from '../../../src/search/filter.ts'
import { filterToSql, indexExpression } from '../../../src/store/query/filter-sql.ts'

function eitherOf(count: number): object {
  return { $or: Array.from({ length: count }, (_, i) => ({ a: i })) }
}

describe('refused filters', () => {
  const refused: readonly (readonly [string, unknown, string])[] = [
    ['no object', 'lang = en', 'filter must be an object, got "lang = en"'],
    ['an array', [], 'filter must be an object'],
    [
      'an unknown operator',
      { a: { $gte: 1, $regx: 'x' } },
      'filter.a.$regx: unknown operator "$regx". Did you mean $regex?',
    ],
    [
      'an unknown combination',
      { $nor: [] },
      'filter.$nor: unknown operator "$nor". Did you mean $or?',
    ],
    [
      'operators beside names',
      { a: { $gt: 1, b: 2 } },
      'operators and names stand side by side: $gt, b',
    ],
    ['an undefined operand', { a: undefined }, 'filter.a must be a JSON value, got undefined'],
    ['an undefined operand of $eq', { a: { $eq: undefined } }, 'filter.a.$eq must be a JSON value'],
    ['NaN', { a: Number.NaN }, 'filter.a must be a JSON value, got NaN'],
    ['a date', { a: { $gt: new Date(0) } }, 'got a Date (use toISOString())'],
    [
      'a comparison with a boolean',
      { a: { $lt: true } },
      'filter.a.$lt must be a number or a string, got true',
    ],
    ['$in without an array', { a: { $in: 'x' } }, 'filter.a.$in must be an array, got "x"'],
    ['$and without an array', { $and: {} }, 'filter.$and must be an array, got an object'],
    [
      '$exists without a boolean',
      { a: { $exists: 1 } },
      'filter.a.$exists must be true or false, got 1',
    ],
    ['$not of a value', { a: { $not: 3 } }, 'filter.a.$not must be an object of operators, got 3'],
    [
      'a broken expression',
      { a: { $regex: '(' } },
      'filter.a.$regex is not a regular expression, got "("',
    ],
    [
      'an unknown flag',
      { a: { $regex: 'x', $options: 'g' } },
      'filter.a.$options must be some of i, m, s, u, got "g"',
    ],
    [
      'flags without an expression',
      { a: { $options: 'i' } },
      'filter.a.$options needs $regex beside it',
    ],
    ['a lone surrogate', { a: '\ud800' }, 'filter.a must be well-formed Unicode'],
  ]

  test.each(refused)('%s', (_, filter, message) => {
    expect(() => parseFilter(filter)).toThrow(message)
  })

  test('nesting is refused beyond its limit and accepted at it', () => {
    const nested = (levels: number): unknown =>
      levels === 0 ? { a: 1 } : { $and: [nested(levels - 1)] }

    expect(() => parseFilter(nested(FILTER_DEPTH_MAX))).not.toThrow()
    expect(() => parseFilter(nested(FILTER_DEPTH_MAX + 1))).toThrow('nested deeper than 32 levels')
  })

  test('conditions are refused beyond their limit and accepted at it', () => {
    expect(() => parseFilter(eitherOf(FILTER_CONDITIONS_MAX))).not.toThrow()
    expect(() => parseFilter(eitherOf(FILTER_CONDITIONS_MAX + 1))).toThrow('at most 500 conditions')
  })
})

describe('as SQL', () => {
  test('the largest filter is a statement that SQLite takes', () => {
    const database = new DatabaseSync(':memory:')
    const filter = parseFilter(eitherOf(FILTER_CONDITIONS_MAX))
    const { sql, params } = filterToSql(filter, `'{"a":499}'`)

    expect(database.prepare(`SELECT ${sql} AS hit`).get(...params)).toEqual({ hit: 1 })
  })

  test('equality, comparison and $in use an index on the path', () => {
    const database = new DatabaseSync(':memory:')
    database.exec('CREATE TABLE vectors (record INTEGER PRIMARY KEY, shard INTEGER, metadata TEXT)')
    const expression = indexExpression(['author', 'name'], 'metadata')
    database.exec(`CREATE INDEX by_name ON vectors (shard, ${expression})`)

    for (const operand of ['Ada', { $gte: 'A' }, { $in: ['Ada', 'Alan'] }]) {
      const { sql, params } = filterToSql(parseFilter({ 'author.name': operand }), 'v.metadata')
      const plan = database
        .prepare(`EXPLAIN QUERY PLAN SELECT record FROM vectors AS v WHERE v.shard = 1 AND ${sql}`)
        .all(...params)
      expect(String(plan[0]?.['detail'])).toContain('USING INDEX by_name')
    }
  })

  test('a quote in a path stays inside its literal', () => {
    const database = new DatabaseSync(':memory:')
    const { sql, params } = filterToSql(parseFilter({ "it's' OR 1 --": 1 }), `'{}'`)

    expect(database.prepare(`SELECT ${sql} AS hit`).get(...params)).toEqual({ hit: null })
  })

  test('a dot in a name is written with a backslash', () => {
    const database = new DatabaseSync(':memory:')
    const { sql, params } = filterToSql(parseFilter({ 'a\\.b': 1 }), `'{"a.b":1}'`)

    expect(database.prepare(`SELECT ${sql} AS hit`).get(...params)).toEqual({ hit: 1 })
  })
})
