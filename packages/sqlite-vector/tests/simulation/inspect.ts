/**
 * Reads what a node's file says, and holds it against the oracle: after every step what changed
 * ({@link observe}), and at times everything, row by row and past the store's own code ({@link audit}).
 */
import { DatabaseSync } from 'node:sqlite'

import xxhash from 'xxhash-wasm'

import { bytesToFloat32, bytesToHex } from '../../src/bytes.ts'
import { exchange, digestToHex, recordHash } from '../../src/store/feed/digest.ts'
import { storedVector } from '../../src/store/feed/shards.ts'
import { contextOf } from '../../src/model/merge.ts'
import { dominates, EMPTY_VECTOR, vectorsEqual } from '../../src/model/version-vector.ts'
import { type History, shardViewOf, type ShardView, Violation } from './history.ts'
import type { SimNode } from './node.ts'
import { referenceView, type SimStrategy } from './reference-view.ts'
import { type DeltaRead } from '../../src/store/feed/types.ts'
import { type ShardInfo } from '../../src/model/records.ts'

/** Why a node's state may have moved: only its own writes may bring new dots into the world. */
export type Cause = 'write' | 'sync' | 'open'

const hasher = await xxhash()

/** Looks at the whole file anew. */
export function observe(history: History, node: SimNode): void {
  for (const { shardId } of node.db.replica.shards()) observeShard(history, node, shardId, 'open')
}

/**
 * Takes notice of what changed in the shard, and checks it. The number of records that changed; null
 * when the whole shard was read.
 */
export function observeShard(
  history: History,
  node: SimNode,
  shardId: string,
  cause: Cause,
): number | null {
  const view = shardViewOf(node.view, shardId)
  const { replica } = node.db
  if (!node.moved.delete(shardId) && cause !== 'open') return 0
  let read = readFeed(node, shardId, cause === 'open' ? 0 : view.head)
  const { state } = read
  const grown = read.changes.filter(({ id }) => !view.records.has(id)).length
  const rows = state.recordCount + state.tombstoneCount
  const whole = cause === 'open' || state.logId !== view.logId || view.records.size + grown !== rows
  if (whole) read = readFeed(node, shardId, 0)
  const identity = replica.identity()
  if (!dominates(state.versionVector, view.vector)) {
    history.abandoned(node.name, view, state.versionVector, read.changes)
  }
  const moved = !vectorsEqual(state.versionVector, view.vector)
  if (cause === 'write') {
    for (const { id, siblings } of read.changes) {
      for (const sibling of siblings) {
        if (sibling.dot.actor !== identity.actor || history.isOwn(view, sibling.dot)) continue
        history.wrote(node.name, view, id, sibling, siblings)
      }
    }
  }
  view.vector = state.versionVector
  view.floor = state.gcFloor
  view.head = state.head
  view.logId = state.logId
  history.claimed(view)
  for (const change of read.changes) history.hold(node.name, view, change.id, change)
  if (whole) {
    const held = new Set(read.changes.map(({ id }) => id))
    for (const id of view.records.keys()) {
      if (!held.has(id)) history.hold(node.name, view, id, null)
    }
  }
  if (whole || (moved && cause !== 'write')) history.checkShard(node.name, view)
  return whole ? null : read.changes.length
}

function readFeed(node: SimNode, shardId: string, after: number): DeltaRead {
  return node.db.replica.readDelta(shardId, {
    after,
    countMax: Number.MAX_SAFE_INTEGER,
    bytesMax: Number.MAX_SAFE_INTEGER,
    known: EMPTY_VECTOR,
  })
}

interface ShardRow {
  readonly shard: number
  readonly head: number
  readonly record_count: number
  readonly tombstone_count: number
  readonly conflict_count: number
  readonly digest: Uint8Array
}

interface VisibleSqlRow {
  readonly vector_id: string
  readonly metadata: string
  readonly document: string | null
  readonly embedding: Uint8Array
}

interface QuarantineSqlRow {
  readonly vector_id: string
  readonly dots: Uint8Array
}

/** `vector_conflicts.operation` of a put. */
const PUT = 1

/** Everything that one shard shows, as one text: equal texts are equal rows, byte for byte. */
export interface Audit {
  readonly rows: string
  /** Open conflicts, as they are listed. */
  readonly conflicts: string
  readonly siblings: string
}

