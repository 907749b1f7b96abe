/**
 * Searches over several shards, results by groups, and facets, against plain TypeScript.
 */
import { expect, test } from 'vitest'
import { createVectorDB, type SQLiteVectorDB } from '../../../../src/store/vector-db.ts'

async function library(): Promise<SQLiteVectorDB> {
  const db = await createVectorDB({ path: ':memory:' })
  for (const shardId of ['a', 'b']) {
    db.createShard(shardId, { dimension: 1, metric: 'l2' })
    const records = Array.from({ length: 500 }, (_, i) => ({
      id: `${shardId}${i}`,
      embedding: [i],
      metadata: {
        doc: Math.floor(i / 50),
        lang: ['en', 'de', 'en', 'fr'][i % 4] ?? '',
        odd: i % 2 === 1,
        ...(i % 10 === 0 ? { rare: null } : {}),
      },
    }))
    await db.insertBatch(shardId, records)
  }
  return db
}

test('a search over several shards gives the nearest of all, with their shards', async () => {
  using db = await library()

  const found = db.search(['a', 'b', 'a'], [10.2], { k: 4, filter: { odd: false } })

  expect(found.map(({ shardId, id }) => [shardId, id])).toEqual([
    ['a', 'a10'],
    ['b', 'b10'],
    ['a', 'a12'],
    ['b', 'b12'],
  ])
  expect(() => db.search([], [1])).toThrow('shardIds.length must be an integer from 1')
  expect(() => db.search(['a', 'none'], [1])).toThrow('has no shard "none"')
  db.createShard('dot', { dimension: 1, metric: 'dot' })
  expect(() => db.search(['a', 'dot'], [1])).toThrow('cannot be compared')
})

test('grouped results are the nearest of each group, also where the first group is large', async () => {
  using db = await library()

  const found = db.search('a', [0], { k: 5, groupBy: 'doc' })
  const both = db.search(['a', 'b'], [0], { k: 3, groupBy: 'doc' })

  expect(found.map(({ id }) => id)).toEqual(['a0', 'a50', 'a100', 'a150', 'a200'])
  expect(both.map(({ id }) => id)).toEqual(['a0', 'a50', 'a100'])
  expect(db.search('a', [0], { k: 100, groupBy: 'doc' })).toHaveLength(10)
  expect(db.search('a', [0], { k: 3, groupBy: 'absent' })).toHaveLength(3)
  expect(() => db.search('a', [0], { groupBy: 'doc', mmr: {} })).toThrow('exclude each other')
})

test('facets count the values of a path, the most frequent first, under a filter', async () => {
  using db = await library()

  expect(db.facets('a', 'lang')).toEqual([
    { value: 'en', count: 250 },
    { value: 'de', count: 125 },
    { value: 'fr', count: 125 },
  ])
  expect(db.facets('a', 'lang', { filter: { odd: true }, limit: 1 })).toEqual([
    { value: 'de', count: 125 },
  ])
  expect(db.facets('a', 'odd')).toEqual([
    { value: false, count: 250 },
    { value: true, count: 250 },
  ])
  expect(db.facets('a', 'rare')).toEqual([{ value: null, count: 50 }])
  expect(db.facets('a', 'absent')).toEqual([])
  expect(() => db.facets('a', 1 as never)).toThrow('path must be a string')
})
