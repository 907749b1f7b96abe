/**
 * The planner: exact where it is cheap, asked for or the only honest choice; else the cheapest way
 * that has the recall wanted on the shard's own data.
 */
import { expect, test } from 'vitest'
import { ANY_KEY, type Calibration, type DepthRecall } from '../../../src/search/calibrate.ts'
import { type PlanInput, planSearch } from '../../../src/search/planner.ts'

function measured(k: number, depth: number, sufficient = true): DepthRecall {
  const recall = sufficient ? 0.998 : 0.6
  const keys = { keyMax: ANY_KEY, depthMean: depth * 1.2, int8Share: 0 }
  return { k, depth, recall, worstDecile: 0.98, sufficient, ...keys }
}

function calibration(bits: readonly DepthRecall[]): Calibration {
  return { count: 100_000, queries: 272, bits, costs: { bits: 3, int8: 60, candidate: 150 } }
}

const good = calibration([measured(10, 96), measured(100, 424), measured(1_000, 4_000)])
const poor = calibration([measured(10, 8_192, false), measured(100, 8_192, false)])

const large: PlanInput = {
  dimension: 384,
  count: 100_000,
  selected: 100_000,
  k: 10,
  rows: { float32: true, int8: true, bits: true },
  calibration: good,
  stale: null,
  tame: true,
  exact: false,
  rescore: null,
}

test('a large shard whose bits suffice is searched by bits, from the calibrated depth on', () => {
  const plan = planSearch(large)

  expect(plan).toMatchObject({ mode: 'bits', bits: { depth: 96, keyRank: 10 }, recall: 0.998 })
  expect(plan.reason).toBe('bits find 99.8 % of 10 neighbours from 96 candidates on')
})

test('where bits do not reach the recall wanted, int8 finds all', () => {
  const plan = planSearch({ ...large, calibration: poor })

  expect(plan).toMatchObject({ mode: 'int8', bits: null, recall: 1 })
})

test('where there is no int8 either, search is exact', () => {
  const rows = { float32: false, int8: false, bits: true }

  expect(planSearch({ ...large, rows, calibration: poor })).toMatchObject({ mode: 'exact' })
})

test.each([
  ['asked for', { exact: true }, 'asked for'],
  ['few records', { count: 20_000, selected: 20_000 }, '20000 records of dimension 384 are few'],
  ['wild values', { tame: false }, 'values beyond the range of float32 sums'],
  ['a narrow filter', { selected: 300 }, '300 records pass the filter'],
] as const)('search is exact: %s', (_, change, reason) => {
  expect(planSearch({ ...large, ...change })).toMatchObject({ mode: 'exact', reason })
})

test.each([
  ['no calibration yet', { calibration: null }, 'not yet calibrated'],
  ['one that no longer holds', { stale: 'rows have changed' }, 'rows have changed'],
  ['more neighbours than were measured', { k: 2_000 }, /bits do not reach/],
])('int8 answers, and says why: %s', (_, change, reason) => {
  const plan = planSearch({ ...large, ...change })

  expect(plan).toMatchObject({ mode: 'int8', recall: 1 })
  expect(plan.reason).toMatch(reason)
})

test('between two numbers of neighbours that were measured, the depth lies between theirs', () => {
  const depths = [10, 11, 30, 99, 100, 101].map((k) => planSearch({ ...large, k }).bits?.depth)

  expect(depths).toEqual(depths.toSorted((a, b) => (a ?? 0) - (b ?? 0)))
  expect(depths[1]).toBeLessThan(110)
  expect(depths[5]).toBeLessThan(440)
})

test('a rescore depth of the caller is taken', () => {
  expect(planSearch({ ...large, rescore: 777 }).bits?.depth).toBe(777)
})

test('a filter leads farther from the query, among fewer candidates', () => {
  // Half of the records: the 20th nearest of all, of whose candidates every second passes.
  const half = planSearch({ ...large, selected: 50_000 })
  expect(half.mode).toBe('bits')
  expect(half.bits?.depth).toBeLessThan(96)
  // A fiftieth: int8 over 2,000 rows costs less.
  expect(planSearch({ ...large, selected: 2_000 }).mode).toBe('int8')
})

test('where int8 costs no more than bits, it is used', () => {
  const costs = { bits: 60, int8: 60, candidate: 5_000 }

  expect(planSearch({ ...large, calibration: { ...good, costs } }).mode).toBe('int8')
})
