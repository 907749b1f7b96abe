/**
 * Applying many new records at once: the same rows as applyChange (apply.ts) writes one by one, in
 * a tenth of the statements, because on a first sync the calls into SQLite cost more than the rows.
 *
 * A run is a row of whole, unknown, single writes whose counters and stamps rise by one, as a batch
 * insert made them: then its whole changelog is one statement. Everything else is left to apply.ts.
 *
 * Invariant: either a change of the run is written as apply.ts would write it, or nothing of it is.
 */
import { sameDot } from '../../model/version-vector.ts'
import { must } from '../../assert.ts'
import type { Change, RecordValue, Sibling } from '../../model/types.ts'
import type { WriteTransaction } from '../file/transaction.ts'
import { exchange, putHash } from '../feed/digest.ts'
import { embeddingBytes } from '../feed/register.ts'
import { BULK_ROWS } from '../file/statements.ts'
import { type OpenShard } from '../file/open-shard.ts'

/** A change that can be in a run. */
interface NewPut {
  readonly id: string
  readonly sibling: Sibling
  readonly value: RecordValue
}

/**
 * Writes the longest run that `changes` begins with at `start`, of those that `isNew` holds to be
 * new, valid and without a tombstone. Returns how many that were, a multiple of BULK_ROWS; 0
 * without a run, or where a record of its first rows exists.
 */
export function applyRun(
  transaction: WriteTransaction,
  shard: OpenShard,
  changes: readonly Change[],
  start: number,
  isNew: (change: Change) => boolean,
): number {
  const first = newPut(changes[start])
  if (first === null) return 0
  const firstRowid = transaction.lastRowid + 1
  const { core } = transaction
  let count = 0
  let sum = 0n
  for (;;) {
    const rows = nextRows(changes, start + count, first, count, isNew)
    if (rows === null || !writeRows(transaction, shard, rows, firstRowid + count, count)) break
    for (const { id, sibling } of rows) {
      sum += putHash(core.hash64, id, sibling.dot.actor, sibling.dot.counter)
    }
    count += BULK_ROWS
  }
  if (count === 0) return 0
  const { dot, stamp } = first.sibling
  core.sql.addChanges.run(
    firstRowid,
    stamp.ms,
    stamp.logical,
    core.keys.actorKey(dot.actor),
    dot.counter,
    firstRowid + count - 1,
  )
  shard.digest = exchange(shard.digest, 0n, sum)
  transaction.lastRowid += count
  shard.head += count
  shard.recordCount += count
  return count
}

/** The next BULK_ROWS changes, when they all continue the run that `first` began; else null. */
function nextRows(
  changes: readonly Change[],
  start: number,
  first: NewPut,
  steps: number,
  isNew: (change: Change) => boolean,
): NewPut[] | null {
  if (start + BULK_ROWS > changes.length) return null
  const rows: NewPut[] = []
  const { dot, stamp } = first.sibling
  for (let index = 0; index < BULK_ROWS; index += 1) {
    const change = must(changes[start + index], 'a change within the batch')
    const put = newPut(change)
    if (put === null) return null
    const { sibling } = put
    const step = steps + index
    const follows =
      sibling.dot.actor === dot.actor &&
      sibling.dot.counter === dot.counter + step &&
      sibling.stamp.ms === stamp.ms &&
      sibling.stamp.logical === stamp.logical + step
    if (!follows || !isNew(change)) return null
    rows.push(put)
  }
  return rows
}

/** The change as a whole, single write without a history; null when it is another one. */
function newPut(change: Change | undefined): NewPut | null {
  if (change === undefined || change.siblings.length !== 1 || change.context !== null) return null
  const sibling = must(change.siblings[0], 'the only sibling')
  const { dot, value } = sibling
  if (value === null || value.embedding === null) return null
  const { embeddingDot } = value
  const isOwn = sameDot(embeddingDot, dot)
  return isOwn ? { id: change.id, sibling, value } : null
}

/** False, and nothing written, when one of the records exists. */
function writeRows(
  transaction: WriteTransaction,
  shard: OpenShard,
  rows: readonly NewPut[],
  firstRowid: number,
  steps: number,
): boolean {
  const { sql } = transaction.core
  const vectors: (string | number | null)[] = []
  const embeddings: (Uint8Array | number)[] = []
  for (const [index, { id, value }] of rows.entries()) {
    const rowid = firstRowid + index
    const changeId = shard.head + 1 + steps + index
    vectors.push(rowid, shard.shard, id, changeId, value.metadata, value.text)
    embeddings.push(rowid, embeddingBytes(value))
  }
  if (sql.addVectors.run(...vectors).changes !== BULK_ROWS) {
    sql.dropVectors.run(firstRowid, firstRowid + BULK_ROWS - 1)
    return false
  }
  sql.addEmbeddings.run(...embeddings)
  for (const [index, { value }] of rows.entries()) {
    if (value.text !== null) transaction.core.texts.add(shard, firstRowid + index, value.text)
  }
  return true
}
