/**
 * Applying what peers sent: merge, write, quarantine, and move the cursor, in one transaction.
 *
 * Not here: the merge itself (model/merge.ts) and the tables (register.ts). A peer's changes are
 * input: an impossible change refuses the batch, one that cannot be applied is quarantined with its
 * reason.
 *
 * Invariants:
 *   I1  The version vector is joined with the sender's at CAUGHT_UP only ({@link joinVector}):
 *       earlier it would claim writes that a superseding one hid and that have not arrived.
 *   I2  It never covers a dot in quarantine that the record's state does not.
 *   I3  Applying a batch twice changes nothing the second time.
 */
import { isHlc, receiveHlc, skewMs } from '../../clock/hlc.ts'
import { SqliteVectorError } from '../../errors.ts'
import {
  CLOCK_DRIFT_MS_MAX,
  COUNTER_MAX,
  SIBLINGS_MAX,
  VERSION_VECTOR_ACTORS_MAX,
} from '../../limits.ts'
import { shown } from '../../options.ts'
import { allFinite, changeFault } from '../../model/change-rules.ts'
import { isConflict, mergeKnown } from '../../model/merge.ts'
import type { ActorId, Change, RecordState, Sibling, VersionVector } from '../../model/types.ts'
import { covers, dominates, joinVectors, sameDot } from '../../model/version-vector.ts'
import type { WriteTransaction } from '../file/transaction.ts'
import { applyRun } from './bulk-apply.ts'
import { floorOf, raiseFloor } from './tombstones.ts'
import { guardOwnDots, noteClaims, settleClaims, withoutClaims } from './own-writes.ts'
import { movePulled, noteReport } from './cursors.ts'
import { boundByQuarantine, putAside, releaseCovered } from './quarantine.ts'
import { noteMoved } from '../feed/recent-writes.ts'
import {
  addRecord,
  findHidden,
  findRecord,
  OPERATION,
  replaceRecord,
  type StoredRecord,
  widenContext,
  withPayload,
} from '../feed/register.ts'
import { loadShard, ownVector } from '../feed/shards.ts'
import { BULK_ROWS } from '../file/statements.ts'
import { type OpenShard } from '../file/open-shard.ts'
import { type ApplyResult, type DeltaSource } from './types.ts'

/** Counts of the changes applied so far. */
export interface ApplyTally {
  applied: number
  redundant: number
  conflicts: number
  quarantined: number
  skewMsMax: number
}

/** Nothing yet. */
export function emptyTally(): ApplyTally {
  return { applied: 0, redundant: 0, conflicts: 0, quarantined: 0, skewMsMax: 0 }
}

/**
 * Merges `changes` into the shard and moves the cursor. Null when the changes show that another
 * file writes under our name: nothing of them is applied then, and the file has a new identity.
 */
export function applyDelta(
  transaction: WriteTransaction,
  shardId: string,
  changes: readonly Change[],
  source: DeltaSource,
): ApplyResult | null {
  const shard = loadShard(transaction, shardId)
  for (const change of changes) assertPossible(change)
  if (guardOwnDots(transaction, shard, changes, source.peer)) return null
  const known = ownVector(shard, transaction.actor)
  const tally = emptyTally()
  const lacking: string[] = []
  const nowMs = transaction.nowMs
  const uncovered = new Map<ActorId, number>()
  for (const { siblings } of changes) {
    for (const { stamp } of siblings) {
      tally.skewMsMax = Math.max(tally.skewMsMax, skewMs(stamp, nowMs))
      shard.clock = receiveHlc(shard.clock, stamp, nowMs, CLOCK_DRIFT_MS_MAX)
    }
  }
  const isNew = (change: Change): boolean =>
    isPlainNews(known, change) &&
    payloadFault(shard, change) === null &&
    findHidden(transaction.core, shard, change.id) === null
  for (let index = 0, alone = 0; index < changes.length;) {
    // Quarantine is released record by record.
    const isRun = index >= alone && shard.quarantineCount === 0
    const count = isRun ? applyRun(transaction, shard, changes, index, isNew) : 0
    tally.applied += count
    for (const { siblings } of changes.slice(index, index + count))
      noteUncovered(uncovered, known, siblings)
    index += count
    if (isRun) alone = index + BULK_ROWS
    const change = changes[index]
    if (change === undefined) break
    const { applied } = tally
    applyChange(transaction, shard, known, change, source.peer, tally, lacking)
    if (tally.applied > applied) noteUncovered(uncovered, known, change.siblings)
    index += 1
  }
  shard.uncoveredVector = joinVectors(shard.uncoveredVector, uncovered)
  assertActors(shard, shard.uncoveredVector)
  if (tally.skewMsMax > CLOCK_DRIFT_MS_MAX) {
    transaction.events.push({
      type: 'clock-skew',
      shardId,
      peer: source.peer,
      skewMs: tally.skewMsMax,
    })
  }
  // Until the records that lack their embedding have come, the batch is not in.
  if (lacking.length === 0) movePulled(transaction, shard, source)
  return { ...tally, lacking }
}

