/**
 * Shards, records and searches through HTTP; every answer is held against the OpenAPI document.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { testNode, type TestNode } from '../helpers/node.ts'

let fixture: TestNode

beforeAll(async () => {
  fixture = await testNode()
})

afterAll(() => fixture?.[Symbol.asyncDispose]())

/** Ids of results, in their order. */
function idsOf(body: { results: { id: string }[] }): string[] {
  return body.results.map(({ id }) => id)
}

/** A new shard of two dimensions with these records. */
async function shardWith(name: string, records: readonly object[] = []): Promise<string> {
  const path = `/v1/shards/${name}`
  const made = await fixture.api.put(path, { dimension: 2, metric: 'l2' })
  expect(made.status).toBe(201)
  if (records.length > 0) await fixture.api.post(`${path}/records`, { records })
  return path
}

describe('shards', () => {
  test('a shard is made once, and refused with another dimension', async () => {
    const path = await shardWith('made')

    const again = await fixture.api.put(path, { dimension: 2, metric: 'l2' })
    const other = await fixture.api.put(path, { dimension: 3 })

    expect(again.status).toBe(200)
    expect(other).toMatchObject({ status: 409, body: { code: 'STORE_SHARD_MISMATCH' } })
  })

  test('all shards are listed, one is shown, and a dropped one is gone', async () => {
    const path = await shardWith('listed', [{ id: 'a', embedding: [0, 0] }])

    const { body: all } = await fixture.api.get('/v1/shards')
    const { body: one } = await fixture.api.get(path)
    const dropped = await fixture.api.delete(path)
    const gone = await fixture.api.get(path)

    expect(all.shards.map((shard: { shardId: string }) => shard.shardId)).toContain('listed')
    expect(one).toMatchObject({ shardId: 'listed', dimension: 2, metric: 'l2', recordCount: 1 })
    expect(dropped.body).toEqual({ dropped: 1 })
    expect(gone).toMatchObject({ status: 404, body: { code: 'STORE_SHARD_UNKNOWN' } })
  })

  test('the strategy of a shard can be set', async () => {
    const path = await shardWith('strategy')

    const set = await fixture.api.put(`${path}/strategy`, { conflictStrategy: 'merge' })
    const wrong = await fixture.api.put(`${path}/strategy`, { conflictStrategy: 'coin-toss' })

    expect(set.status).toBe(200)
    expect(wrong).toMatchObject({ status: 400, body: { code: 'HTTP_INPUT_INVALID' } })
  })
})

describe('records', () => {
  test('a record that was written is read back as it was', async () => {
    const path = await shardWith('written')
    const record = { id: 'ü/?#%', embedding: [0.5, -2], metadata: { tags: ['x'] }, text: 'hello' }

    const written = await fixture.api.post(`${path}/records`, { records: [record] })
    const read = await fixture.api.get(`${path}/records/${encodeURIComponent(record.id)}`)

    expect(written.body).toEqual({ written: 1 })
    expect(read.body).toEqual(record)
  })

  test('an id of 1,024 bytes can be read by its path', async () => {
    const id = '€'.repeat(341)
    const path = await shardWith('long', [{ id, embedding: [1, 1] }])

    expect(await fixture.api.get(`${path}/records/${encodeURIComponent(id)}`)).toMatchObject({
      status: 200,
      body: { id },
    })
  })

  test('insert refuses an id that is there, and writes nothing of its batch', async () => {
    const path = await shardWith('insert', [{ id: 'a', embedding: [0, 0] }])

    const refused = await fixture.api.post(`${path}/records`, {
      mode: 'insert',
      records: [
        { id: 'b', embedding: [0, 1] },
        { id: 'a', embedding: [9, 9] },
      ],
    })
    const counted = await fixture.api.post(`${path}/count`, {})

    expect(refused).toMatchObject({ status: 409, body: { code: 'STORE_RECORD_EXISTS' } })
    expect(counted.body).toEqual({ count: 1 })
  })

  test('an update merges metadata, or replaces it, and names a record that is not there', async () => {
    const path = await shardWith('update', [
      { id: 'a', embedding: [0, 0], metadata: { x: 1, y: 2 } },
    ])

    const merged = await fixture.api.call('PATCH', `${path}/records/a`, { metadata: { y: 3 } })
    const afterMerge = await fixture.api.get(`${path}/records/a`)
    await fixture.api.call('PATCH', `${path}/records/a`, {
      metadata: { z: 1 },
      metadataMode: 'replace',
    })
    const afterReplace = await fixture.api.get(`${path}/records/a`)
    const unknown = await fixture.api.call('PATCH', `${path}/records/none`, { text: 'x' })

    expect(merged.status).toBe(204)
    expect(afterMerge.body.metadata).toEqual({ x: 1, y: 3 })
    expect(afterReplace.body.metadata).toEqual({ z: 1 })
    expect(unknown).toMatchObject({ status: 404, body: { code: 'STORE_RECORD_UNKNOWN' } })
  })

  test('update and delete by filter say how many, delete by ids counts those there were', async () => {
    const records = ['a', 'b', 'c', 'd'].map((id, index) => ({
      id,
      embedding: [index, 0],
      metadata: { odd: index % 2 === 1 },
    }))
    const path = await shardWith('filtered', records)

    const updated = await fixture.api.post(`${path}/update`, {
      filter: { odd: true },
      update: { metadata: { seen: true } },
    })
    const counted = await fixture.api.post(`${path}/count`, { filter: { seen: true } })
    const deleted = await fixture.api.post(`${path}/delete`, { filter: { seen: true } })
    const byIds = await fixture.api.post(`${path}/delete`, { ids: ['a', 'b', 'none'] })
    const one = await fixture.api.delete(`${path}/records/c`)
    const again = await fixture.api.delete(`${path}/records/c`)

    expect(updated.body).toEqual({ updated: 2 })
    expect(counted.body).toEqual({ count: 2 })
    expect(deleted.body).toEqual({ deleted: 2 })
    expect(byIds.body).toEqual({ deleted: 1 })
    expect([one.body.deleted, again.body.deleted]).toEqual([1, 0])
  })

  test('pages lead through all records; getting many says null where there is none', async () => {
    const ids = ['a', 'b', 'c', 'd', 'e']
    const path = await shardWith(
      'pages',
      ids.map((id) => ({ id, embedding: [1, 2] })),
    )

    const seen: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const after: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
      const { body } = await fixture.api.get(`${path}/records?limit=2${after}`)
      seen.push(...body.records.map((record: { id: string }) => record.id))
      cursor = body.nextCursor as string | null
    }
    const many = await fixture.api.post(`${path}/get`, { ids: ['e', 'none'] })

    expect(seen).toEqual(ids)
    expect(many.body.records).toMatchObject([{ id: 'e', embedding: [1, 2] }, null])
  })
})

