/**
 * `indexInfo()`: looking at an index, as monitoring does all the time, builds none.
 */
import { expect, test } from 'vitest'
import { createVectorDB } from '../../../../src/index.ts'

test('looking at the index builds nothing; a search does', async () => {
  using db = await createVectorDB({ path: ':memory:' })
  db.createShard('s', { dimension: 2 })
  db.insert('s', { id: 'a', embedding: [1, 0] })

  const before = [db.indexInfo('s'), db.indexInfo('s')]
  await db.warmIndex('s')
  const after = db.indexInfo('s')

  for (const info of before) expect(info).toMatchObject({ rows: null, bytes: 0 })
  expect(after).toEqual(db.explain('s').index)
  expect(after).toMatchObject({ state: 'ready', bytes: expect.any(Number) })
  expect(after.bytes).toBeGreaterThan(0)
})

test('a shard that there is not is refused', async () => {
  using db = await createVectorDB({ path: ':memory:' })

  expect(() => db.indexInfo('none')).toThrow(
    expect.objectContaining({ code: 'STORE_SHARD_UNKNOWN' }),
  )
})
