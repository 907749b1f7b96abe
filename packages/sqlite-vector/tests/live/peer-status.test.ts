/**
 * The status of peers and the counts of work, from the sessions themselves: live, catching up, refused, closed.
 */
import { expect, test } from 'vitest'
import { Permissions } from '../../src/sync/index.ts'
import { LiveNodes, SHARD, until, whenLive } from './live-nodes.ts'

test('a peer is live while its sessions are, closed after, and live work is counted', async () => {
  await using nodes = new LiveNodes('memory')
  const [a, b] = [await nodes.add(), await nodes.add()]
  a.db.createShard(SHARD, { dimension: 1, metric: 'l2' })
  a.db.insert(SHARD, { id: 'first', embedding: [1] })
  b.sync.startAutoSync(SHARD, a.address)
  await whenLive(b, a)
  const statusAtA = (): string | undefined => a.sync.getSession().peers[0]?.status

  a.db.insert(SHARD, { id: 'second', embedding: [2] })
  await until(() => b.db.get(SHARD, 'second') !== null, 'the write')
  await until(() => a.sync.liveWork.sent === 2, 'both acknowledged')

  expect(b.sync.liveWork).toMatchObject({ applied: 2 })
  expect([statusAtA(), b.sync.getSession().peers[0]?.status]).toEqual(['live', 'live'])
  await b.sync.stopAutoSync(SHARD, a.address)
  await until(() => statusAtA() === 'closed', 'the end at the other side')
})

test('a peer that withdraws its permission is shown as one that refuses', async () => {
  const permissions = Permissions.inMemory()
  await using nodes = new LiveNodes('memory')
  const [a, b] = [await nodes.add({ permissions }), await nodes.add()]
  a.db.createShard(SHARD, { dimension: 1, metric: 'l2' })
  await b.sync.sync(SHARD, a.address)
  permissions.grant(b.sync.fingerprint, SHARD, 'none')

  await expect(b.sync.sync(SHARD, a.address)).rejects.toMatchObject({ code: 'SYNC_FORBIDDEN' })

  expect(b.sync.getSession().peers[0]?.status).toBe('refused')
})
