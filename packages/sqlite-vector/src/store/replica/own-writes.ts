/**
 * Which of our own writes others may have seen, and what becomes of the others when it turns out that
 * somebody else made writes of the same names.
 *
 * A file that was set back to a backup, or copied, gives its next writes dots that the original gave away, too. Per
 * shard and actor of ours (`own_writes`):
 *
 * - `confirmed`: our writes up to this counter are known to be ours alone. It rises when we send: noted and
 *   committed before a frame leaves; while a live session sends every write at once, with the write itself.
 * - `claimed`: the highest counter of the actor that any peer said it holds. Above `confirmed`, somebody else may
 *   have made them; then `confirmed` stays until a peer's records have shown that they are the same, and what is
 *   sent meanwhile counts as claimed, too.
 *
 * When a peer knows more of our actor than we do, or knows one of our dots as another write, the file draws a new
 * identity, and its own writes above `confirmed` get new dots ({@link reissue}); the version vector falls back to
 * `confirmed`, so that the others' writes are taken. Nothing is lost. Where both had really made the same
 * write, it is there twice afterwards, as a conflict between two equal values.
 */
import type { ActorId, Change, Dot, RecordState, VersionVector } from '../../model/types.ts'
import { bytesToHex } from '../../bytes.ts'
import { contextOf } from '../../model/merge.ts'
import { compareDots, covers, sameDot } from '../../model/version-vector.ts'
import type { OpenFile, WriteTransaction } from '../file/transaction.ts'
import { renewIdentity, type RenewalReason } from './identity.ts'
import {
  findRecord,
  idOf,
  OPERATION,
  replaceRecord,
  rowToRecordState,
  type StoredRecord,
  withPayload,
} from '../feed/register.ts'
import { nextDot, ownVector } from '../feed/shards.ts'
import type { ChangelogRow } from '../file/statements.ts'
import { type OpenShard, type OwnWritesRow } from '../file/open-shard.ts'

/** One writing identity that this file has or had, in one shard. */
interface OwnActor {
  readonly key: number
  readonly actor: ActorId
  readonly confirmed: number
  readonly claimed: number
}

const PAGE_ROWS = 1_000

/** True when a read for peers must go through {@link confirmOwnWrites} first. */
export function hasUnconfirmed(core: OpenFile, shard: number, vector: VersionVector): boolean {
  return ownActors(core, shard, core.identity().actor).some(
    ({ actor, confirmed, claimed }) => (vector.get(actor) ?? 0) > Math.max(confirmed, claimed),
  )
}

/** True when `vector` says nothing of our own writes that is not noted yet. */
export function claimsNothing(core: OpenFile, shard: number, vector: VersionVector): boolean {
  return ownActors(core, shard, core.identity().actor).every(
    ({ actor, confirmed, claimed }) => (vector.get(actor) ?? 0) <= Math.max(confirmed, claimed),
  )
}

/** Notes that what we wrote so far is about to be seen by others. */
export function confirmOwnWrites(transaction: WriteTransaction, shard: OpenShard): void {
  const { core } = transaction
  const vector = ownVector(shard, transaction.actor)
  for (const own of ownActorsIn(transaction, shard)) {
    const counter = vector.get(own.actor) ?? 0
    if (counter <= Math.max(own.confirmed, own.claimed)) continue
    const isInDoubt = own.claimed > own.confirmed
    const note = isInDoubt ? core.sql.setClaimed : core.sql.setConfirmed
    note.run(shard.shard, keyOf(core, own), counter)
    shard.ownWrites = null
  }
}

/** `vector` without writes of ours that somebody else may have made, too: what we may claim to hold. */
export function claimable(
  core: OpenFile,
  shard: number,
  vector: VersionVector,
  actor: ActorId,
): VersionVector {
  const claimed = new Map(vector)
  for (const own of ownActors(core, shard, actor)) {
    if ((vector.get(own.actor) ?? 0) <= own.confirmed) continue
    if (own.confirmed === 0) claimed.delete(own.actor)
    else claimed.set(own.actor, own.confirmed)
  }
  return claimed
}

/**
 * A peer says that it holds `vector`. When that is more of our writes than we made, draws a new identity and
 * returns true: what was read or claimed before is void then.
 */
