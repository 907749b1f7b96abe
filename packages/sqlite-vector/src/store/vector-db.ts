/**
 * `SQLiteVectorDB`: a vector database in one SQLite file. Opens it, checks what callers give, and runs
 * each call in one transaction.
 *
 * Not here: the tables (schema.ts), what a write does (writes.ts), what a read asks (queries.ts), and
 * everything about peers (replica.ts; `createVectorSync` in sync/).
 *
 * Every method is synchronous and safe to `await`; `insertBatch` and `group` are promises.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'

import xxhash from 'xxhash-wasm'

import { systemClock } from '../clock/system-clock.ts'
import type { Clock } from '../clock/types.ts'
import { ID_BYTES_MAX } from '../limits.ts'
import { nameGiven, objectGiven, oneOf, rejectUnknownKeys, shown } from '../options.ts'
import { insertBatch } from './batch.ts'
import { StoreCore, type WriteTransaction } from './core.ts'
import { createIdentity, closeSession, type Machine, openSession } from './identity.ts'
import { metadataToText, prepareRecord, prepareText, prepareVector } from './input.ts'
import {
  resolveListOptions,
  type ResolvedVectorDBOptions,
  resolveSearchOptions,
  resolveShardOptions,
  resolveVectorDBOptions,
} from './options.ts'
import { getRecord, listRecords, searchExact } from './queries.ts'
import { Replica } from './replica.ts'
import { migrate } from './schema.ts'
import { ensureShard, loadShard, type OpenShard, rowToState, shardRow } from './shards.ts'
import { openSqlite, withSqliteErrors } from './sqlite.ts'
import type {
  BatchOptions,
  ListOptions,
  ListPage,
  RecordInput,
  RecordUpdate,
  ReplicaStore,
  SearchOptions,
  SearchResult,
  ShardInfo,
  ShardOptions,
  StoreStats,
  VectorDBOptions,
  VectorInput,
  VectorRecord,
} from './types.ts'
import {
  deleteRecord,
  insertRecord,
  type PreparedUpdate,
  updateRecord,
  upsertRecord,
} from './writes.ts'

/** What the store takes from its surroundings; tests own the time and the dice. */
export interface VectorDBEnvironment {
  readonly clock: Clock
  readonly randomBytes: (count: number) => Uint8Array
  readonly machine: Machine
}

/**
 * Opens the database at `path`, creating it when missing.
 * @throws SqliteVectorError `STORE_IO`, `STORE_CORRUPT`, `STORE_SCHEMA_TOO_NEW`, `STORE_BUSY`
 */
export async function createVectorDB(
  options: VectorDBOptions,
  environment: Partial<VectorDBEnvironment> = {},
): Promise<SQLiteVectorDB> {
  const resolved = resolveVectorDBOptions(options)
  const hasher = await xxhash()
  const { clock, machine, randomBytes: random } = { ...realEnvironment(), ...environment }
  const { path } = resolved
  const db = openSqlite(resolved)
  try {
    const core = withSqliteErrors(path, () => {
      db.exec('BEGIN IMMEDIATE')
      migrate(db, path)
      createIdentity({ db, clock, randomBytes: random })
      db.exec('COMMIT')
      return new StoreCore({
        db,
        path,
        clock,
        hash64: (bytes) => hasher.h64Raw(bytes, 0n),
        randomBytes: random,
        onEvent: resolved.onEvent,
      })
    })
    return new SQLiteVectorDB(core, resolved, openSession(core, machine))
  } catch (error) {
    db.close()
    throw error
  }
}

/** An open database. Made by {@link createVectorDB}. */
export class SQLiteVectorDB {
  /** The change feed and what peers sent, for `createVectorSync`. */
  readonly replica: ReplicaStore
  readonly #core: StoreCore
  readonly #options: ResolvedVectorDBOptions
  readonly #session: Uint8Array

  /** @internal */
  constructor(core: StoreCore, options: ResolvedVectorDBOptions, session: Uint8Array) {
    this.#core = core
    this.#options = options
    this.#session = session
    this.replica = new Replica(core)
  }

  get path(): string {
    return this.#core.path
  }

  /** Creates the shard, or checks that the one there is the same. @throws `STORE_SHARD_MISMATCH` */
  createShard(shardId: string, options: ShardOptions): ShardInfo {
    const info = resolveShardOptions(shardId, options)
    return this.#core.write((transaction) => ensureShard(transaction, info))
  }

