/**
 * Exact search of the arena equals the plain scan of exact.ts, distances and order to the last bit:
 * after random inserts, replacements and deletes, with masks and lists, duplicates, and hard
 * numbers.
 */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { viewToBytes } from '../../../src/bytes.ts'
import { Arena } from '../../../src/search/arena.ts'
import { distanceFrom } from '../../../src/search/distance.ts'
import { exactSearch } from '../../../src/search/exact.ts'
import { nearestInArena } from '../../../src/search/exact-arena.ts'
import { EVERYTHING, type Selection, emptyMask, loadQuery } from '../../../src/search/scan.ts'
import { clustered, isotropic, seededRandom } from '../../unit/search/data.ts'
import { type Metric } from '../../../src/model/records.ts'

const metrics: readonly Metric[] = ['cosine', 'l2', 'dot']
const FLOAT32_ROWS = { float32: true, int8: false, bits: false }

/** Ids sort otherwise than records, so that a tie broken by record shows. */
function idOf(record: number): string {
  return `id-${(record * 7_919) % 10_007}`
}

function compareIds(a: number, b: number): number {
  return Buffer.compare(Buffer.from(idOf(a)), Buffer.from(idOf(b)))
}

/** The answer of exact.ts among `rows`, as pairs of record and distance. */
function wanted(
  rows: ReadonlyMap<number, Float32Array>,
  metric: Metric,
  query: Float32Array,
  k: number,
): (readonly [number, number])[] {
  const candidates = [...rows].map(([record, embedding]) => ({
    record,
    id: idOf(record),
    embedding,
  }))
  const nearest = exactSearch(candidates, distanceFrom(metric, query), k, Infinity)
  return nearest.map(({ record, distance }) => [record, distance] as const)
}

function found(
  arena: Arena,
  query: Float32Array,
  k: number,
  selection: Selection = EVERYTHING,
): (readonly [number, number])[] {
  const ranking = { distanceTo: distanceFrom(arena.metric, query), compareIds }
  const ranked = nearestInArena(arena, loadQuery(arena, query), selection, k, ranking)
  return ranked.map(({ record, distance }) => [record, distance] as const)
}

function filled(rows: ReadonlyMap<number, Float32Array>, metric: Metric): Arena {
  const dimension = [...rows.values()][0]?.length ?? 1
  const arena = new Arena({ dimension, metric, rows: FLOAT32_ROWS })
  for (const [record, row] of rows) arena.set(record, viewToBytes(row))
  return arena
}

function recordsOf(rows: readonly Float32Array[]): Map<number, Float32Array> {
  return new Map(rows.map((row, i) => [i * 3 + 1, row]))
}

test('after random inserts, replacements and deletes the answer is that of the rows', () => {
  const scenario = fc.record({
    dimension: fc.integer({ min: 1, max: 70 }),
    steps: fc.array(fc.record({ record: fc.integer({ min: 1, max: 150 }), put: fc.boolean() }), {
      minLength: 1,
      maxLength: 250,
      size: 'max',
    }),
    seed: fc.integer(),
    metric: fc.constantFrom(...metrics),
    k: fc.integer({ min: 1, max: 30 }),
  })
  fc.assert(
    fc.property(scenario, ({ dimension, steps, seed, metric, k }) => {
      const vectors = clustered(steps.length + 1, dimension, seed, 4)
      const query = vectors[0] ?? new Float32Array(dimension)
      const rows = new Map<number, Float32Array>()
      const arena = new Arena({ dimension, metric, rows: FLOAT32_ROWS })
      for (const [i, { record, put }] of steps.entries()) {
        // Few distinct vectors, so that ties happen.
        const vector = vectors[i % 40] ?? query
        if (put) {
          arena.set(record, viewToBytes(vector))
          rows.set(record, vector)
        } else {
          expect(arena.delete(record)).toBe(rows.delete(record))
        }
      }
      expect(arena.count).toBe(rows.size)
      expect(found(arena, query, k)).toEqual(wanted(rows, metric, query, k))
    }),
  )
})

describe.each(metrics)('%s', (metric) => {
  test('several blocks, masks and lists give the answer of the selected rows', () => {
    const rows = recordsOf(clustered(9_000, 16, 7))
    const arena = filled(rows, metric)
    const query = clustered(1, 16, 8)[0] ?? new Float32Array(16)
    const random = seededRandom(9)
    const chosen = new Map([...rows].filter(() => random() < 0.3))
    const mask = emptyMask(arena)
    const slots = [...chosen.keys()].map((record) => arena.slotOf(record))
    for (const slot of slots) mask[slot >>> 5] = (mask[slot >>> 5] ?? 0) | (1 << (slot & 31))

    expect(arena.layout.slotsPerBlock).toBeLessThan(9_000)
    expect(found(arena, query, 25)).toEqual(wanted(rows, metric, query, 25))
    const masked = found(arena, query, 25, { type: 'mask', words: mask, count: slots.length })
    expect(masked).toEqual(wanted(chosen, metric, query, 25))
    const listed = found(arena, query, 25, { type: 'list', slots: Uint32Array.from(slots) })
    expect(listed).toEqual(masked)
  })

  test('hundreds of equal rows are ordered by id', () => {
    const [same = new Float32Array(24)] = isotropic(1, 24, 1)
    const rows = recordsOf([...isotropic(200, 24, 2), ...Array.from({ length: 400 }, () => same)])

    expect(found(filled(rows, metric), same, 20)).toEqual(wanted(rows, metric, same, 20))
  })

  test('rows that differ by less than float32 sums can tell are ranked by float64', () => {
    const [base = new Float32Array(64)] = isotropic(1, 64, 3)
    const random = seededRandom(4)
    const near = Array.from({ length: 500 }, () =>
      base.map((value) => value * (1 + 1e-7 * (random() - 0.5))),
    )
    const rows = recordsOf(near)

    expect(found(filled(rows, metric), base, 10)).toEqual(wanted(rows, metric, base, 10))
  })

  test('a common offset of 1e5 hides no neighbour', () => {
    const rows = recordsOf(isotropic(600, 32, 5).map((row) => row.map((value) => value + 1e5)))
    const query = rows.get(1) ?? new Float32Array(32)

    expect(found(filled(rows, metric), query, 10)).toEqual(wanted(rows, metric, query, 10))
  })

  test.each([1e-25, 1e18, 3e38])(
    'values near %d, where float32 sums fail, are still exact',
    (scale) => {
      const random = seededRandom(6)
      const rows = recordsOf(
        Array.from({ length: 300 }, () =>
          Float32Array.from({ length: 8 }, () => (random() - 0.5) * scale),
        ),
      )
      const query = rows.get(4) ?? new Float32Array(8)

      expect(found(filled(rows, metric), query, 10)).toEqual(wanted(rows, metric, query, 10))
    },
  )
})

test('a row beyond the range of float32 sums is no longer minded once it is deleted', () => {
  const rows = recordsOf(isotropic(50, 8, 11))
  const arena = filled(rows, 'l2')
  arena.set(2, viewToBytes(new Float32Array(8).fill(1e30)))
  expect(arena.wildCount).toBe(1)

  arena.delete(2)

  expect(arena.wildCount).toBe(0)
})
