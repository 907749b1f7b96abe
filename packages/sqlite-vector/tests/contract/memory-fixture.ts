/**
 * Two parties of the memory transport, as cases of the transport contract want them.
 */
import type { FixtureOptions, TransportFixture } from '../../src/testing/index.ts'
import { MemoryNetwork, type MemoryNetworkOptions } from '../../src/transport/memory/network.ts'
import type { Transport } from '../../src/transport/types.ts'

/** `wrap` may put something else in front of either party. */
export async function openMemoryFixture(
  network: MemoryNetworkOptions,
  { channelsMax, listenerFrameBytesMax }: FixtureOptions = {},
  wrap: (transport: Transport) => Transport = (transport) => transport,
): Promise<TransportFixture> {
  const shared = new MemoryNetwork(
    channelsMax === undefined ? network : { ...network, maxConcurrentStreams: channelsMax },
  )
  const dialler = wrap(shared.transport('d'.repeat(64)))
  const listener = wrap(
    shared.transport(
      'e'.repeat(64),
      listenerFrameBytesMax === undefined ? {} : { frameBytesMax: listenerFrameBytesMax },
    ),
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
