/**
 * The memory transport keeps the transport contract, at once and over a slow, lossy path.
 */
import { describe, test } from 'vitest'

import { FRAME_BYTES_MAX } from '../../src/limits.ts'
import {
  type FixtureOptions,
  type TransportFixture,
  transportContract,
} from '../../src/testing/index.ts'
import { MemoryNetwork } from '../../src/transport/memory.ts'
import type { MemoryNetworkOptions } from '../../src/transport/memory.ts'

const bounds = { frameBytesMax: FRAME_BYTES_MAX, unreadBytesMax: FRAME_BYTES_MAX }

describe('transport contract: memory', () => {
  for (const { name, run } of transportContract(bounds, (options) => openMemory({}, options))) {
    test(name, run)
  }
})

describe('transport contract: memory, 1 ms and 10 % loss', () => {
  let state = 1
  const random = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
  const lossy = { latencyMs: 1, lossRate: 0.1, random }
  for (const { name, run } of transportContract(bounds, (options) => openMemory(lossy, options))) {
    test(name, run)
  }
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
