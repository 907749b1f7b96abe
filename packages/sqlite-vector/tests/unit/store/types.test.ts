/**
 * Types of the public face: the compiler refuses a filter that would match nothing in silence, and
 * knows what each read gives. The lines marked as errors fail the type check when they are none.
 */
import { describe, expect, expectTypeOf, test } from 'vitest'
import type { Filter } from '../../../src/search/filter.ts'
import { createVectorDB } from '../../../src/store/vector-db.ts'
import type { EmbeddedRecord, VectorRecord } from '../../../src/store/types.ts'
import type { SearchResult } from '../../../src/store/query/types.ts'

interface Doc {
  readonly lang: 'en' | 'de'
  readonly year: number
  readonly tags: readonly string[]
  readonly author: { readonly name: string; readonly born?: number }
}

describe('filters', () => {
  test('an operator without its $ is refused by the compiler, and at run time with the operator meant', async () => {
    using db = await createVectorDB({ path: ':memory:' })
    db.createShard('s', { dimension: 1, metric: 'l2' })
    const docs = db.shard<Doc>('s')

    // @ts-expect-error an operator begins with $
    expect(() => db.count('s', { year: { gt: 2000 } })).toThrow('Did you mean $gt?')
    // @ts-expect-error an operator begins with $
    expect(() => docs.count({ year: { gt: 2000 } })).toThrow('Did you mean $gt?')
    // @ts-expect-error both do
    expect(() => docs.count({ year: { gt: 1, lt: 3 } })).toThrow('Did you mean $gt, $lt?')
    expect(() => db.count('s', { size: { in: ['a'] } })).toThrow('Did you mean $in?')
    expect(() => db.count('s', { or: [{ a: 1 }, { b: 2 }] })).toThrow('Did you mean $or?')
    expect(() => db.count('s', { size: { $not: { eq: 1 } } })).toThrow('$not')
    expect(db.count('s', { size: { $eq: { gt: 2000 } } })).toBe(0)
    expect(db.count('s', { size: { in: 3, cm: 4 } })).toBe(0)
  })

  test('a typed filter knows the paths of its metadata and their values', () => {
    const filters: Filter<Doc>[] = [
      { lang: 'en', year: { $gte: 2020 } },
      { 'author.name': { $in: ['Ada'] }, 'author.born': { $exists: false } },
      { tags: { $contains: 'x' }, 'tags.0': 'x' },
      { tags: { $all: ['x', 'y'] } },
      { lang: { $regex: '^e', $options: 'i' } },
      { $or: [{ lang: 'de' }, { $not: { year: 1 } }] },
      { lang: null, year: { $ne: null } },
      // @ts-expect-error no such path
      { language: 'en' },
      // @ts-expect-error no such value
      { lang: 'fr' },
      // @ts-expect-error a year is no text
      { year: { $gt: '2000' } },
      // @ts-expect-error no such path within
      { 'author.nme': 'Ada' },
      // @ts-expect-error no such element
      { tags: { $contains: 1 } },
      // @ts-expect-error within a combination too
      { $and: [{ yeer: 1 }] },
    ]

    expect(filters).toHaveLength(13)
  })

  test('an untyped filter takes any path and value', () => {
    const filters: Filter[] = [
      {},
      { a: 1, b: 'x', c: null, d: true, e: [1, 'x'], f: { g: { h: [1] } } },
      { 'a.b.0': { $gt: 1, $lte: 'x' } },
      { a: { $elemMatch: { b: { $gt: 1 } } } },
      { a: { $elemMatch: { $gt: 1 } } },
      { $and: [{ a: 1 }, { $or: [{ b: 2 }] }], $not: { c: 3 } },
      { a: { $in: [1, 'x', null, [1], { b: 1 }] } },
    ]

    expect(filters).toHaveLength(7)
  })
})

test('records, results and queries are typed by what they hold', async () => {
  using db = await createVectorDB({ path: ':memory:' })
  db.createShard('s', { dimension: 1, metric: 'l2' })
  const docs = db.shard<Doc>('s')
  const metadata: Doc = { lang: 'en', year: 2024, tags: ['x'], author: { name: 'Ada' } }
  docs.insert({ id: 'a', embedding: [1], metadata, text: 'one' })
  // An interface without an index signature is accepted by the database itself too.
  db.insert('s', { id: 'b', embedding: [2], metadata })
  docs.update('a', { metadata: { year: 2025 } })

  expectTypeOf(db.get('s', 'a')).toEqualTypeOf<EmbeddedRecord | null>()
  expectTypeOf(db.get<Doc>('s', 'a')?.metadata.year).toEqualTypeOf<number | undefined>()
  expectTypeOf(docs.get('a')?.embedding).toEqualTypeOf<Float32Array | undefined>()
  expectTypeOf(docs.get('a')?.metadata.lang).toEqualTypeOf<'en' | 'de' | undefined>()
  expectTypeOf(docs.search([1])).toEqualTypeOf<readonly SearchResult<Doc>[]>()
  expectTypeOf(docs.list().records).toEqualTypeOf<readonly VectorRecord<Doc>[]>()
  expectTypeOf(docs.query().where({ lang: 'en' }).all()).toEqualTypeOf<
    readonly VectorRecord<Doc>[]
  >()
  const scored = docs.query().similarTo([1]).where('year', '>', 2000).limit(1).all()
  expectTypeOf(scored).toEqualTypeOf<readonly SearchResult<Doc>[]>()
  expectTypeOf(db.query('s').similarTo([1]).first()).toEqualTypeOf<SearchResult | null>()
  expectTypeOf(db.query('s').where('a', 1).all()).toEqualTypeOf<readonly VectorRecord[]>()
  expect(scored.map(({ id, score }) => [id, score])).toEqual([['a', 1]])
  expect(docs.get('a')?.metadata.year).toBe(2025)
  expect(docs.get('b')?.embedding).toEqual(Float32Array.of(2))

  // @ts-expect-error no such language
  expect(() => docs.upsert({ id: 'c', embedding: [1], metadata: { lang: 'fr' } })).not.toThrow()
  const dated = { id: 'd', embedding: [1], metadata: { at: new Date(0) } }
  // @ts-expect-error a Date is not JSON
  expect(() => db.insert('s', dated)).toThrow('metadata.at must be a JSON value')
})

test('a Date and a Promise are named, with the remedy', async () => {
  using db = await createVectorDB({ path: ':memory:' })
  db.createShard('s', { dimension: 1, metric: 'l2' })
  const insert = (record: object): unknown => db.insert('s', { id: 'a', ...record } as never)

  expect(() => insert({ embedding: Promise.resolve([1]) })).toThrow('a Promise (a missing await?)')
  expect(() => insert({ embedding: [1], metadata: { at: new Date(0) } })).toThrow(
    'metadata.at must be a JSON value, got a Date (use toISOString())',
  )
  expect(() => insert({ embedding: [1], text: Promise.resolve('x') })).toThrow('a missing await?')
})
