/**
 * Compression between two nodes: negotiated in HELLO, smaller on the way, and nothing else differs.
 */
import { describe, expect, test } from 'vitest'

import { type Peer, peers, pullFrom } from './drive.ts'

const SHARD = 'long'

async function fill({ fixture: { db } }: Peer): Promise<void> {
  db.createShard(SHARD, { dimension: 32, metric: 'cosine' })
  const records = Array.from({ length: 300 }, (_, index) => ({
    id: `record-${index}`,
    embedding: Array.from({ length: 32 }, (_unused, at) => Math.sin(index * 32 + at)),
    metadata: { title: 'a title that many records share', index },
  }))
  await db.insertBatch(SHARD, records)
}

describe('compression between two nodes', () => {
  test.each(['zstd', 'adaptive'] as const)(
    '%s makes the batches smaller and leaves the rows the same',
    async (compression) => {
      using nodes = await peers('sender', 'plain', 'compressed')
      const [sender, plain, compressed] = nodes
      await fill(sender)

      const whole = pullFrom(plain, sender, { shardId: SHARD })
      const smaller = pullFrom(compressed, sender, { shardId: SHARD, compression })

      expect(whole.error).toBeNull()
      expect(smaller.error).toBeNull()
      expect(smaller.frames).toEqual(whole.frames)
      expect(smaller.bytes).toBeLessThan(whole.bytes * 0.9)
      const rows = ({ fixture: { db } }: Peer): unknown =>
        db.list(SHARD, { limit: 300, includeVectors: true })
      expect(rows(compressed)).toEqual(rows(sender))
      expect(rows(plain)).toEqual(rows(sender))
    },
  )
})
