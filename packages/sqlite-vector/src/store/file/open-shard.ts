/**
 * The state of a shard inside a write transaction. Types, and the empty list of writes.
 */
import { type Change, type VersionVector } from '../../model/types.ts'
import { type Hlc } from '../../clock/hlc.ts'
import { type ShardInfo } from '../../model/records.ts'

/** A commit that others may want to act on: the shard's feed or its version vector moved. */
export interface CommitNotice {
  readonly shardId: string
  readonly head: number
}

/** A shard inside a write transaction; the transaction's end writes it back. */
export interface OpenShard extends ShardInfo {
  readonly shard: number
  head: number
  recordCount: number
  tombstoneCount: number
  conflictCount: number
  quarantineCount: number
  /** As last read or joined; what this transaction wrote itself is in {@link ownCounter}. */
  versionVector: VersionVector
  /** Writes that batches brought and the version vector does not cover yet. */
  uncoveredVector: VersionVector
  /** The writes whose deletes the shard has forgotten: its `gc_floor`. */
  forgotten: VersionVector
  /** The counter of the newest dot of our own actor in this shard. */
  ownCounter: number
  digest: bigint
  clock: Hlc
  strategy: string | null
  /** As of the last flush, to know whether there is anything to write and to tell. */
  flushed: {
    head: number
    versionVector: VersionVector
    uncoveredVector: VersionVector
    strategy: string | null
    quarantine: number
  }
  notice: boolean
  /** When the shard's row was written last. */
  updatedAtMs: number
  /**
   * True when its new writes go out as soon as they are committed. The next two: its state when
   * this transaction opened it.
   */
  readonly isExposed: boolean
  readonly headBefore: number
  readonly counterBefore: number
  /**
   * The writes of this transaction, for sessions that send them; null without such sessions, or
   * when they cannot be kept.
   */
  written: Written | null
  /**
   * Set when this transaction forgot a record, or when another writer's change moved a record with
   * a write of ours.
   */
  hasMoved: boolean
  /** Rows of `own_writes` as this transaction last read them; null when they may be others. */
  ownWrites: readonly OwnWritesRow[] | null
  /** Entries and bytes that peers have in quarantine, by peer, as this transaction counted them. */
  readonly quarantineUse: Map<number, { readonly entries: number; readonly bytes: number }>
  /**
   * Set when the row must be written though neither head nor vector moved; listeners are told as
   * well.
   */
  touched: boolean
}

/** A row of `own_writes`, with the actor's name; see own-writes.ts. */
export interface OwnWritesRow {
  readonly actor: number
  readonly actor_id: Uint8Array
  readonly confirmed: number
  readonly claimed: number
}

/**
 * Writes of one transaction to one shard, newest first. Never changed, so that a savepoint can go
 * back to it.
 */
export interface Written {
  readonly count: number
  readonly bytes: number
  readonly newest: Kept | null
  readonly before: Written | null
}

export interface Kept {
  readonly change: Change
  readonly changeId: number
  readonly counter: number
  readonly bytes: number
}

/** No writes yet. */
export const NOTHING_WRITTEN: Written = { count: 0, bytes: 0, newest: null, before: null }
