/**
 * The newest writes of our own, as their transactions made them, for sessions that push them at
 * once.
 *
 * A live session that reads right after a commit reads the writes of that commit. Kept here, they
 * need not be read again. The feed in the file stays the truth: whatever is not here is read from
 * it, and once another connection has committed anything, all is.
 *
 * Not here: which shards are worth it and when to ask (replica.ts). Invariants:
 *   I1  Of a shard, all records are here that our own writes touched between the places `from` and
 *       `head` of its feed, each once, as its newest write left it. A transaction that wrote what
 *       cannot be kept, that forgot records, or that follows one that is unknown here, begins
 *       again.
 *   I2  Only committed writes are here, and only such as were noted as sent in their transaction
 *       (own-writes.ts).
 *   I3  All shards together hold at most RECENT_WRITES_BYTES_MAX of payloads.
 */
import { must } from '../../assert.ts'
import { RECENT_WRITES_BYTES_MAX } from '../../limits.ts'
import type { ActorId, Change, RecordState, Sibling } from '../../model/types.ts'
import { covers } from '../../model/version-vector.ts'
import type { WriteTransaction } from '../file/transaction.ts'
import { digestToHex } from './digest.ts'
import { type OpenShard } from '../file/open-shard.ts'
import { type DeltaQuery, type DeltaRead } from './types.ts'
import { type ShardState } from '../../model/records.ts'
import { type Kept, type Written } from '../file/open-shard.ts'

/** Bytes that a record takes besides its payload. */
const RECORD_BYTES = 256

/**
 * Notes in the running transaction that our write made `state` of the record, at this place of the
 * feed.
 */
export function noteWritten(
  shard: OpenShard,
  id: string,
  state: RecordState,
  changeId: number = shard.head,
): void {
  const before = shard.written
  if (before === null) return
  const [sibling] = state.siblings
  const isOne = sibling !== undefined && state.siblings.length === 1
  const kept = isOne && before.bytes <= RECENT_WRITES_BYTES_MAX ? copyOf(sibling) : null
  if (kept === null) {
    shard.written = null
    return
  }
  const change = { id, siblings: [kept], context: state.context }
  const { value } = kept
  const text = value === null ? 0 : value.metadata.length + (value.text?.length ?? 0)
  const bytes = RECORD_BYTES + 2 * (id.length + text) + (value?.embedding?.byteLength ?? 0)
  shard.written = {
    count: before.count + 1,
    bytes: before.bytes + bytes,
    newest: { change, changeId, counter: kept.dot.counter, bytes },
    before,
  }
}

/**
 * Notes that another writer's change moves a record to another place of the feed. If it holds a
 * write of ours, a reader that takes the feed in part from the file and in part from here would
 * miss it at both places: the cache begins again.
 */
export function noteMoved(
  { actor }: WriteTransaction,
  shard: OpenShard,
  { siblings }: RecordState,
): void {
  if (siblings.some(({ dot }) => dot.actor === actor)) shard.hasMoved = true
}

/**
 * The caller's array may be written to as soon as the call returns. Null where the payload is not
 * all at hand.
 */
function copyOf(sibling: Sibling): Sibling | null {
  const { value } = sibling
  if (value === null) return sibling
  if (value.embedding === null) return null
  return { ...sibling, value: { ...value, embedding: value.embedding.slice() } }
}

interface Recent {
  actor: ActorId
  logId: string
  /** Above this place of the feed, everything of ours is here. */
  from: number
  /** The shard as the newest transaction left it. */
  shard: OpenShard
  /** In the order of the feed. */
  readonly records: Map<string, Kept>
}

/** The recent writes of one open file. */
export class RecentWrites {
  readonly #dataVersion: () => number
  /** Least recently written shard first. */
  readonly #shards = new Map<string, Recent>()
  #versionSeen: number
  #bytes = 0

  /** `dataVersion`: changes when another connection commits, never by our own commits. */
  constructor(dataVersion: () => number) {
    this.#dataVersion = dataVersion
    this.#versionSeen = dataVersion()
  }

  /** Takes over what a transaction wrote, which is committed. */
  committed({ shards, actor, logId }: WriteTransaction): void {
    for (const shard of shards.values()) {
      if (shard.isExposed) this.#take(shard, actor, logId)
    }
    this.#makeRoom()
  }

