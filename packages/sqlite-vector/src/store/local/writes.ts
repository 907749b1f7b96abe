/**
 * Our own writes: one new sibling whose context covers all siblings that were there.
 *
 * Not here: checking what the caller gave (input.ts) and the tables (register.ts). Refusals are
 * thrown before the first statement that writes.
 */
import { damagedRecord } from '../file/damage.ts'
import { must } from '../../assert.ts'
import { bytesToFloat32 } from '../../bytes.ts'
import { tickHlc, type Hlc } from '../../clock/hlc.ts'
import { SqliteVectorError } from '../../errors.ts'
import { shown } from '../../options.ts'
import { contextOf } from '../../model/merge.ts'
import { mergeMetadata } from '../../model/strategies.ts'
import type { Dot, RecordState, RecordValue, VersionVector } from '../../model/types.ts'
import { EMPTY_VECTOR, joinVectors, meetVectors, withDot } from '../../model/version-vector.ts'
import type { WriteTransaction } from '../file/transaction.ts'
import { limitMetadata, type PreparedRecord } from '../input.ts'
import { noteWritten } from '../feed/recent-writes.ts'
import {
  addRecord,
  findHidden,
  findRecord,
  OPERATION,
  replaceRecord,
  type StoredRecord,
} from '../feed/register.ts'
import { nextDot, ownVector } from '../feed/shards.ts'
import type { PayloadRow } from '../file/statements.ts'
import { type OpenShard } from '../file/open-shard.ts'
import { type ShardInfo } from '../../model/records.ts'

/** The checked arguments of `update()`. */
export interface PreparedUpdate {
  readonly embedding: Float32Array | undefined
  readonly metadata: string | undefined
  readonly metadataMode: 'merge' | 'replace'
  readonly text: string | null | undefined
}

/** Adds a record. @throws SqliteVectorError `STORE_RECORD_EXISTS` */
export function insertRecord(
  transaction: WriteTransaction,
  shard: OpenShard,
  given: PreparedRecord,
): void {
  const hidden = findHidden(transaction.core, shard, given.id)
  if (hidden !== null) {
    supersede(transaction, shard, given.id, hidden, (dot) => preparedToValue(given, dot))
    return
  }
  const before = { ownCounter: shard.ownCounter, clock: shard.clock }
  const dot = nextDot(transaction, shard)
  const sibling = { dot, stamp: nextStamp(transaction, shard), value: preparedToValue(given, dot) }
  const context = contextOfNew(transaction, shard, dot)
  const state = { siblings: [sibling], context }
  if (addRecord(transaction, shard, given.id, state)) {
    noteWritten(shard, given.id, state)
    return
  }
  shard.ownCounter = before.ownCounter
  shard.clock = before.clock
  throw recordExists(shard, given.id)
}

/** The context of a write to a record that is not there; see {@link withForgotten}. */
function contextOfNew(
  transaction: WriteTransaction,
  shard: OpenShard,
  dot: Dot,
): VersionVector | null {
  if (shard.forgotten.size === 0) return null
  return withDot(withForgotten(transaction, shard, EMPTY_VECTOR), dot)
}

/**
 * `context` of a write, and the deletes that were forgotten here: of a record that is not there
 * now, or that came again from a peer that had missed them. A peer that still has one must see that
 * this write came after it, and did not meet it.
 */
export function withForgotten(
  { actor }: WriteTransaction,
  shard: OpenShard,
  context: VersionVector,
): VersionVector {
  if (shard.forgotten.size === 0) return context
  return joinVectors(context, meetVectors(shard.forgotten, ownVector(shard, actor)))
}

/** The refusal of an insert whose id is taken. */
export function recordExists(shard: ShardInfo, id: string): SqliteVectorError {
  return new SqliteVectorError(
    'STORE_RECORD_EXISTS',
    `shard ${shown(shard.shardId)} has a record ${shown(id)} already`,
  )
}

/** Adds a record, or replaces the one there. Returns whether there was none. */
export function upsertRecord(
  transaction: WriteTransaction,
  shard: OpenShard,
  given: PreparedRecord,
): boolean {
  const before = findRecord(transaction.core, shard, given.id)
  if (before === null) {
    insertRecord(transaction, shard, given)
    return true
  }
  supersede(transaction, shard, given.id, before, (dot) => preparedToValue(given, dot))
  return !before.visible
}

/** Changes parts of a visible record. @throws SqliteVectorError `STORE_RECORD_UNKNOWN` */
export function updateRecord(
  transaction: WriteTransaction,
  shard: OpenShard,
  id: string,
  update: PreparedUpdate,
): void {
  const { core } = transaction
  const before = findRecord(core, shard, id)
  if (before === null || !before.visible) {
    throw new SqliteVectorError(
      'STORE_RECORD_UNKNOWN',
      `shard ${shown(shard.shardId)} has no record ${shown(id)}`,
    )
  }
  const row = core.sql.getPayload.get(before.rowid)
  if (row === undefined) throw damagedRecord(core, before.rowid, 'its embedding is missing')
  const value = updatedValue(before, row as unknown as PayloadRow, update)
  supersede(transaction, shard, id, before, value)
}

/** Deletes a visible record. False, and nothing written, when there is none. */
export function deleteRecord(transaction: WriteTransaction, shard: OpenShard, id: string): boolean {
  const before = findRecord(transaction.core, shard, id)
  if (before === null || !before.visible) return false
  supersede(transaction, shard, id, before, () => null)
  return true
}

/** Writes one new sibling over all that are there. */
export function supersede(
  transaction: WriteTransaction,
  shard: OpenShard,
  id: string,
  before: StoredRecord,
  valueOf: (dot: Dot) => RecordValue | null,
): void {
  const dot = nextDot(transaction, shard)
  const sibling = { dot, stamp: nextStamp(transaction, shard), value: valueOf(dot) }
  const state: RecordState = {
    siblings: [sibling],
    context: withDot(withForgotten(transaction, shard, contextOf(before.state)), dot),
  }
  replaceRecord(transaction, shard, id, before, state)
  noteWritten(shard, id, state)
}

/** Strictly after every stamp of the shard that its clock has absorbed. */
export function nextStamp(transaction: WriteTransaction, shard: OpenShard): Hlc {
  shard.clock = tickHlc(shard.clock, transaction.nowMs)
  return shard.clock
}

function preparedToValue(given: PreparedRecord, dot: Dot): RecordValue {
  const { embedding, metadata, text } = given
  return { embedding, embeddingDot: dot, metadata, text }
}

/** The visible record with the update over it. */
function updatedValue(
  before: StoredRecord,
  row: PayloadRow,
  update: PreparedUpdate,
): (dot: Dot) => RecordValue {
  const text = update.text === undefined ? row.document : update.text
  const metadata =
    update.metadata === undefined
      ? row.metadata
      : update.metadataMode === 'replace'
        ? update.metadata
        : limitMetadata(mergeMetadata([row.metadata, update.metadata]), 'the merged metadata')
  const { embedding } = update
  if (embedding !== undefined) return (dot) => ({ embedding, embeddingDot: dot, metadata, text })
  const [sibling] = before.state.siblings
  if (before.operation === OPERATION.put && sibling !== undefined) {
    // The embedding lies in the table already, under the write that brought it.
    const { embeddingDot } = must(sibling.value, 'a put')
    return () => ({ embedding: null, embeddingDot, metadata, text })
  }
  // Of a record in conflict, the caller updates what is shown: a mean belongs to no write but this.
  const shownEmbedding = bytesToFloat32(row.embedding)
  return (dot) => ({ embedding: shownEmbedding, embeddingDot: dot, metadata, text })
}
