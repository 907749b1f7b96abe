/**
 * The memory transport keeps the transport contract, at once and over a slow, lossy path.
 */
import { FRAME_BYTES_MAX } from '../../src/limits.ts'
import { MemoryNetwork } from '../../src/transport/memory.ts'
import type { MemoryNetworkOptions } from '../../src/transport/memory.ts'
import { transportContract } from './transport-contract.ts'
import type { FixtureOptions, TransportFixture } from './transport-contract.ts'

const bounds = { frameBytesMax: FRAME_BYTES_MAX, unreadBytesMax: FRAME_BYTES_MAX }

transportContract('memory', bounds, (options) => openMemory({}, options))
transportContract('memory, 1 ms and 10 % loss', bounds, (options) => {
  let state = 1
  const random = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
  return openMemory({ latencyMs: 1, lossRate: 0.1, random }, options)
})

async function openMemory(
  network: MemoryNetworkOptions,
  options: FixtureOptions = {},
): Promise<TransportFixture> {
  const { channelsMax, listenerFrameBytesMax } = options
  const shared = new MemoryNetwork(
    channelsMax === undefined ? network : { ...network, maxConcurrentStreams: channelsMax },
  )
  const dialler = shared.transport('d'.repeat(64))
  const listener = shared.transport(
    'e'.repeat(64),
    listenerFrameBytesMax === undefined ? {} : { frameBytesMax: listenerFrameBytesMax },
  )
  const address = await listener.listen('127.0.0.1:0')
  return {
    dialler,
    listener,
    address,
    async [Symbol.asyncDispose]() {
      await Promise.all([dialler.close(), listener.close()])
    },
  }
}