describe('searches', () => {
  const records = [
    { id: 'a', embedding: [0, 0], metadata: { n: 1 }, text: 'clocks that agree' },
    { id: 'b', embedding: [0, 1], metadata: { n: 2 }, text: 'vectors of versions' },
    { id: 'c', embedding: [0, 2], metadata: { n: 3 }, text: 'hybrid clocks' },
  ]
  let path: string

  beforeAll(async () => {
    path = await shardWith('searched', records)
  })

  test('query finds the nearest, filtered, with distances and on demand with vectors', async () => {
    const vector = [0, 0.1]

    const plain = await fixture.api.post(`${path}/query`, { vector, k: 2 })
    const filtered = await fixture.api.post(`${path}/query`, {
      vector,
      k: 1,
      filter: { n: { $gte: 2 } },
      includeVectors: true,
    })
    const many = await fixture.api.post(`${path}/query-batch`, { vectors: [vector, [0, 2]], k: 1 })

    expect(idsOf(plain.body)).toEqual(['a', 'b'])
    expect(plain.body.results[0].distance).toBeCloseTo(0.1)
    expect(filtered.body.results).toMatchObject([{ id: 'b', embedding: [0, 1] }])
    expect(many.body.batches.map((batch: { id: string }[]) => batch[0]?.id)).toEqual(['a', 'c'])
  })

  test('text, hybrid and find give what the library gives', async () => {
    const { db } = fixture.node

    const text = await fixture.api.post(`${path}/text`, { text: 'clocks' })
    const hybrid = await fixture.api.post(`${path}/hybrid`, { text: 'clocks', vector: [0, 2] })
    const found = await fixture.api.post(`${path}/find`, { orderBy: 'n', direction: 'desc' })

    expect(idsOf(text.body).toSorted()).toEqual(['a', 'c'])
    expect(hybrid.body.results).toEqual(db.hybrid('searched', { text: 'clocks', vector: [0, 2] }))
    expect(idsOf(found.body)).toEqual(['c', 'b', 'a'])
  })

  test('explain says how a search would run', async () => {
    const { body } = await fixture.api.post(`${path}/explain`, { filter: { n: 1 } })

    expect(body).toMatchObject({ count: 3, selected: 1 })
  })

  test('a vector of another dimension and an unknown filter operator are refused by name', async () => {
    const dimension = await fixture.api.post(`${path}/query`, { vector: [1, 2, 3] })
    const operator = await fixture.api.post(`${path}/query`, {
      vector: [1, 2],
      filter: { n: { $near: 1 } },
    })

    expect(dimension).toMatchObject({ status: 400, body: { code: 'STORE_DIMENSION_MISMATCH' } })
    expect(operator).toMatchObject({ status: 400, body: { code: 'HTTP_INPUT_INVALID' } })
    expect(operator.body.detail).toContain('$near')
  })
})
