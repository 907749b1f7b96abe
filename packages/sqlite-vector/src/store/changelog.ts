/**
 * Reading the change feed of a shard: the rows above a cursor, in the order of their commits.
 *
 * Not here: writing it (register.ts). Read from 0, the feed is the snapshot of the shard; a record
 * appears once, at its latest change_id. Two steps per row: the changelog row alone decides whether
 * the reader has the record, and only then is its payload read.
 */
import { must } from '../assert.ts'
import type { Change, Dot, RecordState, Sibling, VersionVector } from '../sync/types.ts'
import { covers } from '../sync/version-vector.ts'
import { decodeContext } from './context.ts'
import type { StoreCore } from './core.ts'
import {
  idOf,
  OPERATION,
  payloadToValue,
  rowToState as rowToRecordState,
  type StoredRecord,
  withPayload,
} from './register.ts'
import { rowToState, shardRow } from './shards.ts'
import type { ChangelogRow, PayloadRow } from './statements.ts'
import type { DeltaQuery, DeltaRead } from './types.ts'

/** What the reader of `query` lacks, with the shard's state. Inside one read transaction. */
export function readDelta(core: StoreCore, shardId: string, query: DeltaQuery): DeltaRead {
  const shard = shardRow(core, shardId)
  const { logId } = core.identity()
  // A reader that has nothing gets every row: then payloads come along with it.
  const isWhole = query.known.size === 0 && query.only === undefined
  const feed = isWhole ? core.sql.readFeedWhole : core.sql.readFeed
  const countMax = isWhole
    ? Math.min(query.countMax, rowsWithin(query.bytesMax, shard.dimension))
    : query.countMax
  const rows = feed.all(shard.shard, query.after, countMax)
  const changes: Change[] = []
  const until = query.until ?? Infinity
  let through = query.after
  let bytes = 0
  for (const row of rows as unknown as FeedRow[]) {
    if (bytes >= query.bytesMax || row.change_id > until) break
    through = row.change_id
    if (query.only !== undefined && !concerns(core, row, query.only)) continue
    if (readerHas(core, row, query.known)) continue
    const change = withoutKnownEmbeddings(readChange(core, row), query.known)
    bytes += payloadBytes(change)
    changes.push(change)
  }
  // Fewer rows than asked for were left, so all above the last one is known to be empty.
  const last = rows.at(-1) as unknown as ChangelogRow | undefined
  const exhausted = rows.length < countMax && through === (last?.change_id ?? query.after)
  if (exhausted && shard.head > through) through = shard.head
  // The rows up to `until` are all looked at, though none may lie just there.
  const isBeyond = last !== undefined && last.change_id > until && bytes < query.bytesMax
  if (isBeyond && through < until) through = until
  return { changes, through, atHead: through >= shard.head, state: rowToState(shard, logId) }
}

/** True when `known` covers the dots of all siblings of the record. */
function readerHas(core: StoreCore, row: ChangelogRow, known: VersionVector): boolean {
  if (known.size === 0) return false
  if (!covers(known, { actor: core.actorOf(row.actor), counter: row.counter })) return false
  if (row.operation !== OPERATION.conflict) return true
  return rowToRecordState(core, row).siblings.every(({ dot }) => covers(known, dot))
}

/** True when the record holds a write of the actor above the counter, or something that superseded one. */
function concerns(core: StoreCore, row: ChangelogRow, above: Dot): boolean {
  if (row.context.byteLength > 0) {
    const context = decodeContext(core, row.context)
    if ((context?.get(above.actor) ?? 0) > above.counter) return true
  }
  if (row.operation !== OPERATION.conflict) {
    return core.actorOf(row.actor) === above.actor && row.counter > above.counter
  }
  const { siblings } = rowToRecordState(core, row)
  return siblings.some(({ dot }) => dot.actor === above.actor && dot.counter > above.counter)
}

/**
 * Without the embeddings of writes that did not bring them and that the reader's vector covers. It may have lost one
 * to a later write, and asks, then.
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

function readChange(core: StoreCore, row: FeedRow): Change {
  const state = rowToRecordState(core, row)
  if (row.operation === OPERATION.put) return putChange(core, row, state)
  return { id: idOf(core, row.record), ...state }
}

function putChange(core: StoreCore, row: FeedRow, state: RecordState): Change {
  const payload =
    row.vector_id === undefined
      ? must(core.sql.getPayload.get(row.record), 'the row of a visible record')
      : row
  const sibling = must(state.siblings[0], 'the only sibling')
  const { dot, stamp } = sibling
  const { embeddingDot } = must(sibling.value, 'a put')
  const value = payloadToValue(payload as unknown as PayloadRow, embeddingDot)
  const { vector_id: id } = payload as unknown as PayloadRow
  return { id, siblings: [{ dot, stamp, value }], context: state.context }
}

/** Rows of which the embeddings alone come to `bytesMax`, and one more. */
function rowsWithin(bytesMax: number, dimension: number): number {
  return Math.floor(bytesMax / (dimension * 4)) + 1
}

/** A stored record as it travels, whole, and what its payload weighs. */
export function changeOf(
  core: StoreCore,
  id: string,
  record: StoredRecord,
): { readonly change: Change; readonly bytes: number } {
  const change = { id, ...withPayload(core, record).state }
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
