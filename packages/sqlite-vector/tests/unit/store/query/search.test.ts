/**
 * Search through the database: options, results, filters, queries step by step, plans; every rule
 * of input.
 */
import { describe, expect, test } from 'vitest'
import type { SQLiteVectorDB } from '../../../../src/store/vector-db.ts'
import { type DbFixture, temporaryDb } from '../../search/fixture.ts'
import { type SearchResult } from '../../../../src/store/query/types.ts'

/** Five records on a plane, with metadata of several kinds. */
async function shelf(): Promise<DbFixture> {
  const fixture = await temporaryDb()
  const { db } = fixture
  db.createShard('books', { dimension: 2, metric: 'l2', modelId: 'model-a' })
  const rows = [
    ['a', [0, 0], { lang: 'en', year: 1990, tags: ['x', 'y'] }, 'the quick brown fox'],
    ['b', [1, 0], { lang: 'de', year: 2000 }, 'der schnelle Fuchs'],
    ['c', [0, 2], { lang: 'en', year: 2010, tags: [] }, 'a lazy dog'],
    ['d', [3, 0], { lang: null }, null],
    ['e', [0, 4], {}, 'quick quick quick'],
  ] as const
  for (const [id, embedding, metadata, text] of rows) {
    db.insert('books', { id, embedding, metadata, ...(text === null ? {} : { text }) })
  }
  return fixture
}

function embed(): never[] {
  return []
}

function ids(results: readonly { readonly id: string }[]): string[] {
  return results.map(({ id }) => id)
}

