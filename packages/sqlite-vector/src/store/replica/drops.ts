/**
 * Bounds on what a comparison behind a peer's floor may drop: that rests on the peer's word that it
 * deleted the records and forgot the deletes, and leaves no tombstone.
 *
 * Per shard and peer, within DROPS_WINDOW_MS, at most DROPS_UNCONFIRMED_MIN records or
 * DROPS_UNCONFIRMED_SHARE of the shard, whichever is more. Beyond that nothing is dropped until
 * somebody confirms it here. Each drop is told by an event with the ids. Not here: what is dropped
 * (compare.ts). Counts are kept in memory; a confirmation is kept in the file.
 */
import { SqliteVectorError } from '../../errors.ts'
import { DROPS_UNCONFIRMED_MIN, DROPS_UNCONFIRMED_SHARE, DROPS_WINDOW_MS } from '../../limits.ts'
import { shown } from '../../options.ts'
import type { OpenShard } from '../file/open-shard.ts'
import { readSyncState, writeSyncState } from '../file/sync-state.ts'
import type { OpenFile, WriteTransaction } from '../file/transaction.ts'

interface Dropped {
  readonly sinceMs: number
  readonly max: number
  count: number
}

const ledgers = new WeakMap<OpenFile, Map<string, Dropped>>()

/**
 * Counts records that a comparison with `peer` would drop, and tells of them once the transaction
 * stands.
 * @throws SqliteVectorError `SYNC_DELETIONS_REFUSED`: nothing of the transaction may stand then
 */
export function noteDrops(
  transaction: WriteTransaction,
  shard: OpenShard,
  peer: string,
  ids: readonly string[],
  recordsBefore: number,
): void {
  if (ids.length === 0) return
  const { core, nowMs } = transaction
  const { shardId } = shard
  const dropped = ledgerOf(core, shardId, peer, recordsBefore, nowMs)
  const count = dropped.count + ids.length
  if (count > dropped.max && !isConfirmed(core, shardId, peer, nowMs)) {
    throw new SqliteVectorError(
      'SYNC_DELETIONS_REFUSED',
      `the peer says that ${count} or more of ${recordsBefore} records of shard ${shown(shardId)} were deleted, ` +
        `which it no longer can show; at most ${dropped.max} are dropped unconfirmed`,
    )
  }
  dropped.count = count
  transaction.events.push({ type: 'records-dropped', shardId, peer, ids })
}

/** Confirms what a peer says was deleted, for DROPS_WINDOW_MS from now on. */
export function confirmDrops(
  { core, nowMs }: WriteTransaction,
  shardId: string,
  peer: string,
): void {
  writeSyncState(core, keyOf(shardId, peer), String(nowMs))
}

function isConfirmed(core: OpenFile, shardId: string, peer: string, nowMs: number): boolean {
  const atMs = readSyncState(core, keyOf(shardId, peer))
  return atMs !== null && nowMs - Number(atMs) < DROPS_WINDOW_MS
}

function ledgerOf(
  core: OpenFile,
  shardId: string,
  peer: string,
  records: number,
  nowMs: number,
): Dropped {
  const ledger = ledgers.get(core) ?? new Map<string, Dropped>()
  ledgers.set(core, ledger)
  const key = keyOf(shardId, peer)
  const known = ledger.get(key)
  const ageMs = known === undefined ? Infinity : nowMs - known.sinceMs
  if (known !== undefined && ageMs >= 0 && ageMs < DROPS_WINDOW_MS) return known
  const max = Math.max(DROPS_UNCONFIRMED_MIN, Math.floor(records * DROPS_UNCONFIRMED_SHARE))
  const fresh = { sinceMs: nowMs, max, count: 0 }
  ledger.set(key, fresh)
  return fresh
}

function keyOf(shardId: string, peer: string): string {
  return `drops-confirmed:${peer}:${shardId}`
}