/** Merges one change that is whole: an embedding that is left out and not here puts it aside. */
export function applyWhole(
  transaction: WriteTransaction,
  shard: OpenShard,
  known: VersionVector,
  change: Change,
  peer: string,
  tally: ApplyTally,
): void {
  assertPossible(change)
  applyChange(transaction, shard, known, change, peer, tally, null)
}

/**
 * Joins the sender's vector, as far as nothing of it lies in quarantine, and moves the cursor.
 * Writes of our own that we did not make are left out: the sender's word alone is not a proof of
 * them.
 */
export function joinVector(
  transaction: WriteTransaction,
  shardId: string,
  source: DeltaSource,
  said: VersionVector,
  floorSaid: VersionVector,
  isWhole: boolean,
): void {
  const shard = loadShard(transaction, shardId)
  if (noteClaims(transaction, shard, said)) {
    transaction.core.doubts.note(shardId, source.peer, transaction.nowMs)
  }
  if (source.verified === true) settleClaims(transaction, shard, said, source.peer)
  const theirs = withoutClaims(transaction, shard, said)
  const gcFloor = withoutClaims(transaction, shard, floorSaid)
  // We lack deletes that the sender forgot: a replica that lacks them must compare with us as well.
  const floor = dominates(ownVector(shard, transaction.actor), gcFloor) ? null : gcFloor
  if (floor !== null && !dominates(floorOf(transaction.core, shard), floor)) {
    assertActors(shard, joinVectors(floorOf(transaction.core, shard), floor))
    raiseFloor(transaction, shard, floor, 0)
  }
  const bounded = boundByQuarantine(transaction, shard, theirs, gcFloor)
  const joined = joinVectors(ownVector(shard, transaction.actor), bounded)
  assertActors(shard, joined)
  shard.versionVector = joined
  shard.ownCounter = joined.get(transaction.actor) ?? 0
  // A vector vouched for ahead of the cursor came with a batch that moved it; it is a part of what
  // the sender holds, not a report.
  if (isWhole) {
    movePulled(transaction, shard, source)
    noteReport(transaction, shard, source.peer, theirs)
  }
}

/** Notes writes that are held from now on, but that the version vector covers only at CAUGHT_UP. */
function noteUncovered(
  uncovered: Map<ActorId, number>,
  known: VersionVector,
  siblings: readonly Sibling[],
): void {
  for (const { dot } of siblings) {
    if (!covers(known, dot) && !covers(uncovered, dot)) uncovered.set(dot.actor, dot.counter)
  }
}

function applyChange(
  transaction: WriteTransaction,
  shard: OpenShard,
  known: VersionVector,
  change: Change,
  peer: string,
  tally: ApplyTally,
  lacking: string[] | null,
): void {
  const { core } = transaction
  const fault = payloadFault(shard, change)
  // A whole, unknown, single write of a record that is not there: the usual case of a first sync.
  if (fault === null && isPlainNews(known, change) && findHidden(core, shard, change.id) === null) {
    if (addRecord(transaction, shard, change.id, change)) {
      tally.applied += 1
      releaseCovered(transaction, shard, change)
      return
    }
  }
  const before = findRecord(core, shard, change.id)
  if (before !== null) tellOfContradiction(transaction, shard, before.state, change, peer)
  const after = mergeKnown(before?.state ?? null, change, known)
  if (after === null || (before !== null && after === before.state)) {
    tally.redundant += 1
    return
  }
  if (before !== null && sameSiblings(before.state, after)) {
    widenContext(core, shard, before, after)
    releaseCovered(transaction, shard, { id: change.id, ...after })
    tally.redundant += 1
    return
  }
  const reason = fault ?? mergeFault(after)
  const whole = reason === null ? withEmbeddings(transaction, before, after) : null
  if (whole === null && reason === null && lacking !== null) {
    lacking.push(change.id)
    return
  }
  if (whole === null) {
    putAside(transaction, shard, peer, change, reason ?? 'the embedding is missing')
    tally.quarantined += 1
    return
  }
  if (before === null) addRecord(transaction, shard, change.id, whole)
  else {
    replaceRecord(transaction, shard, change.id, before, whole)
    noteMoved(transaction, shard, before.state)
  }
  tally.applied += 1
  if (isConflict(whole.siblings) && before?.operation !== OPERATION.conflict) tally.conflicts += 1
  releaseCovered(transaction, shard, { id: change.id, ...whole })
}

/**
 * Tells when a peer brings a write that is here under the same name and was made at another time:
 * one of the two is forged, or comes from a copy of a file. The one that is here stays.
 */
