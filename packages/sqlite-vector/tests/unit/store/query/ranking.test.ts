/**
 * Fusion, maximal marginal relevance and recall, on examples worked out by hand.
 */
import { expect, test } from 'vitest'
import { dotProduct } from '../../../../src/search/distance.ts'
import { fuseRankings } from '../../../../src/search/fusion.ts'
import { pickByMmr } from '../../../../src/search/mmr.ts'
import { countRecalled, recallOf } from '../../../../src/search/recall.ts'

test('a fused score is the weighted sum of reciprocal ranks, sixty added', () => {
  const fused = fuseRankings([
    { ids: ['a', 'b'], weight: 1 },
    { ids: ['b', 'c'], weight: 2 },
  ])

  expect(fused).toEqual([
    { id: 'b', score: 1 / 62 + 2 / 61 },
    { id: 'c', score: 2 / 62 },
    { id: 'a', score: 1 / 61 },
  ])
})

test('equal fused scores are ordered by the bytes of their ids', () => {
  const fused = fuseRankings([
    { ids: ['ü', 'z'], weight: 1 },
    { ids: ['z', 'ü'], weight: 1 },
  ])

  expect(fused.map(({ id }) => id)).toEqual(['z', 'ü'])
})

test('marginal relevance passes over a near copy of what it has picked', () => {
  const candidates = [
    { embedding: Float32Array.of(1, 0), score: 0.9 },
    { embedding: Float32Array.of(0.999, 0.04), score: 0.89 },
    { embedding: Float32Array.of(0.6, 0.8), score: 0.7 },
  ]

  expect(pickByMmr(candidates, 2, 0.5, dotProduct)).toEqual([0, 2])
  expect(pickByMmr(candidates, 2, 1, dotProduct)).toEqual([0, 1])
  expect(pickByMmr(candidates, 5, 0.5, dotProduct)).toHaveLength(3)
})

test('negative scores are picked too', () => {
  const candidates = [
    { embedding: Float32Array.of(-1, 0), score: -1 },
    { embedding: Float32Array.of(-2, 0), score: -2 },
  ]

  expect(pickByMmr(candidates, 2, 1, dotProduct)).toEqual([0, 1])
})

test('recall counts a result as far as the k-th neighbour, and no result twice', () => {
  expect(countRecalled([1, 2, 3], [1, 2, 3])).toEqual({ found: 3, possible: 3 })
  expect(countRecalled([1, 3, 4], [1, 2, 3])).toEqual({ found: 2, possible: 3 })
  expect(countRecalled([], [1])).toEqual({ found: 0, possible: 1 })
  expect(countRecalled([3, 3, 3, 3], [3, 3])).toEqual({ found: 2, possible: 2 })
  expect(
    recallOf([
      { found: 1, possible: 2 },
      { found: 2, possible: 2 },
    ]),
  ).toBe(0.75)
  expect(recallOf([])).toBe(1)
})
