/**
 * A peer that stops taking what it is sent, as one whose process is stopped: it delays nobody else, little waits for it,
 * and it catches up once it goes on. The same with real processes is a part of `npm run bench -- live`.
 */
import { expect, test } from 'vitest'

import { UNACKED_BATCHES_MAX } from '../../src/limits.ts'
import { createVectorDB } from '../../src/store/vector-db.ts'
import { SessionDriver } from '../../src/sync/session/driver.ts'
import { FRAME_TYPES } from '../../src/sync/wire/frame.ts'
import { createPuller } from '../../src/sync/session/puller.ts'
import type { Channel } from '../../src/transport/types.ts'
import { agree, LiveNodes, SHARD, whenLive } from './live-nodes.ts'

const RECORDS = 2_000
const BATCH = 20
const PATIENCE = { timeout: 60_000, interval: 20 }

/** Does what is to be done, frames to send included. */
async function carryOut(driver: SessionDriver, channel: Channel): Promise<void> {
  while (driver.busy) {
    const effect = driver.advance()
    if (effect?.type === 'send') await channel.send(effect.bytes)
  }
}

/** Every frame that comes without an answer of ours, until none has come for a while. */
async function framesUnanswered(channel: Channel): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = []
  for (;;) {
    try {
      const frame = await channel.receive({ signal: AbortSignal.timeout(500) })
      if (frame === null) return frames
      frames.push(frame)
    } catch {
      return frames
    }
  }
}

test(
  'a peer that stops reading delays nobody, has a bounded window waiting, and catches up',
  { timeout: 120_000 },
  async () => {
    await using nodes = await LiveNodes.of('memory', 2, { batchSize: BATCH })
    const [a, b] = [nodes.get(0), nodes.get(1)]
    a.db.createShard(SHARD, { dimension: 3 })
    b.sync.startAutoSync(SHARD, a.address)
    await whenLive(b, a)
    using slowDb = await createVectorDB({ path: nodes.path('slow') })
    await using slow = nodes.impostorOf(9)
    const channel = await (await slow.dial(a.address)).openChannel()
    const driver = new SessionDriver(
      createPuller({ peer: a.sync.fingerprint, shardId: SHARD, live: true }),
      { store: slowDb.replica, nodeId: 'slow', batchSize: BATCH },
    )
    driver.start()
    await carryOut(driver, channel)

    // From here on it takes nothing, while a writes on and b gets all of it.
    const embedding = [1, 0, 0]
    for (let index = 0; index < RECORDS; index += 100) {
      const part = Array.from({ length: 100 }, (_, at) => ({ id: `r${index + at}`, embedding }))
      await a.db.insertBatch(SHARD, part)
    }
    await expect.poll(() => b.db.count(SHARD), PATIENCE).toBe(RECORDS)
    const waiting = await framesUnanswered(channel)
    const batches = waiting.filter((frame) => frame[0] === FRAME_TYPES.batch).length
    expect(batches).toBeLessThanOrEqual(UNACKED_BATCHES_MAX)

    // It goes on.
    for (const frame of waiting) {
      driver.take(frame)
      await carryOut(driver, channel)
    }
    const wait = { signal: AbortSignal.timeout(60_000) }
    while (slowDb.count(SHARD) < RECORDS) {
      const frame = await channel.receive(wait)
      if (frame === null) throw new Error('the sender ended the channel')
      driver.take(frame)
      await carryOut(driver, channel)
    }

    expect(slowDb.count(SHARD)).toBe(RECORDS)
    await expect.poll(() => agree([a, b]), PATIENCE).toBe(true)
    channel.abort('the test is over')
  },
)
