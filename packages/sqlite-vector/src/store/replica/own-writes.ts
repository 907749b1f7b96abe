/**
 * Tracks which of our writes may already have reached a peer. If another copy of this file used the
 * same dots, writes that have not left yet are reissued under a new actor.
 *
 * A file that was set back to a backup, or copied, gives its next writes dots that the original
 * gave away, too. Per shard and actor of ours (`own_writes`):
 *
 * - `confirmed`: our writes up to this counter are known to be ours alone. It rises when we send:
 *   noted and committed before a frame leaves; while a live session sends every write at once, with
 *   the write itself.
 * - `claimed`: the highest counter of the actor that any peer said it holds. Above `confirmed`,
 *  another file may have made them; then `confirmed` stays until a peer's records have shown that
 *  they are the same, and what is sent meanwhile counts as claimed, too.
 *
 * When a peer knows more of our actor than we do, or knows one of our dots as another write, the
 * file draws a new identity, and its own writes above `confirmed` get new dots ({@link reissue});
 * the version vector falls back to `confirmed`, so that the others' writes are taken. Nothing is
 * lost. If both had really made the same
 *  write, it is there twice afterwards, as a conflict
 * between two equal values.
 */
import type { ActorId, Change, Dot, RecordState, VersionVector } from '../../model/types.ts'
import { bytesToHex } from '../../bytes.ts'
import { SqliteVectorError } from '../../errors.ts'
import { shown } from '../../options.ts'
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
import { nextDot, ownVector, storedVector } from '../feed/shards.ts'
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

/**
 * `vector` without writes of ours that another copy may have made, too: the part that we may claim
 * to hold.
 */
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
 * Notes that a peer says it holds `vector`. True when that names writes of ours that we did not
 * make: a restored or cloned file, or a lie. Until rows decide, what we write counts as claimed, so
 * that it can be given another name.
 */
export function noteClaims(
  transaction: WriteTransaction,
  shard: OpenShard,
  vector: VersionVector,
): boolean {
  const { core } = transaction
  let isDoubtful = false
  for (const own of ownActorsIn(transaction, shard)) {
    const theirs = vector.get(own.actor) ?? 0
    if (theirs <= own.confirmed) continue
    const made = ownVector(shard, transaction.actor).get(own.actor) ?? 0
    if (theirs > made) isDoubtful = true
    // However large the number, it counts as the next write only: a lie must not reach far.
    const claimed = Math.min(theirs, made + 1)
    if (claimed <= own.claimed) continue
    core.sql.setClaimed.run(shard.shard, keyOf(core, own), claimed)
    shard.ownWrites = null
  }
  return isDoubtful
}

/**
 * The same for what a peer holds beyond its version vector, by a transfer that was cut. Our writes
 *  are confirmed before it leaves, so writes of ours that it has beyond that were sent by another
 *  copy of this file.
 */
export function noteUncoveredClaims(
  transaction: WriteTransaction,
  shard: OpenShard,
  uncovered: VersionVector,
): boolean {
  // While the name is in doubt, what we send is only claimed: that a peer has it proves nothing.
  const isDoubtful = ownActorsIn(transaction, shard).some(
    (own) => (uncovered.get(own.actor) ?? 0) > own.confirmed && own.claimed <= own.confirmed,
  )
  return noteClaims(transaction, shard, uncovered) || isDoubtful
}

/**
 * `vector` without writes of our own that we did not make: a peer's word brings none of them here.
 */
export function withoutClaims(
  transaction: WriteTransaction,
  shard: OpenShard,
  vector: VersionVector,
): VersionVector {
  let bounded: Map<ActorId, number> | null = null
  const made = ownVector(shard, transaction.actor)
  for (const { actor } of ownActorsIn(transaction, shard)) {
    const counter = made.get(actor) ?? 0
    if ((vector.get(actor) ?? 0) <= counter) continue
    bounded ??= new Map(vector)
    if (counter === 0) bounded.delete(actor)
    else bounded.set(actor, counter)
  }
  return bounded ?? vector
}

/**
 * `vector` without any write of our own: the peer that is told this sends all that it holds under
 * our names.
 */
export function withoutOwn(
  core: OpenFile,
  shard: number,
  vector: VersionVector,
  actor: ActorId,
): VersionVector {
  const others = new Map(vector)
  for (const own of ownActors(core, shard, actor)) others.delete(own.actor)
  return others
}

