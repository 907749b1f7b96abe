/**
 * The open file: its connection, its prepared statements, and the transactions around everything.
 *
 * Not here: what is written (register.ts) or asked (query/by-id.ts). There is one writer at a time,
 * in this process and among all processes on the file.
 *
 * Invariants:
 *   I1  A write transaction commits whole or not at all; what memory knows of it (shard rows, keys
 *       of actors and peers, cursors) is dropped with it.
 *   I2  Shard rows and the writing identity are read inside the transaction that uses them: another
 *       process may have written since the last one.
 *   I3  Listeners hear of a commit after it, never of one that failed.
 */
import { FilePresence } from './presence.ts'
import { stored } from './damage.ts'
import type { SqliteDatabase } from '#platform'

import { bytesToHex } from '../../bytes.ts'
import type { Clock } from '../../clock/types.ts'
import { SqliteVectorError } from '../../errors.ts'
import type { ActorId } from '../../model/types.ts'
import { Doubts } from './doubts.ts'
import { FileKeys } from './keys.ts'
import { resultCodeOf, sqliteFailure } from './sqlite.ts'
import { prepareStatements, type Statements } from './statements.ts'
import { ShardTexts } from './texts.ts'
import type { ConflictFunction, StoreEvent } from '../types.ts'
import { type CommitNotice, type OpenShard } from './open-shard.ts'
import { type ReplicaIdentity } from '../../model/records.ts'

/** Called around every write transaction; given at construction. */
export interface TransactionHooks {
  /** Before the transaction begins. */
  beforeBegin(): void
  /** For every shard that it opened, before it commits and before the shard's row is written. */
  beforeCommit(transaction: WriteTransaction, shard: OpenShard): void
  /** Once it is committed, before listeners hear of it. */
  afterCommit(transaction: WriteTransaction): void
}

/** The parts of an open file. */
export interface OpenFileParts {
  readonly db: SqliteDatabase
  readonly path: string
  readonly clock: Clock
  readonly hash64: Hash64
  readonly randomBytes: (count: number) => Uint8Array
  readonly onEvent: (event: StoreEvent) => void
  /** Writes a shard's row back at the end of a transaction (feed/shards.ts). */
  readonly flushShard: (transaction: WriteTransaction, shard: OpenShard) => CommitNotice | null
  readonly hooks: TransactionHooks
  /** True: every write is refused. */
  readonly readOnly: boolean
  /** Rows that are hashed in one slice; see sliced.ts. */
  readonly sliceRows: number
}

/** The state of a write transaction. */
export interface WriteTransaction {
  readonly core: OpenFile
  readonly shards: Map<string, OpenShard>
  /** Physical time of the transaction: one reading, so that its stamps rise one by one. */
  readonly nowMs: number
  actor: ActorId
  logId: string
  /** The largest record key given out. */
  lastRowid: number
  /** Events for {@link OpenFileParts.onEvent} once the transaction is committed. */
  events: StoreEvent[]
  /** Set when a write broke off half-way; the transaction can then only roll back. */
  failure: { readonly error: unknown } | null
}

interface IdentityRow {
  readonly log_id: Uint8Array
  readonly actor: number
  readonly actor_id: Uint8Array
}

/** One open file. Owned by `SQLiteVectorDB`. */
export class OpenFile {
  readonly db: SqliteDatabase
  readonly sql: Statements
  /** Small integers that stand for actors and peers in the tables. */
  readonly keys: FileKeys
  readonly path: string
  readonly clock: Clock
  readonly hash64: Hash64
  readonly randomBytes: (count: number) => Uint8Array
  readonly onEvent: (event: StoreEvent) => void
  readonly sliceRows: number
  /** The full-text index of each shard. */
  readonly texts: ShardTexts
  readonly readOnly: boolean
  readonly #presence: FilePresence
  readonly #flushShard: OpenFileParts['flushShard']
  readonly #hooks: TransactionHooks
  /** Strategies that are functions, by shard id. */
  readonly strategyFunctions: Map<string, ConflictFunction> = new Map()
  /** Shards whose new writes go out as soon as they are committed, and to how many sessions. */
  readonly exposed: Map<string, number> = new Map()
  /** Peers that claim writes of this file's actors. */
  readonly doubts: Doubts = new Doubts()
  #transaction: WriteTransaction | null = null
  #reading = false
  #isClosing = false
  #open = true
  readonly #listeners = new Set<(notice: CommitNotice) => void>()
  readonly #headsSeen = new Map<string, number>()

