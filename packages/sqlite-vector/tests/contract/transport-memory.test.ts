/**
 * The memory transport keeps the transport contract, at once and over a slow, lossy path.
 */
import { describe, test } from 'vitest'

import { FRAME_BYTES_MAX } from '../../src/limits.ts'
import { transportContract } from '../../src/testing/index.ts'
import { openMemoryFixture } from './memory-fixture.ts'

const bounds = { frameBytesMax: FRAME_BYTES_MAX, unreadBytesMax: FRAME_BYTES_MAX }

describe('transport contract: memory', () => {
  for (const { name, run } of transportContract(bounds, (options) =>
    openMemoryFixture({}, options),
  )) {
    test(name, run)
  }
})

describe('transport contract: memory, 1 ms and 10 % loss', () => {
  let state = 1
  const random = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
  const lossy = { latencyMs: 1, lossRate: 0.1, random }
  for (const { name, run } of transportContract(bounds, (options) =>
    openMemoryFixture(lossy, options),
  )) {
    test(name, run)
  }
})
