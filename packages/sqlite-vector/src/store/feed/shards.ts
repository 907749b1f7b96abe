/**
 * Shards: their row in `shard_metadata`, as an open transaction holds it and as others see it.
 *
 * Not here: the records (register.ts). Invariant: counts, head, version vector and digest are
 * written in the transaction that changed what they count.
 */
import { DIMENSION_MAX } from '../../limits.ts'
import { damaged, stored } from '../file/damage.ts'
import { SqliteVectorError } from '../../errors.ts'
import { shown } from '../../options.ts'
import { DEFAULT_ANALYSIS } from '../../search/text-analysis.ts'
import type { ActorId, Dot, VersionVector } from '../../model/types.ts'
import {
  beyond,
  decodeVector,
  EMPTY_VECTOR,
  encodeVector,
  withDot,
} from '../../model/version-vector.ts'
import type { TextShard } from '../file/texts.ts'
import type { OpenFile, WriteTransaction } from '../file/transaction.ts'
import { bytesToDigest, DIGEST_ZERO, digestToBytes, digestToHex } from './digest.ts'
import { NOTHING_WRITTEN, type CommitNotice } from '../file/open-shard.ts'
import { type Metric, type ShardInfo, type ShardState } from '../../model/records.ts'
import { type OpenShard } from '../file/open-shard.ts'

/** A row of `shard_metadata`. */
export interface ShardRow {
  readonly shard: number
  readonly shard_id: string
  readonly dimension: number
  readonly metric: Metric
  readonly model_id: string | null
  readonly text_analysis: string | null
  readonly conflict_strategy: string | null
  readonly head: number
  readonly record_count: number
  readonly tombstone_count: number
  readonly conflict_count: number
  readonly quarantine_count: number
  readonly version_vector: Uint8Array
  readonly ahead_vector: Uint8Array
  readonly gc_floor: Uint8Array
  readonly digest: Uint8Array
  readonly ms: number
  readonly logical: number
  readonly updated_at: number
}

/** The row of `shardId`. @throws SqliteVectorError `STORE_SHARD_UNKNOWN` */
export function shardRow(core: OpenFile, shardId: string): ShardRow {
  const row = findShardRow(core, shardId)
  if (row !== null) return row
  throw new SqliteVectorError('STORE_SHARD_UNKNOWN', `${core.path} has no shard ${shown(shardId)}`)
}

/** The row of `shardId`, or null. */
export function findShardRow(core: OpenFile, shardId: string): ShardRow | null {
  if (typeof shardId !== 'string') {
    throw new TypeError(`shardId must be a string, got ${shown(shardId)}`)
  }
  const row = core.sql.getShard.get(shardId) as unknown as ShardRow | undefined
  return row === undefined ? null : checkedRow(row)
}

/** The row, which any program may have altered. @throws SqliteVectorError `STORE_CORRUPT` */
export function checkedRow(row: ShardRow): ShardRow {
  const { dimension, metric, shard_id: shardId } = row
  const isSound = dimension >= 1 && dimension <= DIMENSION_MAX && METRICS.includes(metric)
  if (isSound) return row
  throw damaged(`shard ${shown(shardId)} has dimension ${dimension} and metric ${shown(metric)}`)
}

const METRICS: readonly Metric[] = ['cosine', 'l2', 'dot']

/** The shard, read in this transaction. @throws SqliteVectorError `STORE_SHARD_UNKNOWN` */
export function loadShard(transaction: WriteTransaction, shardId: string): OpenShard {
  const open = transaction.shards.get(shardId)
  if (open !== undefined) return open
  const row = shardRow(transaction.core, shardId)
  const versionVector = storedVector(row.version_vector)
  const uncoveredVector = storedVector(row.ahead_vector)
  const ownCounter = versionVector.get(transaction.actor) ?? 0
  const isExposed = transaction.core.exposed.has(shardId)
  const shard: OpenShard = {
    ...rowToInfo(row),
    shard: row.shard,
    head: row.head,
    recordCount: row.record_count,
    tombstoneCount: row.tombstone_count,
    conflictCount: row.conflict_count,
    quarantineCount: row.quarantine_count,
    versionVector,
    uncoveredVector,
    forgotten: storedVector(row.gc_floor),
    ownCounter,
    digest: bytesToDigest(row.digest),
    clock: { ms: row.ms, logical: row.logical },
    strategy: row.conflict_strategy,
    flushed: {
      head: row.head,
      versionVector,
      uncoveredVector,
      strategy: row.conflict_strategy,
      quarantine: row.quarantine_count,
    },
    notice: false,
    updatedAtMs: row.updated_at,
    isExposed,
    headBefore: row.head,
    counterBefore: ownCounter,
    written: isExposed ? NOTHING_WRITTEN : null,
    hasMoved: false,
    ownWrites: null,
    quarantineUse: new Map(),
    touched: false,
  }
  transaction.shards.set(shardId, shard)
  return shard
}