export function guardOwnWrites(
  transaction: WriteTransaction,
  shard: OpenShard,
  vector: VersionVector,
): boolean {
  const { core } = transaction
  for (const own of ownActorsIn(transaction, shard)) {
    const theirs = vector.get(own.actor) ?? 0
    if (theirs <= own.confirmed) continue
    if (theirs > (ownVector(shard, transaction.actor).get(own.actor) ?? 0)) {
      abandonActor(transaction, shard, own, 'own-writes-unknown')
      return true
    }
    if (theirs <= own.claimed) continue
    core.sql.setClaimed.run(shard.shard, keyOf(core, own), theirs)
    shard.ownWrites = null
  }
  return false
}

/**
 * A peer says that it holds `uncovered` beyond its version vector, by a transfer that was cut. What we send is confirmed
 * before it leaves, so what it has of ours beyond that was sent by another copy of this file.
 */
export function guardUncovered(
  transaction: WriteTransaction,
  shard: OpenShard,
  uncovered: VersionVector,
): boolean {
  for (const own of ownActorsIn(transaction, shard)) {
    if ((uncovered.get(own.actor) ?? 0) <= own.confirmed) continue
    // In doubt, what we send is only claimed: that a peer has it proves nothing.
    if (own.claimed > own.confirmed) continue
    abandonActor(transaction, shard, own, 'own-writes-unknown')
    return true
  }
  return guardOwnWrites(transaction, shard, uncovered)
}

/** The same for records that a peer sent: also a write of ours that is another one there tells. */
export function guardOwnDots(
  transaction: WriteTransaction,
  shard: OpenShard,
  changes: readonly Change[],
): boolean {
  const owns = ownActorsIn(transaction, shard)
  const byActor = new Map(owns.map((own) => [own.actor, own]))
  for (const change of changes) {
    for (const { dot } of change.siblings) {
      const own = byActor.get(dot.actor)
      if (own === undefined || dot.counter <= own.confirmed) continue
      if (isOurs(transaction, shard, change, dot)) continue
      abandonActor(transaction, shard, own, 'own-writes-unknown')
      return true
    }
    for (const [actor, counter] of change.context ?? []) {
      const own = byActor.get(actor)
      // Contexts carry floors, too: which record's write it was that they cover cannot be told.
      const made = ownVector(shard, transaction.actor).get(actor) ?? 0
      if (own === undefined || counter <= Math.max(own.confirmed, made)) continue
      abandonActor(transaction, shard, own, 'own-writes-unknown')
      return true
    }
  }
  return false
}

/** The sender's records have all been held against ours: what it holds under our names is ours. */
export function settleClaims(
  transaction: WriteTransaction,
  shard: OpenShard,
  theirs: VersionVector,
): void {
  const { core } = transaction
  const vector = ownVector(shard, transaction.actor)
  for (const own of ownActorsIn(transaction, shard)) {
    const counter = theirs.get(own.actor) ?? 0
    if (own.claimed <= own.confirmed || counter <= own.confirmed) continue
    if (counter > (vector.get(own.actor) ?? 0)) continue
    core.sql.setConfirmed.run(shard.shard, keyOf(core, own), counter)
    shard.ownWrites = null
  }
}

/** A peer writes under our actor: one of us is a copy. */
export function leaveActor(transaction: WriteTransaction, shard: OpenShard): void {
  const own = ownActorsIn(transaction, shard).find(({ actor }) => actor === transaction.actor)
  if (own !== undefined) abandonActor(transaction, shard, own, 'cloned')
}

/** True when the change can be one that we made: we hold the write, or what superseded it, on this record. */
function isOurs(
  transaction: WriteTransaction,
  shard: OpenShard,
  change: Change,
  dot: Dot,
): boolean {
  if ((ownVector(shard, transaction.actor).get(dot.actor) ?? 0) < dot.counter) return false
  // A delete of ours, or what it deleted, that was collected here and not there.
  if (covers(shard.forgotten, dot)) return true
  const record = findRecord(transaction.core, shard, change.id)
  if (record === null) return false
  if ((contextOf(record.state).get(dot.actor) ?? 0) < dot.counter) return false
  const stampIn = ({ siblings }: RecordState): string | null => {
    const sibling = siblings.find((each) => sameDot(each.dot, dot))
    return sibling === undefined ? null : `${sibling.stamp.ms}.${sibling.stamp.logical}`
  }
  const ours = stampIn(record.state)
  const theirs = stampIn(change)
  return ours === null || theirs === null || ours === theirs
}

