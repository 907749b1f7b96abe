/**
 * One record as it lies in the tables: reading its replicated state, and replacing it together with
 * everything that follows from it (visible row, changelog row, conflicts, counts, digest).
 *
 * Not here: which state to write (writes.ts for our own, apply.ts for what peers sent).
 *
 * Invariants, kept by {@link replaceRecord} and {@link addRecord}, the only ways to write a record:
 *   I1  One changelog row per record; a write gives it the shard's next change_id.
 *   I2  The row in `vectors` and `embeddings` is the strategy's view of the siblings; without one,
 *       the id is in `tombstones`.
 *   I3  `vector_conflicts` holds the siblings of a record exactly when it has more than one. A
 *       record is in conflict when one of them is a put; concurrent deletes are a delete.
 */
import { damagedRecord, stored as kept } from '../file/damage.ts'
import { must } from '../../assert.ts'
import { bytesToFloat32, viewToBytes } from '../../bytes.ts'
import { isConflict, lastWrite } from '../../model/merge.ts'
import type { Dot, RecordState, RecordValue, Sibling } from '../../model/types.ts'
import { compareDots, sameDot } from '../../model/version-vector.ts'
import { decodeContext, encodeContext } from './context.ts'
import type { OpenFile, WriteTransaction } from '../file/transaction.ts'
import { exchange, recordHash } from './digest.ts'
import type { ChangelogRow, ConflictRow, PayloadRow } from '../file/statements.ts'
import { visibleValue } from './visible.ts'
import { type OpenShard } from '../file/open-shard.ts'

/** Codes of `vector_changelog.operation`; `deletes`: several concurrent deletes and no put. */
export const OPERATION = { put: 1, delete: 2, conflict: 3, deletes: 4 } as const

/** True when the record's siblings stand in `vector_conflicts`: it has more than one. */
export function hasSiblings(operation: number): boolean {
  return operation >= OPERATION.conflict
}

/** A record that the shard holds. */
export interface StoredRecord {
  readonly rowid: number
  /** The record's place in the feed. */
  readonly changeId: number
  /** True when it has a row in `vectors`. */
  readonly visible: boolean
  readonly operation: number
  /**
   * Without payloads where `operation` is a put: see {@link withPayload}. The embedding of such a
   * value is null.
   */
  readonly state: RecordState
}

/** The record `id`, or null when the shard has none, not even a tombstone. */
export function findRecord(core: OpenFile, shard: OpenShard, id: string): StoredRecord | null {
  const visible = core.sql.findVisible.get(shard.shard, id)
  if (visible !== undefined) return stored(core, visible as unknown as ChangelogRow, true)
  return findHidden(core, shard, id)
}

/** The tombstone `id`, or null. Costs nothing where the shard has no tombstones. */
export function findHidden(core: OpenFile, shard: OpenShard, id: string): StoredRecord | null {
  return shard.tombstoneCount === 0 ? null : hiddenIn(core, shard.shard, id)
}

/** {@link findRecord} for a reader without an open shard. */
export function findStored(core: OpenFile, shard: number, id: string): StoredRecord | null {
  const visible = core.sql.findVisible.get(shard, id)
  if (visible !== undefined) return stored(core, visible as unknown as ChangelogRow, true)
  return hiddenIn(core, shard, id)
}

function hiddenIn(core: OpenFile, shard: number, id: string): StoredRecord | null {
  const hidden = core.sql.findHidden.get(shard, id)
  return hidden === undefined ? null : stored(core, hidden as unknown as ChangelogRow, false)
}

/** The record with what its siblings wrote. */
export function withPayload(core: OpenFile, record: StoredRecord): StoredRecord {
  const [sibling] = record.state.siblings
  if (record.operation !== OPERATION.put || sibling === undefined) return record
  const embeddingDot = sibling.value?.embeddingDot ?? sibling.dot
  const value = readPayload(core, record.rowid, embeddingDot)
  return { ...record, state: { ...record.state, siblings: [{ ...sibling, value }] } }
}