/** Writes the shard's row when anything changed; what listeners should hear of it, or null. */
export function flushShard(transaction: WriteTransaction, shard: OpenShard): CommitNotice | null {
  const { flushed } = shard
  shard.versionVector = ownVector(shard, transaction.actor)
  const moved = shard.head !== flushed.head || shard.versionVector !== flushed.versionVector
  shard.notice ||= moved || shard.touched
  shard.uncoveredVector = beyond(shard.uncoveredVector, shard.versionVector)
  const changed =
    moved ||
    shard.touched ||
    shard.uncoveredVector !== flushed.uncoveredVector ||
    shard.strategy !== flushed.strategy ||
    shard.quarantineCount !== flushed.quarantine
  if (changed) {
    transaction.core.sql.setShard.run(
      shard.head,
      shard.recordCount,
      shard.tombstoneCount,
      shard.conflictCount,
      shard.quarantineCount,
      encodeVector(shard.versionVector),
      encodeVector(shard.uncoveredVector),
      digestToBytes(shard.digest),
      shard.clock.ms,
      shard.clock.logical,
      shard.strategy,
      transaction.nowMs,
      shard.shard,
    )
    shard.updatedAtMs = transaction.nowMs
    shard.touched = false
    shard.flushed = {
      head: shard.head,
      versionVector: shard.versionVector,
      uncoveredVector: shard.uncoveredVector,
      strategy: shard.strategy,
      quarantine: shard.quarantineCount,
    }
  }
  return shard.notice ? { shardId: shard.shardId, head: shard.head } : null
}

/** The shard's version vector, our own newest writes included. */
export function ownVector(shard: OpenShard, actor: ActorId): VersionVector {
  return shard.ownCounter === 0
    ? shard.versionVector
    : withDot(shard.versionVector, { actor, counter: shard.ownCounter })
}

/** A dot that no write of this shard had before. */
export function nextDot(transaction: WriteTransaction, shard: OpenShard): Dot {
  shard.ownCounter += 1
  return { actor: transaction.actor, counter: shard.ownCounter }
}

/** Creates the shard, or checks that the one there is the same. @throws `STORE_SHARD_MISMATCH` */
export function ensureShard(transaction: WriteTransaction, info: ShardInfo): ShardInfo {
  const { core } = transaction
  const row = findShardRow(core, info.shardId)
  if (row !== null) {
    assertSameShard(rowToInfo(row), info)
    return rowToInfo(row)
  }
  core.sql.addShard.run(
    info.shardId,
    info.dimension,
    info.metric,
    info.modelId,
    info.text ?? null,
    encodeVector(EMPTY_VECTOR),
    encodeVector(EMPTY_VECTOR),
    digestToBytes(DIGEST_ZERO),
    transaction.nowMs,
  )
  return info
}

/**
 * Takes the shard and everything it holds out of this file; false when there is none. The caller
 * draws a new identity: created again, the shard would count its dots from 1.
 */
export function dropShard(transaction: WriteTransaction, shardId: string): boolean {
  const { core } = transaction
  const row = findShardRow(core, shardId)
  if (row === null) return false
  const records = `SELECT record FROM vector_changelog
    WHERE position >= ?1 << 44 AND position < (?1 + 1) << 44`
  core.db.prepare(`DELETE FROM vector_conflicts WHERE record IN (${records})`).run(row.shard)
  core.db.prepare(`DELETE FROM embeddings WHERE record IN (${records})`).run(row.shard)
  core.texts.dropShard(rowToTextShard(row))
  for (const table of ['vectors', 'tombstones', 'sync_cursors', 'sync_quarantine', 'own_writes']) {
    core.db.prepare(`DELETE FROM ${table} WHERE shard = ?`).run(row.shard)
  }
  core.db
    .prepare(
      'DELETE FROM vector_changelog WHERE position >= ?1 << 44 AND position < (?1 + 1) << 44',
    )
    .run(row.shard)
  core.db.prepare('DELETE FROM shard_metadata WHERE shard = ?').run(row.shard)
  transaction.shards.delete(shardId)
  core.strategyFunctions.delete(shardId)
  return true
}

/** The part of the row that callers see. */
export function rowToInfo(row: ShardRow): ShardInfo {
  return {
    shardId: row.shard_id,
    dimension: row.dimension,
    metric: row.metric,
    modelId: row.model_id,
    ...(row.text_analysis === null ? {} : { text: row.text_analysis }),
  }
}

/** The part of the row that the full-text index needs. */
export function rowToTextShard({ shard, text_analysis: text }: ShardRow): TextShard {
  return { shard, ...(text === null ? {} : { text }) }
}

/** The part of the row that sync sees. */
export function rowToShardState(row: ShardRow, logId: string): ShardState {
  return {
    ...rowToInfo(row),
    logId,
    head: row.head,
    versionVector: storedVector(row.version_vector),
    uncovered: storedVector(row.ahead_vector),
    settled: storedVector(row.ahead_vector).size === 0,
    gcFloor: storedVector(row.gc_floor),
    digest: digestToHex(bytesToDigest(row.digest)),
    recordCount: row.record_count,
    tombstoneCount: row.tombstone_count,
    conflictCount: row.conflict_count,
    quarantineCount: row.quarantine_count,
    updatedAtMs: row.updated_at,
  }
}

/** The vector that we wrote as `bytes`. */
export function storedVector(bytes: Uint8Array): VersionVector {
  const vector = bytes instanceof Uint8Array ? decodeVector(bytes) : null
  return stored(vector, 'a version vector is not valid')
}

function assertSameShard(ours: ShardInfo, wanted: ShardInfo): void {
  const pairs = [
    ['dimension', ours.dimension, wanted.dimension],
    ['metric', ours.metric, wanted.metric],
    ['modelId', ours.modelId, wanted.modelId],
    ['text', ours.text ?? DEFAULT_ANALYSIS, wanted.text ?? DEFAULT_ANALYSIS],
  ] as const
  const list = pairs
    .filter(([, our, want]) => our !== want)
    .map(([key, our, want]) => `${key} is ${shown(our)}, not ${shown(want)}`)
  if (list.length === 0) return
  throw new SqliteVectorError(
    'STORE_SHARD_MISMATCH',
    `shard ${shown(ours.shardId)} exists: ${list.join('; ')}`,
  )
}
