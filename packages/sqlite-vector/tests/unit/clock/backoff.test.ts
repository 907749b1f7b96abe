/**
 * When to try again: growth, jitter, and the budget.
 */
import { expect, test } from 'vitest'

import { Backoff, RetryBudget } from '../../../src/clock/backoff.ts'

test('delays double up to the last one, and start over after a success', () => {
  const backoff = new Backoff({ firstMs: 100, lastMs: 1_000 })
  const delays = Array.from({ length: 6 }, () => backoff.failed(0))
  expect(delays).toEqual([50, 100, 200, 400, 500, 500])
  expect(backoff.failures).toBe(6)

  backoff.succeeded()

  expect(backoff.failures).toBe(0)
  expect(backoff.failed(0)).toBe(50)
})

test('chance moves a delay between half of it and the whole', () => {
  for (const [chance, delayMs] of [
    [0, 50],
    [0.5, 75],
    [1, 100],
  ] as const) {
    expect(new Backoff({ firstMs: 100, lastMs: 1_000 }).failed(chance)).toBe(delayMs)
  }
})

test('a thousand failures in a row do not overflow', () => {
  const backoff = new Backoff({ firstMs: 100, lastMs: 30_000 })
  let delayMs = 0
  for (let count = 0; count < 1_100; count += 1) delayMs = backoff.failed(0)
  expect(delayMs).toBe(15_000)
})

test('a budget gives its attempts at once, then one per refill, and never saves up more', () => {
  const budget = new RetryBudget(2, 100, 0)
  expect([budget.take(0), budget.take(0), budget.take(0), budget.take(0)]).toEqual([0, 0, 100, 200])
  expect(budget.take(300)).toBe(0)
  expect([budget.take(10_000), budget.take(10_000), budget.take(10_000)]).toEqual([0, 0, 100])
})

test('a clock that goes back refills nothing', () => {
  const budget = new RetryBudget(1, 100, 1_000)
  expect(budget.take(1_000)).toBe(0)
  expect(budget.take(500)).toBe(100)
})
