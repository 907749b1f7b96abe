/**
 * `watch()`: what it yields equals what a fresh query gives.
 */
import { expect, test } from 'vitest'

import { createVectorDB, watch } from '../../src/index.ts'
import { LiveNodes, SHARD, whenLive } from './live-nodes.ts'

function idsOf(result: IteratorResult<readonly { readonly id: string }[], void>): string[] {
  return (result.value ?? []).map(({ id }) => id)
}

test('yields the result, and again when it changed, not when something else did', async () => {
  using db = await createVectorDB({ path: ':memory:' })
  db.createShard('s', { dimension: 2 })
  db.insert('s', { id: 'a', embedding: [1, 0] })
  const results = watch(db, 's', { vector: [1, 0], k: 2 })
  expect(idsOf(await results.next())).toEqual(['a'])

  const second = results.next()
  db.insert('s', { id: 'b', embedding: [1, 0.1] })
  expect(idsOf(await second)).toEqual(['a', 'b'])

  const third = results.next()
  db.insert('s', { id: 'far', embedding: [-1, 0] })
  await new Promise((resolve) => setTimeout(resolve, 20))
  db.delete('s', 'a')
  const changed = await third
  expect(idsOf(changed)).toEqual(['b', 'far'])
  expect(changed.value).toEqual(db.search('s', [1, 0], { k: 2 }))
  await results.return()
})

test('a slow reader gets the newest result, which equals a fresh query', async () => {
  using db = await createVectorDB({ path: ':memory:' })
  db.createShard('s', { dimension: 2 })
  const results = watch(db, 's', { filter: { kind: 'x' } })
  expect(idsOf(await results.next())).toEqual([])
  for (let index = 0; index < 5; index += 1) {
    db.insert('s', { id: `r${index}`, embedding: [1, index], metadata: { kind: 'x' } })
    db.insert('s', { id: `other${index}`, embedding: [1, index], metadata: { kind: 'y' } })
  }
  expect(idsOf(await results.next())).toEqual(['r0', 'r1', 'r2', 'r3', 'r4'])
  await results.return()
})

test('the signal ends it; what the query throws is thrown', async () => {
  using db = await createVectorDB({ path: ':memory:' })
  db.createShard('s', { dimension: 2 })
  const ending = new AbortController()
  const results = watch(db, 's', { vector: [1, 0] }, { signal: ending.signal })
  await results.next()
  const last = results.next()
  ending.abort()
  expect(await last).toEqual({ done: true, value: undefined })
  await expect(watch(db, 'nothing', { vector: [1, 0] }).next()).rejects.toMatchObject({
    code: 'STORE_SHARD_UNKNOWN',
  })
})

test('sees what other connections and peers commit', async () => {
  await using nodes = await LiveNodes.of('memory', 2)
  const [a, b] = [nodes.get(0), nodes.get(1)]
  a.db.createShard(SHARD, { dimension: 3 })
  b.sync.startAutoSync(SHARD, a.address)
  await whenLive(b, a)
  const results = watch(b.db, SHARD, { vector: [1, 0, 0] })
  await results.next()
  const second = results.next()
  a.db.insert(SHARD, { id: 'from a peer', embedding: [1, 0, 0] })
  expect(idsOf(await second)).toEqual(['from a peer'])

  const third = results.next()
  using other = await createVectorDB({ path: b.db.path })
  other.insert(SHARD, { id: 'from another connection', embedding: [0, 1, 0] })
  expect(idsOf(await third)).toEqual(['from a peer', 'from another connection'])
  await results.return()
})
