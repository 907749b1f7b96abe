/**
 * The check of the checker: every planted fault (faults.ts) is found by the simulator within a few seeds.
 */
import { expect, test } from 'vitest'

import { type FaultName, FAULTS } from './faults.ts'
import { simulate, SimulationFailure } from './simulation.ts'

const SEEDS_MAX = 25

/** The first failure that the fault makes, or null when the seeds did not find it. */
async function find(fault: FaultName): Promise<SimulationFailure | null> {
  for (let seed = 1; seed <= SEEDS_MAX; seed += 1) {
    try {
      await simulate({ seed, fault })
    } catch (error) {
      if (error instanceof SimulationFailure) return error
      throw error
    }
  }
  return null
}

for (const fault of Object.keys(FAULTS) as FaultName[]) {
  test(`the simulator finds the planted fault ${fault} within ${SEEDS_MAX} seeds`, async () => {
    const failure = await find(fault)

    expect(failure?.invariant).toBeTypeOf('string')
    // An invariant broke; not merely something threw.
    expect(failure?.invariant).not.toBe('no error escapes')
    expect(failure?.message).toContain(`npm run simulate -- --seed ${failure?.seed ?? '?'}`)
  }, 600_000)
}
