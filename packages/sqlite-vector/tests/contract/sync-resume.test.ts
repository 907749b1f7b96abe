/**
 * A transfer that breaks at any frame goes on from its cursor: what was committed is not sent again.
 */
import { describe, expect, test } from 'vitest'

import { createVectorSync } from '../../src/sync/index.ts'
import { MemoryNetwork } from '../../src/transport/memory/network.ts'
import { Cut, cuttingTransport } from './cutting-transport.ts'
import {
  expectEqual,
  openFixture,
  recordOf,
  recordsOf,
  SHARD,
  type SyncFixture,
} from './sync-contract.ts'

const RECORDS = 45
const BATCH = 10

/** Node b's channels break at frame `cut`. */
function open(cut: Cut): Promise<SyncFixture> {
  return openFixture(
    async ([a, b], [configA, configB]) => {
      const network = new MemoryNetwork()
      const broken = cuttingTransport(network.transport('b'.repeat(64)), cut)
      return [
        createVectorSync(a, 'node-a', { ...configA, transport: network.transport('a'.repeat(64)) }),
        createVectorSync(b, 'node-b', { ...configB, transport: broken }),
      ]
    },
    { batchSize: BATCH },
  )
}

/** Changes that b committed (`pull`) or heard to be committed (`push`), over all its sessions. */
function committed({ b }: SyncFixture, direction: 'pull' | 'push'): number {
  return b.events
    .filter((event) => event.type === 'session-ended' && event.direction === direction)
    .reduce((sum, event) => sum + (event.type === 'session-ended' ? event.changes : 0), 0)
}

/** Syncs until it works; returns how often it broke. */
async function syncUntilDone({ a, b }: SyncFixture): Promise<number> {
  for (let failures = 0; failures < 3; failures += 1) {
    const result = await b.sync.sync(SHARD, a.address).catch((error: { code: string }) => {
      expect(error.code).toBe('TRANSPORT_ABORTED')
      return null
    })
    if (result !== null) return failures
  }
  throw new Error('the sync did not recover')
}

/** Runs `check` with a cut at frame 1, 2, … until a sync passes uncut. */
async function forEveryCut(
  check: (fixture: SyncFixture, cut: Cut) => Promise<void>,
): Promise<number> {
  for (let at = 1; ; at += 1) {
    const cut = new Cut(at)
    await using fixture = await open(cut)
    await check(fixture, cut)
    if (!cut.done) return at - 1
  }
}

describe('a sync that breaks', () => {
  test('at any frame while it pulls never receives a committed batch again', async () => {
    const cuts = await forEveryCut(async (fixture, cut) => {
      const { a, b } = fixture
      a.db.createShard(SHARD, { dimension: 4 })
      await a.db.insertBatch(SHARD, recordsOf(RECORDS))

      const failures = await syncUntilDone(fixture)

      // Cut in its last words, a pull is complete all the same.
      expect(failures).toBeLessThanOrEqual(cut.done ? 1 : 0)
      expect(committed(fixture, 'pull')).toBe(RECORDS)
      expectEqual(a, b)
    })

    expect(cuts).toBeGreaterThan(15)
  })

  test('at any frame while it pushes brings every record exactly once into the peer’s feed', async () => {
    const cuts = await forEveryCut(async (fixture) => {
      const { a, b } = fixture
      b.db.createShard(SHARD, { dimension: 4 })
      await b.db.insertBatch(SHARD, recordsOf(RECORDS))

      await syncUntilDone(fixture)

      // The head of a's feed counts every write to it: a second application would show.
      expect(a.db.replica.shardState(SHARD).head).toBe(RECORDS)
      expectEqual(a, b)
    })

    expect(cuts).toBeGreaterThan(15)
  })

  test('in the middle of writes on both sides converges', async () => {
    const cuts = await forEveryCut(async (fixture) => {
      const { a, b } = fixture
      a.db.createShard(SHARD, { dimension: 4 })
      await a.db.insertBatch(SHARD, recordsOf(20))
      b.db.createShard(SHARD, { dimension: 4 })
      await b.db.insertBatch(SHARD, recordsOf(20, 10))
      b.db.delete(SHARD, recordOf(15).id)

      await syncUntilDone(fixture)

      expectEqual(a, b)
    })

    expect(cuts).toBeGreaterThan(15)
  })
})
