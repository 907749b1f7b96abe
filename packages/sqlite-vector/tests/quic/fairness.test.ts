/**
 * A large shard never delays a small one: frames of one channel pass those of others that send all they can.
 */
import { expect, test } from 'vitest'
import type { Channel } from '../../src/transport/types.ts'
import { introduce, openNode } from './quic-fixture.ts'
import { UdpRelay } from './udp-relay.ts'

const LARGE_CHANNELS = 24
/** One turn of a channel. */
const LARGE_FRAME = new Uint8Array(65_536)
const ROUNDS = 12

async function readToEnd(channel: Channel): Promise<void> {
  while ((await channel.receive()) !== null);
}

test(
  'a small frame is taken before every large channel has had a turn',
  { timeout: 60_000 },
  async () => {
    await using listener = await openNode()
    await using dialler = await openNode()
    introduce(listener, dialler)
    // Credit comes in portions only where there is a way to go.
    await using relay = await UdpRelay.open(await listener.transport.listen('127.0.0.1:0'), {
      delayMs: 5,
    })
    const serving = (async () => {
      for await (const connection of listener.transport.accept()) {
        for await (const channel of connection.channels()) readToEnd(channel).catch(() => {})
      }
    })()
    const connection = await dialler.transport.dial(relay.address)
    let taken = 0
    const stop = new AbortController()
    const send = async (): Promise<void> => {
      const channel = await connection.openChannel()
      for (; !stop.signal.aborted; taken += 1) await channel.send(LARGE_FRAME)
      await channel.finish()
    }
    const sending = Array.from({ length: LARGE_CHANNELS }, send)
    await expect.poll(() => taken, { timeout: 20_000 }).toBeGreaterThan(4 * LARGE_CHANNELS)

    const passedBy: number[] = []
    for (let round = 0; round < ROUNDS; round += 1) {
      const channel = await connection.openChannel()
      const before = taken
      await channel.send(new Uint8Array(100))
      passedBy.push(taken - before)
      await channel.finish()
      await new Promise((resolve) => setImmediate(resolve))
    }
    stop.abort()
    await Promise.all(sending)
    await connection.close()
    await listener.transport.close()
    await serving

    // None, but for a turn that was being given; in line behind all of them about half a round.
    const median = passedBy.toSorted((a, b) => a - b)[ROUNDS / 2]
    expect(median).toBeLessThanOrEqual(1)
  },
)
