/**
 * The store as sync sees it: `ReplicaStore` over an open file. Each method is one transaction.
 *
 * Not here: what the methods do (changelog.ts, apply.ts, peers.ts). Nothing above knows SQLite.
 */
import type { Change, VersionVector } from '../sync/types.ts'
import { applyDelta, joinVector } from './apply.ts'
import { readDelta } from './changelog.ts'
import type { StoreCore } from './core.ts'
import { recomputeFingerprint } from './fingerprints.ts'
import { renewIdentity } from './identity.ts'
import { peerCursor, peerCursors, recordAck } from './peers.ts'
import { ensureShard, rowToInfo, rowToState, type ShardRow, shardRow } from './shards.ts'
import type {
  ApplyResult,
  CommitNotice,
  DeltaQuery,
  DeltaRead,
  DeltaSource,
  PeerCursor,
  ReplicaIdentity,
  ReplicaStore,
  ShardInfo,
  ShardState,
} from './types.ts'

/** The `ReplicaStore` of one open file. */
export class Replica implements ReplicaStore {
  readonly #core: StoreCore
  #dataVersion: number

  constructor(core: StoreCore) {
    this.#core = core
    this.#dataVersion = this.#readDataVersion()
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

  shardState(shardId: string): ShardState {
    return this.#core.read(() => this.#state(shardId))
  }

  ensureShard(info: ShardInfo): void {
    this.#core.write((transaction) => ensureShard(transaction, info))
  }

  readDelta(shardId: string, query: DeltaQuery): DeltaRead {
    return this.#core.read(() => readDelta(this.#core, shardId, query))
  }

  applyDelta(
    shardId: string,
    changes: readonly Change[],
    source: DeltaSource,
    join: VersionVector | null = null,
  ): ApplyResult {
    return this.#core.write((transaction) => {
      const result = applyDelta(transaction, shardId, changes, source)
      if (join !== null) joinVector(transaction, shardId, source, join)
      return result
    })
  }

  joinVector(shardId: string, source: DeltaSource, versionVector: VersionVector): ShardState {
    return this.#core.write((transaction) => {
      joinVector(transaction, shardId, source, versionVector)
      return this.#core.read(() => this.#state(shardId))
    })
  }

  recordAck(shardId: string, peer: string, cursor: number, versionVector: VersionVector): void {
    this.#core.write((transaction) => recordAck(transaction, shardId, peer, cursor, versionVector))
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

  recomputeFingerprint(shardId: string): string {
    return this.#core.read(() => recomputeFingerprint(this.#core, shardRow(this.#core, shardId)))
  }

  renewIdentity(): ReplicaIdentity {
    return this.#core.write((transaction) => renewIdentity(transaction, 'requested'))
  }

  #state(shardId: string): ShardState {
    return rowToState(shardRow(this.#core, shardId), this.#core.identity().logId)
  }

  #rows(): ShardRow[] {
    return this.#core.sql.listShards.all() as unknown as ShardRow[]
  }

  #readDataVersion(): number {
    return Number(this.#core.sql.dataVersion.get()?.['data_version'])
  }
}
