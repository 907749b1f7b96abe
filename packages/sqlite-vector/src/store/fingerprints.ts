/**
 * The fingerprint of a shard counted anew from its rows, to hold the kept one against.
 *
 * Not here: the sum itself (fingerprint.ts) and keeping it (register.ts).
 */
import type { StoreCore, WriteTransaction } from './core.ts'
import {
  bytesToFingerprint,
  exchange,
  fingerprintToHex,
  FINGERPRINT_ZERO,
  recordHash,
} from './fingerprint.ts'
import { idOf, rowToState } from './register.ts'
import type { ActorId, VersionVector } from '../sync/types.ts'
import { covers, vectorsEqual } from '../sync/version-vector.ts'
import { loadShard, type ShardRow, shardRow, storedVector } from './shards.ts'
import type { ChangelogRow } from './statements.ts'
import type { Recount } from './types.ts'

const PAGE_ROWS = 1_000

/** Sixteen hexadecimal digits. O(records). Inside a read transaction. */
export function recomputeFingerprint(core: StoreCore, shard: ShardRow): string {
  return readRows(core, shard).fingerprint
}

/** What the rows say: their fingerprint, and what they hold beyond the version vector. A page of the feed at a time. */
function readRows(
  core: StoreCore,
  shard: ShardRow,
): { readonly fingerprint: string; readonly ahead: VersionVector } {
  const vector = storedVector(shard.version_vector)
  const ahead = new Map<ActorId, number>()
  let sum = FINGERPRINT_ZERO
  let after = 0
  for (;;) {
    const rows = core.sql.readFeed.all(shard.shard, after, PAGE_ROWS) as unknown as ChangelogRow[]
    for (const row of rows) {
      const { siblings } = rowToState(core, row)
      sum = exchange(sum, 0n, recordHash(core.hash64, idOf(core, row.record), siblings))
      for (const { dot } of siblings) {
        if (!covers(vector, dot) && !covers(ahead, dot)) ahead.set(dot.actor, dot.counter)
      }
      after = row.change_id
    }
    if (rows.length < PAGE_ROWS) return { fingerprint: fingerprintToHex(sum), ahead }
  }
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
  const { fingerprint, ahead } = readRows(core, shard)
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
