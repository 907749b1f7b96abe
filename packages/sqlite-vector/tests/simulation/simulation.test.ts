/**
 * The first hundred of two hundred seeds of the simulator (simulation.ts): nodes over a bad network, with
 * bad clocks, that crash, and in the end hold the same. A failure prints the command that replays it.
 */
import { expect, test } from 'vitest'

import { testSeeds } from './seeds.ts'
import { simulate } from './simulation.ts'

testSeeds(1, 100)

test('a seed is a whole history: two runs take the same steps', async () => {
  const traces: string[][] = []
  for (let run = 0; run < 2; run += 1) {
    const lines: string[] = []
    await simulate({ seed: 7, onTrace: (line) => lines.push(line) })
    traces.push(lines)
  }

  expect(traces[0]?.length).toBeGreaterThan(100)
  expect(traces[0]).toEqual(traces[1])
})