/** The replicated state that a changelog row stands for; see {@link StoredRecord.state}. */
export function rowToRecordState(core: OpenFile, row: ChangelogRow): RecordState {
  const context = decodeContext(core, row.context)
  if (hasSiblings(row.operation)) {
    const siblings = conflictSiblings(core, row.rowid)
    if (siblings.length < 2) throw damagedRecord(core, row.rowid, 'its siblings are missing')
    return { siblings, context }
  }
  const dot = { actor: core.keys.actorOf(row.actor), counter: row.counter }
  const value = row.operation === OPERATION.put ? unread(embeddingDotOf(core, row, dot)) : null
  return { siblings: [{ dot, stamp: { ms: row.ms, logical: row.logical }, value }], context }
}

/** The siblings of a record that has more than one, in the order of their dots. */
export function conflictSiblings(core: OpenFile, rowid: number): readonly Sibling[] {
  const rows = core.sql.getConflicts.all(rowid) as unknown as ConflictRow[]
  return rows
    .map((conflict) => conflictToSibling(core, conflict))
    .toSorted((a, b) => compareDots(a.dot, b.dot))
}

/** The value in a row of a visible record; its embedding is a view of the row's bytes. */
export function payloadToValue(row: PayloadRow, embeddingDot: Dot): RecordValue {
  return {
    embedding: bytesToFloat32(row.embedding),
    embeddingDot,
    metadata: row.metadata,
    text: row.document,
  }
}

/** The payload of a visible record, read from its row. @throws SqliteVectorError `STORE_CORRUPT` */
export function readPayload(core: OpenFile, rowid: number, embeddingDot: Dot): RecordValue {
  const row = core.sql.getPayload.get(rowid) as unknown as PayloadRow | undefined
  if (row === undefined) throw damagedRecord(core, rowid, 'its embedding or its row is missing')
  return checkedPayload(core, rowid, row, embeddingDot)
}

/**
 * {@link payloadToValue} of a row whose parts are checked. @throws SqliteVectorError
 * `STORE_CORRUPT`
 */
export function checkedPayload(
  core: OpenFile,
  rowid: number,
  row: Partial<PayloadRow>,
  embeddingDot: Dot,
): RecordValue {
  const { vector_id: id, embedding, metadata } = row
  if (id === null || id === undefined) throw damagedRecord(core, rowid, 'its row is missing')
  if (embedding === null || embedding === undefined || metadata === undefined) {
    throw damagedRecord(core, rowid, 'its embedding is missing')
  }
  if (embedding.byteLength % 4 !== 0) {
    throw damagedRecord(core, rowid, `its embedding has ${embedding.byteLength} bytes`)
  }
  return payloadToValue(row as PayloadRow, embeddingDot)
}

/**
 * Adds a record that the shard has no tombstone of. False, and nothing written, when it is visible
 * already: the insert is the look-up, which spares a new record one search of the index.
 */
export function addRecord(
  transaction: WriteTransaction,
  shard: OpenShard,
  id: string,
  state: RecordState,
): boolean {
  const { core } = transaction
  const { sql } = core
  const value = visibleOf(transaction, shard, id, state)
  const rowid = transaction.lastRowid + 1
  if (value === null) {
    sql.addTombstone.run(rowid, shard.shard, id, shard.head + 1)
    shard.tombstoneCount += 1
  } else {
    const { metadata, text } = value
    const added = sql.addVector.run(rowid, shard.shard, id, shard.head + 1, metadata, text)
    if (added.changes === 0) return false
    sql.addEmbedding.run(rowid, embeddingBytes(value))
    if (text !== null) core.texts.add(shard, rowid, text)
    shard.recordCount += 1
  }
  transaction.lastRowid = rowid
  writeConflicts(core, rowid, state)
  if (isConflict(state.siblings)) shard.conflictCount += 1
  shard.head += 1
  sql.addChange.run(shard.shard, shard.head, rowid, ...changelogColumns(core, state))
  shard.digest = exchange(shard.digest, 0n, recordHash(core.hash64, id, state.siblings))
  return true
}

/**
 * Replaces the state of a record. Siblings of `state` carry payloads, but for an unchanged
 * embedding.
 */
