/**
 * Reading the change feed of a shard: the rows above a cursor, in the order of their commits.
 *
 * Not here: writing it (register.ts). Read from 0, the feed is the snapshot of the shard; a record
 * appears once, at its latest change_id. Two steps per row: the changelog row alone decides whether
 * the reader has the record, and only then is its payload read.
 */
import { damagedRecord } from '../file/damage.ts'
import { must } from '../../assert.ts'
import { hexToBytes } from '../../bytes.ts'
import type {
  ActorId,
  Change,
  Dot,
  RecordState,
  Sibling,
  VersionVector,
} from '../../model/types.ts'
import { covers } from '../../model/version-vector.ts'
import { decodeContext } from './context.ts'
import type { OpenFile } from '../file/transaction.ts'
import {
  idOf,
  hasSiblings,
  OPERATION,
  checkedPayload,
  rowToRecordState,
  type StoredRecord,
  withPayload,
} from './register.ts'
import { rowToShardState, type ShardRow, shardRow } from './shards.ts'
import type { ChangelogRow, PayloadRow } from '../file/statements.ts'
import { type DeltaQuery, type DeltaRead } from './types.ts'

/**
 * The changes that the reader of `query` lacks, with the shard's state. Inside one read
 * transaction.
 */
export function readDelta(core: OpenFile, shardId: string, query: DeltaQuery): DeltaRead {
  const shard = shardRow(core, shardId)
  const { logId } = core.identity()
  const { after, bytesMax, known } = query
  const scanned = Math.min(shard.head, after + SCAN_MAX)
  const { rows, countMax } = feedRows(core, shard, query, scanned)
  const changes: Change[] = []
  let through = after
  let bytes = 0
  for (const row of rows) {
    if (bytes >= bytesMax) break
    through = row.change_id
    if (query.only !== undefined && !concerns(core, row, query.only)) continue
    if (readerHas(core, row, known)) continue
    const change = withoutKnownEmbeddings(
      checkedChange(core, row.rowid, shard.dimension, readChange(core, row)),
      known,
    )
    bytes += payloadBytes(change)
    changes.push(change)
  }
  // Fewer rows than asked for, all of them looked at: the scan has reached its end.
  const isLast = through === (rows.at(-1)?.change_id ?? after)
  if (rows.length < countMax && isLast) through = Math.max(after, scanned)
  return { changes, through, atHead: through >= shard.head, state: rowToShardState(shard, logId) }
}

/**
 * The most changes of the feed that one read passes: skipping what a reader has is fast, but
 * bounded.
 */
const SCAN_MAX = 16_384

/**
 * The next rows of the feed up to `through`, at most `countMax`; some that the reader has are left
 * out.
 */
function feedRows(
  core: OpenFile,
  { shard, dimension }: ShardRow,
  { after, bytesMax, known, ...query }: DeltaQuery,
  through: number,
): { readonly rows: readonly FeedRow[]; readonly countMax: number } {
  if (known.size === 0 && query.only === undefined) {
    // Nothing is left out: payloads come along, as many as their embeddings alone have room for.
    const countMax = Math.min(query.countMax, Math.floor(bytesMax / (dimension * 4)) + 1)
    const rows = core.sql.readFeedWhole.all(shard, after, through, countMax)
    return { rows: rows as unknown as FeedRow[], countMax }
  }
  // SQLite passes over what the reader has of one actor, the one with the most writes; we over the
  // rest.
  const [actor, counter] = largest(known)
  const rows = core.sql.readFeedPast.all(
    shard,
    after,
    through,
    query.countMax,
    hexToBytes(actor),
    counter,
  )
  return { rows: rows as unknown as FeedRow[], countMax: query.countMax }
}

/** The actor with the most writes, and how many; no actor's name when there is none. */
function largest(vector: VersionVector): readonly [ActorId, number] {
  let actor: ActorId = ''
  let counter = 0
  for (const entry of vector) {
    if (entry[1] > counter) [actor, counter] = entry
  }
  return [actor, counter]
}

