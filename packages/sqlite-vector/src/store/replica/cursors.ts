/**
 * Each peer's copy of each shard: our cursor in its feed, its cursor in ours.
 *
 * Not here: when that is said (sync/session/step.ts). A cursor moves in the transaction that
 * applied what lies before it.
 */
import { stored } from '../file/damage.ts'
import { bytesToHex, compareUtf8, hexToBytes } from '../../bytes.ts'
import type { VersionVector } from '../../model/types.ts'
import {
  dominates,
  EMPTY_VECTOR,
  encodeVector,
  meetVectors,
  restrictVector,
} from '../../model/version-vector.ts'
import type { OpenFile, WriteTransaction } from '../file/transaction.ts'
import { noteClaims } from './own-writes.ts'
import { loadShard, ownVector, storedVector } from '../feed/shards.ts'
import { type OpenShard } from '../file/open-shard.ts'
import { type DeltaSource, type PeerCursor } from './types.ts'

interface CursorRow {
  readonly fingerprint: string
  readonly shard_id: string
  readonly pulled_log_id: Uint8Array | null
  readonly pulled_cursor: number
  readonly version_vector: Uint8Array | null
  readonly acked_cursor: number
  readonly last_contact: number
}

/** A contact this recent need not be noted again. */
const CONTACT_MS = 1_000

/** Notes our cursor in the peer's feed; seldom when it does not move, as with pushed writes. */
export function movePulled(
  transaction: WriteTransaction,
  shard: OpenShard,
  source: DeltaSource,
): void {
  const { core, nowMs } = transaction
  const { logId, cursor } = source
  const peer = core.keys.peerKey(source.peer)
  const last = core.keys.pulledNote(peer, shard.shard)
  const isNoted = last !== undefined && last.logId === logId && last.cursor === cursor
  if (isNoted && nowMs >= last.atMs && nowMs - last.atMs < CONTACT_MS) return
  core.sql.setPulled.run(peer, shard.shard, hexToBytes(logId), cursor, nowMs)
  core.keys.notePulled(peer, shard.shard, { logId, cursor, atMs: nowMs })
}

/**
 * Notes what the peer says it durably holds, as far as we hold it, too. A peer that may only read
 * (`isWriter` false) changes nothing but its own row.
 */
export function recordAck(
  transaction: WriteTransaction,
  shardId: string,
  peer: string,
  cursor: number,
  said: VersionVector,
  isWriter: boolean,
): void {
  const { core } = transaction
  const shard = loadShard(transaction, shardId)
  if (isWriter && noteClaims(transaction, shard, said)) {
    core.doubts.note(shardId, peer, transaction.nowMs)
  }
  // Actors that only a reader speaks of take no room here.
  const versionVector = isWriter ? said : restrictVector(said, ownVector(shard, transaction.actor))
  const key = core.keys.peerKey(peer)
  core.sql.setAcked.run(key, shard.shard, encodeVector(versionVector), cursor, transaction.nowMs)
  noteStable(transaction, shard, key, said)
}

/** Notes what the peer said that it holds, when it sent us all of it; see {@link stableCut}. */
export function noteReport(
  transaction: WriteTransaction,
  shard: OpenShard,
  peer: string,
  versionVector: VersionVector,
): void {
  const { core } = transaction
  const key = core.keys.peerKey(peer)
  core.sql.setReport.run(key, shard.shard, encodeVector(versionVector), transaction.nowMs)
  noteStable(transaction, shard, key, versionVector)
}

/** A report counts for {@link stableCut} once we hold everything that it covers. */
function noteStable(
  transaction: WriteTransaction,
  shard: OpenShard,
  peer: number,
  report: VersionVector,
): void {
  if (!dominates(ownVector(shard, transaction.actor), report)) return
  transaction.core.sql.setStable.run(encodeVector(report), peer, shard.shard)
}

interface ReportRow {
  readonly peer: number
  readonly version_vector: Uint8Array | null
  readonly stable_vector: Uint8Array | null
  readonly last_contact: number
}

