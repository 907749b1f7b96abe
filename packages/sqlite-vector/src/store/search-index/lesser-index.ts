/**
 * An index that gives its float32 rows up and keeps the codes, so that another shard has room.
 *
 * It answers as before: exact distances then come from the table.
 */
import { sampleRecords } from '../../search/calibrate.ts'
import { TRAINING_ROWS_MAX, trainQuantizer } from '../../search/quantizer.ts'
import { ShardIndex } from './shard-index.ts'

/**
 * The index without float32 rows; the same where it has none, or where codes cannot stand alone.
 */
export function withoutFloat32(index: ShardIndex): ShardIndex {
  const { arena } = index
  if (!arena.rows.float32 || arena.wildCount > 0 || arena.count === 0) return index
  if (arena.quantizer === null) {
    // A shard that is searched by its rows has no codes yet: few rows, so a few milliseconds.
    const rows = sampleRecords(arena, TRAINING_ROWS_MAX).map((record) =>
      arena.float32At(arena.slotOf(record)),
    )
    arena.quantize(trainQuantizer(rows, arena.dimension, arena.metric))
  }
  const lesser = new ShardIndex(index.basis, arena.withoutFloat32())
  lesser.cursor = index.cursor
  lesser.savedAt = index.savedAt
  lesser.usedAt = index.usedAt
  if (index.calibration !== null) {
    lesser.restore(index.calibration, index.changedCount, index.cursor)
  }
  return lesser
}