describe('search()', () => {
  test('returns the k nearest with distance and score, without embeddings', async () => {
    await using fixture = await shelf()

    const results = fixture.db.search('books', [0, 0], { k: 2 })

    expect(results).toEqual([
      {
        id: 'a',
        distance: 0,
        score: 1,
        metadata: { lang: 'en', year: 1990, tags: ['x', 'y'] },
        text: 'the quick brown fox',
      },
      {
        id: 'b',
        distance: 1,
        score: 0.5,
        metadata: { lang: 'de', year: 2000 },
        text: 'der schnelle Fuchs',
      },
    ])
  })

  test('gives embeddings on request, equal to what was inserted', async () => {
    await using fixture = await shelf()

    const [nearest] = fixture.db.search('books', [1, 0], { k: 1, includeVectors: true })

    expect(nearest?.embedding).toEqual(Float32Array.of(1, 0))
  })

  test('threshold is the largest distance that is returned', async () => {
    await using fixture = await shelf()

    expect(ids(fixture.db.search('books', [0, 0], { threshold: 2 }))).toEqual(['a', 'b', 'c'])
    expect(ids(fixture.db.search('books', [0, 0], { threshold: -1 }))).toEqual([])
  })

  test('a filter returns k matching records where there are k, however far they are', async () => {
    await using fixture = await shelf()
    const { db } = fixture

    expect(ids(db.search('books', [0, 0], { k: 2, filter: { lang: null } }))).toEqual(['d', 'e'])
    expect(ids(db.search('books', [3, 0], { filter: { lang: 'en' } }))).toEqual(['a', 'c'])
    expect(ids(db.search('books', [3, 0], { filter: { year: { $gt: 3000 } } }))).toEqual([])
  })

  test('negative scores are returned', async () => {
    await using fixture = await temporaryDb()
    fixture.db.createShard('s', { dimension: 2, metric: 'dot' })
    fixture.db.insert('s', { id: 'behind', embedding: [-2, 0] })

    expect(fixture.db.search('s', [1, 0])).toMatchObject([{ id: 'behind', distance: 2, score: -2 }])
  })

  test('inside a transaction it sees what the transaction wrote, and nothing of it after a rollback', async () => {
    await using fixture = await shelf()
    const { db } = fixture
    db.search('books', [0, 0])

    expect(() =>
      db.transaction(() => {
        db.insert('books', { id: 'z', embedding: [0, 0.5] })
        expect(ids(db.search('books', [0, 0.5], { k: 1 }))).toEqual(['z'])
        throw new Error('undo')
      }),
    ).toThrow('undo')

    expect(ids(db.search('books', [0, 0.5], { k: 1 }))).toEqual(['a'])
  })

  test('a delete whose tombstone was collected before it was read is not returned', async () => {
    await using fixture = await shelf()
    const { db } = fixture
    const other = await fixture.open()
    expect(ids(other.search('books', [0, 0], { k: 2 }))).toEqual(['a', 'b'])

    db.delete('books', 'a')
    expect(db.collectTombstones('books')).toBe(1)

    expect(ids(other.search('books', [0, 0], { k: 2 }))).toEqual(['b', 'c'])
    expect(other.explain('books').source).toBe('arena')
  })

  test('searchBatch() gives for each vector what search() gives', async () => {
    await using fixture = await shelf()
    const { db } = fixture
    const vectors = [
      [0, 0],
      [0, 3],
      [9, 9],
    ] as const
    const options = { k: 3, filter: { lang: { $exists: true } } }

    const batch = db.searchBatch('books', vectors, options)

    expect(batch).toEqual(vectors.map((vector) => db.search('books', vector, options)))
  })

  test('mmr passes over near copies', async () => {
    await using fixture = await temporaryDb()
    const { db } = fixture
    db.createShard('s', { dimension: 2 })
    db.insert('s', { id: 'near', embedding: [1, 0.1] })
    db.insert('s', { id: 'copy', embedding: [1, 0.11] })
    db.insert('s', { id: 'other', embedding: [1, -0.9] })

    expect(ids(db.search('s', [1, 0], { k: 2 }))).toEqual(['near', 'copy'])
    expect(ids(db.search('s', [1, 0], { k: 2, mmr: { lambda: 0.3 } }))).toEqual(['near', 'other'])
  })

  const refused: readonly (readonly [string, (db: SQLiteVectorDB) => unknown, string])[] = [
    [
      'an unknown option',
      (db) => db.search('books', [0, 0], { fliter: {} } as object),
      'Did you mean filter?',
    ],
    [
      'k of 0',
      (db) => db.search('books', [0, 0], { k: 0 }),
      'k must be an integer from 1 to 10000, got 0',
    ],
    [
      'a threshold of NaN',
      (db) => db.search('books', [0, 0], { threshold: Number.NaN }),
      'threshold must be a distance, got NaN',
    ],
    [
      'exact that is not a boolean',
      (db) => db.search('books', [0, 0], { exact: 1 as unknown as boolean }),
      'exact must be true or false, got 1',
    ],
    [
      'rescore of 0',
      (db) => db.search('books', [0, 0], { rescore: 0 }),
      'rescore must be an integer from 1',
    ],
    [
      'a bad filter',
      (db) => db.search('books', [0, 0], { filter: { a: { $x: 1 } } as never }),
      'filter.a.$x: unknown operator "$x"',
    ],
    [
      'lambda of 2',
      (db) => db.search('books', [0, 0], { mmr: { lambda: 2 } }),
      'mmr.lambda must be a finite number from 0 to 1, got 2',
    ],
    [
      'fewer candidates than k',
      (db) => db.search('books', [0, 0], { k: 10, mmr: { candidates: 9 } }),
      'mmr.candidates must be an integer from 10',
    ],
    [
      'a vector of another dimension',
      (db) => db.search('books', [0, 0, 0]),
      'vector must have 2 components',
    ],
    [
      'a batch that is not an array',
      (db) => db.searchBatch('books', 'x' as never),
      'vectors must be an array of vectors, got "x"',
    ],
    [
      'a batch with a bad vector',
      (db) => db.searchBatch('books', [[0, 0], [1]]),
      'vectors[1] must have 2 components',
    ],
    ['an unknown shard', (db) => db.search('shelf', [0, 0]), 'has no shard "shelf"'],
  ]

  test.each(refused)('refuses %s', async (_, call, message) => {
    await using fixture = await shelf()

    expect(() => call(fixture.db)).toThrow(message)
  })
})

