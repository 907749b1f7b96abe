/**
 * The arena of one shard, kept current with its table through the change feed.
 *
 * A reader of the feed like any other (cursor: change_id, valid for one log_id). Building and
 * updating are one operation: read from 0, the feed is the whole shard. Nothing here decides when
 * to read (search-index/indexes.ts).
 *
 * Invariants:
 *   I1  The arena holds exactly the visible records as of change_id `cursor`, when `cursor` is the
 *       head of the feed.
 *   I2  It is void when the file no longer has the {@link IndexBasis} it was built from, or when
 *       tombstones above the cursor were collected: their deletes can no longer be read from the
 *       feed.
 *   I3  Slots kept for a filter are those of the state at `cursor`: any later change voids them
 *       all.
 *   I4  An index from disk answers nothing until it is current, holds as many records as the shard,
 *       and a sample of its codes equals codes computed from the rows.
 */
import type { SqliteStatement } from '#platform'

import { bytesEqual } from '../../bytes.ts'
import type { Arena } from '../../search/arena.ts'
import { type Calibration, RECALL_PROMISED, sampleRecords } from '../../search/calibrate.ts'
import { AskedQueries } from './asked-queries.ts'
import { ChangedRows } from './changed-rows.ts'
import type { Selection } from '../../search/scan.ts'
import type { SearchStatements } from './statements.ts'
import type { ShardRow } from '../feed/shards.ts'

/** Identifies the feed an index was built from. */
export interface IndexBasis {
  readonly shard: number
  readonly logId: string
}

/** Which slots pass a filter, and how many. */
export interface FilteredSlots {
  readonly selection: Selection
  readonly selected: number
}

/**
 * Bytes that slots kept for filters take, for each record: two hundred filters that a fiftieth of
 * the records pass.
 */
const KEPT_BYTES_PER_RECORD = 16

/** Bytes that may be kept in a small shard all the same. */
const KEPT_BYTES_MIN = 65_536

/** Bytes charged for a filter beside its slots. */
const FILTER_BYTES = 512

/** Ids kept for records that are as near as others, at most: some megabytes. */
const IDS_KEPT_MAX = 32_768

/** Rows whose codes are made again to prove those that came from disk. */
const PROOF_ROWS = 16

/** Share of the rows that may change before a calibration is made again… */
const CHANGED_SHARE_MAX = 0.05

/** …and before it is not used any more until that is done. */
const STALE_SHARE = 0.1

/** Share of the rows that may change before thresholds are learnt again as well. */
const RELEARN_SHARE = 0.5

type TailRow = readonly [record: number, changeId: number, embedding: Uint8Array | null]

export class ShardIndex {
  readonly basis: IndexBasis
  readonly arena: Arena
  /** Everything up to this change_id is in the arena. */
  cursor = 0
  calibration: Calibration | null = null
  /** The cursor of the codes on disk; −1 when there are none. */
  savedAt = -1
  /** Came from disk without float32 rows, for which there is memory: to be built with them. */
  provisional = false
  /** Came from disk and is still to be compared with the rows (I4). */
  unproven = false
  /** Its thresholds do not fit the rows, which only building it again can put right. */
  misfit = false
  /** Rises with every use, over all indexes of a file: the smallest gives way first. */
  usedAt = 0

  /** By record: an id stays with its record until that is deleted. */
  readonly #ids = new Map<number, string>()

  /** Queries of callers, and how some of them fared. */
  readonly asked: AskedQueries = new AskedQueries()
  /** Since the calibration; since the one under way began; rows since thresholds were learnt. */
  #changed = new ChangedRows()
  #changedBefore = 0
  #changedSinceLearnt = 0
  #learnt = false
  #countedThrough = 0

  /**
   * By filter; all of them as of {@link #filteredAt}. The feed moves with every change of metadata.
   */
  readonly #filtered = new Map<string, FilteredSlots>()
  #filteredBytes = 0
  #filteredAt = 0

  constructor(basis: IndexBasis, arena: Arena) {
    this.basis = basis
    this.arena = arena
  }

  /** True while the feed can still bring this index up to date (I2). */
  validFor(basis: IndexBasis, collectedThrough: number): boolean {
    return (
      this.basis.shard === basis.shard &&
      this.basis.logId === basis.logId &&
      (this.cursor === 0 || this.cursor >= collectedThrough)
    )
  }

  /**
   * True when this index may answer (I4); checked once. The index must be current, inside a read
   * transaction.
   */
  isProven(shard: ShardRow, statements: SearchStatements): boolean {
    if (!this.unproven) return true
    const { arena } = this
    const sound =
      arena.count === shard.record_count &&
      sampleRecords(arena, PROOF_ROWS).every((record) => {
        const row = statements.embedding.get(record)
        if (row === undefined) return false
        const codes = arena.codesOf(record)
        arena.set(record, row['embedding'] as Uint8Array)
        return bytesEqual(codes, arena.codesOf(record))
      })
    this.unproven = !sound
    return sound
  }

  /** Rows that are not those that the calibration was made of. */
  get changedCount(): number {
    return this.#changed.count + this.#changedBefore
  }

