/**
 * Queries of callers are kept for calibrations, and a few are checked; rows that change are counted
 * once.
 */
import { expect, test } from 'vitest'
import { AskedQueries } from '../../../../src/store/search-index/asked-queries.ts'
import { ChangedRows } from '../../../../src/store/search-index/changed-rows.ts'

test('queries are kept from a while, as copies, in bounded number', () => {
  const asked = new AskedQueries()
  const vector = new Float32Array(2)
  for (let i = 0; i < 5_000; i += 1) {
    vector[0] = i
    asked.asked(vector, 10)
  }

  expect(asked.kept).toHaveLength(64)
  const oldest = Math.min(...asked.kept.map(([first = 0]) => first))
  expect(oldest).toBeGreaterThan(4_400)
  expect(oldest).toBeLessThan(4_600)
})

test('a query becomes due now and then, the first ones soon, and is taken once', () => {
  const asked = new AskedQueries()
  const due: number[] = []
  for (let i = 1; i <= 1_100; i += 1) {
    asked.asked(Float32Array.of(i), 7)
    if (asked.due) due.push(i)
    asked.take()
  }

  expect(due).toEqual([16, 48, 128, 512, 1_024])
  expect(asked.take()).toBeNull()
})

test('single misses are chance, a run of them is not, and a new calibration starts afresh', () => {
  const asked = new AskedQueries()
  for (const recall of [1, 1, 0.9, 1, 1]) asked.checked(recall)
  expect(asked.fallsShort(0.99)).toBe(false)

  asked.checked(0.2)
  expect(asked.fallsShort(0.99)).toBe(true)

  asked.forgetChecks()
  expect(asked.fallsShort(0.99)).toBe(false)
})

test('a record that changes again counts once, and what was saved counts on', () => {
  const changed = new ChangedRows(5)
  for (let i = 0; i < 100; i += 1) changed.add(i % 10)

  expect(changed.count).toBe(15)
  expect(changed.records.size).toBe(10)
})
