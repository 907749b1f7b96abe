/**
 * `SQLiteVectorDB`: a vector database in one SQLite file. Opens it, checks what callers give, and
 * runs each call in one transaction.
 *
 * Not here: the tables (schema.ts), what a write does (writes.ts), what a read asks
 * (query/by-id.ts), and everything about peers (replica.ts; `createVectorSync` in sync/).
 *
 * Every method is synchronous and safe to `await`; `insertBatch` and `group` are promises.
 */
import { files, random as systemRandom } from '#platform'

import xxhash from 'xxhash-wasm'

import { systemClock } from '../clock/system-clock.ts'
import type { Clock } from '../clock/types.ts'
import { SqliteVectorError } from '../errors.ts'
import { COMPARE_SLICE_ROWS, ID_BYTES_MAX } from '../limits.ts'
import { nameGiven, objectGiven, oneOf, rejectUnknownKeys, shown } from '../options.ts'
import { insertBatch } from './local/batch.ts'
import { vacuum } from './replica/tombstones.ts'
import { type Hash64, OpenFile, type WriteTransaction } from './file/transaction.ts'
import {
  conflictSiblings,
  listConflicts,
  resolveConflict,
  setConflictStrategy,
} from './local/conflicts.ts'
import { GroupCommit } from './file/group-commit.ts'
import { Finder } from './query/finder.ts'
import { createIdentity, closeSession, openSession, renewIdentity } from './replica/identity.ts'
import { metadataToText, prepareRecord, prepareText, prepareVector } from './input.ts'
import {
  functionGiven,
  resolveCollectOptions,
  resolveConflictListOptions,
  resolveListOptions,
  resolveQuarantineListOptions,
  type ResolvedVectorDBOptions,
  resolveShardOptions,
  resolveVectorDBOptions,
} from './options.ts'
import { getRecord } from './query/by-id.ts'
import { refuseCostlyVectors } from './query/cost.ts'
import { type FindOptions, VectorQuery } from './query/query-builder.ts'
import { createMetadataIndex, dropMetadataIndex, metadataIndexes } from './query/metadata-index.ts'
import { quarantined } from './replica/quarantine.ts'
import { CommitHooks } from './replica/commit-hooks.ts'
import { type Machine, thisMachine } from './replica/machine.ts'
import { Replica } from './replica/replica.ts'
import {
  discardEntry,
  retryAfterUpgrade,
  retryEntry,
  retryShard,
} from './replica/quarantine-retry.ts'
import { snapshot } from './snapshot.ts'
import { checkSchema, migrate } from './file/schema.ts'
import { inspectFile } from './file/inspect.ts'
import { located } from './located.ts'
import { withFileErrors } from './file/failures.ts'
import type {
  Embedder,
  Facet,
  FacetOptions,
  Filter,
  HybridOptions,
  HybridResult,
  IndexInfo,
  RecallOptions,
  RecallReport,
  SearchPlan,
  TextResult,
  TextSearchOptions,
} from './query/types.ts'
import {
  dropShard,
  ensureShard,
  loadShard,
  rowToShardState,
  shardRow,
  flushShard,
} from './feed/shards.ts'
import { hasLog, openSqlite, withSqliteErrors } from './file/sqlite.ts'
import type {
  BatchOptions,
  CollectOptions,
  ConflictChoice,
  ConflictListOptions,
  ConflictPage,
  ConflictSibling,
  ConflictStrategy,
  EmbeddedRecord,
  ListOptions,
  ListPage,
  QuarantineEntry,
  QuarantineListOptions,
  QuarantineRetry,
  RecordInput,
  RecordUpdate,
  Recount,
  ShardOptions,
  SnapshotOptions,
  StoreStats,
  VectorDBOptions,
} from './types.ts'
import {
  deleteRecord,
  insertRecord,
  type PreparedUpdate,
  updateRecord,
  upsertRecord,
} from './local/writes.ts'
import { type OpenShard } from './file/open-shard.ts'
import { type ReplicaStore } from './replica/types.ts'
import { type SearchOptions, type SearchResult, type ShardSearchResult } from './query/types.ts'
import { type Metadata, type ShardInfo, type VectorInput } from '../model/records.ts'
import { type ShardTarget, TypedShard } from './typed-shard.ts'

