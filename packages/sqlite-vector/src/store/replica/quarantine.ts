/**
 * Quarantine: changes that could not be applied, kept with their reason and their bytes, so that
 * they are visible, can be retried, and are not forgotten.
 *
 * Invariant: the version vector of a shard covers nothing because of what lies here, neither a dot
 * nor what the change superseded and we never held, so peers go on knowing that we lack it. Nothing
 * lies here that the state of its record covers.
 *
 * Not here: applying it again (replica/quarantine-retry.ts).
 *
 * The bytes are JSON, embeddings as base64: readable after any upgrade, and rarely many.
 */
import {
  base64ToBytes,
  bytesToBase64,
  bytesToFloat32,
  bytesToUtf8,
  utf8ToBytes,
  viewToBytes,
} from '../../bytes.ts'
import { SqliteVectorError } from '../../errors.ts'
import { QUARANTINE_BYTES_PER_PEER_MAX, QUARANTINE_ENTRIES_PER_PEER_MAX } from '../../limits.ts'
import { shown } from '../../options.ts'
import type { ActorId, Change, RecordValue, Sibling, VersionVector } from '../../model/types.ts'
import { contextOf } from '../../model/merge.ts'
import { dominates, encodeVector } from '../../model/version-vector.ts'
import type { OpenFile, WriteTransaction } from '../file/transaction.ts'
import { ownVector, storedVector } from '../feed/shards.ts'
import { type OpenShard } from '../file/open-shard.ts'

/** Quarantines `change`. Once per record and set of writes, however often it arrives. */
export function putAside(
  transaction: WriteTransaction,
  shard: OpenShard,
  peer: string,
  change: Change,
  reason: string,
): void {
  const { core } = transaction
  const key = core.keys.peerKey(peer)
  const bytes = changeToBytes(change)
  const added = core.sql.addQuarantine.run(
    shard.shard,
    key,
    change.id,
    reason,
    encodeVector(contextOf(change)),
    bytes,
    transaction.nowMs,
  )
  if (added.changes === 0) return
  assertRoom(transaction, shard, key, bytes.byteLength)
  shard.quarantineCount += 1
  transaction.events.push({
    type: 'change-quarantined',
    shardId: shard.shardId,
    peer,
    id: change.id,
    reason,
  })
}

/**
 * Counts what the peer has in quarantine, once per transaction from the table.
 * @throws SqliteVectorError `STORE_QUARANTINE_FULL`: nothing of the batch may stand then
 */
function assertRoom(
  { core }: WriteTransaction,
  shard: OpenShard,
  peer: number,
  bytes: number,
): void {
  const known = shard.quarantineUse.get(peer)
  const row = known ?? core.sql.quarantineUse.get(shard.shard, peer)
  const use = {
    entries: Number(row?.['entries'] ?? 0) + (known === undefined ? 0 : 1),
    bytes: Number(row?.['bytes'] ?? 0) + (known === undefined ? 0 : bytes),
  }
  shard.quarantineUse.set(peer, use)
  const hasRoom =
    use.entries <= QUARANTINE_ENTRIES_PER_PEER_MAX && use.bytes <= QUARANTINE_BYTES_PER_PEER_MAX
  if (hasRoom) return
  throw new SqliteVectorError(
    'STORE_QUARANTINE_FULL',
    `changes of one peer to shard ${shown(shard.shardId)} that cannot be applied fill its quarantine: ` +
      `at most ${QUARANTINE_ENTRIES_PER_PEER_MAX} of ${QUARANTINE_BYTES_PER_PEER_MAX} bytes`,
  )
}

/** Forgets quarantined changes of a record whose state now covers them. */
export function releaseCovered(
  transaction: WriteTransaction,
  shard: OpenShard,
  state: Change,
): void {
  if (shard.quarantineCount === 0) return
  const { db } = transaction.core
  const rows = db
    .prepare('SELECT quarantine, dots FROM sync_quarantine WHERE shard = ? AND vector_id = ?')
    .all(shard.shard, state.id)
  const context = contextOf(state)
  for (const row of rows) {
    if (!dominates(context, storedVector(row['dots'] as Uint8Array))) continue
    db.prepare('DELETE FROM sync_quarantine WHERE quarantine = ?').run(Number(row['quarantine']))
    shard.quarantineCount -= 1
  }
}

