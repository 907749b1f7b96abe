/**
 * Exact search by bounds of int8 codes equals the plain scan of exact.ts, distances and order to
 * the last bit: on random rows, duplicates, heavy tails, offsets, stale quantizers, masks, lists.
 */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { viewToBytes } from '../../../src/bytes.ts'
import type { Metric } from '../../../src/model/records.ts'
import { Arena } from '../../../src/search/arena.ts'
import { nearestCertain } from '../../../src/search/certain.ts'
import { distanceFrom } from '../../../src/search/distance.ts'
import { exactSearch } from '../../../src/search/exact.ts'
import { trainQuantizer } from '../../../src/search/quantizer.ts'
import { EVERYTHING, type Selection, loadQuery, scanBand } from '../../../src/search/scan.ts'
import { clustered, isotropic, normal, seededRandom } from '../../unit/search/data.ts'

const metrics: readonly Metric[] = ['cosine', 'l2', 'dot']
const CODES = { float32: false, int8: true, bits: false }

function idOf(record: number): string {
  return `id-${(record * 7_919) % 10_007}`
}

function compareIds(a: number, b: number): number {
  return Buffer.compare(Buffer.from(idOf(a)), Buffer.from(idOf(b)))
}

/** Codes of `rows`, by a quantizer that learnt from `sample`. */
function coded(
  rows: readonly Float32Array[],
  metric: Metric,
  sample: readonly Float32Array[] = rows,
): Arena {
  const dimension = rows[0]?.length ?? 1
  const arena = new Arena({ dimension, metric, rows: CODES })
  arena.quantize(trainQuantizer(sample, dimension, metric))
  for (const [record, row] of rows.entries()) arena.set(record, viewToBytes(row))
  return arena
}

function expectExact(
  arena: Arena,
  rows: readonly Float32Array[],
  query: Float32Array,
  k: number,
  selection: Selection = EVERYTHING,
): void {
  const distanceTo = distanceFrom(arena.metric, query)
  const chosen = selection.type === 'list' ? new Set(selection.slots) : null
  const candidates = rows
    .map((embedding, record) => ({ record, id: idOf(record), embedding }))
    .filter(({ record }) => chosen === null || chosen.has(arena.slotOf(record)))
  const wanted = exactSearch(candidates, distanceTo, k, Infinity)
  const found = nearestCertain(
    arena,
    loadQuery(arena, query),
    selection,
    k,
    (_, record) => distanceTo(rows[record] ?? new Float32Array(arena.dimension)),
    compareIds,
  )

  expect(found?.map(({ record, distance }) => [record, distance])).toEqual(
    wanted.map(({ record, distance }) => [record, distance]),
  )
}

/** Rows of which each eighth component has tails that no variance bounds. */
function heavy(count: number, dimension: number, seed: number): Float32Array[] {
  const random = seededRandom(seed)
  return Array.from({ length: count }, () =>
    Float32Array.from({ length: dimension }, (_, d) => {
      const tail = d % 8 === 0 ? 1 / Math.max(1e-3, Math.abs(normal(random))) : 1
      return normal(random) * tail
    }),
  )
}

test('random rows, dimensions and numbers of neighbours', () => {
  const scenario = fc.record({
    dimension: fc.integer({ min: 1, max: 90 }),
    count: fc.integer({ min: 1, max: 400 }),
    distinct: fc.integer({ min: 1, max: 400 }),
    seed: fc.integer(),
    metric: fc.constantFrom(...metrics),
    k: fc.integer({ min: 1, max: 40 }),
    kind: fc.constantFrom('clustered', 'isotropic', 'heavy', 'stale'),
  })
  fc.assert(
    fc.property(scenario, ({ dimension, count, distinct, seed, metric, k, kind }) => {
      const made =
        kind === 'heavy'
          ? heavy(count + 1, dimension, seed)
          : kind === 'isotropic'
            ? isotropic(count + 1, dimension, seed)
            : clustered(count + 1, dimension, seed, 4)
      const query = made[count] ?? new Float32Array(dimension)
      // Fewer distinct rows than rows, so that ties happen.
      const rows = made.slice(0, count).map((_, i) => made[i % distinct] ?? query)
      const sample = kind === 'stale' ? isotropic(20, dimension, seed + 9) : rows
      expectExact(coded(rows, metric, sample), rows, query, k)
    }),
  )
})

describe.each(metrics)('%s', (metric) => {
  test('several blocks, and a list of slots', () => {
    const rows = clustered(9_000, 16, 7)
    const query = clustered(1, 16, 8)[0]!
    const arena = coded(rows, metric)
    const slots = Uint32Array.from({ length: 3_000 }, (_, i) => i * 3)

    expect(arena.layout.slotsPerBlock).toBeLessThan(9_000)
    expectExact(arena, rows, query, 25)
    expectExact(arena, rows, query, 25, { type: 'list', slots })
  })

  test('hundreds of equal rows are ordered by id', () => {
    const same = isotropic(1, 24, 1)[0]!
    const rows = [...isotropic(200, 24, 2), ...Array.from({ length: 400 }, () => same)]

    expectExact(coded(rows, metric), rows, same, 20)
  })

  test.each([100, 1e5])('a common offset of %d hides no neighbour', (offset) => {
    const rows = isotropic(600, 32, 5).map((row) => row.map((value) => value + offset))

    expectExact(coded(rows, metric), rows, rows[3]!, 10)
  })

  test('queries far from all rows, and rows of very different lengths', () => {
    const random = seededRandom(3)
    const rows = isotropic(800, 40, 6).map((row) => {
      const factor = Math.exp(4 * normal(random))
      return row.map((value) => value * factor)
    })

    for (const factor of [1e-4, 1, 1e4]) {
      const query = isotropic(1, 40, 7)[0]!.map((value) => value * factor)
      expectExact(coded(rows, metric), rows, query, 10)
    }
  })
})

test('the band is a small part of the rows where codes are fine', () => {
  const rows = isotropic(20_000, 64, 11)
  const query = isotropic(1, 64, 12)[0]!
  const arena = coded(rows, 'cosine')

  const band = scanBand(arena, loadQuery(arena, query), EVERYTHING, 10)

  expect(band?.slots.length).toBeLessThan(200)
})

test('a band that cannot be held is said to be none', () => {
  const same = isotropic(1, 4, 1)[0]!
  const rows = Array.from({ length: 70_000 }, () => same)
  const arena = coded(rows, 'l2')

  expect(scanBand(arena, loadQuery(arena, same), EVERYTHING, 10)).toBeNull()
})
