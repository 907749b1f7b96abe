/**
 * Quarantine: changes that could not be applied, kept with their reason and their bytes, so that they
 * are visible, can be retried, and are not forgotten.
 *
 * Invariant: the version vector of a shard does not cover a dot that lies here, so peers go on knowing
 * that we lack it.
 *
 * The bytes are JSON, embeddings as base64: readable after any upgrade, and rarely many.
 */
import { utf8ToBytes, viewToBytes } from '../bytes.ts'
import type { ActorId, Change, RecordValue, VersionVector } from '../sync/types.ts'
import { contextOf } from '../sync/conflict.ts'
import { covers, dominates, encodeVector } from '../sync/version-vector.ts'
import type { WriteTransaction } from './core.ts'
import { peerKey } from './peers.ts'
import { type OpenShard, ownVector, storedVector } from './shards.ts'

/** Puts `change` aside. Once per record and set of writes, however often it arrives. */
export function putAside(
  transaction: WriteTransaction,
  shard: OpenShard,
  peer: string,
  change: Change,
  reason: string,
): void {
  const { core } = transaction
  const known = ownVector(shard, transaction.actor)
  // Per actor the smallest counter: the vector must stay below all of them.
  const dots = new Map<ActorId, number>()
  for (const { dot } of change.siblings) {
    const smallest = dots.get(dot.actor)
    if (covers(known, dot) || (smallest !== undefined && smallest <= dot.counter)) continue
    dots.set(dot.actor, dot.counter)
  }
  const added = core.sql.addQuarantine.run(
    shard.shard,
    peerKey(core, peer),
    change.id,
    reason,
    encodeVector(dots),
    changeToBytes(change),
    transaction.nowMs,
  )
  if (added.changes === 0) return
  shard.quarantineCount += 1
  transaction.events.push({
    type: 'change-quarantined',
    shardId: shard.shardId,
    peer,
    id: change.id,
    reason,
  })
}

/** Forgets what was put aside of a record whose state now covers it. */
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

/** `vector`, cut back below every dot in quarantine. */
export function boundByQuarantine(
  transaction: WriteTransaction,
  shard: OpenShard,
  vector: VersionVector,
): VersionVector {
  if (shard.quarantineCount === 0) return vector
  const bounded = new Map(vector)
  for (const row of transaction.core.sql.quarantineDots.all(shard.shard)) {
    for (const [actor, counter] of storedVector(row['dots'] as Uint8Array)) {
      if ((bounded.get(actor) ?? 0) < counter) continue
      if (counter === 1) bounded.delete(actor)
      else bounded.set(actor, counter - 1)
    }
  }
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
  return { ...rest, embedding: Buffer.from(viewToBytes(embedding)).toString('base64') }
}
