/**
 * The store as sync sees it: `ReplicaStore` over an open file. Each method is one transaction, but
 * for those that say that they work in slices.
 *
 * Not here: what the methods do (feed/reader.ts, apply.ts, peers.ts). Nothing above knows SQLite.
 */
import { DAMAGED_PER_CALL_MAX } from '../../limits.ts'
import { DamagedRecord, damagedRecord } from '../file/damage.ts'
import { setAside } from './damaged.ts'
import { damagedRecords } from './damaged-ids.ts'
import { hexToBytes } from '../../bytes.ts'
import { SqliteVectorError } from '../../errors.ts'
import { shown } from '../../options.ts'
import type { ActorId, Change, VersionVector } from '../../model/types.ts'
import { dominates, EMPTY_VECTOR, joinVectors } from '../../model/version-vector.ts'
import { applyDelta, joinVector } from './apply.ts'
import { readDelta } from '../feed/reader.ts'
import { collectTombstones } from './tombstones.ts'
import {
  compareRanges,
  damagedAmong,
  doubtfulSince,
  readRecords,
  repairRecords,
  summarizeRanges,
} from './compare.ts'
import type { OpenFile, WriteTransaction } from '../file/transaction.ts'
import type { DeferredFlush } from '../file/flush.ts'
import type { CommitHooks } from './commit-hooks.ts'
import { nameActor, nameOwnActor } from './actor-names.ts'
import { confirmDrops } from './drops.ts'
import { renewIdentity } from './identity.ts'
import {
  claimable,
  claimsNothing,
  confirmOwnWrites,
  hasUnconfirmed,
  noteClaims,
  noteUncoveredClaims,
  withoutOwn,
} from './own-writes.ts'
import { notePeerLeft, peerCursor, peerCursors, recordAck } from './cursors.ts'
import { recomputeDigest, recount, recountInSlices } from './recount.ts'
import { keepToken } from './file-mark.ts'
import type { RecentWrites } from '../feed/recent-writes.ts'
import {
  checkedRow,
  ensureShard,
  loadShard,
  rowToInfo,
  rowToShardState,
  type ShardRow,
  shardRow,
  storedVector,
} from '../feed/shards.ts'
import { inTurns } from '../file/sliced.ts'
import { readSyncState, writeSyncState } from '../file/sync-state.ts'
import type { Recount } from '../types.ts'
import {
  type ActorName,
  type ApplyResult,
  type CompareMode,
  type Comparison,
  type DeltaSource,
  type Doubtful,
  type IdRange,
  type PeerClaims,
  type PeerCursor,
  type RangeAnswer,
  type RecordsRead,
  type RepairResult,
  type ReplicaStore,
  type Verdict,
} from './types.ts'
import { type CommitNotice } from '../file/open-shard.ts'
import { type DeltaQuery, type DeltaRead } from '../feed/types.ts'
import { type ReplicaIdentity, type ShardInfo, type ShardState } from '../../model/records.ts'
import { type Sliced } from '../file/sliced.ts'

/** The `ReplicaStore` of one open file. */
export class Replica implements ReplicaStore {
  readonly #core: OpenFile
  readonly #reportListeners = new Set<(shardId: string, peer: string) => void>()
  readonly #recent: RecentWrites
  readonly #flush: DeferredFlush
  readonly #readDataVersion: () => number
  #dataVersion: number

  constructor(core: OpenFile, { recent, flush, dataVersion }: CommitHooks) {
    this.#core = core
    this.#recent = recent
    this.#flush = flush
    this.#readDataVersion = dataVersion
    this.#dataVersion = dataVersion()
  }

  get path(): string {
    return this.#core.path
  }

  identity(): ReplicaIdentity {
    return this.#core.read(() => this.#core.identity())
  }

  shards(): readonly ShardInfo[] {
    return this.#core.read(() => this.#rows().map(rowToInfo))
  }

