/**
 * Collecting tombstones: forgetting deletes that every known replica has, and giving their space
 * back.
 *
 * Not here: which reports count (peers.ts), and what a replica does that comes back with less than
 * the floor (compare.ts).
 *
 * Invariants:
 *   I1  A tombstone goes only when the stable cut covers its dots and its whole context: then every
 *       replica that was not set aside holds the delete or something newer.
 *   I2  `gc_floor` covers everything that was collected: a replica that does not dominate it may
 *       still hold a record whose delete is forgotten everywhere else.
 *   I3  `collected_through` is the largest change_id that vanished: a reader of the feed below it
 *       starts again.
 */
import { withSqliteErrors } from '../file/sqlite.ts'
import { contextOf } from '../../model/merge.ts'
import type { VersionVector } from '../../model/types.ts'
import { dominates, EMPTY_VECTOR, encodeVector, joinVectors } from '../../model/version-vector.ts'
import type { OpenFile, WriteTransaction } from '../file/transaction.ts'
import { stableCut } from './cursors.ts'
import { idOf, removeRecord, rowToRecordState } from '../feed/register.ts'
import { loadShard, storedVector } from '../feed/shards.ts'
import type { ChangelogRow } from '../file/statements.ts'
import { type OpenShard } from '../file/open-shard.ts'

/** Tombstones looked at in one transaction. */
const PAGE_ROWS = 10_000

/** Forgets what may be forgotten of the shard; how many tombstones went. */
export function collectTombstones(core: OpenFile, shardId: string, retentionMs: number): number {
  let collected = 0
  let after = 0
  for (;;) {
    const page = core.write((transaction) => collectPage(transaction, shardId, retentionMs, after))
    collected += page.collected
    if (page.last === null) return collected
    after = page.last
  }
}

function collectPage(
  transaction: WriteTransaction,
  shardId: string,
  retentionMs: number,
  after: number,
): { readonly collected: number; readonly last: number | null } {
  const { core } = transaction
  const shard = loadShard(transaction, shardId)
  const cut = stableCut(transaction, shard, retentionMs)
  const rows = core.sql.deletedAfter.all(shard.shard, after, PAGE_ROWS)
  let floor = EMPTY_VECTOR
  let through = 0
  let collected = 0
  for (const row of rows as unknown as ChangelogRow[]) {
    const state = rowToRecordState(core, row)
    const context = contextOf(state)
    if (!dominates(cut, context)) continue
    const { rowid, change_id: changeId, operation } = row
    const before = { rowid, changeId, visible: false, operation, state }
    removeRecord(transaction, shard, idOf(core, rowid), before)
    floor = joinVectors(floor, context)
    through = Math.max(through, changeId)
    collected += 1
  }
  if (collected > 0) raiseFloor(transaction, shard, floor, through)
  const last = rows.length < PAGE_ROWS ? null : Number(rows.at(-1)?.['rowid'])
  return { collected, last }
}

/** Raises the shard's floor, and voids cursors of local readers of the feed below `through`. */
export function raiseFloor(
  transaction: WriteTransaction,
  shard: OpenShard,
  floor: VersionVector,
  through: number,
): void {
  const joined = joinVectors(floorOf(transaction.core, shard), floor)
  transaction.core.sql.setFloor.run(encodeVector(joined), through, shard.shard)
  shard.forgotten = joined
  shard.touched = true
}

/** The writes whose deletes the shard has forgotten. */
export function floorOf(core: OpenFile, shard: Pick<OpenShard, 'shard'>): VersionVector {
  return storedVector(core.sql.getFloor.get(shard.shard)?.['gc_floor'] as Uint8Array)
}

/** Gives free pages back to the file system; how many bytes. */
export function vacuum(core: OpenFile): number {
  const free = (): number =>
    Number(core.db.prepare('PRAGMA freelist_count').get()?.['freelist_count']) *
    Number(core.db.prepare('PRAGMA page_size').get()?.['page_size'])
  core.assertOpen()
  core.assertWritable()
  return withSqliteErrors(core.path, () => {
    const before = free()
    core.db.exec('PRAGMA incremental_vacuum')
    core.db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    return before - free()
  })
}
