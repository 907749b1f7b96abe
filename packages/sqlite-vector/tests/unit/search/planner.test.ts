/**
 * The planner: exact where it is cheap, asked for or the only honest choice; else the cheapest code that reaches the
 * recall wanted on the shard's own data.
 */
import { expect, test } from 'vitest'
import type { Calibration } from '../../../src/search/calibrate.ts'
import { type PlanInput, planSearch } from '../../../src/search/planner.ts'

const good = { depth: 256, recall: 0.998, sufficient: true }
const poor = { depth: 2_048, recall: 0.6, sufficient: false }

function calibration(bits: typeof good, int8: typeof good): Calibration {
  return { count: 100_000, queries: 64, bits, int8 }
}

const large: PlanInput = {
  dimension: 384,
  count: 100_000,
  selected: 100_000,
  k: 10,
  rows: { float32: true, int8: true, bits: true },
  calibration: calibration(good, { ...good, depth: 16 }),
  tame: true,
  exact: false,
  rescore: null,
}

test('a large shard whose bits suffice is searched by bits, at the calibrated depth', () => {
  const plan = planSearch(large)

  expect(plan).toMatchObject({ mode: 'bits', depths: { bits: 256, int8: null }, recall: 0.998 })
  expect(plan.reason).toBe('bits find 99.8 % of the neighbours among 256')
})

test('where bits do not reach the recall wanted, int8 is used', () => {
  const plan = planSearch({ ...large, calibration: calibration(poor, { ...good, depth: 16 }) })

  expect(plan).toMatchObject({ mode: 'int8', depths: { bits: null, int8: 16 } })
})

test('where no code reaches it, search is exact', () => {
  expect(planSearch({ ...large, calibration: calibration(poor, poor) })).toMatchObject({
    mode: 'exact',
    recall: 1,
  })
})

test.each([
  ['asked for', { exact: true }, 'asked for'],
  ['few records', { count: 20_000, selected: 20_000 }, '20000 records of dimension 384 are few'],
  ['no calibration yet', { calibration: null }, 'not yet calibrated'],
  ['wild values', { tame: false }, 'values beyond the range of float32 sums'],
  ['a narrow filter', { selected: 300 }, '300 records pass the filter'],
] as const)('search is exact: %s', (_, change, reason) => {
  expect(planSearch({ ...large, ...change })).toMatchObject({ mode: 'exact', reason })
})

test('depths grow with k, and a rescore depth of the caller is taken', () => {
  expect(planSearch({ ...large, k: 100 }).depths.bits).toBe(2_560)
  expect(planSearch({ ...large, rescore: 777 }).depths.bits).toBe(777)
})

test('without float32 in memory, bits hand on to int8 before the table is read', () => {
  const plan = planSearch({ ...large, rows: { float32: false, int8: true, bits: true } })

  expect(plan).toMatchObject({ mode: 'bits', source: 'table', depths: { bits: 256, int8: 16 } })
})