  shardStates(): readonly ShardState[] {
    return this.#core.read(() => {
      const { logId } = this.#core.identity()
      return this.#rows().map((row) => rowToShardState(row, logId))
    })
  }

  shardState(shardId: string): ShardState {
    return this.#core.read(() => this.#state(shardId))
  }

  ensureShard(info: ShardInfo): void {
    this.#core.write((transaction) => ensureShard(transaction, info))
  }

  readDelta(shardId: string, query: DeltaQuery): DeltaRead {
    this.#core.assertOpen()
    const recent = this.#recent.read(shardId, query)
    if (recent !== null) return recent
    return this.#settingAside(shardId, () => this.#readDelta(shardId, query))
  }

  #readDelta(shardId: string, query: DeltaQuery): DeltaRead {
    const delta = this.#core.read(() => {
      if (query.expose === true && this.#hasUnconfirmed(shardId)) return null
      return readDelta(this.#core, shardId, query)
    })
    return (
      delta ??
      this.#core.write((transaction) => {
        confirmOwnWrites(transaction, loadShard(transaction, shardId))
        return this.#core.read(() => readDelta(this.#core, shardId, query))
      })
    )
  }

  deferFlush(): () => Promise<void> {
    return this.#flush.begin()
  }

  whenDurable(): Promise<void> {
    return this.#flush.whenDurable()
  }

  expose(shardId: string): () => void {
    const { exposed } = this.#core
    exposed.set(shardId, (exposed.get(shardId) ?? 0) + 1)
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      const left = (exposed.get(shardId) ?? 0) - 1
      if (left > 0) {
        exposed.set(shardId, left)
        return
      }
      exposed.delete(shardId)
      this.#recent.forget(shardId)
    }
  }

  applyDelta(
    shardId: string,
    changes: readonly Change[],
    source: DeltaSource,
    join: VersionVector | null = null,
  ): ApplyResult {
    const result = this.#settingAside(shardId, () =>
      this.#receive((transaction) => {
        if (isVoid(transaction, source)) return null
        const applied = applyDelta(transaction, shardId, changes, source)
        if (applied === null || join === null || applied.lacking.length > 0) return applied
        joinVector(transaction, shardId, source, join, EMPTY_VECTOR, false)
        return applied
      }),
    )
    // The new identity is committed: only then may the session break off.
    if (result === null) throw identityRenewed(shardId)
    return result
  }

  joinVector(
    shardId: string,
    source: DeltaSource,
    versionVector: VersionVector,
    gcFloor: VersionVector = EMPTY_VECTOR,
  ): ShardState {
    const state = this.#receive((transaction) => {
      if (isVoid(transaction, source)) return null
      joinVector(transaction, shardId, source, versionVector, gcFloor, true)
      return this.#core.read(() => this.#state(shardId))
    })
    if (state === null) throw identityRenewed(shardId)
    this.#reported(shardId, source.peer)
    return state
  }

  joinCompared(
    shardId: string,
    source: DeltaSource,
    versionVector: VersionVector,
    gcFloor: VersionVector,
    since: number,
  ): ShardState | Doubtful {
    const joined = this.#core.write((transaction) => {
      if (isVoid(transaction, source)) return null
      const shard = loadShard(transaction, shardId)
      const doubtful = doubtfulSince(transaction, shard, versionVector, since)
      if (doubtful.length > 0) return { doubtful, head: shard.head }
      joinVector(transaction, shardId, source, versionVector, gcFloor, true)
      return this.#core.read(() => this.#state(shardId))
    })
    if (joined === null) throw identityRenewed(shardId)
    if (!('doubtful' in joined)) this.#reported(shardId, source.peer)
    return joined
  }

  behindFloor(shardId: string, gcFloor: VersionVector, digest: string | null): boolean {
    const state = this.shardState(shardId)
    return !dominates(state.versionVector, gcFloor) && state.digest !== digest
  }

  *summarizeRanges(
    shardId: string,
    ranges: readonly IdRange[],
    payloads = false,
  ): Sliced<readonly RangeAnswer[]> {
    const answers = yield* summarizeRanges(this.#core, shardId, ranges, payloads)
    if (payloads) return answers
    // A peer found that our digest differs: if it is not that of our rows, correct it. Not on the
    // peer's account.
    if (ranges.some(isWhole)) for (const _ of this.recountInSlices(shardId)) yield 0
    return answers
  }

  *compareRanges(
    shardId: string,
    ranges: readonly IdRange[],
    answers: readonly RangeAnswer[],
    mode: CompareMode,
  ): Sliced<Comparison> {
    // Before rows are blamed: is what we keep about them true?
    if (mode === 'equal' && ranges.some(isWhole)) {
      yield* this.recountInSlices(shardId)
      yield* this.#setAsideDamaged(shardId)
    }
    return yield* compareRanges(this.#core, shardId, ranges, answers, mode)
  }

  readRecords(shardId: string, ids: readonly string[], bytesMax: number): RecordsRead {
    if (this.#core.read(() => this.#hasUnconfirmed(shardId))) {
      this.#core.write((transaction) => {
        confirmOwnWrites(transaction, loadShard(transaction, shardId))
      })
    }
    return this.#settingAside(shardId, () =>
      this.#core.read(() => readRecords(this.#core, shardId, ids, bytesMax)),
    )
  }

  repairRecords(
    shardId: string,
    changes: readonly Change[],
    gone: readonly string[],
    mode: CompareMode,
    peerVector: VersionVector,
    peer: string,
    floor: VersionVector,
  ): RepairResult {
    const result = this.#core.write((transaction) =>
      repairRecords(transaction, shardId, changes, { gone, mode, peerVector, peer, floor }),
    )
    if (result === null) throw identityRenewed(shardId)
    return result
  }

  confirmDrops(shardId: string, peer: string): void {
    this.#core.write((transaction) => confirmDrops(transaction, shardId, peer))
  }

  comparePayloads(shardId: string, changes: readonly Change[]): readonly string[] {
    return this.#core.read(() => damagedAmong(this.#core, shardId, changes))
  }

  recount(shardId: string): Recount {
    return recount(this.#core, shardId)
  }

  recountInSlices(shardId: string): Sliced<Recount | null> {
    return recountInSlices(this.#core, shardId)
  }

  async recountInTurns(shardId: string, signal?: AbortSignal): Promise<Recount> {
    return (await inTurns(this.recountInSlices(shardId), signal)) ?? this.recount(shardId)
  }

  uncoveredVector(shardId: string): VersionVector {
    return this.#core.read(() => storedVector(shardRow(this.#core, shardId).ahead_vector))
  }

  claimedVector(shardId: string, peer?: string): VersionVector {
    return this.#core.read(() => {
      const row = shardRow(this.#core, shardId)
      const { actor } = this.#core.identity()
      const vector = storedVector(row.version_vector)
      if (peer !== undefined && this.isDoubted(shardId, peer)) {
        return withoutOwn(this.#core, row.shard, vector, actor)
      }
      return claimable(this.#core, row.shard, vector, actor)
    })
  }

  isDoubted(shardId: string, peer: string): boolean {
    return this.#core.doubts.isPending(shardId, peer)
  }

  meet(shardId: string, peer: string, claims: PeerClaims): Verdict {
    const { actor, versionVector, uncovered } = claims
    const isOrdinary = this.#core.read(() => {
      const { shard } = shardRow(this.#core, shardId)
      const identity = this.#core.identity()
      return (
        actor !== identity.actor &&
        claimsNothing(this.#core, shard, joinVectors(versionVector, uncovered))
      )
    })
    if (isOrdinary) return 'credible'
    return this.#core.write((transaction) => {
      const shard = loadShard(transaction, shardId)
      const claimsMore = [
        noteUncoveredClaims(transaction, shard, uncovered),
        noteClaims(transaction, shard, versionVector),
      ].includes(true)
      if (!claimsMore && actor !== transaction.actor) return 'credible'
      const isAwaited = this.#core.doubts.note(shardId, peer, transaction.nowMs)
      // A peer under our own actor notices by itself that what it is sent is not its own.
      if (claimsMore && isAwaited) return 'awaited'
      return this.isDoubted(shardId, peer) ? 'doubted' : 'credible'
    })
  }

  recordAck(
    shardId: string,
    peer: string,
    cursor: number,
    versionVector: VersionVector,
    isWriter = true,
  ): void {
    this.#receive((transaction) => {
      recordAck(transaction, shardId, peer, cursor, versionVector, isWriter)
    })
    this.#reported(shardId, peer)
  }

  notePeerLeft(peer: string, hasLeft: boolean): void {
    notePeerLeft(this.#core, peer, hasLeft)
  }

  onReport(listener: (shardId: string, peer: string) => void): () => void {
    this.#core.assertOpen()
    const own = (shardId: string, peer: string): void => listener(shardId, peer)
    this.#reportListeners.add(own)
    return () => this.#reportListeners.delete(own)
  }

  nameActor(_shardId: string, name: ActorName): void {
    if (this.nodeOf(name.actor) === name.nodeId) return
    this.#core.write((transaction) => nameActor(transaction, name))
  }

  nameOwnActor(nodeId: string): void {
    if (this.nodeOf(this.identity().actor) === nodeId) return
    this.#core.write((transaction) => nameOwnActor(transaction, nodeId))
  }

  nodeOf(actor: ActorId): string | null {
    return this.#core.read(() => {
      const row = this.#core.sql.nodeOf.get(hexToBytes(actor))
      return (row?.['node_id'] as string | null | undefined) ?? null
    })
  }

  keepToken(): void {
    this.#core.write(({ core }) => {
      keepToken(core)
    })
  }

  collectTombstones(shardId: string, replicaRetentionMs: number): number {
    return collectTombstones(this.#core, shardId, replicaRetentionMs)
  }

  peerCursor(shardId: string, peer: string): PeerCursor | null {
    return this.#core.read(() => peerCursor(this.#core, shardId, peer))
  }

  peerCursors(): readonly PeerCursor[] {
    return this.#core.read(() => peerCursors(this.#core))
  }

  onCommit(listener: (notice: CommitNotice) => void): () => void {
    this.#core.assertOpen()
    return this.#core.onCommit(listener)
  }

  poll(): number {
    this.#core.assertOpen()
    const dataVersion = this.#readDataVersion()
    // Changes when another connection committed, never by our own commits.
    if (dataVersion === this.#dataVersion) return 0
    this.#dataVersion = dataVersion
    const rows = this.#core.read(() => this.#rows())
    return this.#core.notifyForeign(rows.map(({ shard_id: shardId, head }) => ({ shardId, head })))
  }

  recomputeDigest(shardId: string): string {
    return recomputeDigest(this.#core, shardId)
  }

  renewIdentity(): ReplicaIdentity {
    return this.#core.write((transaction) => renewIdentity(transaction, 'requested'))
  }

  syncState(key: string): string | null {
    return this.#core.read(() => readSyncState(this.#core, key))
  }

  saveSyncState(key: string, value: string | null): void {
    this.#core.write(() => writeSyncState(this.#core, key, value))
  }

  /** Runs `fn`; a damaged record that it meets is set aside, so that a peer gives it back. */
  #settingAside<T>(shardId: string, fn: () => T): T {
    for (let left = DAMAGED_PER_CALL_MAX; ; left -= 1) {
      try {
        return fn()
      } catch (error) {
        if (!(error instanceof DamagedRecord) || left === 0 || this.#core.writing) throw error
        if (!this.#core.write((transaction) => setAside(transaction, shardId, error))) throw error
      }
    }
  }

  *#setAsideDamaged(shardId: string): Sliced<void> {
    for (const { record } of yield* damagedRecords(this.#core, shardId)) {
      const error = damagedRecord(this.#core, record, 'its rows do not fit together')
      this.#core.write((transaction) => setAside(transaction, shardId, error))
      yield this.#core.sliceRows
    }
  }

  /** Commits what a peer sent or said. */
  #receive<T>(fn: (transaction: WriteTransaction) => T): T {
    return this.#flush.commit(() => this.#core.write(fn))
  }

  #reported(shardId: string, peer: string): void {
    for (const listener of this.#reportListeners) listener(shardId, peer)
  }

  #hasUnconfirmed(shardId: string): boolean {
    const row = shardRow(this.#core, shardId)
    return hasUnconfirmed(this.#core, row.shard, storedVector(row.version_vector))
  }

  #state(shardId: string): ShardState {
    return rowToShardState(shardRow(this.#core, shardId), this.#core.identity().logId)
  }

  #rows(): ShardRow[] {
    return (this.#core.sql.listShards.all() as unknown as ShardRow[]).map(checkedRow)
  }
}

/**
 * True when the session began under an identity that this file no longer has: what it was told is
 * void.
 */
function isVoid(transaction: WriteTransaction, { reader }: DeltaSource): boolean {
  return reader !== undefined && reader !== transaction.logId
}

function isWhole({ from, to }: IdRange): boolean {
  return from === '' && to === null
}

function identityRenewed(shardId: string): SqliteVectorError {
  return new SqliteVectorError(
    'SYNC_IDENTITY_RENEWED',
    `another copy of this database has written to shard ${shown(shardId)}; ` +
      'this file has been given a new actor id: sync again',
  )
}