  /** Records that changed since the calibration; perhaps not all. */
  get changedRecords(): ReadonlySet<number> {
    return this.#changed.records
  }

  /** True when the calibration is to be made again: rows or queries are not what they were. */
  get mustCalibrate(): boolean {
    if (this.calibration === null) return true
    const share = this.changedCount / Math.max(1, this.arena.count)
    return share > CHANGED_SHARE_MAX || this.asked.fallsShort(RECALL_PROMISED)
  }

  /** True when thresholds are to be learnt again. */
  get mustRelearn(): boolean {
    const changed = this.changedCount + this.#changedSinceLearnt
    return changed > RELEARN_SHARE * this.arena.count || this.asked.fallsShort(RECALL_PROMISED)
  }

  /** True when thresholds were learnt for the calibration under way. */
  get relearnt(): boolean {
    return this.#learnt
  }

  /** The reason that the calibration says nothing of the rows as they are; null while it does. */
  get stale(): string | null {
    const { changedCount, arena } = this
    if (this.calibration === null) return null
    if (this.asked.fallsShort(RECALL_PROMISED)) return 'queries found less than was measured'
    if (changedCount <= STALE_SHARE * arena.count) return null
    return `${changedCount} of ${arena.count} records have changed since the calibration`
  }

  /**
   * Takes up a calibration that was made of the rows as of an earlier change, of which `changed`
   * had changed by change `through`.
   */
  restore(calibration: Calibration, changed: number, through: number): void {
    this.calibration = calibration
    this.#changed = new ChangedRows(changed)
    this.#countedThrough = through
  }

  /** A calibration begins: changes from now on are not in it. */
  calibrationStarts(): void {
    this.#changedBefore = this.changedCount
    this.#changed = new ChangedRows()
    this.#learnt = false
  }

  /** Thresholds were learnt from the rows as they are. */
  thresholdsLearnt(): void {
    this.#learnt = true
    this.#changedSinceLearnt = 0
  }

  /** The calibration that began is done. */
  calibrated(calibration: Calibration): void {
    // The first calibration is of thresholds that were learnt from these very rows.
    if (!this.#learnt && this.calibration !== null) {
      this.#changedSinceLearnt += this.#changedBefore
    }
    this.#changedBefore = 0
    this.calibration = calibration
    this.asked.forgetChecks()
  }

  /** Rows of the feed that are not in the arena yet, at most. */
  pending(shard: ShardRow): number {
    const records = shard.record_count + shard.tombstone_count
    return Math.min(shard.head - this.cursor, records)
  }

  /**
   * The slots that pass the filter named `key`: kept from before while nothing has changed, else
   * found again.
   */
  filteredBy(key: string, find: () => FilteredSlots): FilteredSlots {
    if (this.#filteredAt !== this.cursor) {
      this.#filtered.clear()
      this.#filteredBytes = 0
      this.#filteredAt = this.cursor
    }
    const kept = this.#filtered.get(key)
    const found = kept ?? find()
    if (kept === undefined) this.#filteredBytes += bytesOf(key, found)
    // Taken out and put back, the first in the map is the least recently used.
    this.#filtered.delete(key)
    this.#filtered.set(key, found)
    const bytesMax = Math.max(KEPT_BYTES_MIN, KEPT_BYTES_PER_RECORD * this.arena.count)
    for (const [oldest, slots] of this.#filtered) {
      if (this.#filteredBytes <= bytesMax) break
      this.#filtered.delete(oldest)
      this.#filteredBytes -= bytesOf(oldest, slots)
    }
    return found
  }

  /**
   * The id of a record, kept for the next search that meets it: records as near as one another are
   * ordered by id, and many may be.
   */
  idOf(record: number, read: (record: number) => string): string {
    let id = this.#ids.get(record)
    if (id === undefined) {
      id = read(record)
      if (this.#ids.size >= IDS_KEPT_MAX) this.#ids.clear()
      this.#ids.set(record, id)
    }
    return id
  }

  /** Reads at most `limit` rows of the feed into the arena. Inside a read transaction. */
  readTail(statement: SqliteStatement, shard: ShardRow, limit: number): void {
    this.arena.reserve(Math.min(this.arena.count + limit, shard.record_count))
    let read = 0
    for (const row of statement.iterate(shard.shard, this.cursor, limit)) {
      const [record, changeId, embedding] = row as unknown as TailRow
      const { arena } = this
      if (embedding === null) this.#ids.delete(record)
      const differs = embedding === null ? arena.delete(record) : arena.set(record, embedding)
      if (differs && changeId > this.#countedThrough) this.#changed.add(record)
      this.cursor = changeId
      read += 1
    }
    // Fewer rows than asked for were left, so what lies above the last one is known to be empty.
    if (read < limit) this.cursor = shard.head
  }
}

function bytesOf(key: string, { selection }: FilteredSlots): number {
  const slots =
    selection.type === 'list'
      ? selection.slots.byteLength
      : selection.type === 'mask'
        ? selection.words.byteLength
        : 0
  return FILTER_BYTES + 2 * key.length + slots
}
