/**
 * The LangGraph store against @langchain/langgraph-checkpoint: what its in-memory store does, and expiry.
 */
import { createVectorDB, type SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import { Embeddings } from '@langchain/core/embeddings'
import { InMemoryStore, type BaseStore } from '@langchain/langgraph-checkpoint'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { SQLiteVectorGraphStore } from '../src/langgraph.ts'
import { textsAt } from '../src/text-paths.ts'

/** Three topics, by their words. */
class TopicEmbeddings extends Embeddings {
  constructor() {
    super({})
  }
  override async embedQuery(text: string): Promise<number[]> {
    return ['tea', 'train', 'tree'].map((topic) => (text.includes(topic) ? 1 : 0.01))
  }
  override embedDocuments(texts: string[]): Promise<number[][]> {
    return Promise.all(texts.map((text) => this.embedQuery(text)))
  }
}

let db: SQLiteVectorDB
let nowMs: number

beforeEach(async () => {
  db = await createVectorDB({ path: ':memory:' })
  nowMs = 1_000
})

afterEach(() => db.close())

const plain = (): SQLiteVectorGraphStore => new SQLiteVectorGraphStore({ db, nowMs: () => nowMs })
const indexed = (fields?: string[]): SQLiteVectorGraphStore =>
  new SQLiteVectorGraphStore({
    db,
    nowMs: () => nowMs,
    index: {
      dims: 3,
      embeddings: new TopicEmbeddings(),
      ...(fields === undefined ? {} : { fields }),
    },
  })

/** The store of LangGraph itself and ours give the same answers. */
const BOTH: [string, () => BaseStore][] = [
  ['ours', () => plain()],
  ['in memory', () => new InMemoryStore()],
]

test.each(BOTH)('items are put, got, replaced and deleted (%s)', async (_, make) => {
  const store = make()
  await store.put(['users', 'ann'], 'prefs', { theme: 'dark', size: 3 })
  await store.put(['users', 'bob'], 'prefs', { theme: 'light', size: 5 })
  await store.put(['users', 'ann'], 'prefs', { theme: 'light', size: 4 })

  expect(await store.get(['users', 'ann'], 'prefs')).toMatchObject({
    namespace: ['users', 'ann'],
    key: 'prefs',
    value: { theme: 'light', size: 4 },
  })
  expect(await store.get(['users'], 'prefs')).toBeNull()
  await store.delete(['users', 'ann'], 'prefs')
  await store.delete(['users', 'ann'], 'never')
  expect(await store.get(['users', 'ann'], 'prefs')).toBeNull()
})

test.each(BOTH)('searches go below a prefix, by operators, in pages (%s)', async (_, make) => {
  const store = make()
  for (let index = 0; index < 6; index += 1) {
    await store.put(['docs', index % 2 === 0 ? 'even' : 'odd'], `k${index}`, {
      n: index,
      kind: 'x',
    })
  }
  await store.put(['other'], 'k', { n: 1 })
  const keys = async (filter: Record<string, unknown>, more = {}): Promise<string[]> =>
    (await store.search(['docs'], { filter, ...more })).map(({ key }) => key).toSorted()

  expect(await keys({})).toHaveLength(6)
  expect(await keys({ n: 3 })).toEqual(['k3'])
  expect(await keys({ n: { $gte: 2, $lt: 4 }, kind: 'x' })).toEqual(['k2', 'k3'])
  expect(await keys({ n: { $in: [1, 5, 9] } })).toEqual(['k1', 'k5'])
  expect(await keys({ kind: { $ne: 'x' } })).toEqual([])
  expect((await store.search(['docs', 'even'])).map(({ key }) => key).toSorted()).toEqual([
    'k0',
    'k2',
    'k4',
  ])
  const pages = [
    ...(await store.search(['docs'], { limit: 4 })),
    ...(await store.search(['docs'], { limit: 4, offset: 4 })),
  ]
  expect(new Set(pages.map(({ key }) => key)).size).toBe(6)
})

test.each(BOTH)('namespaces are listed by prefix, suffix, depth and page (%s)', async (_, make) => {
  const store = make()
  for (const namespace of [
    ['a', 'b', 'c'],
    ['a', 'b', 'd'],
    ['a', 'x'],
    ['z', 'c'],
  ]) {
    await store.put(namespace, 'k', { v: 1 })
  }

  expect(await store.listNamespaces({ prefix: ['a', 'b'] })).toEqual([
    ['a', 'b', 'c'],
    ['a', 'b', 'd'],
  ])
  expect(await store.listNamespaces({ suffix: ['c'] })).toEqual([
    ['a', 'b', 'c'],
    ['z', 'c'],
  ])
  expect(await store.listNamespaces({ prefix: ['*', 'b'], maxDepth: 2 })).toEqual([['a', 'b']])
  expect(await store.listNamespaces({ limit: 2, offset: 1 })).toHaveLength(2)
})

test('a batch reads before it writes, and the last write of a key counts', async () => {
  const store = plain()
  await store.put(['n'], 'k', { v: 0 })

  const results = await store.batch([
    { namespace: ['n'], key: 'k', value: { v: 1 } },
    { namespace: ['n'], key: 'k' },
    { namespace: ['n'], key: 'k', value: { v: 2 } },
    { namespacePrefix: ['n'] },
  ])

  expect(results[1]).toMatchObject({ value: { v: 0 } })
  expect(results[3]).toMatchObject([{ value: { v: 0 } }])
  expect(await store.get(['n'], 'k')).toMatchObject({ value: { v: 2 } })
})

test('items keep their time of creation, and a value given or got is not shared', async () => {
  const store = plain()
  const value = { list: [1] }
  await store.put(['n'], 'k', value)
  value.list.push(2)
  nowMs = 5_000
  const got = await store.get(['n'], 'k')
  got?.value['list'].push(3)
  expect((await store.get(['n'], 'k'))?.value).toEqual({ list: [1] })
  await store.put(['n'], 'k', { list: [] })

  expect(await store.get(['n'], 'k')).toMatchObject({
    createdAt: new Date(1_000),
    updatedAt: new Date(5_000),
  })
})

test('with an index a query ranks by meaning, over the fields of each item', async () => {
  const store = indexed(['text', 'notes[*]'])
  await store.put(['m'], 'a', { text: 'I like tea', notes: ['nothing', 'a tree'] })
  await store.put(['m'], 'b', { text: 'the train is late', notes: [] })
  await store.put(['m'], 'hidden', { text: 'tea' }, false)
  await store.put(['else'], 'c', { text: 'tea' })

  const keys = async (query: string, filter?: Record<string, unknown>): Promise<string[]> =>
    (await store.search(['m'], { query, ...(filter === undefined ? {} : { filter }) })).map(
      ({ key }) => key,
    )
  expect(await keys('tea')).toEqual(['a', 'b'])
  expect((await keys('tree'))[0]).toBe('a')
  expect(await keys('tea', { text: { $ne: 'I like tea' } })).toEqual(['b'])
  expect(textsAt({ a: [{ b: 1 }, { b: 'x' }] }, 'a[*].b')).toEqual(['1', 'x'])
  expect(textsAt({ a: [1, 2] }, 'a[-1]')).toEqual(['2'])
  expect(textsAt({ a: 1 }, 'b.c')).toEqual([])
  const [best] = await store.search(['m'], { query: 'train' })
  expect(best).toMatchObject({ key: 'b', score: expect.any(Number) })

  await store.put(['m'], 'a', { text: 'only a tree now', notes: [] })
  expect((await store.search(['m'], { query: 'tea' }))[0]?.score).toBeLessThan(0.5)
  await store.delete(['m'], 'a')
  expect(await keys('tree')).toEqual(['b'])
  expect(db.count('store.vectors')).toBe(2)
})

test('without an index a query ranks by words', async () => {
  const store = plain()
  await store.put(['m'], 'a', { text: 'the kettle whistles' })
  await store.put(['m'], 'b', { text: 'the door is open' })

  expect((await store.search(['m'], { query: 'kettle' })).map(({ key }) => key)).toEqual(['a'])
})

test('items whose time is over are not shown, and swept; a write renews them', async () => {
  const store = new SQLiteVectorGraphStore({ db, nowMs: () => nowMs, ttlMs: 100 })
  await store.put(['n'], 'old', { v: 1 })
  await store.put(['n'], 'kept', { v: 1 })
  nowMs += 60
  await store.put(['n'], 'kept', { v: 2 })
  nowMs += 60

  expect(await store.get(['n'], 'old')).toBeNull()
  expect((await store.search(['n'])).map(({ key }) => key)).toEqual(['kept'])
  expect(store.sweep()).toBe(1)
  expect(db.count('store')).toBe(1)
})

test('namespaces and keys that are wrong are refused by name', async () => {
  const store = plain()

  await expect(store.put([], 'k', {})).rejects.toThrow()
  await expect(store.put(['a.b'], 'k', {})).rejects.toThrow()
  await expect(
    store.put(
      Array.from({ length: 17 }, () => 'x'),
      'k',
      {},
    ),
  ).rejects.toThrow('16 labels')
  await expect(store.put(['n'], 'k'.repeat(1_100), { v: 1 })).rejects.toThrow('1024 bytes')
  expect(() => new SQLiteVectorGraphStore({ db, ttlMs: 0 })).toThrow('ttlMs')
})
