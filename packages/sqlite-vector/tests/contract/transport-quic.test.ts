/**
 * The QUIC transport keeps the transport contract, over real UDP on loopback.
 */
import { FRAME_BYTES_MAX, RECEIVE_WINDOW_STREAM_BYTES_MAX } from '../../src/limits.ts'
import { transportContract } from './transport-contract.ts'
import { openQuicFixture } from '../quic/quic-fixture.ts'

transportContract(
  'QUIC',
  // A stalled reader's window plus what the sender's engine holds for the next round trip.
  {
    frameBytesMax: FRAME_BYTES_MAX,
    unreadBytesMax: RECEIVE_WINDOW_STREAM_BYTES_MAX,
  },
  (options = {}) =>
    openQuicFixture(
      options.channelsMax === undefined ? {} : { maxConcurrentStreams: options.channelsMax },
      options.listenerFrameBytesMax === undefined
        ? {}
        : { frameBytesMax: options.listenerFrameBytesMax },
    ),
)