  /** All shards, by the bytes of their names. */
  shards(): readonly ShardInfo[] {
    return this.replica.shards()
  }

  /** Adds a record. @throws `STORE_RECORD_EXISTS`, `STORE_DIMENSION_MISMATCH`, `STORE_SHARD_UNKNOWN` */
  insert(shardId: string, record: RecordInput): void {
    this.#write(shardId, (transaction, shard) => {
      insertRecord(transaction, shard, prepareRecord(shard, record))
    })
  }

  /** Adds a record or replaces the one there; true when there was none. */
  upsert(shardId: string, record: RecordInput): boolean {
    return this.#write(shardId, (transaction, shard) =>
      upsertRecord(transaction, shard, prepareRecord(shard, record)),
    )
  }

  /**
   * Adds many records. Up to 10,000 are one transaction: all or none. More are committed in
   * transactions of 10,000, with other work of the process let in between; an error then names how
   * many are committed, and they stay. Resolves with the number of records committed.
   */
  insertBatch(
    shardId: string,
    records: readonly RecordInput[],
    options: BatchOptions = {},
  ): Promise<number> {
    return insertBatch(this.#core, shardId, records, options)
  }

  /** Changes parts of a record. @throws `STORE_RECORD_UNKNOWN`, `STORE_DIMENSION_MISMATCH` */
  update(shardId: string, id: string, update: RecordUpdate): void {
    nameGiven('id', id, ID_BYTES_MAX)
    this.#write(shardId, (transaction, shard) => {
      updateRecord(transaction, shard, id, prepareUpdate(shard, update))
    })
  }

  /** Deletes a record; true when there was one. */
  delete(shardId: string, id: string): boolean {
    nameGiven('id', id, ID_BYTES_MAX)
    return this.#write(shardId, (transaction, shard) => deleteRecord(transaction, shard, id))
  }

  /** The record with its embedding, or null. */
  get(shardId: string, id: string): VectorRecord | null {
    nameGiven('id', id, ID_BYTES_MAX)
    return this.#core.read(() => getRecord(this.#core, shardRow(this.#core, shardId), id))
  }

  /** The records with their embeddings, in the order of `ids`; null for each that there is not. */
  getMany(shardId: string, ids: readonly string[]): readonly (VectorRecord | null)[] {
    if (!Array.isArray(ids)) throw new TypeError(`ids must be an array, got ${shown(ids)}`)
    for (const [index, id] of ids.entries()) nameGiven(`ids[${index}]`, id, ID_BYTES_MAX)
    return this.#core.read(() => {
      const shard = shardRow(this.#core, shardId)
      return ids.map((id) => getRecord(this.#core, shard, id))
    })
  }

  /** A page of records in the order of the bytes of their ids. */
  list(shardId: string, options: ListOptions = {}): ListPage {
    const resolved = resolveListOptions(options)
    return this.#core.read(() => listRecords(this.#core, shardRow(this.#core, shardId), resolved))
  }

  /** How many records the shard shows. O(1). */
  count(shardId: string): number {
    return this.#core.read(() => shardRow(this.#core, shardId).record_count)
  }

  /** The `k` nearest records, nearest first, ties by id. Exact: O(records × dimension). */
  search(
    shardId: string,
    vector: VectorInput,
    options: SearchOptions = {},
  ): readonly SearchResult[] {
    const resolved = resolveSearchOptions(options)
    return this.#core.read(() => {
      const shard = shardRow(this.#core, shardId)
      const query = prepareVector({ ...shard, shardId, modelId: null }, vector, 'vector')
      return searchExact(this.#core, shard, query, resolved)
    })
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
        identity,
        shards: shards.map(({ shardId }) =>
          rowToState(shardRow(this.#core, shardId), identity.logId),
        ),
      }
    })
  }

  /** Closes the file. Idempotent. */
  close(): void {
    if (!this.#core.open) return
    try {
      closeSession(this.#core, this.#session)
    } finally {
      this.#core.close()
    }
  }

  [Symbol.dispose](): void {
    this.close()
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
    randomBytes: (count) => new Uint8Array(randomBytes(count)),
    machine: { bootId: readBootId(), pid: process.pid, processAlive },
  }
}

function readBootId(): string | null {
  if (process.platform !== 'linux') return null
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    // A sandbox without /proc: null is the careful answer, it never counts as the same boot.
    return null
  }
}

function processAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: it lives and belongs to somebody else.
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