export function replaceRecord(
  transaction: WriteTransaction,
  shard: OpenShard,
  id: string,
  before: StoredRecord,
  state: RecordState,
): void {
  const { core } = transaction
  if (hasSiblings(before.operation)) core.sql.dropConflicts.run(before.rowid)
  if (before.operation === OPERATION.conflict) shard.conflictCount -= 1
  writeConflicts(core, before.rowid, state)
  if (isConflict(state.siblings)) shard.conflictCount += 1
  shard.head += 1
  core.sql.dropChange.run(shard.shard, before.changeId)
  core.sql.addChange.run(shard.shard, shard.head, before.rowid, ...changelogColumns(core, state))
  const value = visibleOf(transaction, shard, id, state)
  showRecord(transaction, shard, id, { ...before, changeId: shard.head }, value)
  shard.digest = exchange(
    shard.digest,
    recordHash(core.hash64, id, before.state.siblings),
    recordHash(core.hash64, id, state.siblings),
  )
}

/**
 * Shows `value` of a record whose replicated state stays as it is. Takes a new place in the feed,
 * so that readers of the feed in this file see it; peers know its writes and skip it.
 */
export function refreshVisible(
  transaction: WriteTransaction,
  shard: OpenShard,
  id: string,
  before: StoredRecord,
  value: RecordValue | null,
): void {
  const { core } = transaction
  shard.head += 1
  core.sql.dropChange.run(shard.shard, before.changeId)
  core.sql.addChange.run(
    shard.shard,
    shard.head,
    before.rowid,
    ...changelogColumns(core, before.state),
  )
  showRecord(transaction, shard, id, { ...before, changeId: shard.head }, value)
}

/**
 * Forgets a record, tombstone and changelog row included, as if it had never been here. Readers of
 * the feed cannot see that: the caller moves `collected_through`.
 */
export function removeRecord(
  transaction: WriteTransaction,
  shard: OpenShard,
  id: string,
  before: StoredRecord,
): void {
  const { sql, hash64 } = transaction.core
  if (hasSiblings(before.operation)) sql.dropConflicts.run(before.rowid)
  if (before.operation === OPERATION.conflict) shard.conflictCount -= 1
  sql.dropChange.run(shard.shard, before.changeId)
  if (before.visible) {
    indexText(transaction, shard, before.rowid, null)
    sql.dropVector.run(before.rowid)
    sql.dropEmbedding.run(before.rowid)
    shard.recordCount -= 1
  } else {
    sql.dropTombstone.run(before.rowid)
    shard.tombstoneCount -= 1
  }
  shard.digest = exchange(shard.digest, recordHash(hash64, id, before.state.siblings), 0n)
  shard.hasMoved = true
  shard.touched = true
}

/** The id of any record, visible or not. */
export function idOf(core: OpenFile, rowid: number): string {
  const row = core.sql.getVisibleId.get(rowid) ?? core.sql.getHiddenId.get(rowid)
  if (row === undefined) throw damagedRecord(core, rowid, 'its row is missing')
  return String(row['vector_id'])
}

/** Notes that `state` covers more than the record's context said; its siblings are the same. */
export function widenContext(
  core: OpenFile,
  shard: OpenShard,
  record: StoredRecord,
  state: RecordState,
): void {
  core.sql.setContext.run(encodeContext(core, state), shard.shard, record.changeId)
}

/**
 * Makes `value` the visible record, or hides it when null; `before.changeId` is its place by now.
 */
export function showRecord(
  transaction: WriteTransaction,
  shard: OpenShard,
  id: string,
  before: StoredRecord,
  value: RecordValue | null,
): void {
  const { sql } = transaction.core
  const { rowid, changeId } = before
  if (before.visible) indexText(transaction, shard, rowid, value?.text ?? null)
  if (before.visible && value !== null) {
    sql.setVector.run(changeId, value.metadata, value.text, rowid)
    if (value.embedding !== null) sql.setEmbedding.run(embeddingBytes(value), rowid)
  } else if (before.visible) {
    sql.dropVector.run(rowid)
    sql.dropEmbedding.run(rowid)
    sql.addTombstone.run(rowid, shard.shard, id, changeId)
    shard.recordCount -= 1
    shard.tombstoneCount += 1
  } else if (value !== null) {
    sql.dropTombstone.run(rowid)
    sql.addVector.run(rowid, shard.shard, id, changeId, value.metadata, value.text)
    sql.addEmbedding.run(rowid, embeddingBytes(value))
    if (value.text !== null) transaction.core.texts.add(shard, rowid, value.text)
    shard.recordCount += 1
    shard.tombstoneCount -= 1
  } else {
    sql.setTombstone.run(changeId, rowid)
  }
}

