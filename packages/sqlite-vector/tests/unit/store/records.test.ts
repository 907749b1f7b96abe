/**
 * Records: what the calls of one record write, return and refuse.
 */
import { describe, expect, test } from 'vitest'

import { open, record } from './fixture.ts'

describe('records', () => {
  test('get() returns what insert() was given', async () => {
    using fixture = await open()
    const { db } = fixture

    db.insert('docs', {
      id: 'a',
      embedding: [1, 2, 3],
      metadata: { title: 'Grüße', tags: ['x', null, true], nested: { deep: [1.5] } },
      text: 'a text with 🐟',
    })

    expect(db.get('docs', 'a')).toEqual({
      id: 'a',
      embedding: Float32Array.of(1, 2, 3),
      metadata: { title: 'Grüße', tags: ['x', null, true], nested: { deep: [1.5] } },
      text: 'a text with 🐟',
    })
  })

  test('a Float32Array that views the middle of a buffer is stored alone', async () => {
    using fixture = await open()
    const whole = Float32Array.of(9, 9, 1, 2, 3, 9)

    fixture.db.insert('docs', { id: 'a', embedding: whole.subarray(2, 5) })

    expect(fixture.db.get('docs', 'a')?.embedding).toEqual(Float32Array.of(1, 2, 3))
  })

  test('metadata keeps the order of its keys and a key named __proto__', async () => {
    using fixture = await open()
    const metadata = JSON.parse('{"z":1,"__proto__":{"x":2},"a":3}') as Record<string, number>

    fixture.db.insert('docs', { id: 'a', embedding: [1, 0, 0], metadata })

    const stored = fixture.db.get('docs', 'a')?.metadata
    expect(JSON.stringify(stored)).toBe('{"z":1,"__proto__":{"x":2},"a":3}')
    expect(Object.getPrototypeOf(stored)).toBe(Object.prototype)
  })

  test('insert() refuses an id that is there, and leaves the record', async () => {
    using fixture = await open()
    fixture.db.insert('docs', record('a', { n: 1 }))

    const again = (): void => fixture.db.insert('docs', record('a', { n: 2 }))

    expect(again).toThrow(expect.objectContaining({ code: 'STORE_RECORD_EXISTS' }))
    expect(fixture.db.get('docs', 'a')?.metadata).toEqual({ n: 1 })
    expect(fixture.db.count('docs')).toBe(1)
  })

  test('upsert() says whether there was none', async () => {
    using fixture = await open()
    const { db } = fixture

    expect(db.upsert('docs', record('a', { n: 1 }))).toBe(true)
    expect(db.upsert('docs', record('a', { n: 2 }))).toBe(false)
    db.delete('docs', 'a')
    expect(db.upsert('docs', record('a', { n: 3 }))).toBe(true)
    expect(db.get('docs', 'a')?.metadata).toEqual({ n: 3 })
    expect(db.count('docs')).toBe(1)
  })

  test('upsert() without metadata and text takes those of the record away', async () => {
    using fixture = await open()
    fixture.db.insert('docs', { ...record('a', { n: 1 }), text: 'before' })

    fixture.db.upsert('docs', { id: 'a', embedding: [1, 1, 1] })

    expect(fixture.db.get('docs', 'a')).toMatchObject({ metadata: {}, text: null })
  })

  test('update() merges metadata key by key and keeps the rest', async () => {
    using fixture = await open()
    const { db } = fixture
    db.insert('docs', { id: 'a', embedding: [1, 2, 3], metadata: { n: 1, m: 1 }, text: 'text' })

    db.update('docs', 'a', { metadata: { m: null, k: 2 } })

    expect(db.get('docs', 'a')).toEqual({
      id: 'a',
      embedding: Float32Array.of(1, 2, 3),
      metadata: { n: 1, m: null, k: 2 },
      text: 'text',
    })
  })

  test('update() replaces metadata, embedding and text when told to', async () => {
    using fixture = await open()
    const { db } = fixture
    db.insert('docs', { id: 'a', embedding: [1, 2, 3], metadata: { n: 1 }, text: 'text' })

    db.update('docs', 'a', {
      metadata: { m: 2 },
      metadataMode: 'replace',
      embedding: [3, 2, 1],
      text: null,
    })

    expect(db.get('docs', 'a')).toEqual({
      id: 'a',
      embedding: Float32Array.of(3, 2, 1),
      metadata: { m: 2 },
      text: null,
    })
  })

  test('update() of no record is refused', async () => {
    using fixture = await open()
    fixture.db.insert('docs', record('gone'))
    fixture.db.delete('docs', 'gone')

    for (const id of ['gone', 'never']) {
      expect(() => fixture.db.update('docs', id, { text: 'x' })).toThrow(
        expect.objectContaining({ code: 'STORE_RECORD_UNKNOWN' }),
      )
    }
  })

  test('delete() says whether there was a record, and a deleted id can be inserted again', async () => {
    using fixture = await open()
    const { db } = fixture
    db.insert('docs', record('a', { n: 1 }))

    expect(db.delete('docs', 'a')).toBe(true)
    expect(db.get('docs', 'a')).toBeNull()
    expect(db.delete('docs', 'a')).toBe(false)
    expect(db.delete('docs', 'never')).toBe(false)
    db.insert('docs', record('a', { n: 2 }))

    expect(db.get('docs', 'a')?.metadata).toEqual({ n: 2 })
    expect(db.replica.shardState('docs')).toMatchObject({ recordCount: 1, tombstoneCount: 0 })
  })

  test('getMany() answers in the order asked, null where there is none', async () => {
    using fixture = await open()
    for (const id of ['a', 'b', 'c']) fixture.db.insert('docs', record(id))

    const found = fixture.db.getMany('docs', ['c', 'x', 'a', 'c'])

    expect(found.map((one) => one?.id ?? null)).toEqual(['c', null, 'a', 'c'])
  })

  test('list() pages through all records by the bytes of their ids', async () => {
    using fixture = await open()
    // UTF-16 would put the fish (a surrogate pair) before the last of the private use area.
    const ids = ['Z', 'a', 'ä', '\uf8ff', '🐟', 'aa']
    for (const id of ids) fixture.db.insert('docs', record(id))

    const seen: string[] = []
    let cursor: string | null = null
    do {
      const page = fixture.db.list('docs', { cursor, limit: 2 })
      seen.push(...page.records.map(({ id }) => id))
      cursor = page.nextCursor
    } while (cursor !== null)

    const byBytes = ids.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    expect(seen).toEqual(byBytes)
  })

  test('list() gives embeddings only when asked', async () => {
    using fixture = await open()
    fixture.db.insert('docs', { id: 'a', embedding: [1, 2, 3] })

    expect(fixture.db.list('docs').records[0]).not.toHaveProperty('embedding')
    expect(fixture.db.list('docs', { includeVectors: true }).records[0]?.embedding).toEqual(
      Float32Array.of(1, 2, 3),
    )
  })

  test('ids that differ only in case, accents or trailing spaces are different records', async () => {
    using fixture = await open()
    const ids = ['a', 'A', 'a ', ' a', '\u00e1', 'a\u0301']

    for (const id of ids) fixture.db.insert('docs', record(id))

    expect(fixture.db.count('docs')).toBe(ids.length)
    for (const id of ids) expect(fixture.db.get('docs', id)?.id).toBe(id)
  })
})

