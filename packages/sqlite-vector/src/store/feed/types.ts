/**
 * A read of the change feed: where from, and what it gave. Types only.
 */
import { type Change, type Dot, type VersionVector } from '../../model/types.ts'
import { type ShardState } from '../../model/records.ts'

/** A read of the change feed. */
export interface DeltaQuery {
  /** Changes with a change_id above this, in its order. */
  readonly after: number
  /** Most rows looked at; a read may return fewer changes and still advance. */
  readonly countMax: number
  /** Stop once the payloads read reach this many bytes; at least one change is returned. */
  readonly bytesMax: number
  /** Skip records all of whose siblings' dots this covers: the reader has them. */
  readonly known: VersionVector
  /**
   * True when a peer receives the read: our own writes are first noted as exposed. @defaultValue
   * false
   */
  readonly expose?: boolean
  /**
   * Skip records that hold and supersede no write of this actor above this counter. @defaultValue
   * all records
   */
  readonly only?: Dot
}

/** Changes read from the feed. */
export interface DeltaRead {
  readonly changes: readonly Change[]
  /** Everything up to here was returned or skipped: the reader's next `after`. */
  readonly through: number
  /** True when `through` is the head of the feed in this read. */
  readonly atHead: boolean
  /** The shard as of the same read transaction. */
  readonly state: ShardState
}