  constructor(parts: OpenFileParts) {
    this.db = parts.db
    this.sql = prepareStatements(parts.db)
    this.texts = new ShardTexts(parts.db)
    this.keys = new FileKeys(this.sql)
    this.path = parts.path
    this.clock = parts.clock
    this.hash64 = parts.hash64
    this.randomBytes = parts.randomBytes
    this.onEvent = parts.onEvent
    this.sliceRows = parts.sliceRows
    this.readOnly = parts.readOnly
    this.#presence = new FilePresence(parts.path, parts.clock)
    this.#flushShard = parts.flushShard
    this.#hooks = parts.hooks
  }

  get open(): boolean {
    return this.#open
  }

  /** True inside {@link write}. */
  get writing(): boolean {
    return this.#transaction !== null
  }

  /**
   * Runs `fn` in the running write transaction, or in one of its own that commits when it returns.
   */
  write<T>(fn: (transaction: WriteTransaction) => T): T {
    this.assertOpen()
    if (this.#transaction !== null) return this.#join(this.#transaction, fn)
    this.assertWritable()
    const notices: CommitNotice[] = []
    let events: readonly StoreEvent[] = []
    const result = this.#translated(() => {
      this.#hooks.beforeBegin()
      this.sql.begin.run()
      try {
        const transaction = this.#begin()
        const value = fn(transaction)
        if (transaction.failure !== null) throw transaction.failure.error
        for (const shard of transaction.shards.values()) {
          this.#hooks.beforeCommit(transaction, shard)
          const notice = this.#flushShard(transaction, shard)
          if (notice !== null) notices.push(notice)
        }
        this.sql.commit.run()
        this.texts.end(false)
        this.#hooks.afterCommit(transaction)
        events = transaction.events
        return value
      } catch (error) {
        this.#abandon(error)
        throw error
      } finally {
        this.#transaction = null
      }
    })
    for (const event of events) this.#tell(this.onEvent, event)
    this.#notify(notices)
    return result
  }

  /** Runs `fn` in a transaction of its own, or as a part of the running one that can fail alone. */
  atomically<T>(fn: () => T): T {
    this.assertOpen()
    const running = this.#transaction
    if (running === null) return this.write(fn)
    return this.#translated(() => this.savepoint(running, fn))
  }

  /**
   * Runs `fn` so that it leaves nothing behind when it throws, while the rest of the transaction
   * goes on.
   */
  savepoint<T>(transaction: WriteTransaction, fn: () => T): T {
    const before = {
      shards: [...transaction.shards].map(([id, shard]) => [id, { ...shard }] as const),
      actor: transaction.actor,
      logId: transaction.logId,
      lastRowid: transaction.lastRowid,
      events: transaction.events,
      eventCount: transaction.events.length,
      texts: this.texts.mark(),
    }
    this.sql.savepoint.run()
    try {
      const value = fn()
      if (transaction.failure !== null) throw transaction.failure.error
      this.sql.release.run()
      return value
    } catch (error) {
      if (!this.db.isTransaction) {
        // SQLite has rolled everything back by itself (disk full, I/O error): the transaction
        // cannot go on.
        transaction.failure ??= { error }
        throw error
      }
      this.texts.undo(before.texts)
      this.sql.rollbackTo.run()
      this.sql.release.run()
      transaction.shards.clear()
      for (const [id, shard] of before.shards) transaction.shards.set(id, shard)
      transaction.actor = before.actor
      transaction.logId = before.logId
      transaction.lastRowid = before.lastRowid
      transaction.events = before.events.slice(0, before.eventCount)
      transaction.failure = null
      this.keys.forget()
      throw error
    }
  }

  /** Runs `fn` over one consistent state of the file. */
  read<T>(fn: () => T): T {
    this.assertOpen()
    return this.#translated(() => {
      if (this.#transaction !== null) {
        for (const shard of this.#transaction.shards.values())
          this.#flushShard(this.#transaction, shard)
        return fn()
      }
      if (this.#reading) return fn()
      this.sql.beginRead.run()
      this.#reading = true
      try {
        return fn()
      } finally {
        this.#reading = false
        if (this.db.isTransaction) this.sql.commit.run()
      }
    })
  }

  /** The identity under which the file writes now. */
  identity(): ReplicaIdentity {
    const row = this.#identityRow()
    return { actor: bytesToHex(row.actor_id), logId: bytesToHex(row.log_id) }
  }

  onCommit(listener: (notice: CommitNotice) => void): () => void {
    // A wrapper, so that one function given twice is two subscriptions.
    const own = (notice: CommitNotice): void => listener(notice)
    this.#listeners.add(own)
    return () => this.#listeners.delete(own)
  }

  /** Tells listeners of shards that other connections moved since this one last looked. */
  notifyForeign(shards: readonly { readonly shardId: string; readonly head: number }[]): number {
    const notices = shards.filter(({ shardId, head }) => this.#headsSeen.get(shardId) !== head)
    this.#notify(notices.map(({ shardId, head }) => ({ shardId, head })))
    return notices.length
  }

  /**
   * @throws SqliteVectorError `STORE_READ_ONLY`, `STORE_IO` when the file is gone from its folder
   */
  assertWritable(): void {
    if (this.readOnly) {
      throw new SqliteVectorError('STORE_READ_ONLY', `${this.path} is open for reading only`)
    }
    if (!this.#isClosing) this.#presence.check()
  }

  assertOpen(): void {
    if (!this.#open) throw new SqliteVectorError('STORE_CLOSED', `${this.path} is closed`)
  }

  /** The last write before the file is closed: also where nothing names the file any more. */
  writeLast(fn: () => void): void {
    this.#isClosing = true
    this.write(fn)
  }

  /** Closes the connection. Idempotent. */
  close(): void {
    if (!this.#open) return
    this.#open = false
    this.#listeners.clear()
    this.db.close()
  }

  #begin(): WriteTransaction {
    const row = stored(this.sql.beginning.get(), 'the row of database_metadata is missing')
    const identity = row as unknown as IdentityRow & { readonly rowid: number }
    const actor = bytesToHex(identity.actor_id)
    this.#transaction = {
      core: this,
      shards: new Map(),
      nowMs: this.clock.nowMs(),
      actor,
      logId: bytesToHex(identity.log_id),
      lastRowid: identity.rowid,
      events: [],
      failure: null,
    }
    return this.#transaction
  }

  #join<T>(transaction: WriteTransaction, fn: (transaction: WriteTransaction) => T): T {
    if (transaction.failure !== null) throw transaction.failure.error
    try {
      return fn(transaction)
    } catch (error) {
      // Refusals come before the first statement that writes; anything else broke off half-way.
      if (!isRefusal(error)) transaction.failure = { error }
      throw sqliteFailure(this.path, error)
    }
  }

  #abandon(error: unknown): void {
    this.texts.end(true)
    this.keys.forget()
    if (!this.db.isTransaction) return
    try {
      this.sql.rollback.run()
    } catch (rollbackError) {
      throw new AggregateError([error, rollbackError], `${this.path}: rollback failed`, {
        cause: rollbackError,
      })
    }
  }

  #translated<T>(fn: () => T): T {
    try {
      return fn()
    } catch (error) {
      throw sqliteFailure(this.path, error)
    }
  }

  #identityRow(): IdentityRow {
    return stored(
      this.sql.database.get(),
      'the row of database_metadata is missing',
    ) as unknown as IdentityRow
  }

  #notify(notices: readonly CommitNotice[]): void {
    for (const notice of notices) {
      this.#headsSeen.set(notice.shardId, notice.head)
      for (const listener of this.#listeners) this.#tell(listener, notice)
    }
  }

  #tell<T>(listener: (value: T) => void, value: T): void {
    try {
      listener(value)
    } catch (error) {
      // The commit stands, so its caller must not see a failure; the error still must not be lost.
      queueMicrotask(() => {
        throw error
      })
    }
  }
}

/** True for errors thrown before anything was written: the caller may catch them and go on. */
function isRefusal(error: unknown): boolean {
  if (error instanceof TypeError || error instanceof RangeError) return resultCodeOf(error) === null
  return (
    error instanceof SqliteVectorError &&
    (error.code === 'STORE_SHARD_UNKNOWN' ||
      error.code === 'STORE_SHARD_MISMATCH' ||
      error.code === 'STORE_DIMENSION_MISMATCH' ||
      error.code === 'STORE_RECORD_EXISTS' ||
      error.code === 'STORE_QUARANTINE_UNKNOWN' ||
      error.code === 'STORE_RECORD_UNKNOWN' ||
      error.code === 'STORE_CONFLICT_UNKNOWN')
  )
}

/** xxHash64 of bytes, seed 0. */
export type Hash64 = (bytes: Uint8Array) => bigint
