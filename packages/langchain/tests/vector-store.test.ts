/**
 * The vector store against @langchain/core: the cases of LangChain's Python suite for vector stores, and what is ours.
 */
import { createVectorDB, type SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import { Document } from '@langchain/core/documents'
import { SyntheticEmbeddings } from '@langchain/core/utils/testing'
import { Embeddings } from '@langchain/core/embeddings'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SQLiteVectorStore } from '../src/index.ts'

/** Letters counted: texts of the same letters are near one another. */
class LetterEmbeddings extends Embeddings {
  constructor() {
    super({})
  }
  override async embedQuery(text: string): Promise<number[]> {
    const counts = Array.from({ length: 27 }, () => 0)
    for (const letter of text.toLowerCase()) {
      const place = letter.codePointAt(0) ?? 0
      const index = place >= 97 && place <= 122 ? place - 96 : 0
      counts[index] = (counts[index] ?? 0) + 1
    }
    return counts.map((count) => count + 0.01)
  }
  override embedDocuments(texts: string[]): Promise<number[][]> {
    return Promise.all(texts.map((text) => this.embedQuery(text)))
  }
}

let db: SQLiteVectorDB
let store: SQLiteVectorStore

beforeEach(async () => {
  db = await createVectorDB({ path: ':memory:' })
  store = new SQLiteVectorStore(new LetterEmbeddings(), { db })
})

afterEach(() => db.close())

const foo = (id?: string): Document =>
  new Document({
    pageContent: 'foo',
    metadata: { source: 'a' },
    ...(id === undefined ? {} : { id }),
  })
const bar = (id?: string): Document =>
  new Document({
    pageContent: 'bar',
    metadata: { source: 'b' },
    ...(id === undefined ? {} : { id }),
  })
const contents = (documents: { pageContent: string }[]): string[] =>
  documents.map(({ pageContent }) => pageContent)

describe('as the Python suite has it', () => {
  test('a store is empty at first, and every read of it answers', async () => {
    expect(await store.similaritySearch('foo', 1)).toEqual([])
    expect(await store.getByIds(['1'])).toEqual([])
    expect(await store.maxMarginalRelevanceSearch('foo', { k: 1 })).toEqual([])
    await store.delete({ ids: ['1'] })
    expect(db.shards()).toEqual([])
  })

  test('added documents are found, nearest first, with id and metadata', async () => {
    const ids = await store.addDocuments([foo('1'), bar('2')])

    expect(ids).toEqual(['1', '2'])
    expect(await store.similaritySearch('bar', 2)).toEqual([bar('2'), foo('1')])
  })

  test('documents without ids get new ones, which are returned', async () => {
    const ids = await store.addDocuments([foo(), bar()])

    expect(new Set(ids).size).toBe(2)
    expect(contents(await store.getByIds(ids))).toEqual(['foo', 'bar'])
  })

  test('deleted documents are gone, one and many; deleting what is missing is silent', async () => {
    await store.addDocuments([foo('1'), bar('2'), new Document({ pageContent: 'baz', id: '3' })])

    await store.delete({ ids: ['1'] })
    expect(contents(await store.similaritySearch('foo', 3))).not.toContain('foo')
    await store.delete({ ids: ['2', '3', '4'] })
    expect(await store.similaritySearch('foo', 3)).toEqual([])
    await store.delete({ ids: ['1', 'never'] })
  })

  test('adding the same ids again changes nothing, and other contents replace them', async () => {
    await store.addDocuments([foo('1'), bar('2')])
    await store.addDocuments([foo('1'), bar('2')])
    expect(await store.similaritySearch('bar', 4)).toHaveLength(2)

    await store.addDocuments(
      [new Document({ pageContent: 'new foo', metadata: { source: 'c' } })],
      { ids: ['1'] },
    )
    const [document] = await store.getByIds(['1'])
    expect(document).toMatchObject({ id: '1', pageContent: 'new foo', metadata: { source: 'c' } })
    expect(db.count('documents')).toBe(2)
  })

  test('documents come in the order of the ids, missing ones left out', async () => {
    await store.addDocuments([foo('1'), bar('2')])

    expect(contents(await store.getByIds(['2', '3', '1']))).toEqual(['bar', 'foo'])
  })

  test('documents given are not changed', async () => {
    const given = [foo('1'), bar()]
    const copy = JSON.stringify(given)

    await store.addDocuments(given, { ids: ['x', 'y'] })

    expect(JSON.stringify(given)).toBe(copy)
  })

  test('many calls at once do not disturb one another', async () => {
    const documents = Array.from(
      { length: 20 },
      (_, index) => new Document({ pageContent: `text ${index}`, id: `${index}` }),
    )

    await Promise.all(documents.map((document) => store.addDocuments([document])))

    expect(db.count('documents')).toBe(20)
    const found = await Promise.all(
      documents.map(({ pageContent }) => store.similaritySearch(pageContent, 20)),
    )
    for (const results of found) expect(results).toHaveLength(20)
  })
})

