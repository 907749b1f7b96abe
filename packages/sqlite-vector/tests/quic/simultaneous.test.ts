/**
 * Nodes that dial each other at the same moment end with one connection for each pair, and say so.
 */
import { expect, test } from 'vitest'
import { LiveNodes, SHARD } from '../live/live-nodes.ts'
import { introduce, openNode } from './quic-fixture.ts'
import { UdpRelay } from './udp-relay.ts'

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

test('two nodes that dialled each other stay live when both paths get other addresses', async () => {
  await using all = await LiveNodes.of('quic', 2)
  const [one, two] = all.nodes
  if (one === undefined || two === undefined) throw new Error('two nodes were asked for')
  await using toOne = await UdpRelay.open(one.address)
  await using toTwo = await UdpRelay.open(two.address)
  for (const { db } of all.nodes) db.createShard(SHARD, { dimension: 2 })
  one.sync.startAutoSync(SHARD, toTwo.address)
  two.sync.startAutoSync(SHARD, toOne.address)
  one.db.insert(SHARD, { id: 'before', embedding: [1, 0] })
  await expect.poll(() => two.db.get(SHARD, 'before')?.id, PATIENCE).toBe('before')

  for (let change = 0; change < 3; change += 1) {
    toOne.rebind()
    toTwo.rebind()
    one.db.insert(SHARD, { id: `one-${change}`, embedding: [0, 1] })
    two.db.insert(SHARD, { id: `two-${change}`, embedding: [1, 1] })

    await expect.poll(() => two.db.get(SHARD, `one-${change}`) !== null, PATIENCE).toBe(true)
    await expect.poll(() => one.db.get(SHARD, `two-${change}`) !== null, PATIENCE).toBe(true)
  }
  // The connection went on, or was dialled anew, through a relay: only there do addresses change.
  const pathChanges = all.nodes.map(({ sync }) => sync.getSession().transport?.pathChanges ?? 0)
  expect(Math.max(...pathChanges)).toBeGreaterThan(0)
})
