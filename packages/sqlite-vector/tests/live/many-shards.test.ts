/**
 * Many live shards over one QUIC connection: more than a connection has channels for unless sync asks for them.
 */
import { expect, test } from 'vitest'

import { LiveNodes } from './live-nodes.ts'

const COUNT = 150
const PATIENCE = { timeout: 90_000, interval: 50 }

test(
  'more shards than an ordinary connection has channels for are live over one connection',
  { timeout: 120_000 },
  async () => {
    await using nodes = await LiveNodes.of('quic', 2)
    const [a, b] = [nodes.get(0), nodes.get(1)]
    const shardIds = Array.from({ length: COUNT }, (_, index) => `shard-${index}`)
    for (const shardId of shardIds) a.db.createShard(shardId, { dimension: 2 })
    for (const shardId of shardIds) b.sync.startAutoSync(shardId, a.address)

    await expect
      .poll(
        () => b.sync.getSession().autoSyncs.filter(({ status }) => status === 'live').length,
        PATIENCE,
      )
      .toBe(COUNT)
    const last = shardIds.at(-1) ?? ''
    a.db.insert(last, { id: 'from a', embedding: [1, 0] })
    b.db.insert(last, { id: 'from b', embedding: [0, 1] })

    await expect.poll(() => b.db.get(last, 'from a')?.id, PATIENCE).toBe('from a')
    await expect.poll(() => a.db.get(last, 'from b')?.id, PATIENCE).toBe('from b')
    expect(b.sync.getSession().connections.length).toBe(1)
    expect(a.sync.getSession().sessionsActive).toBe(2 * COUNT)
  },
)
