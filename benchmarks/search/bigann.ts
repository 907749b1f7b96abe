/**
 * Recall on real data: the first 10,000 SIFT vectors of BIGANN, 128 dimensions, squared L2, with
 * their published true neighbours. Said to be left out where the files do not lie beside the
 * repository.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { viewToBytes } from '../../packages/sqlite-vector/src/bytes.ts'
import { Arena } from '../../packages/sqlite-vector/src/search/arena.ts'
import { nearestByPlan } from '../../packages/sqlite-vector/src/search/by-plan.ts'
import { calibrate, sourceOfArena } from '../../packages/sqlite-vector/src/search/calibrate.ts'
import { distanceFrom } from '../../packages/sqlite-vector/src/search/distance.ts'
import { nearestInArena } from '../../packages/sqlite-vector/src/search/exact-arena.ts'
import { heldOutQueries, spreadOfRows } from '../../packages/sqlite-vector/src/search/held-out.ts'
import { planSearch } from '../../packages/sqlite-vector/src/search/planner.ts'
import { trainQuantizer } from '../../packages/sqlite-vector/src/search/quantizer.ts'
import { EVERYTHING, loadQuery } from '../../packages/sqlite-vector/src/search/scan.ts'
import { bar, type Bar } from '../bar.ts'

const DIMENSION = 128
const K = 10

const FOLDER = join(import.meta.dirname, '..', '..', '..', 'shared', 'data')

export function bigannBars(log: (line: string) => void): Bar[] {
  if (!existsSync(join(FOLDER, 'bigann10k_base.bvecs'))) {
    log('BIGANN is left out: its files do not lie beside the repository')
    return []
  }
  const base = vectors('bigann10k_base.bvecs')
  const queries = vectors('bigann10k_query.bvecs')
  const neighbours = groundTruth('bigann10k_groundtruth.ivecs')
  const rows = { float32: true, int8: true, bits: true }
  const arena = new Arena({ dimension: DIMENSION, metric: 'l2', rows })
  for (const [record, row] of base.entries()) arena.set(record, viewToBytes(row))
  arena.quantize(trainQuantizer(base, DIMENSION, 'l2'))
  const sample = base.map((row, record) => ({ record, row })).filter((_, i) => i % 10 === 0)
  const held = heldOutQueries(sample, spreadOfRows(sample, DIMENSION), [])
  const steps = calibrate(
    arena,
    held,
    sourceOfArena(arena, () => performance.now()),
  )
  let step = steps.next()
  while (step.done !== true) step = steps.next()
  // As for a shard too large for exact search, which 10,000 of 128 are not.
  const count = 1_000_000
  const given = { dimension: DIMENSION, rows, count, selected: count, k: K }
  const plan = planSearch({
    ...given,
    calibration: step.value,
    stale: null,
    tame: true,
    exact: false,
    rescore: null,
  })
  const recalls = { exact: 0, codes: 0 }
  for (const [q, vector] of queries.entries()) {
    const distanceTo = distanceFrom('l2', vector)
    const ranking = { distanceTo, compareIds: (a: number, b: number) => a - b }
    const query = loadQuery(arena, vector)
    const kth = distanceTo(base[neighbours[q]?.[K - 1] ?? 0] ?? vector)
    const exact = nearestInArena(arena, query, EVERYTHING, K, ranking)
    const distanceOf = (slot: number): number => distanceTo(arena.float32At(slot))
    const codes = nearestByPlan(arena, plan, query, EVERYTHING, K, ranking, distanceOf) ?? []
    recalls.exact += exact.filter(({ distance }) => distance <= kth).length
    recalls.codes += codes.filter(({ distance }) => distance <= kth).length
  }
  const possible = queries.length * K
  return [
    bar('BIGANN 10k x 128 recall@10, exact', recalls.exact / possible, '= 1', ''),
    bar(
      `BIGANN 10k x 128 recall@10, ${plan.mode} from ${plan.bits?.depth} candidates on`,
      recalls.codes / possible,
      '>= 0.98',
      '',
    ),
  ]
}

/** `.bvecs`: per row an int32 dimension, then that many uint8. */
function vectors(name: string): Float32Array[] {
  const bytes = readFileSync(join(FOLDER, name))
  const rowBytes = 4 + DIMENSION
  return Array.from({ length: bytes.length / rowBytes }, (_, i) =>
    Float32Array.from(bytes.subarray(i * rowBytes + 4, (i + 1) * rowBytes)),
  )
}

/** `.ivecs`: per row an int32 count, then that many int32. */
function groundTruth(name: string): number[][] {
  const bytes = readFileSync(join(FOLDER, name))
  const width = bytes.readInt32LE(0)
  const rowBytes = 4 * (width + 1)
  return Array.from({ length: bytes.length / rowBytes }, (_, i) =>
    Array.from({ length: width }, (__, j) => bytes.readInt32LE(i * rowBytes + 4 * (j + 1))),
  )
}