/** True when `known` covers the dots of all siblings of the record. */
function readerHas(core: OpenFile, row: ChangelogRow, known: VersionVector): boolean {
  if (known.size === 0) return false
  if (!covers(known, { actor: core.keys.actorOf(row.actor), counter: row.counter })) return false
  if (!hasSiblings(row.operation)) return true
  return rowToRecordState(core, row).siblings.every(({ dot }) => covers(known, dot))
}

/**
 * True when the record holds a write of the actor above the counter, or something that superseded
 * one.
 */
function concerns(core: OpenFile, row: ChangelogRow, above: Dot): boolean {
  if (row.context.byteLength > 0) {
    const context = decodeContext(core, row.context)
    if ((context?.get(above.actor) ?? 0) > above.counter) return true
  }
  if (!hasSiblings(row.operation)) {
    return core.keys.actorOf(row.actor) === above.actor && row.counter > above.counter
  }
  const { siblings } = rowToRecordState(core, row)
  return siblings.some(({ dot }) => dot.actor === above.actor && dot.counter > above.counter)
}

/**
 * Without the embeddings of writes that did not bring them and that the reader's vector covers. It
 * may have lost one to a later write, and asks, then.
 */
function withoutKnownEmbeddings(change: Change, known: VersionVector): Change {
  if (known.size === 0) return change
  const isKnown = ({ dot, value }: Sibling): boolean =>
    value !== null &&
    (value.embeddingDot.actor !== dot.actor || value.embeddingDot.counter !== dot.counter) &&
    covers(known, value.embeddingDot)
  if (!change.siblings.some(isKnown)) return change
  const siblings = change.siblings.map((sibling) =>
    sibling.value !== null && isKnown(sibling)
      ? { ...sibling, value: { ...sibling.value, embedding: null } }
      : sibling,
  )
  return { ...change, siblings }
}

/** A row of the feed; with its payload when that was read along. */
type FeedRow = ChangelogRow & Partial<PayloadRow>

/**
 * The change, whose embeddings have the shard's dimension. @throws SqliteVectorError
 * `STORE_CORRUPT`
 */
function checkedChange(core: OpenFile, rowid: number, dimension: number, change: Change): Change {
  for (const { value } of change.siblings) {
    if (value === null || value.embedding?.length === dimension) continue
    const length = value.embedding?.length ?? 0
    throw damagedRecord(core, rowid, `an embedding has ${length} components, not ${dimension}`)
  }
  return change
}

function readChange(core: OpenFile, row: FeedRow): Change {
  const state = rowToRecordState(core, row)
  if (row.operation === OPERATION.put) return putChange(core, row, state)
  return { id: idOf(core, row.rowid), ...state }
}

function putChange(core: OpenFile, row: FeedRow, state: RecordState): Change {
  const payload = row.vector_id === undefined ? (core.sql.getPayload.get(row.rowid) ?? {}) : row
  const sibling = must(state.siblings[0], 'the only sibling')
  const { dot, stamp } = sibling
  const { embeddingDot } = must(sibling.value, 'a put')
  const value = checkedPayload(core, row.rowid, payload, embeddingDot)
  const { vector_id: id } = payload as unknown as PayloadRow
  return { id, siblings: [{ dot, stamp, value }], context: state.context }
}

/** A stored record as it travels, whole, and what its payload weighs. */
export function changeOf(
  core: OpenFile,
  id: string,
  record: StoredRecord,
  dimension: number,
): { readonly change: Change; readonly bytes: number } {
  const state = withPayload(core, record).state
  const change = checkedChange(core, record.rowid, dimension, { id, ...state })
  return { change, bytes: payloadBytes(change) }
}

function payloadBytes(change: Change): number {
  return change.siblings.reduce((sum, sibling) => sum + siblingBytes(sibling), change.id.length)
}

function siblingBytes({ value }: Sibling): number {
  if (value === null) return 0
  const embedding = value.embedding === null ? 0 : value.embedding.byteLength
  return embedding + value.metadata.length + (value.text?.length ?? 0)
}
