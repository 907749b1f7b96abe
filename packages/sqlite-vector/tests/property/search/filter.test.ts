/**
 * Filters as SQL against their meaning in plain TypeScript, on real SQLite: every operator, random
 * trees, random metadata with awkward keys, and the rule that a filter and its `$not` split the
 * records in two.
 */
import * as fc from 'fast-check'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { type Filter, parseFilter } from '../../../src/search/filter.ts'
import { filterToSql } from '../../../src/store/query/filter-sql.ts'
import { matches } from '../../unit/search/filter-reference.ts'
import { registerSqlFunctions } from '../../../src/store/query/sql-functions.ts'
import { type JsonValue, type Metadata } from '../../../src/model/records.ts'

function table(rows: readonly Metadata[]): DatabaseSync {
  const database = new DatabaseSync(':memory:')
  registerSqlFunctions(database)
  database.exec('CREATE TABLE vectors (record INTEGER PRIMARY KEY, metadata TEXT NOT NULL) STRICT')
  const insert = database.prepare('INSERT INTO vectors (record, metadata) VALUES (?, ?)')
  for (const [record, metadata] of rows.entries()) insert.run(record, JSON.stringify(metadata))
  return database
}

function selected(database: DatabaseSync, filter: Filter): number[] {
  const { sql, params } = filterToSql(parseFilter(filter), 'v.metadata')
  const statement = database.prepare(`SELECT record FROM vectors AS v WHERE ${sql} ORDER BY record`)
  return statement.all(...params).map((row) => Number(row['record']))
}

function expected(rows: readonly Metadata[], filter: Filter): number[] {
  return [...rows.keys()].filter((record) => matches(filter, rows[record] ?? {}))
}

/** Few keys and few values, so that random filters hit. */
const key = fc.constantFrom(
  'a',
  'b',
  'c',
  '0',
  '1',
  'with space',
  'q"uote',
  "it's",
  'Ünï',
  'back\\slash',
  'tab\t',
  '',
)
const scalar: fc.Arbitrary<JsonValue> = fc.oneof(
  fc.constantFrom<JsonValue>(
    null,
    true,
    false,
    0,
    1,
    -1,
    2.5,
    0.1,
    1e21,
    1e-7,
    '',
    '1',
    'a',
    'ab',
    'Äpfel',
    'true',
    '[1]',
    'null',
  ),
  fc.integer({ min: -3, max: 3 }),
)
const value = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, depthIdentifier: 'json' },
    scalar,
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(key, tie('value'), { maxKeys: 3, noNullPrototype: true }),
  ),
})).value
const metadata = fc.dictionary(key, value, {
  maxKeys: 4,
  noNullPrototype: true,
}) as fc.Arbitrary<Metadata>

const segment = key.filter((name) => !name.includes('\\'))
const path = fc
  .array(segment, { minLength: 1, maxLength: 3 })
  .map((parts) => parts.join('.'))
  .filter((name) => !name.startsWith('$'))
const plain = value.filter(
  (each) =>
    typeof each !== 'object' ||
    each === null ||
    Array.isArray(each) ||
    Object.keys(each).every((name) => !name.startsWith('$')),
)
const bound = fc.oneof(
  fc.integer({ min: -3, max: 3 }),
  fc.constantFrom(0.1, 2.5, 1e21, '', 'a', 'ab', 'Äpfel', '1'),
)
const pattern = fc.constantFrom('a', '^a$', 'p.e', '[0-9]+', '', 'Ä|b')

const operators = fc.letrec<{ operators: object; filter: object }>((tie) => ({
  operators: fc.oneof(
    { maxDepth: 3, depthIdentifier: 'filter' },
    fc.record({ $eq: plain }),
    fc.record({ $ne: plain }),
    fc.record({ $in: fc.array(plain, { maxLength: 4 }) }),
    fc.record({ $nin: fc.array(plain, { maxLength: 4 }) }),
    fc
      .record({ $gt: bound, $lt: bound }, { requiredKeys: [] })
      .filter((each) => Object.keys(each).length > 0),
    fc
      .record({ $gte: bound, $lte: bound }, { requiredKeys: [] })
      .filter((each) => Object.keys(each).length > 0),
    fc.record({ $exists: fc.boolean() }),
    fc.record({ $contains: plain }),
    fc.record({ $all: fc.array(plain, { maxLength: 3 }) }),
    fc.record({ $regex: pattern, $options: fc.constantFrom('', 'i', 'su') }),
    fc.record({ $not: tie('operators') }),
    fc.record({ $elemMatch: fc.oneof(tie('operators'), tie('filter')) }),
  ),
  filter: fc.oneof(
    { maxDepth: 3, depthIdentifier: 'filter' },
    fc.dictionary(path, fc.oneof(plain, tie('operators')), { maxKeys: 2, noNullPrototype: true }),
    fc.record({ $and: fc.array(tie('filter'), { maxLength: 3 }) }),
    fc.record({ $or: fc.array(tie('filter'), { maxLength: 3 }) }),
    fc.record({ $not: tie('filter') }),
  ),
}))

test('a filter selects what it means, and $not selects all others', () => {
  fc.assert(
    fc.property(
      fc.array(metadata, { minLength: 1, maxLength: 20 }),
      fc.array(operators.filter as fc.Arbitrary<Filter>, { minLength: 1, maxLength: 5 }),
      (rows, filters) => {
        const database = table(rows)
        for (const filter of filters) {
          const wanted = expected(rows, filter)
          expect(selected(database, filter)).toEqual(wanted)
          const others = [...rows.keys()].filter((record) => !wanted.includes(record))
          expect(selected(database, { $not: filter })).toEqual(others)
        }
        database.close()
      },
    ),
    { numRuns: 200 },
  )
})

describe('each operator', () => {
  const each: readonly (readonly [string, fc.Arbitrary<object>])[] = [
    [
      'implicit equality',
      fc.dictionary(path, plain, { minKeys: 1, maxKeys: 1, noNullPrototype: true }),
    ],
    ...(
      [
        ['$eq', plain],
        ['$ne', plain],
        ['$in', fc.array(plain, { maxLength: 4 })],
        ['$nin', fc.array(plain, { maxLength: 4 })],
        ['$gt', bound],
        ['$gte', bound],
        ['$lt', bound],
        ['$lte', bound],
        ['$exists', fc.boolean()],
        ['$contains', plain],
        ['$all', fc.array(plain, { maxLength: 2 })],
        ['$regex', pattern],
        ['$not', operators.operators],
        ['$elemMatch', fc.oneof(operators.operators, operators.filter)],
      ] as const
    ).map(
      ([operator, operand]) =>
        [
          operator,
          fc
            .tuple(
              key.filter((name) => !name.includes('\\')),
              operand as fc.Arbitrary<unknown>,
            )
            .map(([name, given]) => ({ [name]: { [operator]: given } })),
        ] as const,
    ),
  ]

  test.each(each)('%s means the same in SQL', (_, filter) => {
    let hits = 0
    fc.assert(
      fc.property(
        fc.array(metadata, { minLength: 5, maxLength: 20 }),
        fc.array(filter as fc.Arbitrary<Filter>, { minLength: 5, maxLength: 10 }),
        (rows, filters) => {
          const database = table(rows)
          for (const one of filters) {
            const wanted = expected(rows, one)
            hits += wanted.length
            expect(selected(database, one)).toEqual(wanted)
          }
          database.close()
        },
      ),
      { numRuns: 40 },
    )
    // A property over filters that never match would show nothing.
    expect(hits).toBeGreaterThan(0)
  })
})
