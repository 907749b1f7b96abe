/**
 * Rows and true neighbours as a calibration reads them: from the arena, or from the table.
 *
 * The truth is that of the rows, wherever they are: by bounds of int8 codes, which miss nothing; by
 * float32 rows; or, where only bits are held, by one pass over the table for all queries.
 */
import type { SqliteStatement } from '#platform'

import { bytesToFloat32 } from '../../bytes.ts'
import type { Clock } from '../../clock/types.ts'
import { Arena } from '../../search/arena.ts'
import {
  type CalibrationSource,
  CALIBRATION_KS,
  sampleRecords,
  sourceOfArena,
} from '../../search/calibrate.ts'
import { type DistanceOf, withinKth } from '../../search/certain.ts'
import { distanceFrom } from '../../search/distance.ts'
import { type RankedRecord, nearestInArena, nearestOf } from '../../search/exact-arena.ts'
import type { HeldOutQuery, SampleRow } from '../../search/held-out.ts'
import { EVERYTHING, loadQuery } from '../../search/scan.ts'
import type { SearchStatements } from './statements.ts'

/** Rows of a pass over the table that are compared at once. */
const PASS_ROWS = 2_048

/** The rows that a calibration makes its queries from: spread over the slots, and what changed. */
export function sampleRows(
  arena: Arena,
  statements: SearchStatements,
  count: number,
  changed: ReadonlySet<number>,
): SampleRow[] {
  const records = new Set(sampleRecords(arena, count))
  const every = Math.max(1, Math.floor(changed.size / (count / 4)))
  let seen = 0
  for (const record of changed) {
    seen += 1
    if (seen % every === 0 && arena.has(record)) records.add(record)
  }
  const rows: SampleRow[] = []
  for (const record of records) {
    const row = rowOf(arena, statements, record)
    if (row !== null) rows.push({ record, row })
  }
  return rows
}

/** The exact distance of a record, by its row in the arena or in the table. */
export function distanceOfRows(
  arena: Arena,
  statements: SearchStatements,
  query: Float32Array,
): DistanceOf {
  const distanceTo = distanceFrom(arena.metric, query)
  if (arena.rows.float32) return (slot) => distanceTo(arena.float32At(slot))
  return (_, record) => {
    const row = statements.embedding.get(record)
    if (row === undefined) return Number.NaN
    return distanceTo(bytesToFloat32(row['embedding'] as Uint8Array))
  }
}

/** Access to the rows of an index; `truths` by query where they were found in a pass before. */
export function sourceOf(
  arena: Arena,
  statements: SearchStatements,
  clock: Clock,
  truths: ReadonlyMap<HeldOutQuery, RankedRecord[]>,
): CalibrationSource {
  const monotonicMs = (): number => clock.monotonicMs()
  if (arena.rows.float32) return sourceOfArena(arena, monotonicMs)
  const distanceOf = (query: Float32Array): DistanceOf => distanceOfRows(arena, statements, query)
  return {
    monotonicMs,
    distanceOf,
    truthOf: (query, loaded, k) => {
      const known = truths.get(query)
      if (known !== undefined) return known
      return withinKth(arena, loaded, EVERYTHING, k, distanceOf(query.vector)) ?? []
    },
  }
}

/**
 * The nearest rows of the table for every query, in one pass: a step reads some rows and compares
 * them with all queries.
 */
export function* truthsOfTable(
  statement: SqliteStatement,
  shard: number,
  { dimension, metric }: Arena,
  queries: readonly HeldOutQuery[],
): Generator<void, Map<HeldOutQuery, RankedRecord[]>> {
  const k = (CALIBRATION_KS.at(-1) ?? 0) + 1
  const rows = { float32: true, int8: false, bits: false }
  const part = new Arena({ dimension, metric, rows })
  const truths = new Map<HeldOutQuery, RankedRecord[]>(queries.map((query) => [query, []]))
  for (let cursor = 0, read = PASS_ROWS; read === PASS_ROWS;) {
    read = 0
    part.clear()
    for (const row of statement.iterate(shard, cursor, PASS_ROWS)) {
      const [record, changeId, embedding] = row as unknown as [number, number, Uint8Array | null]
      if (embedding !== null) part.set(record, embedding)
      cursor = changeId
      read += 1
    }
    for (const query of queries) {
      const ranking = { distanceTo: distanceFrom(metric, query.vector), compareIds: byRecord }
      const near = nearestInArena(part, loadQuery(part, query.vector), EVERYTHING, k, ranking)
      const all = [...(truths.get(query) ?? []), ...near]
      const distances = Float64Array.from(all, ({ distance }) => distance)
      const records = all.map(({ record }) => record)
      truths.set(query, nearestOf(records, distances, k, byRecord))
    }
    yield
  }
  return truths
}

function byRecord(a: number, b: number): number {
  return a - b
}

function rowOf(arena: Arena, statements: SearchStatements, record: number): Float32Array | null {
  if (arena.rows.float32) return arena.float32At(arena.slotOf(record)).slice()
  const row = statements.embedding.get(record)
  return row === undefined ? null : bytesToFloat32(row['embedding'] as Uint8Array).slice()
}
