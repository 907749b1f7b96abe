/**
 * Auto-sync that waits: it ends at once when it is stopped, and begins again when what failed it was healed.
 */
import { expect, test } from 'vitest'
import { createVectorDB } from '../../src/store/vector-db.ts'
import { createVectorSync } from '../../src/sync/index.ts'
import type { Transport } from '../../src/transport/types.ts'
import { MemoryNetwork } from '../../src/transport/memory/network.ts'
import { LiveNodes, SHARD, until, whenLive } from './live-nodes.ts'

test('stopAutoSync() ends within 100 ms while the peer is dialled and does not answer', async () => {
  const network = new MemoryNetwork()
  const inner = network.transport('a'.repeat(64))
  const transport: Transport = new Proxy(inner, {
    get: (target, key) =>
      key === 'dial'
        ? () => new Promise<never>(() => undefined)
        : ((Reflect.get(target, key) as (...args: never) => unknown).bind?.(target) ??
          Reflect.get(target, key)),
  })
  const db = await createVectorDB({ path: ':memory:' })
  db.createShard(SHARD, { dimension: 1, metric: 'l2' })
  const sync = createVectorSync(db, 'a', { transport })
  sync.startAutoSync(SHARD, '127.0.0.1:1')
  sync.startAutoSync(SHARD, '127.0.0.1:2')
  await until(() => sync.getSession().autoSyncs.length === 2, 'two auto-syncs')

  const startedMs = performance.now()
  expect(await sync.stopAutoSync(SHARD, '127.0.0.1:1')).toBe(true)

  expect(performance.now() - startedMs).toBeLessThan(100)
  await sync.stopAllAutoSyncs()
  db.close()
})

test('stopAutoSync() ends within 100 ms while it is live', async () => {
  await using nodes = new LiveNodes('memory')
  const [a, b] = [await nodes.add(), await nodes.add()]
  a.db.createShard(SHARD, { dimension: 1, metric: 'l2' })
  b.sync.startAutoSync(SHARD, a.address)
  await whenLive(b, a)

  const startedMs = performance.now()
  await b.sync.stopAutoSync(SHARD, a.address)

  expect(performance.now() - startedMs).toBeLessThan(100)
})

test('an auto-sync that failed for what cannot heal by itself begins again once it is started', async () => {
  await using nodes = new LiveNodes('memory')
  const [a, b] = [await nodes.add(), await nodes.add()]
  a.db.createShard(SHARD, { dimension: 1, metric: 'l2' })
  b.db.createShard(SHARD, { dimension: 2, metric: 'l2' })
  b.sync.startAutoSync(SHARD, a.address)
  const statusIs = (status: string) => (): boolean =>
    b.sync.getSession().autoSyncs[0]?.status === status
  await until(statusIs('failed'), 'a failure')
  b.db.dropShard(SHARD)

  b.sync.startAutoSync(SHARD, a.address)

  await until(statusIs('live'), 'live again', 20_000)
})
