/**
 * Ids of records whose rows do not fit together: an embedding missing or of a wrong length,
 * metadata that is not JSON, a row that the feed does not name.
 *
 * Not here: the removal of such records (damaged.ts).
 */
import { DAMAGED_NAMED_MAX } from '../../limits.ts'
import { shardRow } from '../feed/shards.ts'
import type { Sliced } from '../file/sliced.ts'
import type { OpenFile } from '../file/transaction.ts'

/** A damaged record by its key and id. */
interface Found {
  readonly record: number
  readonly vector_id: string
}

/** Ids of damaged records of the shard, at most DAMAGED_NAMED_MAX, in slices. O(records). */
export function* damagedIds(core: OpenFile, shardId: string): Sliced<readonly string[]> {
  return (yield* damagedRecords(core, shardId)).map(({ vector_id: id }) => id)
}

/** The same with their keys. */
export function* damagedRecords(core: OpenFile, shardId: string): Sliced<readonly Found[]> {
  const found: Found[] = []
  for (let after = ''; ;) {
    const { rows, ends } = core.read(() => {
      const row = shardRow(core, shardId)
      const left = DAMAGED_NAMED_MAX - found.length
      const bytes = row.dimension * 4
      return {
        rows: core.sql.damagedIds.all(row.shard, after, core.sliceRows, bytes, left),
        ends: core.sql.visibleIds.get(row.shard, after, core.sliceRows),
      }
    })
    found.push(...(rows as unknown as Found[]))
    const isLast = Number(ends?.['rows']) < core.sliceRows
    if (isLast || found.length >= DAMAGED_NAMED_MAX) return found
    after = String(ends?.['last'])
    yield core.sliceRows
  }
}
