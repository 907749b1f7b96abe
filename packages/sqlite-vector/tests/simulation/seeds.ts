/**
 * Seeds as tests: a block of them each, so that a failure names its seed and blocks run side by side.
 */
import { expect, test } from 'vitest'

import { simulate } from './simulation.ts'

const SEEDS_PER_TEST = 10

/** Many times what they take on an idle machine: this ends what hangs, it does not measure. */
const TIMEOUT_MS = 600_000

/** One test for every ten seeds from `from` to `to`. */
export function testSeeds(from: number, to: number): void {
  for (let first = from; first <= to; first += SEEDS_PER_TEST) {
    const last = Math.min(to, first + SEEDS_PER_TEST - 1)
    test(
      `seeds ${first} to ${last} converge and keep every invariant on the way`,
      async () => {
        for (let seed = first; seed <= last; seed += 1) {
          const result = await simulate({ seed })
          expect(result.writes, `seed ${seed} wrote something`).toBeGreaterThan(0)
        }
      },
      TIMEOUT_MS,
    )
  }
}
