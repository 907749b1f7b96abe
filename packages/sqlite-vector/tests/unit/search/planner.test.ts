/**
 * The planner: exact where it is cheap, asked for or the only honest choice; else the cheapest code
 * that reaches the recall wanted on the shard's own data.
 */
import { expect, test } from 'vitest'
import type { Calibration, DepthRecall } from '../../../src/search/calibrate.ts'
import { type PlanInput, planSearch } from '../../../src/search/planner.ts'

const good = measured(256, 1_024)
const fine = measured(16, 128)
const poor = [
  { k: 10, depth: 8_192, recall: 0.6, sufficient: false },
  { k: 100, depth: 8_192, recall: 0.5, sufficient: false },
]

function measured(depth10: number, depth100: number): DepthRecall[] {
  return [
    { k: 10, depth: depth10, recall: 0.998, sufficient: true },
    { k: 100, depth: depth100, recall: 0.997, sufficient: true },
  ]
}

function calibration(bits: readonly DepthRecall[], int8: readonly DepthRecall[]): Calibration {
  return { count: 100_000, queries: 64, bits, int8 }
}

const large: PlanInput = {
  dimension: 384,
  count: 100_000,
  selected: 100_000,
  k: 10,
  rows: { float32: true, int8: true, bits: true },
  calibration: calibration(good, fine),
  tame: true,
  exact: false,
  rescore: null,
}

test('a large shard whose bits suffice is searched by bits, at the calibrated depth', () => {
  const plan = planSearch(large)

  expect(plan).toMatchObject({ mode: 'bits', depths: { bits: 256, int8: null }, recall: 0.998 })
  expect(plan.reason).toBe('bits find 99.8 % of 10 neighbours among 256')
})

test('where bits do not reach the recall wanted, int8 is used', () => {
  const plan = planSearch({ ...large, calibration: calibration(poor, fine) })

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

test('for more neighbours, what was measured for as many is taken, or int8', () => {
  expect(planSearch({ ...large, k: 60 })).toMatchObject({ mode: 'bits', depths: { bits: 1_024 } })
  expect(planSearch({ ...large, k: 500 })).toMatchObject({ mode: 'int8', depths: { int8: 640 } })
})

test('a rescore depth of the caller is taken', () => {
  expect(planSearch({ ...large, rescore: 777 }).depths.bits).toBe(777)
})

test('a filter leads farther from the query than bits were measured for, unless most records pass', () => {
  expect(planSearch({ ...large, selected: 2_000 }).mode).toBe('int8')
  expect(planSearch({ ...large, selected: 50_000 })).toMatchObject({ depths: { bits: 1_024 } })
})

test('without float32 in memory, bits hand on to int8 before the table is read', () => {
  const plan = planSearch({ ...large, rows: { float32: false, int8: true, bits: true } })

  expect(plan).toMatchObject({ mode: 'bits', source: 'table', depths: { bits: 256, int8: 16 } })
})
