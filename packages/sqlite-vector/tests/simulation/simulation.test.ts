/**
 * Two hundred seeds of the simulator (simulation.ts): nodes over a bad network, with bad clocks, that
 * crash, and in the end hold the same. A failure names its seed and the command that replays it.
 */
import { expect, test } from 'vitest'

import { simulate } from './simulation.ts'

const SEEDS = 200
const SEEDS_PER_TEST = 10

for (let from = 1; from <= SEEDS; from += SEEDS_PER_TEST) {
  const to = from + SEEDS_PER_TEST - 1
  test(`seeds ${from} to ${to} converge and keep every invariant on the way`, async () => {
    for (let seed = from; seed <= to; seed += 1) {
      const result = await simulate({ seed })
      expect(result.writes, `seed ${seed} wrote something`).toBeGreaterThan(0)
    }
  })
}

test('a seed is a whole history: two runs take the same steps', async () => {
  const traces = await Promise.all(
    [1, 2].map(async () => {
      const lines: string[] = []
      await simulate({ seed: 7, onTrace: (line) => lines.push(line) })
      return lines
    }),
  )

  expect(traces[0]?.length).toBeGreaterThan(100)
  expect(traces[0]).toEqual(traces[1])
})
