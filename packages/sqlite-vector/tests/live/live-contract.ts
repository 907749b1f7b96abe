/**
 * What live sync must do over any transport. Each transport's test file is one call of this.
 */
import { describe, expect, test } from 'vitest'

import { createVectorDB } from '../../src/store/vector-db.ts'
import {
  agree,
  type LiveNode,
  LiveNodes,
  type NetworkKind,
  SHARD,
  until,
  whenLive,
} from './live-nodes.ts'

function insert({ db }: LiveNode, id: string, x = 1): void {
  db.insert(SHARD, { id, embedding: [x, 1, 0] })
}

function ids({ db }: LiveNode): string[] {
  return db.list(SHARD, { limit: 1_000 }).records.map(({ id }) => id)
}

/** Two nodes whose shard is live. */
async function livePair(kind: NetworkKind): Promise<LiveNodes> {
  const nodes = await LiveNodes.of(kind, 2)
  const [a, b] = [nodes.get(0), nodes.get(1)]
  a.db.createShard(SHARD, { dimension: 3 })
  b.sync.startAutoSync(SHARD, a.address)
  await whenLive(b, a)
  return nodes
}

export function liveContract(kind: NetworkKind): void {
  describe(`live over ${kind}`, () => {
    test('a commit of either side is at the other', async () => {
      await using nodes = await livePair(kind)
      const [a, b] = [nodes.get(0), nodes.get(1)]
      insert(a, 'from a')
      insert(b, 'from b')
      await until(() => agree([a, b]), 'both have both')

      expect(ids(a)).toEqual(['from a', 'from b'])
      expect(b.db.search(SHARD, [1, 1, 0], { k: 2 }).length).toBe(2)
    })

    test('a commit of another process on the file is noticed', async () => {
      await using nodes = await livePair(kind)
      const [a, b] = [nodes.get(0), nodes.get(1)]
      using other = await createVectorDB({ path: a.db.path })
      other.insert(SHARD, { id: 'by another connection', embedding: [1, 0, 0] })
      await until(() => b.db.count(SHARD) === 1, 'it is at the other node', 1_000)
    })

    test('updates, deletes and a flood all arrive, and both sides agree', async () => {
      await using nodes = await livePair(kind)
      const [a, b] = [nodes.get(0), nodes.get(1)]
      const records = Array.from({ length: 1_500 }, (_, index) => ({
        id: `r${index}`,
        embedding: [1, index, 0],
      }))
      await a.db.insertBatch(SHARD, records)
      b.db.insert(SHARD, { id: 'b', embedding: [0, 0, 1] })
      a.db.update(SHARD, 'r7', { metadata: { seven: true } })
      a.db.delete(SHARD, 'r8')
      await until(() => agree([a, b]), 'both agree')

      expect(b.db.count(SHARD)).toBe(1_500)
      expect(b.db.get(SHARD, 'r7')?.metadata).toEqual({ seven: true })
      expect(b.db.get(SHARD, 'r8')).toBeNull()
    })

    test('nobody is sent back what it sent', async () => {
      await using nodes = await livePair(kind)
      const [a, b] = [nodes.get(0), nodes.get(1)]
      for (let count = 0; count < 20; count += 1) insert(a, `r${count}`)
      await until(() => agree([a, b]), 'both agree')
      // Longer than the delay of relays.
      await until(() => a.sync.getSession().sessionsActive === 2, 'the sessions are still there')
      await new Promise((resolve) => setTimeout(resolve, 300))
      const received = a.events.filter(
        (event) => event.type === 'progress' && event.direction === 'pull',
      )
      expect(received).toEqual([])
    })

    test('waitForPeers() does not wait for the next check of a shard that is live', async () => {
      await using nodes = await livePair(kind)
      const [a, b] = [nodes.get(0), nodes.get(1)]
      for (let count = 0; count < 20; count += 1) {
        insert(a, `r${count}`)
        const peers = await a.sync.waitForPeers(SHARD, { acks: 1 })
        expect(peers.length).toBe(1)
        expect(b.db.count(SHARD)).toBe(count + 1)
      }
      const received = b.events
        .filter((event) => event.type === 'applied')
        .reduce((sum, event) => sum + event.received, 0)
      expect(received).toBe(20)
    })

    test('a chain passes on what it gets', async () => {
      await using nodes = await LiveNodes.of(kind, 4, { relayDelayMs: 20 })
      const [a] = nodes.nodes as [LiveNode]
      a.db.createShard(SHARD, { dimension: 3 })
      for (const [index, node] of nodes.nodes.entries()) {
        if (index > 0) node.sync.startAutoSync(SHARD, nodes.get(index - 1).address)
      }
      await until(
        () => nodes.nodes.every(({ db }) => db.shards().length === 1),
        'all have the shard',
      )
      for (const node of nodes.nodes) insert(node, `from ${node.name}`)
      await until(() => agree(nodes.nodes), 'all four agree')
      expect(ids(nodes.get(3)).length).toBe(4)
    })

    test('both sides may ask for it: one session per direction serves', async () => {
      await using nodes = await livePair(kind)
      const [a, b] = [nodes.get(0), nodes.get(1)]
      a.sync.startAutoSync(SHARD, b.address)
      await whenLive(a, b)
      insert(a, 'one')
      await until(() => agree([a, b]), 'both agree')
      await until(() => a.sync.getSession().sessionsActive === 2, 'two sessions, not four')
    })

    test('stopping ends it on both sides; starting again catches up', async () => {
      await using nodes = await livePair(kind)
      const [a, b] = [nodes.get(0), nodes.get(1)]
      expect(await b.sync.stopAutoSync(SHARD, a.address)).toBe(true)
      expect(await b.sync.stopAutoSync(SHARD, a.address)).toBe(false)
      await until(() => a.sync.getSession().sessionsActive === 0, 'the other side lets go')
      insert(a, 'meanwhile')
      await new Promise((resolve) => setTimeout(resolve, 50))
      expect(b.db.count(SHARD)).toBe(0)

      b.sync.startAutoSync(SHARD, a.address)
      await until(() => agree([a, b]), 'caught up')
      expect(await b.sync.stopAllAutoSyncs()).toBe(1)
      expect(b.sync.getSession().autoSyncs).toEqual([])
    })

    test('an error that cannot heal is shown and not tried again', async () => {
      await using nodes = await LiveNodes.of(kind, 2)
      const [a, b] = [nodes.get(0), nodes.get(1)]
      a.db.createShard(SHARD, { dimension: 3 })
      b.db.createShard(SHARD, { dimension: 4 })
      b.sync.startAutoSync(SHARD, a.address)
      await until(() => b.events.some(({ type }) => type === 'error'), 'an error is told')

      const [state] = b.sync.getSession().autoSyncs
      expect(state?.status).toBe('failed')
      expect(state?.lastError).toMatchObject({ code: 'SYNC_SHARD_MISMATCH' })
      expect(b.events.filter(({ type }) => type === 'error')).toMatchObject([
        { willRetry: false, shardId: SHARD, address: a.address },
      ])
    })

    test('a peer that is not there yet is tried again until it is', async () => {
      await using nodes = await LiveNodes.of(kind, 2)
      const [a, b] = [nodes.get(0), nodes.get(1)]
      a.db.createShard(SHARD, { dimension: 3 })
      const address = a.address
      await a.sync.close()
      b.sync.startAutoSync(SHARD, address)
      await until(
        () => b.events.some((event) => event.type === 'error' && event.willRetry),
        'a failure is told',
        10_000,
      )
      expect(b.sync.getSession().autoSyncs[0]?.status).not.toBe('live')
    })

    test('events can be iterated, and say what a slow reader missed', async () => {
      await using nodes = await livePair(kind)
      const [a, b] = [nodes.get(0), nodes.get(1)]
      const events = b.sync.events({ bufferMax: 2 })
      for (let count = 0; count < 10; count += 1) {
        insert(a, `r${count}`)
        await until(() => b.db.count(SHARD) === count + 1, 'it arrived')
      }
      const first = await events.next()
      expect(first.value?.type).toBe('dropped')
      const second = await events.next()
      expect(['change', 'progress', 'applied']).toContain(second.value?.type)
      await b.sync.close()
      const rest: unknown[] = []
      for await (const event of events) rest.push(event)
      expect(rest.length).toBeLessThanOrEqual(3)
    })
  })
}