describe('filters beyond search', () => {
  test('count(), delete() and update() by filter say how many there were', async () => {
    await using fixture = await shelf()
    const { db } = fixture

    expect(db.count('books', { lang: 'en' })).toBe(2)
    expect(db.update('books', { filter: { lang: 'en' } }, { metadata: { seen: true } })).toBe(2)
    expect(db.get('books', 'a')?.metadata).toEqual({
      lang: 'en',
      year: 1990,
      tags: ['x', 'y'],
      seen: true,
    })
    expect(db.delete('books', { filter: { seen: true } })).toBe(2)
    expect(db.delete('books', { filter: { seen: true } })).toBe(0)
    expect(db.count('books')).toBe(3)
    expect(ids(db.search('books', [0, 0]))).toEqual(['b', 'd', 'e'])
  })

  test('an update by filter that is refused half-way changes nothing', async () => {
    await using fixture = await shelf()
    const { db } = fixture
    db.update('books', 'c', { metadata: { blob: 'x'.repeat(65_000) } })

    expect(() =>
      db.update('books', { filter: { lang: 'en' } }, { metadata: { more: 'y'.repeat(1_000) } }),
    ).toThrow('metadata')

    expect(db.count('books', { more: { $exists: true } })).toBe(0)
  })

  test('$regex runs in SQL', async () => {
    await using fixture = await shelf()

    expect(fixture.db.count('books', { lang: { $regex: '^D', $options: 'i' } })).toBe(1)
  })

  test('a declared index is used, and changes no answer', async () => {
    await using fixture = await shelf()
    const { db } = fixture
    const filter = { lang: { $in: ['en', 'de'] }, year: { $gte: 2000 } }
    const before = db.search('books', [0, 0], { filter })
    expect(db.explain('books', { filter }).filter?.queryPlan.join()).not.toContain('metadata:')

    expect(db.createMetadataIndex('lang')).toBe(true)
    expect(db.createMetadataIndex('lang')).toBe(false)

    expect(db.metadataIndexes()).toEqual(['lang'])
    expect(db.explain('books', { filter }).filter?.queryPlan.join()).toContain('metadata:lang')
    expect(db.search('books', [0, 0], { filter })).toEqual(before)
    expect(db.dropMetadataIndex('lang')).toBe(true)
    expect(db.dropMetadataIndex('lang')).toBe(false)
  })

  test('a path with quotes can have an index; one that is none is refused', async () => {
    await using fixture = await shelf()
    const { db } = fixture

    expect(db.createMetadataIndex(`it's "so".b`)).toBe(true)
    expect(db.metadataIndexes()).toEqual([`it's "so".b`])
    expect(() => db.createMetadataIndex('')).toThrow('path must name a place in metadata')
    expect(() => db.createMetadataIndex('$and')).toThrow('path must name a place in metadata')
  })
})

describe('text', () => {
  test('searchText() finds by words, better first, in the shard and under the filter', async () => {
    await using fixture = await shelf()
    const { db } = fixture
    db.createShard('other', { dimension: 1 })
    db.insert('other', { id: 'o', embedding: [1], text: 'quick' })

    const results = db.searchText('books', 'Quick!')

    expect(ids(results)).toEqual(['e', 'a'])
    expect(results[0]?.score).toBeGreaterThan(results[1]?.score ?? 0)
    expect(ids(db.searchText('books', 'quick', { filter: { lang: 'en' } }))).toEqual(['a'])
    expect(db.searchText('books', ' ?! ')).toEqual([])
    expect(db.searchText('books', 'AND NOT ("')).toEqual([])
  })

  test('the text index follows inserts, changes of text, deletes and rollbacks', async () => {
    await using fixture = await shelf()
    const { db } = fixture
    db.update('books', 'a', { text: 'slow red fox' })
    db.update('books', 'e', { text: null })
    db.update('books', 'd', { text: 'quick at last' })
    db.update('books', 'c', { metadata: { untouched: true } })
    db.delete('books', 'b')
    expect(() =>
      db.transaction(() => {
        db.insert('books', { id: 'f', embedding: [1, 1], text: 'quick and gone' })
        throw new Error('undo')
      }),
    ).toThrow('undo')

    expect(ids(db.searchText('books', 'quick'))).toEqual(['d'])
    expect(ids(db.searchText('books', 'slow'))).toEqual(['a'])
    expect(ids(db.searchText('books', 'Fuchs'))).toEqual([])
    expect(ids(db.searchText('books', 'lazy'))).toEqual(['c'])
  })

  test('hybrid() fuses both rankings by reciprocal ranks', async () => {
    await using fixture = await shelf()

    const results = fixture.db.hybrid('books', { text: 'quick', vector: [0, 2], k: 3 })

    // By vector: c, then a and e as far as each other, by id; by text: e, a.
    expect(results.map(({ id, vectorRank, textRank }) => [id, vectorRank, textRank])).toEqual([
      ['e', 3, 1],
      ['a', 2, 2],
      ['c', 1, null],
    ])
    expect(results[0]?.score).toBe(1 / 63 + 1 / 61)
    expect(results[0]?.distance).toBe(2)
    expect(results[2]?.textScore).toBeNull()
  })

  test('weights of hybrid() can leave one side out, not both', async () => {
    await using fixture = await shelf()
    const { db } = fixture
    const given = { text: 'quick', vector: [0, 2] as const, k: 2 }

    expect(ids(db.hybrid('books', { ...given, weights: { vector: 0 } }))).toEqual(['e', 'a'])
    expect(ids(db.hybrid('books', { ...given, weights: { text: 0 } }))).toEqual(['c', 'a'])
    expect(() => db.hybrid('books', { ...given, weights: { text: 0, vector: 0 } })).toThrow(
      'weights must not both be 0',
    )
  })
})