  /** Our writes that the reader of `query` lacks, or null: read them from the file. */
  read(shardId: string, query: DeltaQuery): DeltaRead | null {
    const { after, only, known, countMax, bytesMax } = query
    const recent = this.#shards.get(shardId)
    if (recent === undefined || only === undefined) return null
    const { head } = recent.shard
    if (this.#isForeign()) return null
    if (recent.actor !== only.actor || after < recent.from || after > head) return null
    const changes: Change[] = []
    let [through, bytes, isLast] = [after, 0, true]
    for (const kept of recent.records.values()) {
      if (kept.changeId <= after) continue
      if (bytes >= bytesMax || changes.length >= countMax) {
        isLast = false
        break
      }
      through = kept.changeId
      const dot = { actor: only.actor, counter: kept.counter }
      if (kept.counter <= only.counter || covers(known, dot)) continue
      bytes += kept.bytes
      changes.push(kept.change)
    }
    if (isLast) through = head
    return { changes, through, atHead: isLast, state: openToState(recent.shard, recent.logId) }
  }

  /** Drops the cached writes of a shard; no live session reads them. */
  forget(shardId: string): void {
    const recent = this.#shards.get(shardId)
    if (recent === undefined) return
    for (const { bytes } of recent.records.values()) this.#bytes -= bytes
    this.#shards.delete(shardId)
  }

  /**
   * True when the file may hold more than is cached, or something else: then the cache begins
   * again.
   */
  #isForeign(): boolean {
    const version = this.#dataVersion()
    if (version === this.#versionSeen) return false
    this.#versionSeen = version
    this.#shards.clear()
    this.#bytes = 0
    return true
  }

  #take(shard: OpenShard, actor: ActorId, logId: string): void {
    const { shardId, written, headBefore, counterBefore } = shard
    const made = shard.ownCounter - counterBefore
    const isWhole = (made === 0 || written?.count === made) && !shard.hasMoved
    let recent = this.#shards.get(shardId)
    const follows = recent?.shard.head === headBefore && recent.actor === actor
    if (recent === undefined || !isWhole || !follows || recent.logId !== logId) {
      this.forget(shardId)
      recent = { actor, logId, from: isWhole ? headBefore : shard.head, shard, records: new Map() }
    }
    // Taken out and put back, the shard is the most recently written one.
    this.#shards.delete(shardId)
    this.#shards.set(shardId, recent)
    recent.shard = shard
    if (isWhole && made > 0) this.#add(recent, must(written, 'writes that were counted'))
  }

  #add({ records }: Recent, written: Written): void {
    const added: Kept[] = []
    for (let at: Written | null = written; at?.newest != null; at = at.before) added.push(at.newest)
    for (const kept of added.toReversed()) {
      const { id } = kept.change
      this.#bytes += kept.bytes - (records.get(id)?.bytes ?? 0)
      records.delete(id)
      records.set(id, kept)
    }
  }

  #makeRoom(): void {
    for (const [shardId, recent] of this.#shards) {
      for (const [id, { changeId, bytes }] of recent.records) {
        if (this.#bytes <= RECENT_WRITES_BYTES_MAX) return
        recent.records.delete(id)
        recent.from = changeId
        this.#bytes -= bytes
      }
      if (this.#bytes <= RECENT_WRITES_BYTES_MAX) return
      this.#shards.delete(shardId)
    }
  }
}

/** The state of a shard as a committed transaction left it. */
function openToState(shard: OpenShard, logId: string): ShardState {
  const { shardId, dimension, metric, modelId, text, head, versionVector, uncoveredVector } = shard
  return {
    shardId,
    dimension,
    metric,
    modelId,
    ...(text === undefined ? {} : { text }),
    logId,
    head,
    versionVector,
    uncovered: uncoveredVector,
    settled: uncoveredVector.size === 0,
    gcFloor: shard.forgotten,
    digest: digestToHex(shard.digest),
    recordCount: shard.recordCount,
    tombstoneCount: shard.tombstoneCount,
    conflictCount: shard.conflictCount,
    quarantineCount: shard.quarantineCount,
    updatedAtMs: shard.updatedAtMs,
  }
}
