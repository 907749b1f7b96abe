/**
 * Inserting many new records at once: the same rows as insertRecord (writes.ts) writes one by one,
 * in fewer statements, because the calls into SQLite would cost more than the changelog.
 *
 * A run is a row of new records without a tombstone. Keys, change_ids, stamps and counters of a run
 * rise by one from record to record, so its whole changelog is one statement.
 *
 * Only for a transaction that fails as a whole: a refusal leaves rows behind for the rollback.
 */
import { viewToBytes } from '../../bytes.ts'
import { HLC_LOGICAL_MAX, type Hlc, tickHlc } from '../../clock/hlc.ts'
import type { WriteTransaction } from '../file/transaction.ts'
import { exchange, putHash } from '../feed/digest.ts'
import { type PreparedRecord, prepareRecordAt } from '../input.ts'
import { findHidden } from '../feed/register.ts'
import { noteWritten } from '../feed/recent-writes.ts'
import { BULK_ROWS } from '../file/statements.ts'
import type { RecordInput } from '../types.ts'
import { insertRecord, recordExists } from './writes.ts'
import { type OpenShard } from '../file/open-shard.ts'

/** Records that wait for their rows to be written; payloads of a run are never held beyond this. */
const RUN_RECORDS_MAX = 1_000

/** Inserts `records[start..end)`. @throws SqliteVectorError `STORE_RECORD_EXISTS` */
export function insertRecords(
  transaction: WriteTransaction,
  shard: OpenShard,
  records: readonly RecordInput[],
  start: number,
  end: number,
): void {
  if (shard.forgotten.size > 0) {
    // Each write then carries a context of its own, which a run does not.
    for (let index = start; index < end; index += 1) {
      insertRecord(transaction, shard, prepareRecordAt(shard, records, index))
    }
    return
  }
  let run: PreparedRecord[] = []
  for (let index = start; index < end; index += 1) {
    const record = prepareRecordAt(shard, records, index)
    if (findHidden(transaction.core, shard, record.id) === null) {
      run.push(record)
      if (run.length < RUN_RECORDS_MAX) continue
      writeRun(transaction, shard, run)
    } else {
      writeRun(transaction, shard, run)
      insertRecord(transaction, shard, record)
    }
    run = []
  }
  writeRun(transaction, shard, run)
}

function writeRun(
  transaction: WriteTransaction,
  shard: OpenShard,
  run: readonly PreparedRecord[],
): void {
  if (run.length === 0) return
  const { core, actor } = transaction
  const firstRowid = transaction.lastRowid + 1
  const firstStamp = tickHlc(shard.clock, transaction.nowMs)
  writeRows(transaction, shard, run, firstRowid)
  core.sql.addChanges.run(
    firstRowid,
    firstStamp.ms,
    firstStamp.logical,
    core.keys.actorKey(actor),
    shard.ownCounter + 1,
    firstRowid + run.length - 1,
  )
  let sum = 0n
  for (let index = 0; index < run.length; index += 1) {
    const { id, text } = run[index] as PreparedRecord
    if (text !== null) core.texts.add(shard, firstRowid + index, text)
    sum += putHash(core.hash64, id, actor, shard.ownCounter + 1 + index)
  }
  noteRun(transaction, shard, run, firstStamp)
  shard.digest = exchange(shard.digest, 0n, sum)
  transaction.lastRowid += run.length
  shard.head += run.length
  shard.ownCounter += run.length
  shard.recordCount += run.length
  shard.clock = laterBy(firstStamp, run.length - 1)
}

function noteRun(
  { actor }: WriteTransaction,
  shard: OpenShard,
  run: readonly PreparedRecord[],
  firstStamp: Hlc,
): void {
  for (let index = 0; index < run.length && shard.written !== null; index += 1) {
    const { id, embedding, metadata, text } = run[index] as PreparedRecord
    const dot = { actor, counter: shard.ownCounter + 1 + index }
    const value = { embedding, embeddingDot: dot, metadata, text }
    const sibling = { dot, stamp: laterBy(firstStamp, index), value }
    noteWritten(shard, id, { siblings: [sibling], context: null }, shard.head + 1 + index)
  }
}

function writeRows(
  transaction: WriteTransaction,
  shard: OpenShard,
  run: readonly PreparedRecord[],
  firstRowid: number,
): void {
  const { sql } = transaction.core
  const whole = run.length - (run.length % BULK_ROWS)
  for (let from = 0; from < whole; from += BULK_ROWS) {
    const vectors: (string | number | null)[] = []
    const embeddings: (Uint8Array | number)[] = []
    for (let index = from; index < from + BULK_ROWS; index += 1) {
      const { id, embedding, metadata, text } = run[index] as PreparedRecord
      const rowid = firstRowid + index
      vectors.push(rowid, shard.shard, id, shard.head + 1 + index, metadata, text)
      embeddings.push(rowid, viewToBytes(embedding))
    }
    if (sql.addVectors.run(...vectors).changes !== BULK_ROWS) {
      throw firstRefused(transaction, shard, run, firstRowid)
    }
    sql.addEmbeddings.run(...embeddings)
  }
  for (let index = whole; index < run.length; index += 1) {
    const { id, embedding, metadata, text } = run[index] as PreparedRecord
    const rowid = firstRowid + index
    const change = shard.head + 1 + index
    const added = sql.addVector.run(rowid, shard.shard, id, change, metadata, text)
    if (added.changes === 0) throw recordExists(shard, id)
    sql.addEmbedding.run(rowid, viewToBytes(embedding))
  }
}

/** The refusal of the first record of `run` whose id was taken. */
function firstRefused(
  transaction: WriteTransaction,
  shard: OpenShard,
  run: readonly PreparedRecord[],
  firstRowid: number,
): Error {
  const taken = run.find(({ id }, index) => {
    const row = transaction.core.sql.findVector.get(shard.shard, id)
    return row?.['rowid'] !== firstRowid + index
  })
  return recordExists(shard, taken?.id ?? '')
}

/** The stamp `steps` ticks after `stamp` while the physical clock stands still. */
function laterBy(stamp: Hlc, steps: number): Hlc {
  const logical = stamp.logical + steps
  const span = HLC_LOGICAL_MAX + 1
  return { ms: stamp.ms + Math.floor(logical / span), logical: logical % span }
}
