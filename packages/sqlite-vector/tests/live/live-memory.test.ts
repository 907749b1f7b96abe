/**
 * Shards kept in sync over the memory network.
 */
import { unlinkSync } from 'node:fs'

import { expect, test } from 'vitest'

import { decodeFrame, encodeFrame } from '../../src/sync/wire/control-frames.ts'
import { liveContract } from './live-contract.ts'
import { LiveNodes, SHARD, whenLive } from './live-nodes.ts'

liveContract('memory')

test('nothing is acknowledged that could not be flushed to disk', async () => {
  await using nodes = await LiveNodes.of('memory', 2)
  const [a, b] = [nodes.get(0), nodes.get(1)]
  a.db.createShard(SHARD, { dimension: 3 })
  a.db.insert(SHARD, { id: 'one', embedding: [1, 0, 0] })
  // As where b's disk fails: the flush finds no file to flush, while SQLite goes on.
  unlinkSync(`${b.db.path}-wal`)

  await expect(b.sync.sync(SHARD, a.address)).rejects.toMatchObject({ code: 'STORE_IO' })

  expect(b.db.count(SHARD)).toBe(1)
  expect(a.db.replica.peerCursors()).toEqual([])
})

test('an invitation to pull live what is pulled live already is refused by name', async () => {
  await using nodes = await LiveNodes.of('memory', 2)
  const [a, b] = [nodes.get(0), nodes.get(1)]
  a.db.createShard(SHARD, { dimension: 3 })
  b.sync.startAutoSync(SHARD, a.address)
  await whenLive(b, a)

  await using again = nodes.impostorOf(0)
  const channel = await (await again.dial(b.address)).openChannel()
  await channel.send(encodeFrame({ type: 'invite', shardId: SHARD, live: true }))
  const answer = await channel.receive({ signal: AbortSignal.timeout(5_000) })

  expect(answer === null ? null : decodeFrame(answer)).toMatchObject({
    type: 'error',
    code: 'SYNC_ALREADY_LIVE',
  })
})
