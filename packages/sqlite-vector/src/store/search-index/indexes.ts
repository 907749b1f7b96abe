/**
 * The indexes of one open file: when they are loaded, built, updated, calibrated, saved, rebuilt
 * and given up.
 *
 * A search asks for an index that is current with the file, inside its read transaction, and gets
 * it, or null: then it scans the table, which is always right. Little to read is read at once; much
 * is read in the background, slice by slice, while searches scan. Because the head of the feed is
 * read in the transaction of the search, commits of other processes are seen at once.
 *
 * Codes of large shards are kept beside the file (index-files.ts) and are what the first search
 * after an open uses, while their float32 rows, where those are to be in memory, are read in the
 * background. Nothing here is the truth: giving an index up, or the file of its codes, costs time
 * only.
 */
import { turns } from '#platform'

import { must } from '../../assert.ts'
import { bytesToFloat32, bytesToHex } from '../../bytes.ts'
import { SqliteVectorError } from '../../errors.ts'
import { Arena } from '../../search/arena.ts'
import { type ArenaRows, fittingRows, memoryLayout } from '../../search/memory-layout.ts'
import { EXACT_COMPONENTS_MAX } from '../../search/planner.ts'
import { type Quantizer, TRAINING_ROWS_MAX, trainQuantizer } from '../../search/quantizer.ts'
import type { OpenFile } from '../file/transaction.ts'
import { calibrationWork } from './calibration-work.ts'
import { IndexFiles } from './index-files.ts'
import { checkedRecall } from './index-plan.ts'
import type { SearchStatements } from './statements.ts'
import { type IndexBasis, ShardIndex } from './shard-index.ts'
import { withoutFloat32 } from './lesser-index.ts'
import { findShardRow, type ShardRow } from '../feed/shards.ts'

/** Components that a search reads into its index before it answers: about half a second. */
const CATCH_UP_COMPONENTS_MAX = 48_000_000

/** Components that a search reads for a build under way: about a tenth of a second. */
const SEARCH_SHARE_COMPONENTS = 12_000_000

/** Components read at once in the background: about twenty milliseconds. */
const SLICE_COMPONENTS = 2_000_000

/**
 * Codes on disk are written again once the feed has moved beyond them by this share of the records:
 * reading that share again is then still a small part of building all. At a close a smaller share
 * will do.
 */
const SAVE_SHARE = { running: 0.25, closing: 0.05 } as const

/** The state of an index. */
export type IndexState = 'ready' | 'building' | 'unavailable'

interface Entry {
  index: ShardIndex | null
  /** True once the codes on disk were looked for. */
  loaded: boolean
  /** The running background work; null when there is none. */
  work: Promise<void> | null
  /** The index that the work fills; null when it fills none. */
  building: ShardIndex | null
  /** Why there is no index; null when there is nothing to say. */
  unavailable: string | null
}

export class SearchIndexes {
  readonly #core: OpenFile
  readonly #statements: SearchStatements
  readonly #memoryBytesMax: number
  /** Null where codes are not kept. */
  readonly #files: IndexFiles | null
  readonly #entries = new Map<string, Entry>()
  #uses = 0
  #closed = false

  constructor(
    core: OpenFile,
    statements: SearchStatements,
    options: { readonly searchMemoryBytes: number; readonly saveIndex: boolean },
  ) {
    this.#core = core
    this.#statements = statements
    this.#memoryBytesMax = options.searchMemoryBytes
    this.#files = options.saveIndex && core.path !== ':memory:' ? new IndexFiles(core) : null
  }