/** The surroundings of the store; tests own the time and the dice. */
export interface VectorDBEnvironment {
  /** Source of the time. */
  readonly clock: Clock
  /** Source of randomness. */
  readonly randomBytes: (count: number) => Uint8Array
  /** The machine and the process, for telling copies of a file apart. */
  readonly machine: Machine
  /** Rows that are summed in one turn of the event loop. */
  readonly sliceRows: number
}

/**
 * Opens the database at `path`, creating it when missing.
 * @throws SqliteVectorError `STORE_IO`, `STORE_CORRUPT`, `STORE_SCHEMA_TOO_NEW`, `STORE_BUSY`
 */
export async function createVectorDB(
  options: VectorDBOptions,
  environment: Partial<VectorDBEnvironment> = {},
): Promise<SQLiteVectorDB> {
  const resolved = located(resolveVectorDBOptions(options))
  const { path, readOnly, onEvent } = resolved
  const hasher = await xxhash()
  const hash64 = (bytes: Uint8Array): bigint => hasher.h64Raw(bytes, 0n)
  try {
    return openDatabase(resolved, environment, hash64)
  } catch (error) {
    // A file on a full disk can still be read, and copied elsewhere.
    const isFull = error instanceof SqliteVectorError && error.code === 'STORE_FULL'
    if (!isFull || readOnly || (files.facts(path)?.bytes ?? 0) === 0) throw error
    onEvent({ type: 'opened-read-only', path, reason: 'the disk is full' })
    return openDatabase({ ...resolved, readOnly: true, saveIndex: false }, environment, hash64)
  }
}

function openDatabase(
  resolved: ResolvedVectorDBOptions,
  environment: Partial<VectorDBEnvironment>,
  hash64: Hash64,
): SQLiteVectorDB {
  const surroundings = { ...realEnvironment(), ...environment }
  const { clock, machine, randomBytes: random, sliceRows } = surroundings
  const { path, readOnly } = resolved
  withFileErrors(path, () => inspectFile(path))
  const hadLog = hasLog(path)
  const db = openSqlite(resolved)
  try {
    withSqliteErrors(path, () => {
      if (readOnly) {
        checkSchema(db, path)
        return
      }
      db.exec('BEGIN IMMEDIATE')
      migrate(db, path)
      createIdentity({ db, clock, randomBytes: random })
      db.exec('COMMIT')
    })
    const hooks = withSqliteErrors(path, () => new CommitHooks(db, path))
    const parts = {
      db,
      path,
      clock,
      hash64,
      randomBytes: random,
      onEvent: resolved.onEvent,
      flushShard,
      hooks,
      readOnly,
      sliceRows,
    }
    const core = withSqliteErrors(path, () => new OpenFile(parts))
    const session = readOnly ? null : openSession(core, machine, hadLog)
    if (!readOnly) retryAfterUpgrade(core)
    return new SQLiteVectorDB(core, hooks, resolved, session)
  } catch (error) {
    db.close()
    throw error
  }
}

/** An open database. Made by {@link createVectorDB}. */
export class SQLiteVectorDB {
  /** The change feed and what peers sent, for `createVectorSync`. */
  readonly replica: ReplicaStore
  readonly #core: OpenFile
  readonly #finder: Finder
  readonly #group: GroupCommit
  readonly #options: ResolvedVectorDBOptions
  /** Null where the file cannot note that it is open. */
  readonly #session: Uint8Array | null

  /** @internal */
  constructor(
    core: OpenFile,
    hooks: CommitHooks,
    options: ResolvedVectorDBOptions,
    session: Uint8Array | null,
  ) {
    this.#core = core
    this.#finder = new Finder(core, options)
    this.#group = new GroupCommit(core)
    this.#options = options
    this.#session = session
    this.replica = new Replica(core, hooks)
  }

  get path(): string {
    return this.#core.path
  }

  /**
   * Throws the error that a write would meet now, without writing.
   * @throws SqliteVectorError `STORE_READ_ONLY`, `STORE_IO` when the file is gone, `STORE_CLOSED`
   */
  checkWritable(): void {
    this.#core.assertOpen()
    this.#core.assertWritable()
  }

