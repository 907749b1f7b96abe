/**
 * Channels that are given up in the middle of a transfer cost the connection nothing: their unread bytes
 * are credited back, and both sides forget them. `QUIC_CANCELLED` gives another number of them.
 */
import { expect, test } from 'vitest'
import type { Channel, Connection } from '../../src/transport/types.ts'
import { next, readAll } from '../../src/testing/connection-pair.ts'
import { openQuicFixture } from './quic-fixture.ts'

const CANCELLED = Number(process.env['QUIC_CANCELLED'] ?? 60)
const FRAME = new Uint8Array(262_144)
/** More than a connection lets travel unread. */
const WHOLE_FRAMES = 320
const PATIENCE = { timeout: 20_000 }

/** Sends until the channel ends. */
async function flood(channel: Channel): Promise<void> {
  try {
    for (;;) await channel.send(FRAME)
  } catch {
    channel.abort('the reader gave up')
  }
}

async function floodAll(connection: Connection): Promise<void> {
  for await (const channel of connection.channels()) {
    const first = await channel.receive().catch(() => null)
    if (first?.[0] === 2) void sendWhole(channel)
    else void flood(channel)
  }
}

async function sendWhole(channel: Channel): Promise<void> {
  for (let index = 0; index < WHOLE_FRAMES; index += 1) await channel.send(FRAME)
  await channel.finish()
}

for (const finished of [false, true]) {
  test(
    `${CANCELLED} transfers given up ${finished ? 'by a side that had finished' : 'in the middle'} leave the connection as it was`,
    { timeout: 1_200_000 },
    async () => {
      await using fixture = await openQuicFixture()
      const incoming = fixture.listener.accept()[Symbol.asyncIterator]()
      const here = await fixture.dialler.dial(fixture.address)
      const there = await next(incoming)
      void floodAll(there)

      for (let index = 0; index < CANCELLED; index += 1) {
        const channel = await here.openChannel()
        await channel.send(Uint8Array.of(1))
        if (finished) await channel.finish()
        await channel.receive()
        channel.abort('cancelled')
      }
      const whole = await here.openChannel({ signal: AbortSignal.timeout(20_000) })
      await whole.send(Uint8Array.of(2))
      await whole.finish()
      const frames = await readAll(whole)

      expect(frames).toHaveLength(WHOLE_FRAMES)
      await expect.poll(() => here.stats().channelsOpen, PATIENCE).toBe(0)
      await expect.poll(() => there.stats().channelsOpen, PATIENCE).toBe(0)
    },
  )
}

test(
  'channels that the taker gives up unread do not use up the limit of open channels',
  { timeout: 600_000 },
  async () => {
    await using fixture = await openQuicFixture({ maxConcurrentStreams: 32 })
    const incoming = fixture.listener.accept()[Symbol.asyncIterator]()
    const here = await fixture.dialler.dial(fixture.address)
    const there = await next(incoming)
    const refusing = (async () => {
      for await (const channel of there.channels()) {
        await channel.send(Uint8Array.of(9)).catch(() => {})
        await channel.finish().catch(() => {})
        channel.abort('refused')
      }
    })()
    const signal = AbortSignal.timeout(60_000)

    for (let index = 0; index < 300; index += 1) {
      const channel = await here.openChannel({ signal })
      await channel.send(new Uint8Array(40_000)).catch(() => {})
      await channel.receive().catch(() => null)
      channel.abort('refused')
    }
    await here.close()
    await refusing

    expect(signal.aborted).toBe(false)
  },
)