test('vectors are checked and counted, and a batch that is wrong leaves nothing', async () => {
  await expect(store.addVectors([[1, 2]], [foo(), bar()])).rejects.toThrow('as many as documents')
  await expect(store.addDocuments([foo()], { ids: ['1', '2'] })).rejects.toThrow(
    'as many as documents',
  )
  await store.addVectors([[1, 2]], [foo('1')])
  await expect(store.addVectors([[1, 2], [1]], [bar('2'), bar('3')])).rejects.toThrow('components')
  expect(db.count('documents')).toBe(1)
  expect(await store.addVectors([], [])).toEqual([])
})

test('scores are similarities, larger is nearer, and filters narrow the search and deletes', async () => {
  await store.addDocuments([foo('1'), bar('2')])

  const scored = await store.similaritySearchWithScore('foo', 2)
  expect(scored.map(([document]) => document.id)).toEqual(['1', '2'])
  expect(scored[0]?.[1]).toBeCloseTo(1, 4)
  expect(scored[1]?.[1]).toBeLessThan(scored[0]?.[1] ?? 0)
  expect(contents(await store.similaritySearch('foo', 2, { source: 'b' }))).toEqual(['bar'])
  await store.delete({ filter: { source: { $in: ['a', 'z'] } } })
  expect(contents(await store.similaritySearch('foo', 2))).toEqual(['bar'])
  await expect(store.delete({})).rejects.toThrow('ids or a filter')
})

test('marginal relevance prefers what is unlike', async () => {
  const texts = ['aaaa', 'aaab', 'zzzz']
  await store.addDocuments(
    texts.map((pageContent) => new Document({ pageContent, id: pageContent })),
  )

  expect(contents(await store.similaritySearch('aaaa', 2))).toEqual(['aaaa', 'aaab'])
  const varied = await store.maxMarginalRelevanceSearch('aaaa', { k: 2, fetchK: 3, lambda: 0.1 })
  expect(contents(varied)).toEqual(['aaaa', 'zzzz'])
})

test('stores are made from texts and documents, and serve as retrievers', async () => {
  const embeddings = new LetterEmbeddings()
  const made = await SQLiteVectorStore.fromTexts(['foo', 'bar'], [{ n: 1 }, { n: 2 }], embeddings, {
    db,
    shardId: 'made',
    ids: ['f', 'b'],
  })
  const again = await SQLiteVectorStore.fromDocuments([foo('1')], embeddings, {
    db,
    shardId: 'again',
    modelId: 'letters',
  })

  expect(await made.asRetriever({ k: 1, filter: { n: 2 } }).invoke('foo')).toMatchObject([
    { id: 'b', pageContent: 'bar' },
  ])
  expect(contents(await again.asRetriever({ k: 1, searchType: 'mmr' }).invoke('foo'))).toEqual([
    'foo',
  ])
  expect(db.shards().find(({ shardId }) => shardId === 'again')).toMatchObject({
    modelId: 'letters',
  })
})

test('the hybrid retriever finds by words what is far by vector', async () => {
  await store.addDocuments([
    new Document({ pageContent: 'aaaa aaaa', id: 'near' }),
    new Document({ pageContent: 'xylophone', id: 'word', metadata: { source: 'w' } }),
  ])

  const retriever = store.asHybridRetriever({ k: 1, weights: { text: 3, vector: 1 } })
  expect((await retriever.invoke('xylophone aaaa aaaa aaaa'))[0]?.id).toBeDefined()
  expect((await retriever.invoke('xylophone'))[0]?.id).toBe('word')
  expect(await store.asHybridRetriever({ filter: { source: 'w' } }).invoke('aaaa')).toMatchObject([
    { id: 'word' },
  ])
})

test('metadata makes the round trip: nested, null, and without undefined', async () => {
  const metadata = {
    loc: { lines: { from: 1, to: 2 } },
    tags: ['a', 'b'],
    none: null,
    gone: undefined,
    n: 1.5,
  }
  await store.addDocuments([new Document({ pageContent: 'foo', id: '1', metadata })])

  const [document] = await store.getByIds(['1'])
  expect(document?.metadata).toEqual({
    loc: { lines: { from: 1, to: 2 } },
    tags: ['a', 'b'],
    none: null,
    n: 1.5,
  })
  await expect(
    store.addDocuments([new Document({ pageContent: 'x', metadata: { when: new Date(0) } })]),
  ).rejects.toThrow('metadata.when')
})

test('embeddings of @langchain/core work, too', async () => {
  for (const embeddings of [new SyntheticEmbeddings({ vectorSize: 8 })]) {
    const other = new SQLiteVectorStore(embeddings, { db, shardId: 'synthetic' })
    await other.addDocuments([foo('1'), bar('2')])
    expect((await other.similaritySearch('foo', 1))[0]?.id).toBe('1')
  }
})