function abandonActor(
  transaction: WriteTransaction,
  shard: OpenShard,
  own: OwnActor,
  reason: RenewalReason,
): void {
  const { core } = transaction
  // Also for an actor of earlier days: sessions under way are void, and a new actor tells them so.
  renewIdentity(transaction, reason)
  reissue(transaction, shard, own.actor, own.confirmed)
  const vector = new Map(ownVector(shard, transaction.actor))
  if ((vector.get(own.actor) ?? 0) > own.confirmed) {
    if (own.confirmed === 0) vector.delete(own.actor)
    else vector.set(own.actor, own.confirmed)
  }
  shard.versionVector = vector
  core.sql.dropOwnWrites.run(shard.shard, keyOf(core, own))
  shard.ownWrites = null
  // What peers skipped because of what we claimed is unknown: their feeds are read from the start.
  core.sql.resetPulled.run(shard.shard)
}

/** Gives every write of `actor` above `base` a new dot of the present actor. */
function reissue(
  transaction: WriteTransaction,
  shard: OpenShard,
  actor: ActorId,
  base: number,
): void {
  const { core } = transaction
  const end = shard.head
  let after = 0
  while (after < end) {
    const rows = core.sql.readFeed.all(shard.shard, after, PAGE_ROWS) as unknown as ChangelogRow[]
    if (rows.length === 0) return
    for (const row of rows) {
      after = row.change_id
      if (after > end) return
      const state = rowToRecordState(core, row)
      if ((contextOf(state).get(actor) ?? 0) <= base) continue
      const id = idOf(core, row.rowid)
      const record = findRecord(core, shard, id)
      if (record !== null) reissueRecord(transaction, shard, id, record, { actor, counter: base })
    }
  }
}

function reissueRecord(
  transaction: WriteTransaction,
  shard: OpenShard,
  id: string,
  record: StoredRecord,
  { actor, counter: base }: Dot,
): void {
  const { state } =
    record.operation === OPERATION.put ? withPayload(transaction.core, record) : record
  const isVoid = (dot: Dot): boolean => dot.actor === actor && dot.counter > base
  const context = new Map(contextOf(state))
  if (base === 0) context.delete(actor)
  else context.set(actor, base)
  const siblings = state.siblings.map((sibling) => {
    const dot = isVoid(sibling.dot) ? nextDot(transaction, shard) : sibling.dot
    context.set(dot.actor, Math.max(context.get(dot.actor) ?? 0, dot.counter))
    const { value } = sibling
    if (value === null || !isVoid(value.embeddingDot)) return { ...sibling, dot }
    return { ...sibling, dot, value: { ...value, embeddingDot: dot } }
  })
  siblings.sort((a, b) => compareDots(a.dot, b.dot))
  replaceRecord(transaction, shard, id, record, { siblings, context })
}

/** The identities of this file in the shard, the present one among them. */
function ownActors(core: OpenFile, shard: number, actor: ActorId): OwnActor[] {
  return toOwnActors(core.sql.ownWrites.all(shard) as unknown as OwnWritesRow[], actor)
}

/** The same inside a transaction, which asks for them several times. */
function ownActorsIn({ core, actor }: WriteTransaction, shard: OpenShard): OwnActor[] {
  shard.ownWrites ??= core.sql.ownWrites.all(shard.shard) as unknown as OwnWritesRow[]
  return toOwnActors(shard.ownWrites, actor)
}

function toOwnActors(rows: readonly OwnWritesRow[], actor: ActorId): OwnActor[] {
  const owns = rows.map(({ actor: key, actor_id: bytes, confirmed, claimed }) => ({
    key,
    actor: bytesToHex(bytes),
    confirmed,
    claimed,
  }))
  if (owns.some((own) => own.actor === actor)) return owns
  return [...owns, { key: -1, actor, confirmed: 0, claimed: 0 }]
}

function keyOf(core: OpenFile, own: OwnActor): number {
  return own.key === -1 ? core.keys.actorKey(own.actor) : own.key
}
