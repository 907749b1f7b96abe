/**
 * Recall of approximate search after calibration, on data of every awkward kind: on queries that
 * are not rows, the plan that the shard's own rows led to reaches the stated recall, or exact
 * search is planned.
 */
import { describe, expect, test } from 'vitest'
import { viewToBytes } from '../../../src/bytes.ts'
import { Arena } from '../../../src/search/arena.ts'
import { nearestByPlan } from '../../../src/search/by-plan.ts'
import { type Calibration, calibrate, sourceOfArena } from '../../../src/search/calibrate.ts'
import { distanceFrom } from '../../../src/search/distance.ts'
import { nearestInArena } from '../../../src/search/exact-arena.ts'
import { heldOutQueries, spreadOfRows } from '../../../src/search/held-out.ts'
import { type Plan, planSearch } from '../../../src/search/planner.ts'
import { trainQuantizer } from '../../../src/search/quantizer.ts'
import { EVERYTHING, type Selection, loadQuery } from '../../../src/search/scan.ts'
import { clustered, isotropic, seededRandom } from '../../unit/search/data.ts'
import { type Metric } from '../../../src/model/records.ts'

const COUNT = 4_000
const QUERIES = 40
interface Case {
  readonly name: string
  readonly metric: Metric
  readonly rows: () => Float32Array[]
}

function shaped(change: (value: number, d: number) => number): () => Float32Array[] {
  return () => clustered(COUNT + QUERIES, 48, 3, 30).map((row) => row.map(change))
}

/** Sparse counts, most of them zero, as SIFT and bags of words are. */
function skewed(): Float32Array[] {
  const random = seededRandom(12)
  return clustered(COUNT + QUERIES, 48, 13, 30).map((row) =>
    row.map((value) => (random() < 0.5 ? 0 : Math.max(0, Math.round(40 * value)))),
  )
}

function withOutliers(): Float32Array[] {
  return clustered(COUNT + QUERIES, 48, 14, 30).map((row, i) =>
    i % 500 === 7 ? row.map((value) => value * 1e5) : row,
  )
}

function withDuplicates(): Float32Array[] {
  const rows = clustered(COUNT + QUERIES, 48, 15, 30)
  return rows.map((row, i) => (i < COUNT && i % 3 === 0 ? (rows[i % 60] ?? row) : row))
}

const cases: readonly Case[] = [
  { name: 'clustered, cosine', metric: 'cosine', rows: shaped((value) => value) },
  { name: 'clustered, l2', metric: 'l2', rows: shaped((value) => value) },
  { name: 'clustered, dot', metric: 'dot', rows: shaped((value) => value) },
  { name: 'isotropic, cosine', metric: 'cosine', rows: () => isotropic(COUNT + QUERIES, 48, 4) },
  { name: 'isotropic, l2', metric: 'l2', rows: () => isotropic(COUNT + QUERIES, 48, 5) },
  { name: 'isotropic, dot', metric: 'dot', rows: () => isotropic(COUNT + QUERIES, 48, 6) },
  { name: 'offset of 1e5, l2', metric: 'l2', rows: shaped((value) => value + 1e5) },
  { name: 'offset of 100, cosine', metric: 'cosine', rows: shaped((value) => value + 100) },
  { name: 'values to 1e5, l2', metric: 'l2', rows: shaped((value) => value * 1e5) },
  {
    name: 'one dimension a thousand times wider, l2',
    metric: 'l2',
    rows: shaped((value, d) => (d === 5 ? value * 1e3 : value)),
  },
  {
    name: 'dimensions of scales 1 to 1e5, l2',
    metric: 'l2',
    rows: shaped((value, d) => value * 10 ** (d % 6)),
  },
  {
    name: 'constant dimensions, cosine',
    metric: 'cosine',
    rows: shaped((value, d) => (d % 2 === 0 ? 3 : value)),
  },
  {
    name: 'constant dimensions of 1e5, l2',
    metric: 'l2',
    rows: shaped((value, d) => (d % 3 === 0 ? 1e5 : value)),
  },
  { name: 'two dimensions, l2', metric: 'l2', rows: () => isotropic(COUNT + QUERIES, 2, 7) },
  {
    name: 'three dimensions, cosine',
    metric: 'cosine',
    rows: () => isotropic(COUNT + QUERIES, 3, 8),
  },
  { name: 'one dimension, l2', metric: 'l2', rows: () => isotropic(COUNT + QUERIES, 1, 9) },
  { name: 'skewed, l2', metric: 'l2', rows: skewed },
  { name: 'rows of 1e5 among others, l2', metric: 'l2', rows: withOutliers },
  { name: 'rows of 1e5 among others, cosine', metric: 'cosine', rows: withOutliers },
  { name: 'duplicates, l2', metric: 'l2', rows: withDuplicates },
]