/** Reads the shard's tables through a connection of its own and checks them against the oracle. */
export function audit(node: SimNode, info: ShardInfo): Audit {
  const view = shardViewOf(node.view, info.shardId)
  const { strategy } = view
  using db = new DatabaseSync(node.path, { readOnly: true })
  const all = (sql: string, ...values: (string | number)[]): unknown[] =>
    db.prepare(sql).all(...values)
  const shard = all(
    `SELECT shard, head, record_count, tombstone_count, conflict_count, fingerprint AS digest
     FROM shard_metadata WHERE shard_id = ?`,
    info.shardId,
  )[0] as ShardRow
  const visible = all(
    `SELECT vector_id, metadata, document, embedding FROM vectors JOIN embeddings USING (record)
     WHERE shard = ? ORDER BY vector_id`,
    shard.shard,
  ) as VisibleSqlRow[]
  const hidden = all(
    'SELECT vector_id FROM tombstones WHERE shard = ? ORDER BY vector_id',
    shard.shard,
  ) as { readonly vector_id: string }[]
  const conflicts = all(
    `SELECT record, count(*) AS siblings, min(x.operation) AS kind
     FROM vector_conflicts x JOIN vector_changelog USING (record) WHERE shard = ? GROUP BY record`,
    shard.shard,
  ) as { readonly siblings: number; readonly kind: number }[]
  const feed = all(
    'SELECT change_id FROM vector_changelog WHERE shard = ? ORDER BY change_id',
    shard.shard,
  ) as { readonly change_id: number }[]
  if (shard.head !== view.head) {
    throw new Violation('every commit is announced', `${node.name} moved ${info.shardId} silently`)
  }
  const fail = (invariant: string, details: string): never => {
    throw new Violation(invariant, `${node.name}, shard ${info.shardId}: ${details}`)
  }

  // Concurrent deletes of one record are a delete, and no conflict.
  const disputed = conflicts.filter(({ kind }) => kind === PUT)
  const counted = `${visible.length} records, ${hidden.length} tombstones, ${disputed.length} conflicts`
  const kept = `${shard.record_count} records, ${shard.tombstone_count} tombstones, ${shard.conflict_count} conflicts`
  if (counted !== kept) fail('counts equal rows', `${kept} kept, ${counted} there`)
  if (feed.length !== visible.length + hidden.length || feed.length !== view.records.size) {
    fail(
      'one changelog row per record',
      `${feed.length} for ${visible.length + hidden.length} records, ${view.records.size} in the feed`,
    )
  }
  if ((feed.at(-1)?.change_id ?? 0) > shard.head) fail('the head is the newest change', kept)
  if (conflicts.some(({ siblings }) => siblings < 2)) fail('a conflict has siblings', counted)
  const open = [...view.records].filter(
    ([, { siblings }]) => siblings.length > 1 && siblings.some(({ deleted }) => !deleted),
  )
  const listed = node.db.listConflicts(info.shardId, { limit: 1_000 }).conflicts
  const names = listed.map(({ id, siblingCount }) => `${id}: ${siblingCount}`).join()
  const wanted = open
    .toSorted(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    .map(([id, { siblings }]) => `${id}: ${siblings.length}`)
    .join()
  if (names !== wanted) fail('every open conflict is listed', `${names} instead of ${wanted}`)
  checkRows(view, visible, info, strategy, fail)
  checkDigest(view, shard, fail)
  checkQuarantine(
    view,
    all(
      'SELECT vector_id, dots FROM sync_quarantine WHERE shard = ?',
      shard.shard,
    ) as QuarantineSqlRow[],
    fail,
  )
  return {
    rows: visible.map(rowText).join('\n'),
    conflicts: names,
    // Deletes are forgotten at different times; beside a put they count.
    siblings: [...view.records]
      .filter(([, { siblings }]) => siblings.some(({ deleted }) => !deleted))
      .map(
        ([id, { siblings }]) =>
          `${id}: ${siblings
            .map(({ serial }) => serial)
            .toSorted((a, b) => a - b)
            .join(' ')}`,
      )
      .sort()
      .join('\n'),
  }
}

/** Checks the whole file as SQLite does. Slow: at the end only. */
export function auditFile(node: SimNode): void {
  using db = new DatabaseSync(node.path, { readOnly: true })
  const verdict = String(db.prepare('PRAGMA integrity_check').get()?.['integrity_check'])
  if (verdict !== 'ok') throw new Violation('the file is sound', `${node.name}: ${verdict}`)
}

type Fail = (invariant: string, details: string) => never

function checkRows(
  view: ShardView,
  visible: readonly VisibleSqlRow[],
  info: ShardInfo,
  strategy: SimStrategy,
  fail: Fail,
): void {
  const byId = new Map(visible.map((row) => [row.vector_id, row]))
  for (const [id, { state }] of view.records) {
    const wanted = referenceView(strategy, state.siblings, info.metric === 'cosine')
    const row = byId.get(id)
    const wantedText =
      wanted === null
        ? 'nothing'
        : rowText({
            vector_id: id,
            metadata: wanted.metadata,
            document: wanted.text,
            embedding: new Uint8Array(wanted.embedding.slice().buffer),
          })
    const shownText = row === undefined ? 'nothing' : rowText(row)
    if (wantedText !== shownText) {
      fail('the visible row is the view of the siblings', `${shownText} instead of ${wantedText}`)
    }
  }
}

function checkDigest(view: ShardView, shard: ShardRow, fail: Fail): void {
  let sum = 0n
  for (const [id, { state }] of view.records) {
    const hash = recordHash((bytes) => hasher.h64Raw(bytes, 0n), id, state.siblings)
    sum = exchange(sum, 0n, hash)
  }
  const recomputed = digestToHex(sum)
  const kept = bytesToHex(shard.digest)
  if (recomputed !== kept) fail('the digest is that of the rows', `${kept}, not ${recomputed}`)
}

/** What the state of a record covers by now waits for nobody's decision. */
function checkQuarantine(view: ShardView, rows: readonly QuarantineSqlRow[], fail: Fail): void {
  for (const { vector_id: id, dots } of rows) {
    const held = view.records.get(id)
    if (held === undefined || !dominates(contextOf(held.state), storedVector(dots))) continue
    fail('nothing stays in quarantine that its record covers', id)
  }
}

function rowText(row: VisibleSqlRow): string {
  const vector = [...bytesToFloat32(row.embedding)].join(' ')
  return `${JSON.stringify([row.vector_id, row.metadata, row.document])} [${vector}]`
}