/**
 * Judges records that a peer sent. A write under a name of ours that is not ours proves that
 * another copy of this file writes under that name, too: the file gets a new identity, and true is
 * returned. Of a peer that is in doubt, writes that we hold for confirmed are compared as well.
 * @throws SqliteVectorError `SYNC_IDENTITY_DOUBTED` when the peer has caused too many identities
 */
export function guardOwnDots(
  transaction: WriteTransaction,
  shard: OpenShard,
  changes: readonly Change[],
  peer: string,
): boolean {
  const proven = foreignAmong(transaction, shard, changes, peer)
  if (proven === null) return false
  const { core, nowMs } = transaction
  if (!core.doubts.mayRenew(peer, nowMs)) {
    throw new SqliteVectorError(
      'SYNC_IDENTITY_DOUBTED',
      `the peer brings writes under this file's names into shard ${shown(shard.shardId)} again and again`,
    )
  }
  const isClone = proven.actor === transaction.actor && core.doubts.isPending(shard.shardId, peer)
  abandonActor(transaction, shard, proven, isClone ? 'cloned' : 'own-writes-unknown')
  core.doubts.settle(shard.shardId, peer)
  return true
}

/** The name of ours that a change bears which we did not make; null when there is none. */
function foreignAmong(
  transaction: WriteTransaction,
  shard: OpenShard,
  changes: readonly Change[],
  peer: string,
): OwnActor | null {
  const owns = ownActorsIn(transaction, shard)
  const byActor = new Map(owns.map((own) => [own.actor, own]))
  const isDoubted = transaction.core.doubts.isPending(shard.shardId, peer)
  for (const change of changes) {
    for (const { dot } of change.siblings) {
      const own = byActor.get(dot.actor)
      if (own === undefined || (dot.counter <= own.confirmed && !isDoubted)) continue
      if (!isOurs(transaction, shard, change, dot)) return own
    }
    for (const [actor, counter] of change.context ?? []) {
      const own = byActor.get(actor)
      // Contexts carry floors, too: which record's write it was that they cover cannot be told.
      const made = ownVector(shard, transaction.actor).get(actor) ?? 0
      if (own !== undefined && counter > Math.max(own.confirmed, made)) return own
    }
  }
  return null
}

/** The sender's records have all been compared with ours: what it holds under our names is ours. */
export function settleClaims(
  transaction: WriteTransaction,
  shard: OpenShard,
  theirs: VersionVector,
  peer: string,
): void {
  const { core } = transaction
  const vector = ownVector(shard, transaction.actor)
  const isDoubted = core.doubts.isPending(shard.shardId, peer)
  core.doubts.settle(shard.shardId, peer)
  for (const own of ownActorsIn(transaction, shard)) {
    const made = vector.get(own.actor) ?? 0
    const counter = Math.min(theirs.get(own.actor) ?? 0, made)
    if (own.claimed <= own.confirmed) continue
    const confirmed = Math.max(own.confirmed, counter)
    // The claim of more than we made was this peer's, and it had nothing to show for it.
    const claimed = isDoubted && own.claimed > made ? confirmed : own.claimed
    if (confirmed === own.confirmed && claimed === own.claimed) continue
    core.sql.setConfirmed.run(shard.shard, keyOf(core, own), confirmed)
    core.sql.setClaimed.run(shard.shard, keyOf(core, own), claimed)
    shard.ownWrites = null
  }
}

/**
 * True when the change can be one that we made: we hold the write, or what superseded it, on this
 * record.
 */
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
  // Also for an actor of earlier days: sessions under way are void, and a new log tells them so.
  renewIdentity(transaction, reason, own.actor !== transaction.actor && isUnused(transaction))
  reissue(transaction, shard, own.actor, own.confirmed)
  const vector = new Map(ownVector(shard, transaction.actor))
  if ((vector.get(own.actor) ?? 0) > own.confirmed) {
    if (own.confirmed === 0) vector.delete(own.actor)
    else vector.set(own.actor, own.confirmed)
  }
  shard.versionVector = vector
  core.sql.dropOwnWrites.run(shard.shard, keyOf(core, own))
  shard.ownWrites = null
  // Peers skipped an unknown part because of our claims: their feeds are read from the start.
  core.sql.resetPulled.run(shard.shard)
}

/** True when no shard holds a write of the present actor: no peer can know one. */
function isUnused({ core, actor, shards }: WriteTransaction): boolean {
  for (const shard of shards.values()) if (shard.ownCounter > 0) return false
  const vectors = core.db.prepare('SELECT version_vector FROM shard_metadata').all()
  return vectors.every((row) => !storedVector(row['version_vector'] as Uint8Array).has(actor))
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