  /** Creates the shard, or checks that the one there is the same. @throws `STORE_SHARD_MISMATCH` */
  createShard(shardId: string, options: ShardOptions): ShardInfo {
    const info = resolveShardOptions(shardId, options)
    return this.#core.write((transaction) => ensureShard(transaction, info))
  }

  /** The shard under the type of its metadata, which is the caller's word. Checks nothing. */
  shard<M extends object = Metadata>(shardId: string): TypedShard<M> {
    return new TypedShard<M>(this as unknown as ShardTarget<M>, shardId)
  }

  /** All shards, by the bytes of their names. */
  shards(): readonly ShardInfo[] {
    return this.replica.shards()
  }

  /**
   * Adds a record. @throws `STORE_RECORD_EXISTS`, `STORE_DIMENSION_MISMATCH`, `STORE_SHARD_UNKNOWN`
   */
  insert<M extends object = Metadata>(shardId: string, record: RecordInput<M>): void {
    this.#write(shardId, (transaction, shard) => {
      insertRecord(transaction, shard, prepareRecord(shard, record as RecordInput))
    })
  }

  /** Adds a record or replaces the one there; true when there was none. */
  upsert<M extends object = Metadata>(shardId: string, record: RecordInput<M>): boolean {
    return this.#write(shardId, (transaction, shard) =>
      upsertRecord(transaction, shard, prepareRecord(shard, record as RecordInput)),
    )
  }

  /**
   * Adds many records. Up to 10,000 are one transaction: all or none. More are committed in
   * transactions of 10,000, with other work of the process let in between; an error then names how
   * many are committed, and they stay. Resolves with the number of records committed.
   */
  insertBatch<M extends object = Metadata>(
    shardId: string,
    records: readonly RecordInput<M>[],
    options: BatchOptions = {},
  ): Promise<number> {
    return insertBatch(this.#core, shardId, records as readonly RecordInput[], options)
  }

  /**
   * Changes parts of a record, or of all records that pass a filter: then returns how many.
   * @throws `STORE_RECORD_UNKNOWN`, `STORE_DIMENSION_MISMATCH`
   */
  update(shardId: string, id: string, update: RecordUpdate): void
  update(shardId: string, where: { readonly filter: Filter }, update: RecordUpdate): number
  update(
    shardId: string,
    which: string | { readonly filter: Filter },
    update: RecordUpdate,
  ): number | void {
    if (typeof which !== 'string') {
      return this.#writeWhere(shardId, which, (transaction, shard, id) => {
        updateRecord(transaction, shard, id, prepareUpdate(shard, update))
      })
    }
    nameGiven('id', which, ID_BYTES_MAX)
    return this.#write(shardId, (transaction, shard) => {
      updateRecord(transaction, shard, which, prepareUpdate(shard, update))
    })
  }

  /**
   * Deletes a record, and returns whether there was one; or all that pass a filter, and returns how
   * many.
   */
  delete(shardId: string, id: string): boolean
  delete(shardId: string, where: { readonly filter: Filter }): number
  delete(shardId: string, which: string | { readonly filter: Filter }): boolean | number {
    if (typeof which !== 'string') return this.#writeWhere(shardId, which, deleteRecord)
    nameGiven('id', which, ID_BYTES_MAX)
    return this.#write(shardId, (transaction, shard) => deleteRecord(transaction, shard, which))
  }

  /** The record with its embedding, or null. */
  get<M extends object = Metadata>(shardId: string, id: string): EmbeddedRecord<M> | null {
    nameGiven('id', id, ID_BYTES_MAX)
    const record = this.#core.read(() => getRecord(this.#core, shardRow(this.#core, shardId), id))
    return record as EmbeddedRecord<M> | null
  }

  /** The records with their embeddings, in the order of `ids`; null for each that there is not. */
  getMany<M extends object = Metadata>(
    shardId: string,
    ids: readonly string[],
  ): readonly (EmbeddedRecord<M> | null)[] {
    if (!Array.isArray(ids)) throw new TypeError(`ids must be an array, got ${shown(ids)}`)
    for (const [index, id] of ids.entries()) nameGiven(`ids[${index}]`, id, ID_BYTES_MAX)
    return this.#core.read(() => {
      const shard = shardRow(this.#core, shardId)
      refuseCostlyVectors(shard.dimension, ids.length)
      return ids.map((id) => getRecord(this.#core, shard, id) as EmbeddedRecord<M> | null)
    })
  }

  /**
   * A page of records in the order of the bytes of their ids: all, those that pass a filter, those
   * whose id begins with a prefix.
   */
  list(shardId: string, options: ListOptions = {}): ListPage {
    return this.#finder.list(shardId, resolveListOptions(options))
  }

  /** How many records the shard shows, or how many of them pass a filter. O(1) without one. */
  count(shardId: string, filter?: Filter): number {
    return this.#finder.count(shardId, filter)
  }

  /**
   * The `k` nearest records, nearest first, ties by id. Distances are exact; which records are
   * looked at is approximate in large shards, at the recall that {@link explain} states, unless
   * `exact` is said.
   */
  search(shardId: string, vector: VectorInput, options?: SearchOptions): readonly SearchResult[]
  /** The nearest of several shards of one metric and dimension, each with its shard's name. */
  search(
    shardIds: readonly string[],
    vector: VectorInput,
    options?: SearchOptions,
  ): readonly ShardSearchResult[]
  search(
    shardIds: string | readonly string[],
    vector: VectorInput,
    options: SearchOptions = {},
  ): readonly SearchResult[] {
    return typeof shardIds === 'string'
      ? this.#finder.search(shardIds, vector, options)
      : this.#finder.searchShards(shardIds, vector, options)
  }

  /**
   * The values at `path` of the metadata and the number of records of each, the most frequent
   * first.
   */
  facets(shardId: string, path: string, options: FacetOptions = {}): readonly Facet[] {
    return this.#finder.facets(shardId, path, options)
  }

  /** {@link search} for many vectors, over one state of the file; the filter is applied once. */
  searchBatch(
    shardId: string,
    vectors: readonly VectorInput[],
    options: SearchOptions = {},
  ): readonly (readonly SearchResult[])[] {
    return this.#finder.searchBatch(shardId, vectors, options)
  }

  /** The records whose texts fit best by BM25; one word of `text` is enough to be found. */
  searchText(
    shardId: string,
    text: string,
    options: TextSearchOptions = {},
  ): readonly TextResult[] {
    return this.#finder.searchText(shardId, text, options)
  }

  /** The rankings by vector and by text, fused by reciprocal ranks. */
  hybrid(shardId: string, options: HybridOptions): readonly HybridResult[] {
    return this.#finder.hybrid(shardId, options)
  }

  /** The state of the shard's index in memory; unlike {@link explain} it builds nothing. */
  indexInfo(shardId: string): IndexInfo {
    return this.#finder.indexInfo(shardId)
  }

  /** How a search with these options would run now, and why. */
  explain(shardId: string, options: SearchOptions = {}): SearchPlan {
    return this.#finder.explain(shardId, options)
  }

  /** Measures the recall of the default search on this shard against exact search. */
  recall(shardId: string, options: RecallOptions = {}): RecallReport {
    return this.#finder.recall(shardId, options)
  }

  /** A query to be put together step by step. */
  query(shardId: string): VectorQuery {
    return new VectorQuery({
      search: (vector: VectorInput, options: SearchOptions) =>
        this.#finder.search(shardId, vector, options),
      find: (options: FindOptions) => this.#finder.find(shardId, options),
      count: (filter: Filter | undefined) => this.#finder.count(shardId, filter),
    })
  }

  /** Builds the shard's index in memory now rather than with the first searches. */
  warmIndex(shardId: string): Promise<void> {
    return this.#finder.warm(shardId)
  }

  /**
   * Declares that filters use `path`, for all shards of this file: it gets an index. True when it
   * had none.
   */
  createMetadataIndex(path: string): boolean {
    return this.#core.write(() => createMetadataIndex(this.#core.db, path))
  }

  /** Drops the index on `path`; false when there was none. */
  dropMetadataIndex(path: string): boolean {
    return this.#core.write(() => dropMetadataIndex(this.#core.db, path))
  }

  /** Paths that have an index. */
  metadataIndexes(): readonly string[] {
    return this.#core.read(() => metadataIndexes(this.#core.db))
  }

  /**
   * Checks that `embedder` makes the vectors of this shard. @throws `STORE_SHARD_MISMATCH` naming
   * both models
   */
  checkEmbedder(shardId: string, embedder: Embedder): void {
    this.#finder.checkEmbedder(shardId, embedder)
  }

  /**
   * Runs `fn`, and commits everything it writes here as one. Throws what `fn` throws, and then
   * nothing of it is left. Inside another transaction it is a part that can fail alone.
   */
  transaction<T>(fn: () => T): T {
    functionGiven('fn', fn)
    return this.#core.atomically(() => {
      const value = fn()
      if (typeof (value as { then?: unknown } | undefined)?.then === 'function') {
        throw new TypeError('transaction: fn must not return a promise, nothing may wait inside')
      }
      return value
    })
  }

  /**
   * Runs `fn` at the end of this turn of the event loop, together with others that were given in
   * it, in one transaction. Resolves when its writes are durable; when `fn` throws, it alone is
   * undone.
   */
  group<T>(fn: () => T): Promise<T> {
    functionGiven('fn', fn)
    this.#core.assertOpen()
    return this.#group.add(fn)
  }

  /** Lists records with unresolved conflicts, whatever the conflict strategy. */
  listConflicts(shardId: string, options: ConflictListOptions = {}): ConflictPage {
    const resolved = resolveConflictListOptions(options)
    return this.#core.read(() => listConflicts(this.#core, shardRow(this.#core, shardId), resolved))
  }

  /**
   * The siblings of a record, in the order of their dots: one without a conflict, none without the
   * record.
   */
  conflictSiblings(shardId: string, id: string): readonly ConflictSibling[] {
    nameGiven('id', id, ID_BYTES_MAX)
    return this.#core.read(() => conflictSiblings(this.#core, shardRow(this.#core, shardId), id))
  }

  /**
   * Decides a conflict by a write that covers all siblings, and replicates. @throws
   * `STORE_CONFLICT_UNKNOWN`
   */
  resolveConflict(shardId: string, id: string, choice: ConflictChoice): void {
    nameGiven('id', id, ID_BYTES_MAX)
    this.#write(shardId, (transaction, shard) => resolveConflict(transaction, shard, id, choice))
  }

  /**
   * Sets how conflicts of the shard are shown, and shows those there are accordingly. Kept in the
   * file; a function cannot be, and is to be set after every open: until then the last write is
   * shown.
   */
  setConflictStrategy(shardId: string, strategy: ConflictStrategy): void {
    const before = this.#core.strategyFunctions.get(shardId)
    try {
      this.#core.write((transaction) => setConflictStrategy(transaction, shardId, strategy))
    } catch (error) {
      if (before === undefined) this.#core.strategyFunctions.delete(shardId)
      else this.#core.strategyFunctions.set(shardId, before)
      throw error
    }
  }

  /**
   * Takes a shard and its records out of this file, not out of peers'; false when there is none.
   * The file gets a new writing identity, as a shard of that name may come back.
   */
  dropShard(shardId: string): boolean {
    return this.#core.write((transaction) => {
      const dropped = dropShard(transaction, shardId)
      if (dropped) renewIdentity(transaction, 'shard-dropped')
      return dropped
    })
  }

  /**
   * Forgets deletes that every known replica has, and returns how many. Their pages are free then;
   * `vacuum()` gives them back to the file system.
   */
  collectTombstones(shardId: string, options: CollectOptions = {}): number {
    return this.replica.collectTombstones(shardId, resolveCollectOptions(options))
  }

  /** Gives free pages back to the file system; how many bytes the file shrank. */
  vacuum(): number {
    return vacuum(this.#core)
  }

  /**
   * Counts the shard again from its rows, and corrects the stored figures; `correct`: they were
   * right.
   */
  recount(shardId: string): Recount {
    return this.replica.recount(shardId)
  }

  /** Changes of peers that could not be applied, oldest first. */
  listQuarantine(shardId: string, options: QuarantineListOptions = {}): readonly QuarantineEntry[] {
    const { after, limit } = resolveQuarantineListOptions(options)
    return this.#core.read(() => {
      const { shard } = shardRow(this.#core, shardId)
      return quarantined(this.#core, shard, after, limit).map(
        ({ entry, change, peer, reason, atMs }) => ({ entry, id: change.id, peer, reason, atMs }),
      )
    })
  }

  /** Applies an entry, or every entry of the shard, again. @throws `STORE_QUARANTINE_UNKNOWN` */
  retryQuarantine(shardId: string, entry?: number): QuarantineRetry {
    return this.#write(shardId, (transaction, shard) => {
      if (entry === undefined) return retryShard(transaction, shard)
      const applied = retryEntry(transaction, shard, entry) ? 1 : 0
      return { applied, left: shard.quarantineCount }
    })
  }

  /**
   * Rejects a quarantined change on every replica: the record's present state here supersedes it;
   * without such a record, a delete does. @throws `STORE_QUARANTINE_UNKNOWN`
   */
  discardQuarantine(shardId: string, entry: number): void {
    this.#write(shardId, (transaction, shard) => discardEntry(transaction, shard, entry))
  }

  /**
   * Copies the file to `path` while it is in use, and checks the copy. Opened, the copy writes
   * under an identity of its own. Resolves with its bytes. @throws `STORE_IO` when `path` exists
   */
  snapshot(path: string, options: SnapshotOptions = {}): Promise<number> {
    nameGiven('path', path, 4_096)
    rejectUnknownKeys('snapshot', options, ['signal'])
    return snapshot(this.#core, path, options.signal)
  }

  /** Counts and sizes, read from the file. */
  stats(): StoreStats {
    const { db } = this.#core
    return this.#core.read(() => {
      const pragma = (name: string): number => Number(db.prepare(`PRAGMA ${name}`).get()?.[name])
      const identity = this.#core.identity()
      const pageBytes = pragma('page_size')
      const shards = this.replica.shards()
      return {
        path: this.path,
        fileBytes: pragma('page_count') * pageBytes,
        freeBytes: pragma('freelist_count') * pageBytes,
        sqliteVersion: String(db.prepare('SELECT sqlite_version() AS v').get()?.['v']),
        durability: this.#options.durability,
        readOnly: this.#core.readOnly,
        identity,
        shards: shards.map(({ shardId }) =>
          rowToShardState(shardRow(this.#core, shardId), identity.logId),
        ),
      }
    })
  }

  /** Closes the file. Idempotent. */
  close(): void {
    if (!this.#core.open) return
    this.#group.flush()
    this.#finder.close()
    try {
      if (this.#session !== null) closeSession(this.#core, this.#session)
    } finally {
      this.#core.close()
    }
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Runs `fn` for every record that passes, in one transaction; how many there were. */
  #writeWhere(
    shardId: string,
    where: { readonly filter: Filter },
    fn: (transaction: WriteTransaction, shard: OpenShard, id: string) => unknown,
  ): number {
    objectGiven('where', where)
    rejectUnknownKeys('where', where, ['filter'])
    return this.#write(shardId, (transaction, shard) => {
      const ids = this.#finder.idsWhere(shardId, where.filter)
      // Inside transaction(), a refusal half-way must not leave the first half behind.
      this.#core.savepoint(transaction, () => {
        for (const id of ids) fn(transaction, shard, id)
      })
      return ids.length
    })
  }

  #write<T>(shardId: string, fn: (transaction: WriteTransaction, shard: OpenShard) => T): T {
    return this.#core.write((transaction) => fn(transaction, loadShard(transaction, shardId)))
  }
}

function prepareUpdate(shard: ShardInfo, update: RecordUpdate): PreparedUpdate {
  objectGiven('update', update)
  rejectUnknownKeys('update', update, ['embedding', 'metadata', 'text', 'metadataMode'])
  const { embedding, metadata, text, metadataMode = 'merge' } = update
  oneOf('update.metadataMode', metadataMode, ['merge', 'replace'])
  if (embedding === undefined && metadata === undefined && text === undefined) {
    throw new TypeError('update must have at least one of embedding, metadata, text')
  }
  return {
    embedding:
      embedding === undefined ? undefined : prepareVector(shard, embedding, 'update.embedding'),
    metadata: metadata === undefined ? undefined : metadataToText(metadata, 'update.metadata'),
    metadataMode,
    text: text === undefined || text === null ? text : prepareText(text, 'update.text'),
  }
}

function realEnvironment(): VectorDBEnvironment {
  return {
    clock: systemClock,
    randomBytes: systemRandom.bytes,
    machine: thisMachine(),
    sliceRows: COMPARE_SLICE_ROWS,
  }
}