describe('query()', () => {
  test('conditions, order, limit and offset', async () => {
    await using fixture = await shelf()
    const all = fixture.db.query('books').limit(10)

    expect(ids(all.all())).toEqual(['a', 'b', 'c', 'd', 'e'])
    expect(ids(all.orderBy('year', 'desc').all())).toEqual(['c', 'b', 'a', 'd', 'e'])
    expect(ids(all.orderBy('year').offset(2).limit(2).all())).toEqual(['a', 'b'])
    expect(ids(all.whereIn('lang', ['de', null]).all())).toEqual(['b', 'd', 'e'])
    expect(ids(all.whereBetween('year', 1995, 2010).all())).toEqual(['b', 'c'])
    expect(ids(all.where('year', '>', 1995).where('lang', 'en').all())).toEqual(['c'])
    expect(ids(all.where('tags', 'contains', 'x').all())).toEqual(['a'])
    expect(all.where({ lang: 'en' }).count()).toBe(2)
    expect(all.where({ lang: 'fr' }).first()).toBeNull()
  })

  test('similarTo() orders by nearness, under the conditions', async () => {
    await using fixture = await shelf()
    const near = fixture.db.query('books').where('lang', 'en').similarTo([0, 2])

    expect(ids(near.all())).toEqual(['c', 'a'])
    expect((near.offset(1).first() as SearchResult).distance).toBe(2)
    expect(() => near.orderBy('year').all()).toThrow('orderBy() and similarTo() exclude each other')
  })

  test('a step leaves the query it was taken from as it was', async () => {
    await using fixture = await shelf()
    const english = fixture.db.query('books').where('lang', 'en')
    english.where('year', 1990)

    expect(english.count()).toBe(2)
    expect(() => english.where('year', '~' as never, 1)).toThrow('operator must be one of =')
    expect(() => english.limit(0)).toThrow('limit must be an integer from 1')
  })
})

describe('explain() and recall()', () => {
  test('a small shard is searched exactly, in memory, and says so', async () => {
    await using fixture = await shelf()

    const plan = fixture.db.explain('books', { filter: { lang: 'en' } })

    expect(plan).toMatchObject({
      mode: 'exact',
      source: 'arena',
      reason: '5 records of dimension 2 are few',
      expectedRecall: 1,
      count: 5,
      selected: 2,
      index: { state: 'ready', calibration: null },
    })
    expect(plan.filter?.sql).toContain(`json_extract(v.metadata, '$.lang') = ?`)
  })

  test('without memory for search the table is scanned, with the same answers', async () => {
    await using fixture = await shelf()
    const options = { filter: { lang: { $ne: 'de' } } }
    const wanted = fixture.db.search('books', [0, 1], options)
    const scanning = await fixture.open({ searchMemoryBytes: 0 })

    expect(scanning.explain('books').source).toBe('table')
    expect(scanning.search('books', [0, 1], options)).toEqual(wanted)
  })

  test('recall of exact search is 1', async () => {
    await using fixture = await shelf()

    expect(fixture.db.recall('books', { sample: 5, k: 2 })).toEqual({
      recall: 1,
      worstDecile: 1,
      k: 2,
      queries: 5,
      missed: 0,
      mode: 'exact',
    })
  })

  test('checkEmbedder() names both models', async () => {
    await using fixture = await shelf()
    const { db } = fixture

    expect(() =>
      db.checkEmbedder('books', { modelId: 'model-a', dimension: 2, embed }),
    ).not.toThrow()
    expect(() => db.checkEmbedder('books', { modelId: 'model-b', dimension: 2, embed })).toThrow(
      'holds vectors of model "model-a", the embedder makes those of "model-b"',
    )
    expect(() => db.checkEmbedder('books', { modelId: 'model-a', dimension: 3, embed })).toThrow(
      expect.objectContaining({ code: 'STORE_SHARD_MISMATCH' }),
    )
  })
})
