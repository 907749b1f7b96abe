/**
 * The rows of a shard summed anew, all of them or a range of ids, to hold the kept sum or a peer's against.
 *
 * Not here: the sum itself (fingerprint.ts) and keeping it (register.ts).
 */
import type { StoreCore, WriteTransaction } from './core.ts'
import {
  bytesToFingerprint,
  exchange,
  fingerprintToHex,
  FINGERPRINT_ZERO,
  putHash,
  recordHash,
} from './fingerprint.ts'
import { conflictSiblings, OPERATION } from './register.ts'
import type { ActorId, VersionVector } from '../sync/types.ts'
import { beyond, covers, vectorsEqual } from '../sync/version-vector.ts'
import { loadShard, type ShardRow, shardRow, storedVector } from './shards.ts'
import type { IdRange, Recount } from './types.ts'

interface RangeRow {
  readonly vector_id: string
  readonly record: number
  readonly operation: number
  readonly actor: number
  readonly counter: number
}

/** Above every text. */
export const NO_BOUND: Uint8Array = new Uint8Array(0)

/** All ids. */
const WHOLE_RANGE: IdRange = { from: '', to: null }

/** The records of the range that have a put, in the order of the bytes of their ids. */
export function* hashesOf(
  core: StoreCore,
  shard: number,
  { from, to }: IdRange,
): Generator<{ readonly id: string; readonly hash: bigint }> {
  for (const row of core.sql.readRange.iterate(shard, from, to ?? NO_BOUND)) {
    const { vector_id: id, record, operation, actor, counter } = row as unknown as RangeRow
    if (operation === OPERATION.put) {
      yield { id, hash: putHash(core.hash64, id, core.actorOf(actor), counter) }
      continue
    }
    const siblings = conflictSiblings(core, record)
    if (siblings.some(({ value }) => value !== null)) {
      yield { id, hash: recordHash(core.hash64, id, siblings) }
    }
  }
}

/** Sixteen hexadecimal digits. O(records). Inside a read transaction. */
export function recomputeFingerprint(core: StoreCore, shard: ShardRow): string {
  let sum = FINGERPRINT_ZERO
  for (const { hash } of hashesOf(core, shard.shard, WHOLE_RANGE)) sum = exchange(sum, 0n, hash)
  return fingerprintToHex(sum)
}

/** What the rows hold beyond the version vector, deletes included. */
function readAhead(core: StoreCore, shard: ShardRow): VersionVector {
  const held = new Map<ActorId, number>()
  for (const row of core.sql.maxCounters.all(shard.shard)) {
    const dot = { actor: core.actorOf(Number(row['actor'])), counter: Number(row['counter']) }
    if (!covers(held, dot)) held.set(dot.actor, dot.counter)
  }
  return beyond(held, storedVector(shard.version_vector))
}

/** What was counted anew, and whether all that is kept is that. */
interface Counted {
  readonly counted: Recount
  readonly ahead: VersionVector
  /**
   * Also false when a write is still held to be ahead that no row has any more, because another superseded it: no
   * fault, but it keeps fingerprints from being compared.
   */
  readonly isKept: boolean
}

/** The shard's counts and fingerprint, counted anew. O(records). Inside a read transaction. */
export function recount(core: StoreCore, shard: ShardRow): Counted {
  const fingerprint = recomputeFingerprint(core, shard)
  const ahead = readAhead(core, shard)
  const row = core.sql.countRows.get(shard.shard) as Record<string, number>
  const counted = {
    fingerprint,
    recordCount: Number(row['records']),
    tombstoneCount: Number(row['tombstones']),
    conflictCount: Number(row['conflicts']),
  }
  const correct =
    fingerprint === fingerprintToHex(bytesToFingerprint(shard.fingerprint)) &&
    counted.recordCount === shard.record_count &&
    counted.tombstoneCount === shard.tombstone_count &&
    counted.conflictCount === shard.conflict_count
  const isKept = correct && vectorsEqual(ahead, storedVector(shard.ahead_vector))
  return { counted: { correct, ...counted }, ahead, isKept }
}

/** Counts anew, and keeps what was counted; `correct` says how it was before. */
export function correctCounts(transaction: WriteTransaction, shardId: string): Recount {
  const { core } = transaction
  const shard = loadShard(transaction, shardId)
  const { counted, ahead } = recount(core, shardRow(core, shardId))
  shard.fingerprint = BigInt(`0x${counted.fingerprint}`)
  shard.recordCount = counted.recordCount
  shard.tombstoneCount = counted.tombstoneCount
  shard.conflictCount = counted.conflictCount
  shard.aheadVector = ahead
  shard.touched = true
  return counted
}
