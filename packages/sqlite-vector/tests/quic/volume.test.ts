/**
 * Volume over one QUIC connection: a thousand channels in sequence (`QUIC_CHANNELS=10000` for ten times
 * that, which `npm run test:slow` does), a hundred megabytes both ways at once.
 */
import { expect, test } from 'vitest'
import type { Channel } from '../../src/transport/types.ts'
import { channelPair, connect, next, pattern, readAll } from '../contract/transport-contract.ts'
import { openQuicFixture } from './quic-fixture.ts'

const MEBIBYTE = 1_048_576
const CHANNELS = Number(process.env['QUIC_CHANNELS'] ?? '1000')

test(
  `${CHANNELS} channels in sequence, over a limit of 256 at once`,
  { timeout: 180_000 },
  async () => {
    await using pair = await connect(() => openQuicFixture())
    let wrong = 0

    for (let index = 0; index < CHANNELS; index += 1) {
      const [here, there] = await Promise.all([
        pair.dialled.openChannel(),
        next(pair.acceptedChannels),
      ])
      await Promise.all([
        here.send(Uint8Array.of(index % 256)).then(() => here.finish()),
        there.finish(),
      ])
      const [[frame], rest] = await Promise.all([readAll(there), readAll(here)])
      if (frame?.[0] !== index % 256 || rest.length !== 0) wrong += 1
    }

    expect(wrong).toBe(0)
    expect(pair.dialled.stats().channelsOpen).toBe(0)
  },
)

test('a hundred megabytes both ways at once', { timeout: 180_000 }, async () => {
  await using pair = await connect(() => openQuicFixture())
  const [here, there] = await channelPair(pair)
  const frame = pattern(MEBIBYTE, 1)
  const before = process.memoryUsage.rss()
  const sendAll = async (channel: Channel): Promise<void> => {
    for (let count = 0; count < 100; count += 1) await channel.send(frame)
    await channel.finish()
  }
  let wrong = 0
  const countAll = async (channel: Channel): Promise<number> => {
    let count = 0
    for (let got = await channel.receive(); got !== null; got = await channel.receive()) {
      if (Buffer.compare(got, frame) !== 0) wrong += 1
      count += 1
    }
    return count
  }

  const [, , first, second] = await Promise.all([
    sendAll(here),
    sendAll(there),
    countAll(here),
    countAll(there),
  ])

  expect([first, second, wrong]).toEqual([100, 100, 0])
  // Both ends live here: windows and a few frames, not the transfer.
  expect(process.memoryUsage.rss() - before).toBeLessThan(300 * MEBIBYTE)
})
