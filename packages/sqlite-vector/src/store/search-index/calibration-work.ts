/**
 * The work of calibrating one index, step by step: thresholds where they have to be learnt, then
 * depths. Each step runs inside a read transaction of its own, with writes and searches in between.
 *
 * Not here: when it is done (indexes.ts), and the measuring itself (search/calibrate.ts).
 */
import type { Clock } from '../../clock/types.ts'
import type { Arena } from '../../search/arena.ts'
import { type Calibration, calibrate, sampleRecords } from '../../search/calibrate.ts'
import type { RankedRecord } from '../../search/exact-arena.ts'
import { HELD_OUT, type HeldOutQuery, heldOutQueries, spreadOfRows } from '../../search/held-out.ts'
import { TRAINING_ROWS_MAX, trainQuantizer } from '../../search/quantizer.ts'
import { sampleRows, sourceOf, truthsOfTable } from './calibration-source.ts'
import type { ShardIndex } from './shard-index.ts'
import type { SearchStatements } from './statements.ts'

/** Rows from which queries are made. */
const SAMPLE_ROWS = 1_024

/** Queries of a large shard, whose scans take long, and the rows from which it counts as large. */
const FEWER = { row: 96, perturbed: 24, mixed: 24, foreign: 16 }
const FEWER_QUERIES_ROWS = 400_000

/** Queries where the truth takes a pass over the table. */
const FEW = { row: 48, perturbed: 16, mixed: 16, foreign: 16 }

/** A smaller shard is searched by int8, or by its rows: bits would save nothing. */
const CALIBRATED_ROWS_MIN = 512

/** A calibration that needs this much more candidates than the last asks for other thresholds. */
const WORSE_FACTOR = 2

/**
 * Calibrates the index. False when its thresholds no longer fit and cannot be learnt again without
 * building the index from the table.
 */
export function* calibrationWork(
  index: ShardIndex,
  statements: SearchStatements,
  clock: Clock,
): Generator<void, boolean> {
  const { arena } = index
  index.calibrationStarts()
  const before = index.calibration
  if (arena.rows.float32 && (arena.quantizer === null || index.mustRelearn)) {
    yield* relearn(index)
  }
  if (arena.count < CALIBRATED_ROWS_MIN) {
    index.calibrated(uncalibrated(arena))
    return true
  }
  let result = yield* measure(index, statements, clock)
  if (before !== null && !index.relearnt && isWorse(before, result)) {
    if (!arena.rows.float32) return false
    yield* relearn(index)
    result = yield* measure(index, statements, clock)
  }
  index.calibrated(result)
  return true
}

/** The calibration of an index whose bits are not to be used. */
function uncalibrated({ count, rows }: Arena): Calibration {
  const costs = { bits: 0, int8: 0, candidate: 0 }
  return { count, queries: 0, bits: rows.bits ? [] : null, costs }
}

function* relearn(index: ShardIndex): Generator<void, void> {
  const { arena } = index
  const rows = sampleRecords(arena, TRAINING_ROWS_MAX).map((record) =>
    arena.float32At(arena.slotOf(record)),
  )
  const quantizer = trainQuantizer(rows, arena.dimension, arena.metric)
  // Depths that were measured with other thresholds say nothing of these.
  index.calibration = null
  yield* arena.requantize(quantizer)
  index.thresholdsLearnt()
}

function* measure(
  index: ShardIndex,
  statements: SearchStatements,
  clock: Clock,
): Generator<void, Calibration> {
  const { arena } = index
  const many = arena.count > FEWER_QUERIES_ROWS ? FEWER : HELD_OUT
  const counts = arena.rows.int8 ? many : FEW
  const rows = sampleRows(arena, statements, SAMPLE_ROWS, index.changedRecords)
  const spread = spreadOfRows(rows, arena.dimension)
  const queries = heldOutQueries(rows, spread, index.asked.kept, counts)
  yield
  let truths: ReadonlyMap<HeldOutQuery, RankedRecord[]> = new Map()
  if (!arena.rows.int8) {
    truths = yield* truthsOfTable(statements.readTail, index.basis.shard, arena, queries)
  }
  return yield* calibrate(arena, queries, sourceOf(arena, statements, clock, truths))
}

/** True when bits serve much worse than they did: the data has moved away from the thresholds. */
function isWorse(before: Calibration, after: Calibration): boolean {
  return (before.bits ?? []).some(({ k, sufficient, depthMean, int8Share }) => {
    const now = after.bits?.find((each) => each.k === k)
    if (now === undefined || !sufficient) return false
    if (!now.sufficient) return true
    return now.depthMean > WORSE_FACTOR * depthMean || now.int8Share > int8Share + 0.25
  })
}