describe('shards', () => {
  test('createShard() again with the same options changes nothing', async () => {
    using fixture = await open()
    fixture.db.insert('docs', record('a'))

    const info = fixture.db.createShard('docs', { dimension: 3, metric: 'cosine' })

    expect(info).toEqual({ shardId: 'docs', dimension: 3, metric: 'cosine', modelId: null })
    expect(fixture.db.count('docs')).toBe(1)
  })

  test.each([
    [{ dimension: 4 }, 'dimension is 3, not 4'],
    [{ dimension: 3, metric: 'l2' as const }, 'metric is "cosine", not "l2"'],
    [{ dimension: 3, modelId: 'm' }, 'modelId is null, not "m"'],
  ])('createShard() refuses other options: %o', async (options, difference) => {
    using fixture = await open()

    expect(() => fixture.db.createShard('docs', options)).toThrow(
      expect.objectContaining({
        code: 'STORE_SHARD_MISMATCH',
        message: expect.stringContaining(difference) as string,
      }),
    )
  })

  test('shards hold their own records and search their own dimension', async () => {
    using fixture = await open()
    const { db } = fixture
    db.createShard('other', { dimension: 2, metric: 'l2', modelId: 'm' })
    db.insert('docs', record('a', { shard: 'docs' }))
    db.insert('other', { id: 'a', embedding: [0, 0], metadata: { shard: 'other' } })

    expect(db.shards().map(({ shardId }) => shardId)).toEqual(['docs', 'other'])
    expect(db.get('other', 'a')?.metadata).toEqual({ shard: 'other' })
    expect(db.search('other', [3, 4])[0]).toMatchObject({ id: 'a', distance: 5 })
    expect(db.count('docs')).toBe(1)
  })

  test('every call on a shard that is not there is refused by name', async () => {
    using fixture = await open()
    const { db } = fixture

    for (const call of [
      () => db.insert('none', record('a')),
      () => db.upsert('none', record('a')),
      () => db.update('none', 'a', { text: 'x' }),
      () => db.delete('none', 'a'),
      () => db.get('none', 'a'),
      () => db.getMany('none', ['a']),
      () => db.list('none'),
      () => db.count('none'),
      () => db.search('none', [1, 0, 0]),
      () => db.listConflicts('none'),
      () => db.conflictSiblings('none', 'a'),
      () => db.setConflictStrategy('none', 'merge'),
      () => db.replica.shardState('none'),
      () => db.replica.recomputeDigest('none'),
    ]) {
      expect(call).toThrow(
        expect.objectContaining({
          code: 'STORE_SHARD_UNKNOWN',
          message: expect.stringContaining('"none"') as string,
        }),
      )
    }
    await expect(db.insertBatch('none', [record('a')])).rejects.toMatchObject({
      code: 'STORE_SHARD_UNKNOWN',
    })
  })

  test('dropShard() takes everything of the shard, and only of it', async () => {
    using fixture = await open()
    const { db } = fixture
    db.createShard('other', { dimension: 3 })
    db.insert('other', { ...record('a'), text: 'kept words' })
    db.insert('docs', { ...record('a'), text: 'lost words' })
    db.insert('docs', record('b'))
    db.delete('docs', 'b')
    const before = db.replica.identity()

    expect(db.dropShard('docs')).toBe(true)
    expect(db.dropShard('docs')).toBe(false)

    expect(db.shards().map(({ shardId }) => shardId)).toEqual(['other'])
    expect(db.searchText('other', 'words').map(({ id }) => id)).toEqual(['a'])
    // Created again it counts its dots from 1, so it must do so under another name.
    db.createShard('docs', { dimension: 3 })
    expect(db.count('docs')).toBe(0)
    db.insert('docs', record('a'))
    const { actor, logId } = db.replica.identity()
    expect(actor).not.toBe(before.actor)
    expect(logId).not.toBe(before.logId)
    expect(db.replica.shardState('docs').versionVector).toEqual(new Map([[actor, 1]]))
  })
})

test('stats() counts what is there', async () => {
  using fixture = await open()
  const { db } = fixture
  for (const id of ['a', 'b', 'c']) db.insert('docs', record(id))
  db.delete('docs', 'b')

  const stats = db.stats()

  expect(stats.shards).toHaveLength(1)
  expect(stats.shards[0]).toMatchObject({
    recordCount: 2,
    tombstoneCount: 1,
    conflictCount: 0,
    head: 4,
  })
  expect(stats.fileBytes % 8192).toBe(0)
  expect(stats.fileBytes).toBeGreaterThan(0)
  expect(stats.identity).toEqual(db.replica.identity())
  expect(stats.durability).toBe('normal')
})
