/**
 * The reference calls, word for word: sync a shard once, keep one in sync, coordinate many. Trust comes from
 * the node's trust file, so the calls name addresses and nothing else.
 *
 *   npx node --conditions=source examples/03-reference-sync.ts
 */
import assert from 'node:assert/strict'
import { setTimeout as wait } from 'node:timers/promises'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { createShardCoordinator, createVectorSync } from '@agentic-flow/sqlite-vector/sync'

// The other node, which would be on another machine.
using remote = await createVectorDB({ path: 'remote.db' })
for (const shard of ['shard-1', 'shard-2']) remote.createShard(shard, { dimension: 2 })
remote.insert('shard-1', { id: 'theirs', embedding: [1, 0] })
await using other = createVectorSync(remote, 'node-2')
const address = await other.listen('127.0.0.1:0')

using db = await createVectorDB({ path: 'local.db' })

// Once: both sides hold the same afterwards.
{
  await using sync = createVectorSync(db, 'node-1', {
    conflictStrategy: 'last-write-wins',
    batchSize: 100,
    compression: true,
  })
  // Nobody is trusted by default. The pins stay in each node's trust file.
  sync.trust.add(other.certificatePem, 'node-2')
  other.trust.add(sync.certificatePem, 'node-1')
  const result = await sync.sync('shard-1', address)
  assert.equal(result.applied, 1)
}

// Kept in sync: what is written there is here as soon as it is committed.
{
  await using sync = createVectorSync(db, 'node-1', { syncIntervalMs: 1000 })
  sync.startAutoSync('shard-1', address)
  for await (const event of sync.events()) {
    if (event.type === 'sync' && event.status === 'live') break
  }
  remote.insert('shard-1', { id: 'later', embedding: [0, 1] })
  for (let tries = 0; db.get('shard-1', 'later') === null; tries += 1) {
    assert.ok(tries < 500, 'a live write arrives')
    await wait(10)
  }
  await sync.stopAutoSync('shard-1', address)
}

// Many shards, many peers.
{
  await using coordinator = createShardCoordinator(db, 'node-1', {}, 10)
  coordinator.registerPeer({
    nodeId: 'node-2',
    address,
    shards: ['shard-1', 'shard-2'],
    status: 'online',
  })
  const results = await coordinator.syncAll()
  assert.ok(results.every(({ ok }) => ok))
  const stats = coordinator.getStats()
  assert.equal(stats.syncs, 2)
  const health = await coordinator.healthCheck()
  assert.ok(health.healthy)
  process.stdout.write(
    `${db.shards().length} shards in step; ${stats.syncs} syncs, p50 ${stats.durationMsP50?.toFixed(1)} ms, ` +
      `ping ${health.peers[0]?.rttMs?.toFixed(1)} ms\n`,
  )
}