  /**
   * The current index of the shard, or null: scan the table. Inside a read transaction. `exact`: an
   * exact search is to follow, which wants float32 rows where there is memory for them.
   */
  current(shard: ShardRow, exact: boolean): ShardIndex | null {
    // A write transaction may roll back its rows, and the feed would not say so.
    if (this.#core.writing || this.#memoryBytesMax === 0) return null
    const entry = this.#entry(shard.shard_id)
    const { basis, collectedThrough } = this.#feed(shard)
    if (entry.index !== null && !entry.index.validFor(basis, collectedThrough)) {
      entry.index = null
      entry.unavailable = null
    }
    entry.index ??= this.#load(basis, collectedThrough, shard, entry)
    const wanted = entry.index === null || (exact && entry.index.provisional)
    if (wanted && entry.unavailable === null && !this.#large(shard, shard.head)) {
      entry.index = this.#create(basis, shard, entry, entry.index)
    }
    const { index } = entry
    if (index === null || this.#large(shard, index.pending(shard))) {
      this.#start(shard.shard_id, entry)
      // This search scans the table. What it adds to the time of that brings the index nearer, so
      // that a build ends also where searches leave no time between them.
      const { building } = entry
      if (building?.validFor(basis, collectedThrough) === true) {
        const rows = Math.ceil(SEARCH_SHARE_COMPONENTS / shard.dimension)
        this.#catchUp(shard, entry, building, rows)
      }
      return null
    }
    this.#uses += 1
    index.usedAt = this.#uses
    if (index.cursor < shard.head) this.#catchUp(shard, entry, index)
    if (!this.#proven(shard, entry)) return null
    if (entry.index !== null && this.#wantsWork(entry.index)) this.#start(shard.shard_id, entry)
    return entry.index
  }

  /** Updates the index and calibrates it; resolves when no work is left. */
  async warm(shardId: string): Promise<void> {
    for (;;) {
      if (this.#closed) return
      const shard = this.#core.read(() => findShardRow(this.#core, shardId))
      if (shard === null) return
      this.#core.read(() => this.current(shard, false))
      const entry = this.#entry(shardId)
      const { work } = entry
      if (work === null) return
      // The work alone does not keep a process alive; a caller that waits does.
      while (entry.work === work) await turns.next()
      await work
    }
  }

  /** A caller searched by an approximate plan: a few of these queries are checked later. */
  asked(index: ShardIndex, query: Float32Array, k: number): void {
    index.asked.asked(query, k)
  }

  /** The state of the shard's index, without changing it. */
  state(shardId: string): { state: IndexState; index: ShardIndex | null; reason: string | null } {
    const { index, work, unavailable } = this.#entry(shardId)
    if (unavailable !== null) return { state: 'unavailable', index, reason: unavailable }
    return { state: index === null || work !== null ? 'building' : 'ready', index, reason: null }
  }

  /** Saves indexes that are worth saving, and releases all. */
  close(): void {
    this.#closed = true
    const entries = [...this.#entries]
    this.#entries.clear()
    if (this.#core.writing) return
    for (const [shardId, { index }] of entries) {
      if (index === null || !this.#wantsSave(index, SAVE_SHARE.closing)) continue
      const steps = this.#save(shardId, index)
      while (steps.next().done !== true);
    }
  }

  #entry(shardId: string): Entry {
    let entry = this.#entries.get(shardId)
    if (entry === undefined) {
      entry = { index: null, loaded: false, work: null, building: null, unavailable: null }
      this.#entries.set(shardId, entry)
    }
    return entry
  }

  /**
   * The basis of an index of the shard now, and the change up to which deletes may be missing from
   * the feed.
   */
  #feed(shard: ShardRow): { readonly basis: IndexBasis; readonly collectedThrough: number } {
    const row = must(this.#statements.feed.get(shard.shard), 'the row of an open shard')
    return {
      basis: { shard: shard.shard, logId: bytesToHex(row['log_id'] as Uint8Array) },
      collectedThrough: Number(row['collected_through']),
    }
  }

  #large(shard: ShardRow, rows: number): boolean {
    return (
      Math.min(rows, shard.record_count + shard.tombstone_count) * shard.dimension >
      CATCH_UP_COMPONENTS_MAX
    )
  }

  /** The index built from the codes on disk, not yet current; null without usable codes. */
  #load(
    basis: IndexBasis,
    collectedThrough: number,
    shard: ShardRow,
    entry: Entry,
  ): ShardIndex | null {
    if (entry.loaded || entry.unavailable !== null || this.#files === null) return null
    entry.loaded = true
    const rows = this.#rowsFor(shard)
    if (rows === null) return null
    const loaded = this.#files.load(shard, ({ logId, cursor, dimension, metric, int8 }) => {
      if (logId !== basis.logId) return 'it follows the feed of another file'
      if (dimension !== shard.dimension || metric !== shard.metric) return 'it is of another shard'
      if (cursor > shard.head || cursor < collectedThrough) return 'the feed has no way on from it'
      return rows.float32 || rows.int8 === int8 ? null : 'it was made for other memory'
    })
    if (loaded === null) return null
    this.#makeRoom(shard, rows)
    const index = new ShardIndex(basis, loaded.arena)
    index.cursor = loaded.about.cursor
    index.savedAt = index.cursor
    index.restore(loaded.about.calibration, loaded.about.changed, index.cursor)
    index.provisional = rows.float32
    index.unproven = true
    return index
  }

  /** True when a current index may answer; one from disk that differs from the rows is dropped. */
  #proven(shard: ShardRow, entry: Entry): boolean {
    if (entry.index === null || entry.index.isProven(shard, this.#statements)) return true
    entry.index = null
    this.#files?.refused(shard.shard_id, 'saved codes are not those of the rows')
    return false
  }

  /**
   * An empty index with room for the shard, or null when memory does not suffice for any kind of
   * row. Parameters learnt for the one `before` are kept if that one was proven.
   */
  #create(
    basis: IndexBasis,
    shard: ShardRow,
    entry: Entry,
    before: ShardIndex | null,
  ): ShardIndex | null {
    const learnt = before?.unproven === true ? null : before
    const rows = this.#rowsFor(shard)
    if (rows === null) {
      entry.unavailable = `bits of ${shard.record_count} records exceed searchMemoryBytes`
      return null
    }
    this.#makeRoom(shard, rows)
    const { dimension, metric } = shard
    const index = new ShardIndex(basis, new Arena({ dimension, metric, rows }))
    // Codes that are remade from float32 rows can wait until those are there.
    const quantizer = learnt?.arena.quantizer ?? (rows.float32 ? null : this.#train(shard))
    if (quantizer !== null) index.arena.quantize(quantizer)
    if (learnt?.calibration != null) {
      index.restore(learnt.calibration, learnt.changedCount, learnt.cursor)
    }
    index.savedAt = learnt?.savedAt ?? -1
    return index
  }

  /**
   * The kinds of row that are to be held for the shard: beside the codes of the others where that
   * is enough for any, so that shards share the memory instead of taking turns in it.
   */
  #rowsFor({ shard_id, record_count, dimension, metric }: ShardRow): ArenaRows | null {
    let others = 0
    for (const [id, { index }] of this.#entries) {
      if (id === shard_id || index === null) continue
      const { arena } = index
      const codes = { ...arena.rows, float32: false }
      others += arena.count * memoryLayout(arena.dimension, arena.metric, codes).slotBytes
    }
    const shared = fittingRows(record_count, dimension, metric, this.#memoryBytesMax - others)
    return shared ?? fittingRows(record_count, dimension, metric, this.#memoryBytesMax)
  }

  /**
   * Takes float32 rows from the indexes of other shards, and then whole indexes, the least recently
   * used first, until these rows fit beside the rest.
   */
  #makeRoom(shard: ShardRow, rows: ArenaRows): void {
    const bytes = shard.record_count * memoryLayout(shard.dimension, shard.metric, rows).slotBytes
    const others = [...this.#entries]
      .filter(([id, { index }]) => id !== shard.shard_id && index !== null)
      .toSorted(([, a], [, b]) => (a.index?.usedAt ?? 0) - (b.index?.usedAt ?? 0))
    const held = (): number => others.reduce((sum, [, { index }]) => sum + rowBytesOf(index), 0)
    for (const [, entry] of others) {
      if (held() + bytes <= this.#memoryBytesMax) return
      if (entry.index !== null && entry.work === null) entry.index = withoutFloat32(entry.index)
    }
    for (const [id, entry] of others) {
      if (held() + bytes <= this.#memoryBytesMax) return
      entry.index = null
      this.#entries.delete(id)
    }
  }

  #train(shard: ShardRow): Quantizer | null {
    const sample: Float32Array[] = []
    for (let i = 0; i < TRAINING_ROWS_MAX; i += 1) {
      const after = Math.floor((i * shard.head) / TRAINING_ROWS_MAX)
      const row = this.#statements.embeddingAt.get(shard.shard, after)
      if (row !== undefined) sample.push(bytesToFloat32(row['embedding'] as Uint8Array))
    }
    return sample.length === 0 ? null : trainQuantizer(sample, shard.dimension, shard.metric)
  }

  /** Reads what is pending; an arena that cannot grow is given up, and false. */
  #catchUp(shard: ShardRow, entry: Entry, index: ShardIndex, limit = 2 ** 31): boolean {
    try {
      index.readTail(this.#statements.readTail, shard, limit)
      return true
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      if (entry.index !== null && entry.index !== index) {
        // The index in use continues without float32 rows.
        entry.index.provisional = false
        return false
      }
      entry.index = null
      entry.unavailable = `memory for ${index.arena.count + 1} records was refused: ${error.message}`
      return false
    }
  }

  #wantsWork(index: ShardIndex): boolean {
    const { arena } = index
    return (
      index.provisional ||
      index.asked.due ||
      this.#outgrown(index) ||
      (needsCodes(arena) && index.mustCalibrate) ||
      this.#wantsSave(index, SAVE_SHARE.running)
    )
  }

  /** True when its codes are worth saving and the feed has moved that far beyond those on disk. */
  #wantsSave(index: ShardIndex, share: number): boolean {
    const { arena, calibration, cursor, savedAt } = index
    if (this.#files === null || calibration === null || !needsCodes(arena)) return false
    // Rows beyond the range of codes are counted in memory only.
    if (index.unproven || arena.wildCount > 0) return false
    return savedAt < 0 || cursor - savedAt > share * arena.count
  }

  *#save(shardId: string, index: ShardIndex): Generator<void> {
    const { cursor } = index
    yield* must(this.#files, 'files to save to').save(shardId, index)
    // Also where it failed, which was reported: tried again after as many changes.
    index.savedAt = cursor
  }

  /** Memory exceeded, or thresholds that no longer fit and cannot be learnt in place: rebuild. */
  #outgrown(index: ShardIndex): boolean {
    const { arena, calibration, misfit, mustRelearn } = index
    if (arena.count * arena.layout.slotBytes > this.#memoryBytesMax) return true
    if (arena.rows.float32 || calibration === null) return false
    return misfit || mustRelearn
  }

  #start(shardId: string, entry: Entry): void {
    if (entry.work !== null || entry.unavailable !== null || this.#closed) return
    entry.work = this.#work(shardId, entry)
      .catch((error: unknown) => {
        // The file failed; the next search scans the table and meets the same. Anything else is a
        // bug.
        if (!(error instanceof SqliteVectorError)) throw error
        entry.index = null
        entry.unavailable = error.message
      })
      .finally(() => {
        entry.work = null
        entry.building = null
      })
  }

  /** Builds the missing part in slices, letting the process do other work in between. */
  async #work(shardId: string, entry: Entry): Promise<void> {
    const { index: before } = entry
    const outgrown = before !== null && this.#outgrown(before)
    let built = outgrown || before?.provisional === true ? null : before
    let refused = false
    for (let done = false; !done;) {
      await turns.nextIdle()
      if (!this.#alive(shardId, entry)) return
      done = this.#core.read(() => {
        const shard = findShardRow(this.#core, shardId)
        if (shard === null) return true
        const { basis, collectedThrough } = this.#feed(shard)
        if (built === null || !built.validFor(basis, collectedThrough)) {
          built = this.#create(basis, shard, entry, outgrown ? null : before)
        }
        entry.building = built
        if (built === null) return true
        const rows = Math.ceil(SLICE_COMPONENTS / shard.dimension)
        if (this.#catchUp(shard, entry, built, rows)) return built.cursor >= shard.head
        refused = true
        return true
      })
    }
    entry.building = null
    if (refused) return
    // It answers from now on, exactly until it is calibrated.
    entry.index = built
    if (built !== null && (await this.#calibrate(shardId, entry, built))) {
      await this.#check(shardId, entry, built)
      await this.#keep(shardId, entry, built)
    }
  }

  /** Saves the codes in slices when it is time. */
  async #keep(shardId: string, entry: Entry, index: ShardIndex): Promise<void> {
    if (!this.#wantsSave(index, SAVE_SHARE.running)) return
    const steps = this.#save(shardId, index)
    for (;;) {
      await turns.nextIdle()
      if (!this.#alive(shardId, entry)) {
        steps.return(undefined)
        return
      }
      if (steps.next().done === true) return
    }
  }

  /** Calibrates the index where it is time; false when the shard was given up meanwhile. */
  async #calibrate(shardId: string, entry: Entry, index: ShardIndex): Promise<boolean> {
    if (!needsCodes(index.arena) || !index.mustCalibrate) return true
    const steps = calibrationWork(index, this.#statements, this.#core.clock)
    for (;;) {
      await turns.nextIdle()
      if (!this.#alive(shardId, entry)) return false
      const step = this.#core.read(() => steps.next())
      if (step.done !== true) continue
      index.misfit = !step.value
      return true
    }
  }

  /** Compares a query that was asked lately with exact search. */
  async #check(shardId: string, entry: Entry, index: ShardIndex): Promise<void> {
    const query = index.asked.take()
    if (query === null) return
    await turns.nextIdle()
    if (!this.#alive(shardId, entry)) return
    const recall = this.#core.read(() => checkedRecall(index, this.#statements, query))
    if (recall !== null) index.asked.checked(recall)
  }

  #alive(shardId: string, entry: Entry): boolean {
    return !this.#closed && this.#entries.get(shardId) === entry
  }
}

/** True when the planner uses codes: many float32 rows, or none in memory. */
function needsCodes(arena: Arena): boolean {
  if (arena.wildCount > 0) return false
  if (!arena.rows.float32) return arena.count > 0
  return arena.count * arena.dimension > EXACT_COMPONENTS_MAX
}

/** Bytes of the rows of an index, without the working space that every arena has. */
function rowBytesOf(index: ShardIndex | null): number {
  return index === null ? 0 : index.arena.count * index.arena.layout.slotBytes
}