function calibrated(arena: Arena): Calibration {
  const records = Array.from({ length: 500 }, (_, i) => i * 8)
  const sample = records.map((record) => {
    return { record, row: arena.float32At(arena.slotOf(record)).slice() }
  })
  const few = { row: 72, perturbed: 24, mixed: 24, foreign: 16 }
  const queries = heldOutQueries(sample, spreadOfRows(sample, arena.dimension), [], few)
  const steps = calibrate(
    arena,
    queries,
    sourceOfArena(arena, () => performance.now()),
  )
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}

/** The plan for a shard too large for exact search, made from this arena's calibration. */
function planFor(arena: Arena, calibration: Calibration, k: number, share = 1): Plan {
  const count = 10_000_000
  const { dimension, rows } = arena
  // As if int8 were slow, so that bits are planned wherever they suffice.
  const costs = { ...calibration.costs, int8: 1e6 }
  const given = { dimension, rows, count, selected: count * share, k, tame: true, stale: null }
  const plan = { ...given, calibration: { ...calibration, costs }, exact: false, rescore: null }
  return planSearch(plan)
}

function recallOf(
  arena: Arena,
  queries: readonly Float32Array[],
  plan: Plan,
  k: number,
  selection: Selection = EVERYTHING,
): number {
  let hits = 0
  for (const vector of queries) {
    const ranking = {
      distanceTo: distanceFrom(arena.metric, vector),
      compareIds: (a: number, b: number) => a - b,
    }
    const query = loadQuery(arena, vector)
    const truth = nearestInArena(arena, query, selection, k, ranking)
    const kth = truth.at(-1)?.distance ?? 0
    const distanceOf = (slot: number): number => ranking.distanceTo(arena.float32At(slot))
    const found = nearestByPlan(arena, plan, query, selection, k, ranking, distanceOf) ?? []
    // A record exactly as far as the k-th is as good: duplicates must not count as misses.
    hits += found.filter(({ distance }) => distance <= kth).length
  }
  return hits / (queries.length * k)
}

describe('approximate search', () => {
  test.each(cases)(
    '$name: at least 0.98 of 10, of 80, and of 10 in a twentieth',
    ({ metric, rows: make }) => {
      const rows = make()
      const queries = rows.splice(COUNT)
      const dimension = rows[0]?.length ?? 0
      const arena = new Arena({
        dimension,
        metric,
        rows: { float32: true, int8: true, bits: true },
      })
      for (const [record, row] of rows.entries()) arena.set(record, viewToBytes(row))
      arena.quantize(trainQuantizer(rows, dimension, metric))

      const calibration = calibrated(arena)
      const slots = Uint32Array.from({ length: COUNT / 20 }, (_, i) => i * 20 + (i % 7))
      const twentieth: Selection = { type: 'list', slots }

      const near = recallOf(arena, queries, planFor(arena, calibration, 10), 10)
      const far = recallOf(arena, queries.slice(0, 10), planFor(arena, calibration, 80), 80)
      const filtered = recallOf(
        arena,
        queries,
        planFor(arena, calibration, 10, 0.05),
        10,
        twentieth,
      )

      expect({ near, far, filtered }).toSatisfy(() => Math.min(near, far, filtered) >= 0.98)
    },
  )
})