function tellOfContradiction(
  transaction: WriteTransaction,
  shard: OpenShard,
  { siblings }: RecordState,
  change: Change,
  peer: string,
): void {
  for (const { dot, stamp } of change.siblings) {
    const held = siblings.find((sibling) => sameDot(sibling.dot, dot))
    if (held === undefined) continue
    if (held.stamp.ms === stamp.ms && held.stamp.logical === stamp.logical) continue
    const { shardId } = shard
    const { id } = change
    const { actor } = dot
    transaction.events.push({ type: 'write-contradicted', shardId, peer, id, actor })
  }
}

/**
 * Why the merged state of a record cannot be kept, as it could not be sent on; null when it can.
 */
function mergeFault({ siblings, context }: RecordState): string | null {
  if (siblings.length > SIBLINGS_MAX) return `more than ${SIBLINGS_MAX} siblings`
  // Dots are in the context; one that is not adds an actor when the two are joined.
  const actors = (context?.size ?? 0) + siblings.length
  if (actors <= VERSION_VECTOR_ACTORS_MAX) return null
  return `its context would name ${actors} actors, more than ${VERSION_VECTOR_ACTORS_MAX}`
}

/** @throws SqliteVectorError `STORE_CHANGE_INVALID` for a vector that could not be sent on */
function assertActors({ shardId }: OpenShard, vector: VersionVector): void {
  if (vector.size <= VERSION_VECTOR_ACTORS_MAX) return
  throw new SqliteVectorError(
    'STORE_CHANGE_INVALID',
    `shard ${shown(shardId)} would know ${vector.size} actors, more than ${VERSION_VECTOR_ACTORS_MAX}`,
  )
}

function isPlainNews(known: VersionVector, change: Change): boolean {
  const [sibling] = change.siblings
  if (change.siblings.length !== 1 || sibling === undefined) return false
  if ((known.get(sibling.dot.actor) ?? 0) >= sibling.dot.counter) return false
  return sibling.value !== null && sibling.value.embedding !== null
}

/**
 * `after` with every payload in it that must be written: siblings that `before` kept are read, and
 * an embedding that was left out is taken from the sibling that has it. Null when neither side has
 * it.
 */
function withEmbeddings(
  transaction: WriteTransaction,
  before: StoredRecord | null,
  after: RecordState,
): RecordState | null {
  const [only] = after.siblings
  if (after.siblings.length === 1 && (only?.value ?? null) === null) return after
  if (after.siblings.every(({ value }) => value === null || value.embedding !== null)) return after
  const held = before === null ? [] : withPayload(transaction.core, before).state.siblings
  const siblings: Sibling[] = []
  for (const sibling of after.siblings) {
    const whole = withEmbedding(sibling, held)
    if (whole === null) return null
    siblings.push(whole)
  }
  return { ...after, siblings }
}

function withEmbedding(sibling: Sibling, held: readonly Sibling[]): Sibling | null {
  const { dot, value } = sibling
  if (value === null || value.embedding !== null) return sibling
  const own = held.find((other) => sameDot(other.dot, dot))
  if (own !== undefined) return own
  const source = held.find(
    (other) => other.value !== null && sameDot(other.value.embeddingDot, value.embeddingDot),
  )
  const embedding = source?.value?.embedding ?? null
  return embedding === null ? null : { ...sibling, value: { ...value, embedding } }
}

function sameSiblings(a: RecordState, b: RecordState): boolean {
  return (
    a.siblings.length === b.siblings.length &&
    a.siblings.every((sibling, index) => {
      const other = b.siblings[index]
      return other !== undefined && sameDot(other.dot, sibling.dot)
    })
  )
}

/** Why the change cannot be applied to this shard, or null. */
function payloadFault(shard: OpenShard, change: Change): string | null {
  const fault = changeFault(change)
  if (fault !== null) return fault
  for (const { value } of change.siblings) {
    const embedding = value?.embedding ?? null
    if (embedding === null) continue
    if (embedding.length !== shard.dimension) {
      return `the embedding has ${embedding.length} components, not ${shard.dimension}`
    }
    if (!allFinite(embedding)) return 'the embedding is not finite'
    if (shard.metric === 'cosine' && embedding.every((component) => component === 0)) {
      return 'the embedding is all zeros, which the cosine metric cannot place'
    }
  }
  return null
}

/** Refuses what names no writes: without dots a change cannot even be quarantined. */
function assertPossible(change: Change): void {
  const { siblings } = change
  const possible =
    siblings.length > 0 &&
    siblings.every(
      ({ dot, stamp }) =>
        ACTOR.test(dot.actor) &&
        Number.isInteger(dot.counter) &&
        dot.counter >= 1 &&
        dot.counter <= COUNTER_MAX &&
        isHlc(stamp.ms, stamp.logical),
    )
  if (possible) return
  throw new SqliteVectorError(
    'STORE_CHANGE_INVALID',
    `the change of record ${shown(change.id)} names no write`,
  )
}

const ACTOR = /^[0-9a-f]{32}$/