/**
 * `vector`, but no further than we are with actors that have a change in quarantine: among their
 * earlier writes may be some that only the change in quarantine superseded. Nor past deletes that
 * the sender has forgotten (`gcFloor`) and we never saw: what we still show of a record may be what
 * one of them deleted, or what only the change in quarantine superseded, and nothing is left that
 * could tell.
 */
export function boundByQuarantine(
  transaction: WriteTransaction,
  shard: OpenShard,
  vector: VersionVector,
  gcFloor: VersionVector,
): VersionVector {
  if (shard.quarantineCount === 0) return vector
  const own = ownVector(shard, transaction.actor)
  const bounded = new Map(vector)
  const hold = (above: VersionVector): void => {
    for (const [actor, counter] of above) {
      const held = own.get(actor) ?? 0
      if (counter <= held) continue
      if (held === 0) bounded.delete(actor)
      else bounded.set(actor, held)
    }
  }
  for (const row of transaction.core.sql.quarantineDots.all(shard.shard)) {
    hold(storedVector(row['dots'] as Uint8Array))
  }
  hold(gcFloor)
  return bounded
}

function changeToBytes(change: Change): Uint8Array {
  const siblings = change.siblings.map((sibling) => ({
    ...sibling,
    value: sibling.value === null ? null : valueToJson(sibling.value),
  }))
  const context = change.context === null ? null : [...change.context]
  return utf8ToBytes(JSON.stringify({ id: change.id, siblings, context }))
}

function valueToJson(value: RecordValue): object {
  const { embedding, ...rest } = value
  if (embedding === null) return { ...rest, embedding: null }
  return { ...rest, embedding: bytesToBase64(viewToBytes(embedding)) }
}

/** A change in quarantine. */
export interface QuarantineRow {
  readonly entry: number
  readonly peer: string
  readonly change: Change
  readonly reason: string
  readonly atMs: number
}

/** Entries of the shard above `after`, in the order of their arrival. */
export function quarantined(
  core: OpenFile,
  shard: number,
  after: number,
  limit: number,
): readonly QuarantineRow[] {
  return core.sql.listQuarantine.all(shard, after, limit).map((row) => ({
    entry: Number(row['quarantine']),
    peer: String(row['fingerprint']),
    change: bytesToChange(row['bytes'] as Uint8Array),
    reason: String(row['reason']),
    atMs: Number(row['at']),
  }))
}

/** True when the entry is still there. */
export function isQuarantined(core: OpenFile, shard: OpenShard, entry: number): boolean {
  return quarantined(core, shard.shard, entry - 1, 1)[0]?.entry === entry
}

/** Takes the entry out. @throws SqliteVectorError `STORE_QUARANTINE_UNKNOWN` */
export function removeEntry(
  transaction: WriteTransaction,
  shard: OpenShard,
  entry: number,
): QuarantineRow {
  const { core } = transaction
  const [row] = quarantined(core, shard.shard, entry - 1, 1)
  if (row?.entry !== entry) {
    throw new SqliteVectorError(
      'STORE_QUARANTINE_UNKNOWN',
      `shard ${JSON.stringify(shard.shardId)} has no entry ${entry} in quarantine`,
    )
  }
  core.sql.dropQuarantine.run(entry)
  shard.quarantineCount -= 1
  return row
}

interface StoredSibling extends Omit<Sibling, 'value'> {
  readonly value: (Omit<RecordValue, 'embedding'> & { readonly embedding: string | null }) | null
}

interface StoredChange {
  readonly id: string
  readonly siblings: readonly StoredSibling[]
  readonly context: readonly [ActorId, number][] | null
}

function bytesToChange(bytes: Uint8Array): Change {
  const stored = JSON.parse(bytesToUtf8(bytes)) as StoredChange
  const siblings = stored.siblings.map(({ value, ...rest }) => {
    if (value === null) return { ...rest, value }
    const { embedding } = value
    if (embedding === null) return { ...rest, value: { ...value, embedding } }
    const floats = bytesToFloat32(base64ToBytes(embedding))
    return { ...rest, value: { ...value, embedding: floats } }
  })
  return {
    id: stored.id,
    siblings,
    context: stored.context === null ? null : new Map(stored.context),
  }
}