/**
 * Notes whether the peer has said that it does not come back; a peer that was never met is not
 * noted.
 */
export function notePeerLeft(core: OpenFile, peer: string, hasLeft: boolean): void {
  const row = core.read(() => core.sql.hasLeft.get(peer))
  if (row === undefined || (row['has_left'] === 1) === hasLeft) return
  core.write((transaction) => transaction.core.sql.setLeft.run(hasLeft ? 1 : 0, peer))
}

/**
 * The writes that every known replica holds: the meet of our vector with each peer's last report
 * that ours dominated. Peers silent for longer than `retentionMs` are set aside, and those that
 * left: they are behind the floor when they come back.
 */
export function stableCut(
  transaction: WriteTransaction,
  shard: OpenShard,
  retentionMs: number,
): VersionVector {
  const { core, nowMs } = transaction
  const own = ownVector(shard, transaction.actor)
  let cut = own
  for (const row of core.sql.reportsOf.all(shard.shard) as unknown as ReportRow[]) {
    if (nowMs - row.last_contact > retentionMs) continue
    cut = meetVectors(cut, reportOf(row, own))
  }
  return cut
}

function reportOf(row: ReportRow, own: VersionVector): VersionVector {
  const latest = row.version_vector === null ? null : storedVector(row.version_vector)
  if (latest !== null && dominates(own, latest)) return latest
  return row.stable_vector === null ? EMPTY_VECTOR : storedVector(row.stable_vector)
}

/** The notes about one peer and shard, or null before the first contact. */
export function peerCursor(core: OpenFile, shardId: string, peer: string): PeerCursor | null {
  const row = core.sql.getCursor.get(peer, shardId)
  return row === undefined ? null : rowToCursor(row as unknown as CursorRow)
}

/** The notes about all peers, by fingerprint, then shard. */
export function peerCursors(core: OpenFile): readonly PeerCursor[] {
  const { listCursors, listPeerNames, listShards } = core.sql
  listCursors.setReturnArrays(true)
  const peers = namesByKey(listPeerNames.all(), 'peer', 'fingerprint')
  const shards = namesByKey(listShards.all(), 'shard', 'shard_id')
  // Peers that have caught up report the same vectors: each is decoded once.
  const vectors = new Map<string, VersionVector>()
  const vectorOf = (hex: string): VersionVector => {
    const known = vectors.get(hex) ?? storedVector(hexToBytes(hex))
    vectors.set(hex, known)
    return known
  }
  const cursors = (listCursors.all() as unknown as ListedCursor[]).map(
    ([peer, shard, logId, isUnread, cursor, vector, isUnknown, acked, contact]): PeerCursor => ({
      peer: stored(peers.get(peer), `peer ${peer} is missing`),
      shardId: stored(shards.get(shard), `shard ${shard} is missing`),
      pulled: isUnread === 1 ? null : { logId, cursor },
      versionVector: isUnknown === 1 ? null : vectorOf(vector),
      ackedCursor: acked,
      lastContactMs: contact,
    }),
  )
  return cursors.sort((a, b) => compareUtf8(a.peer, b.peer) || compareUtf8(a.shardId, b.shardId))
}

type ListedCursor = readonly [
  peer: number,
  shard: number,
  logId: string,
  isUnread: number,
  pulledCursor: number,
  vector: string,
  isUnknown: number,
  ackedCursor: number,
  lastContact: number,
]

function namesByKey(
  rows: readonly Record<string, unknown>[],
  key: string,
  name: string,
): ReadonlyMap<number, string> {
  return new Map(rows.map((row) => [Number(row[key]), String(row[name])]))
}

function rowToCursor(row: CursorRow): PeerCursor {
  return {
    peer: row.fingerprint,
    shardId: row.shard_id,
    pulled:
      row.pulled_log_id === null
        ? null
        : { logId: bytesToHex(row.pulled_log_id), cursor: row.pulled_cursor },
    versionVector: row.version_vector === null ? null : storedVector(row.version_vector),
    ackedCursor: row.acked_cursor,
    lastContactMs: row.last_contact,
  }
}
