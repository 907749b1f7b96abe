/**
 * Nodes that dial each other at the same moment end with one connection for each pair, and say so.
 */
import { expect, test } from 'vitest'
import { LiveNodes, SHARD } from '../live/live-nodes.ts'
import { introduce, openNode } from './quic-fixture.ts'

const PATIENCE = { timeout: 30_000 }

test('both of two dials at once give the connection that stays', { timeout: 60_000 }, async () => {
  for (let round = 0; round < 5; round += 1) {
    await using a = await openNode()
    await using b = await openNode()
    introduce(a, b)
    const ofA = await a.transport.listen('127.0.0.1:0')
    const ofB = await b.transport.listen('127.0.0.1:0')

    const [fromA, fromB] = await Promise.all([a.transport.dial(ofB), b.transport.dial(ofA)])

    expect([fromA.retiredFor, fromB.retiredFor]).toEqual([null, null])
    expect(fromA.isServer).not.toBe(fromB.isServer)
    for (const { transport } of [a, b]) {
      await expect
        .poll(() => transport.getStats().active + transport.getStats().idle, PATIENCE)
        .toBe(1)
    }
  }
})

test('three nodes that start to sync with each other at once hold three connections', async () => {
  await using all = await LiveNodes.of('quic', 3)
  const { nodes } = all
  for (const { db } of nodes) db.createShard(SHARD, { dimension: 2 })

  for (const node of nodes) {
    for (const other of nodes) if (other !== node) node.sync.startAutoSync(SHARD, other.address)
  }
  nodes[0]?.db.insert(SHARD, { id: 'one', embedding: [1, 0] })

  for (const { db, sync } of nodes) {
    await expect.poll(() => db.get(SHARD, 'one')?.id, PATIENCE).toBe('one')
    const counts = (): readonly (number | undefined)[] => {
      const { connections, transport } = sync.getSession()
      const open = (transport?.active ?? 0) + (transport?.idle ?? 0)
      return [connections.length, open]
    }
    await expect.poll(counts, PATIENCE).toEqual([2, 2])
  }
})
