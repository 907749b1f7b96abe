/**
 * The coordinator over the memory network: tasks, limits, failures, statistics, and what outlives a restart.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { describe, expect, test } from 'vitest'

import { createVectorDB, type SQLiteVectorDB } from '../../../../src/store/vector-db.ts'
import {
  createShardCoordinator,
  type CoordinatorConfig,
  type ShardCoordinator,
} from '../../../../src/sync/index.ts'
import { MemoryNetwork } from '../../../../src/transport/memory/network.ts'
import type { Transport } from '../../../../src/transport/types.ts'
import { until } from '../../../live/live-nodes.ts'

interface Node {
  readonly name: string
  readonly db: SQLiteVectorDB
  readonly coordinator: ShardCoordinator
  readonly address: string
}

class Cluster implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'coordinator-'))
  readonly network = new MemoryNetwork()
  readonly nodes: Node[] = []

  async add(
    config: CoordinatorConfig = {},
    max = 10,
    wrap: (transport: Transport) => Transport = (transport) => transport,
  ): Promise<Node> {
    const name = `n${this.nodes.length}`
    const db = await createVectorDB({ path: join(this.folder, `${name}.db`) })
    const transport = wrap(this.network.transport(String(this.nodes.length).padStart(64, '0')))
    const coordinator = createShardCoordinator(db, name, { ...config, transport }, max)
    const address = await coordinator.sync.listen('127.0.0.1:0')
    const node = { name, db, coordinator, address }
    this.nodes.push(node)
    return node
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { coordinator } of this.nodes) await coordinator.close()
    for (const { db } of this.nodes) db.close()
    rmSync(this.folder, { recursive: true })
  }
}

function fill({ db }: Node, shards: number): void {
  for (let index = 0; index < shards; index += 1) {
    db.createShard(`shard-${index}`, { dimension: 2 })
    db.insert(`shard-${index}`, { id: 'r', embedding: [1, index] })
  }
}

function know(node: Node, ...others: readonly Node[]): void {
  for (const { name, address } of others) {
    node.coordinator.registerPeer({ nodeId: name, address })
  }
}

describe('tasks', () => {
  test('syncAll brings every shard to every peer, and says what it did', async () => {
    await using cluster = new Cluster()
    const [a, b, c] = [await cluster.add(), await cluster.add(), await cluster.add()]
    fill(a, 4)
    know(a, b, c)
    const results = await a.coordinator.syncAll()

    expect(results.length).toBe(8)
    expect(results.every(({ ok }) => ok)).toBe(true)
    expect([b, c].map(({ db }) => db.shards().length)).toEqual([4, 4])
    const stats = a.coordinator.getStats()
    expect([stats.syncs, stats.failures, stats.sent, stats.durationCount]).toEqual([8, 0, 8, 8])
    expect(stats.durationMsP99).toBeGreaterThanOrEqual(stats.durationMsP50 ?? Infinity)
    expect(a.coordinator.getPeers().map(({ status }) => status)).toEqual(['online', 'online'])
    expect(a.coordinator.getAllShardStates().get('shard-1')?.peers.length).toBe(2)
  })

  test('syncShard and syncWithPeer do no more than they say', async () => {
    await using cluster = new Cluster()
    const [a, b, c] = [await cluster.add(), await cluster.add(), await cluster.add()]
    fill(a, 3)
    know(a, b, c)
    expect((await a.coordinator.syncShard('shard-1')).length).toBe(2)
    expect(b.db.shards().map(({ shardId }) => shardId)).toEqual(['shard-1'])
    expect((await a.coordinator.syncWithPeer('n2')).map(({ task }) => task.peer)).toEqual([
      'n2',
      'n2',
      'n2',
    ])
    expect(() => a.coordinator.syncWithPeer('nobody')).toThrow(RangeError)
  })

  test('the limit is kept, and reached', async () => {
    await using cluster = new Cluster()
    const a = await cluster.add({}, 3)
    const b = await cluster.add()
    fill(a, 12)
    know(a, b)
    let most = 0
    const watch = setInterval(() => {
      most = Math.max(most, a.coordinator.getActiveSyncsCount())
    }, 0)
    await a.coordinator.syncAll()
    clearInterval(watch)
    expect(most).toBe(3)
    expect(a.coordinator.getActiveSyncsCount()).toBe(0)
  })

  test('pending tasks can be counted and cleared; who waits sees them fail', async () => {
    await using cluster = new Cluster()
    const [a, b] = [await cluster.add({}, 1), await cluster.add()]
    fill(a, 3)
    know(a, b)
    for (let index = 0; index < 3; index += 1) {
      a.coordinator.scheduleSyncTask(`shard-${index}`, 'n1', index)
      a.coordinator.scheduleSyncTask(`shard-${index}`, 'n1', index)
    }
    expect(a.coordinator.getPendingTasksCount()).toBe(3)
    const run = a.coordinator.executeTasks()
    expect(a.coordinator.clearPendingTasks()).toBe(2)
    const results = await run
    expect(results.filter(({ ok }) => ok).map(({ task }) => task.shardId)).toEqual(['shard-2'])
    expect(results.filter(({ ok }) => !ok).length).toBe(2)
    expect(() => a.coordinator.scheduleSyncTask('shard-0', 'nobody')).toThrow(RangeError)
  })

  test('a peer that is not there fails by itself, after a few attempts', async () => {
    await using cluster = new Cluster()
    const [a, b] = [await cluster.add(), await cluster.add()]
    fill(a, 3)
    know(a, b)
    a.coordinator.registerPeer({ nodeId: 'dead', address: '127.0.0.1:9' })
    const run = a.coordinator.syncAll()
    await until(() => b.db.shards().length === 3, 'the living peer has all')
    const results = await run

    const dead = results.filter(({ task }) => task.peer === 'dead')
    expect(dead.map(({ ok }) => ok)).toEqual([false, false, false])
    expect(results.filter(({ ok }) => ok).length).toBe(3)
    expect(a.coordinator.getStats().retries).toBe(2)
    expect(a.coordinator.getPeers().find(({ nodeId }) => nodeId === 'dead')?.status).toBe('offline')
  })

  test('what cannot heal is not tried again', async () => {
    await using cluster = new Cluster()
    const [a, b] = [await cluster.add(), await cluster.add()]
    a.db.createShard('s', { dimension: 2 })
    b.db.createShard('s', { dimension: 3 })
    know(a, b)
    const results = await a.coordinator.syncAll()
    expect(results).toMatchObject([{ ok: false, error: { code: 'SYNC_SHARD_MISMATCH' } }])
    expect(a.coordinator.getStats()).toMatchObject({ failures: 1, retries: 0, syncs: 0 })
  })
})

describe('peers', () => {
  test('registering again changes the peer and adds none', async () => {
    await using cluster = new Cluster()
    const a = await cluster.add()
    a.coordinator.registerPeer({ nodeId: 'p', address: 'h:1', shards: ['x'], status: 'online' })
    a.coordinator.registerPeer({ nodeId: 'p', address: 'h:1', shards: ['y'], status: 'offline' })
    expect(a.coordinator.getPeers()).toMatchObject([
      { nodeId: 'p', shards: ['y'], status: 'online' },
    ])
    expect(a.coordinator.unregisterPeer('p')).toBe(true)
    expect(a.coordinator.unregisterPeer('p')).toBe(false)
    expect(() => a.coordinator.registerPeer({ nodeId: 'n0', address: 'h:1' })).toThrow(RangeError)
  })

  test('a health check asks the peers themselves', async () => {
    await using cluster = new Cluster()
    const [a, b] = [await cluster.add(), await cluster.add()]
    know(a, b)
    expect(await a.coordinator.healthCheck()).toMatchObject({
      healthy: true,
      peers: [{ nodeId: 'n1', reachable: true, error: null }],
    })
    await b.coordinator.close()
    const after = await a.coordinator.healthCheck()
    expect(after).toMatchObject({ healthy: false, peers: [{ reachable: false, rttMs: null }] })
    expect(a.coordinator.getPeers()[0]?.status).toBe('offline')
  })

  test('a node with no peer to ask is not healthy', async () => {
    await using cluster = new Cluster()
    const a = await cluster.add()

    expect(await a.coordinator.healthCheck()).toEqual({ healthy: false, peers: [] })
  })

  test('a registered peer that was away longer than the retention is still dialled', async () => {
    await using cluster = new Cluster()
    const [a, b] = [await cluster.add({ replicaRetentionMs: 1 }), await cluster.add()]
    fill(a, 1)
    know(a, b)
    await a.coordinator.syncAll()
    await b.coordinator.close()
    await a.coordinator.healthCheck()
    const isSetAside = (): boolean => a.coordinator.getPeers()[0]?.status === 'set-aside'
    await until(isSetAside, 'longer than the retention')

    const [synced, health] = [await a.coordinator.syncAll(), await a.coordinator.healthCheck()]

    expect(synced).toHaveLength(1)
    expect(health).toMatchObject({ healthy: false, peers: [{ nodeId: 'n1', reachable: false }] })
  })

  test('what was registered and counted outlives a restart, and costs no network', async () => {
    await using cluster = new Cluster()
    const [a, b] = [await cluster.add(), await cluster.add()]
    fill(a, 2)
    know(a, b)
    await a.coordinator.syncAll()
    const [peer] = a.coordinator.getPeers()
    await a.coordinator.close()

    const dialled: string[] = []
    const transport = cluster.network.transport('f'.repeat(64))
    const again = createShardCoordinator(a.db, 'n0', {
      transport: {
        ...transport,
        identity: transport.identity,
        dial: (address) => {
          dialled.push(address)
          return Promise.reject(new Error('restoring dials nobody'))
        },
      },
    })
    const session = again.getSession()
    expect(session.registered).toEqual([peer])
    expect(session.stats).toMatchObject({ syncs: 2, sent: 2 })
    expect(session.peers.length).toBe(2)
    expect(dialled).toEqual([])
    await again.close()
  })
})

describe('auto-sync of all', () => {
  test('keeps every shard live, and stops', async () => {
    await using cluster = new Cluster()
    const [a, b] = [await cluster.add(), await cluster.add()]
    fill(a, 3)
    know(a, b)
    expect(a.coordinator.startAutoSyncAll()).toBe(3)
    await until(() => b.db.shards().length === 3, 'the peer has the shards')
    b.db.insert('shard-2', { id: 'later', embedding: [1, 1] })
    await until(() => a.db.get('shard-2', 'later') !== null, 'it came back')
    expect(await a.coordinator.stopAutoSyncAll()).toBe(3)
  })

  test('a ring relays through everybody, though each dials one', async () => {
    await using cluster = new Cluster()
    const config = { topology: { type: 'ring' }, relayDelayMs: 20 } as const
    for (let index = 0; index < 4; index += 1) await cluster.add(config)
    const [first] = cluster.nodes as [Node]
    for (const node of cluster.nodes) {
      node.db.createShard('s', { dimension: 2 })
      know(node, ...cluster.nodes.filter((other) => other !== node))
      expect(node.coordinator.startAutoSyncAll()).toBe(1)
    }
    first.db.insert('s', { id: 'r', embedding: [1, 1] })
    await until(() => cluster.nodes.every(({ db }) => db.count('s') === 1), 'all have it')
  })
})
