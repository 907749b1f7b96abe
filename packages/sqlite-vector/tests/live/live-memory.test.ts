/**
 * Shards kept in sync over the memory network.
 */
import { expect, test } from 'vitest'

import { decodeFrame, encodeFrame } from '../../src/sync/protocol.ts'
import { liveContract } from './live-contract.ts'
import { LiveNodes, SHARD, whenLive } from './live-nodes.ts'

liveContract('memory')

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
