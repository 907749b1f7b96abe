/**
 * Damaged records, set aside so that peers give them back.
 *
 * Not here: the errors that name damage (file/damage.ts), finding it (damaged-ids.ts), and fetching
 * (sync, by comparing ranges of ids). A record that was set aside is a lost row: the digest differs
 * from that of a peer with an equal vector, and the comparison that follows restores it.
 *
 * Invariant: the readable parts of a record are kept in quarantine when its rows are removed, until
 * a whole state of it arrives.
 */
import type { Sibling } from '../../model/types.ts'
import { DamagedRecord } from '../file/damage.ts'
import type { OpenShard } from '../file/open-shard.ts'
import type { OpenFile, WriteTransaction } from '../file/transaction.ts'
import type { ChangelogRow } from '../file/statements.ts'
import { rowToRecordState } from '../feed/register.ts'
import { loadShard } from '../feed/shards.ts'
import { putAside } from './quarantine.ts'
import { correctCounts } from './recount.ts'
import { raiseFloor } from './tombstones.ts'
import { EMPTY_VECTOR } from '../../model/version-vector.ts'

/** Stands for a peer in quarantine entries of our own damage. */
const THIS_FILE = 'this file'

/**
 * Sets the record behind `error` aside, in the running transaction. False when no row of it is
 * left.
 */
export function setAside(
  transaction: WriteTransaction,
  shardId: string,
  error: DamagedRecord,
): boolean {
  const { core } = transaction
  const shard = loadShard(transaction, shardId)
  const { rowid } = error
  const name = core.sql.nameOfRecord.get(rowid)
  const row = core.sql.changeOfRecord.get(shard.shard, rowid) as unknown as ChangelogRow | undefined
  if (name === undefined && row === undefined) return false
  const id = String(name?.['vector_id'] ?? '')
  const siblings = row === undefined ? [] : readableSiblings(core, row)
  if (id !== '' && siblings.length > 0) {
    putAside(transaction, shard, THIS_FILE, { id, siblings, context: null }, error.message)
  }
  removeRows(transaction, shard, rowid)
  correctCounts(transaction, shardId)
  // Readers of the feed in this file cannot see that a row went.
  shard.head += 1
  raiseFloor(transaction, shard, EMPTY_VECTOR, shard.head)
  transaction.events.push({ type: 'record-damaged', shardId, id, reason: error.message })
  return true
}

function readableSiblings(core: OpenFile, row: ChangelogRow): readonly Sibling[] {
  try {
    return rowToRecordState(core, row).siblings
  } catch (error) {
    if (error instanceof DamagedRecord) return []
    throw error
  }
}

function removeRows({ core }: WriteTransaction, shard: OpenShard, rowid: number): void {
  const { db } = core
  const text = core.sql.getText.get(rowid)?.['document']
  if (typeof text === 'string') core.texts.drop(shard, rowid)
  for (const table of ['vectors', 'embeddings', 'tombstones', 'vector_conflicts']) {
    db.prepare(`DELETE FROM ${table} WHERE record = ?`).run(rowid)
  }
  db.prepare(
    'DELETE FROM vector_changelog WHERE record = ?2 AND position >= ?1 << 44 AND position < (?1 + 1) << 44',
  ).run(shard.shard, rowid)
}
