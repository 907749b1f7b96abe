/**
 * The QUIC transport keeps the transport contract, over real UDP on loopback: a thousand channels in sequence
 * (`QUIC_CHANNELS=10000` for ten times that, which `npm run test:slow` does), a hundred mebibytes both ways.
 */
import { describe, test } from 'vitest'

import { FRAME_BYTES_MAX, RECEIVE_WINDOW_STREAM_BYTES_MAX } from '../../src/limits.ts'
import { type FixtureOptions, transportContract } from '../../src/testing/index.ts'
import { openQuicFixture } from '../quic/quic-fixture.ts'

const bounds = {
  frameBytesMax: FRAME_BYTES_MAX,
  // A stalled reader's window plus what the sender's engine holds for the next round trip.
  unreadBytesMax: RECEIVE_WINDOW_STREAM_BYTES_MAX,
  channelsInSequence: Number(process.env['QUIC_CHANNELS'] ?? '1000'),
  bytesBothWays: 100 * 1_048_576,
}

const open = ({ channelsMax, listenerFrameBytesMax }: FixtureOptions = {}): ReturnType<
  typeof openQuicFixture
> =>
  openQuicFixture(
    channelsMax === undefined ? {} : { maxConcurrentStreams: channelsMax },
    listenerFrameBytesMax === undefined ? {} : { frameBytesMax: listenerFrameBytesMax },
  )

describe('transport contract: QUIC', () => {
  for (const { name, run } of transportContract(bounds, open)) {
    test(name, { timeout: 180_000 }, run)
  }
})