/** Brings the full-text index from the text that the visible row still has to `text`. */
function indexText(
  { core }: WriteTransaction,
  shard: OpenShard,
  rowid: number,
  text: string | null,
): void {
  const before = kept(core.sql.getText.get(rowid), `the row ${rowid} of a record is missing`)[
    'document'
  ]
  if (before === text) return
  if (typeof before === 'string') core.texts.drop(shard, rowid)
  if (text !== null) core.texts.add(shard, rowid, text)
}

function stored(core: OpenFile, row: ChangelogRow, visible: boolean): StoredRecord {
  const { rowid, change_id: changeId, operation } = row
  return { rowid, changeId, visible, operation, state: rowToRecordState(core, row) }
}

/** The visible value: the only sibling, or the strategy's view of several. */
function visibleOf(
  transaction: WriteTransaction,
  shard: OpenShard,
  id: string,
  state: RecordState,
): RecordValue | null {
  const [first, second] = state.siblings
  if (second === undefined) return kept(first, 'a record has no siblings').value
  if (!isConflict(state.siblings)) return null
  return visibleValue(transaction, shard, id, state.siblings)
}

function writeConflicts(core: OpenFile, rowid: number, state: RecordState): void {
  if (state.siblings.length < 2) return
  for (const { dot, stamp, value } of state.siblings) {
    core.sql.addConflict.run(
      rowid,
      core.keys.actorKey(dot.actor),
      dot.counter,
      stamp.ms,
      stamp.logical,
      value === null ? OPERATION.delete : OPERATION.put,
      ...embeddingColumns(core, dot, value),
      value?.metadata ?? null,
      value?.text ?? null,
      value === null ? null : embeddingBytes(value),
    )
  }
}

type ChangelogColumns = [
  operation: number,
  ms: number,
  logical: number,
  actor: number,
  counter: number,
  embeddingActor: number | null,
  embeddingCounter: number | null,
  context: Uint8Array,
]

function changelogColumns(core: OpenFile, state: RecordState): ChangelogColumns {
  const single = state.siblings.length === 1
  // The row of a conflict names its last write; its siblings stand in vector_conflicts.
  const { dot, stamp, value } = single
    ? kept(state.siblings[0], 'a record has no siblings')
    : lastWrite(state.siblings)
  const hasPut = state.siblings.some((sibling) => sibling.value !== null)
  const operation = single
    ? hasPut
      ? OPERATION.put
      : OPERATION.delete
    : hasPut
      ? OPERATION.conflict
      : OPERATION.deletes
  return [
    operation,
    stamp.ms,
    stamp.logical,
    core.keys.actorKey(dot.actor),
    dot.counter,
    ...embeddingColumns(core, dot, value),
    encodeContext(core, state),
  ]
}

function embeddingColumns(
  core: OpenFile,
  dot: Dot,
  value: RecordValue | null,
): [number | null, number | null] {
  if (value === null) return [null, null]
  const { embeddingDot } = value
  if (sameDot(embeddingDot, dot)) return [null, null]
  return [core.keys.actorKey(embeddingDot.actor), embeddingDot.counter]
}

function embeddingDotOf(
  core: OpenFile,
  row: { readonly embedding_actor: number | null; readonly embedding_counter: number | null },
  dot: Dot,
): Dot {
  if (row.embedding_actor === null || row.embedding_counter === null) return dot
  return { actor: core.keys.actorOf(row.embedding_actor), counter: row.embedding_counter }
}

function conflictToSibling(core: OpenFile, row: ConflictRow): Sibling {
  const dot = { actor: core.keys.actorOf(row.actor), counter: row.counter }
  const stamp = { ms: row.ms, logical: row.logical }
  if (row.operation === OPERATION.delete) return { dot, stamp, value: null }
  const embedding = bytesToFloat32(kept(row.embedding, 'the embedding of a sibling is missing'))
  const metadata = kept(row.metadata, 'the metadata of a sibling is missing')
  const embeddingDot = embeddingDotOf(core, row, dot)
  return { dot, stamp, value: { embedding, embeddingDot, metadata, text: row.document } }
}

function unread(embeddingDot: Dot): RecordValue {
  return { embedding: null, embeddingDot, metadata: '{}', text: null }
}

export function embeddingBytes(value: RecordValue): Uint8Array {
  return value.embedding === null
    ? must<Uint8Array>(null, 'a value with its embedding')
    : viewToBytes(value.embedding)
}
