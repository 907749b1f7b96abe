/**
 * Rows of the table as a calibration reads them, where float32 rows are not in memory.
 *
 * Not here: what a calibration makes of them (search/calibrate.ts).
 */
import { bytesToFloat32 } from '../../bytes.ts'
import type { Arena } from '../../search/arena.ts'
import { type CalibrationRows, nearestByCode } from '../../search/calibrate.ts'
import { distanceFrom } from '../../search/distance.ts'
import type { SearchStatements } from './statements.ts'

/** How deep codes are searched for "true" neighbours where float32 rows are not in memory. */
const TRUTH_DEPTH = { int8: 1_024, bits: 8_192 } as const

/**
 * Rows of the table; neighbours are the best of a deep scan of the finest code, ranked by the
 * table's rows.
 */
export function rowsOfTable(arena: Arena, statements: SearchStatements): CalibrationRows {
  const kind = arena.rows.int8 ? 'int8' : 'bits'
  const rowOf = (record: number): Float32Array | null => {
    const row = statements.embedding.get(record)
    return row === undefined ? null : bytesToFloat32(row['embedding'] as Uint8Array)
  }
  return {
    rowOf,
    nearest: (record, query, k) => {
      const distanceTo = distanceFrom(arena.metric, query)
      const depth = TRUTH_DEPTH[kind]
      return nearestByCode(arena, kind, record, query, depth, depth)
        .map((other) => ({ other, row: rowOf(other) }))
        .flatMap(({ other, row }) => (row === null ? [] : [{ other, distance: distanceTo(row) }]))
        .sort((a, b) => a.distance - b.distance)
        .slice(0, k)
        .map(({ other }) => other)
    },
  }
}
