/**
 * A sealed shard: its records replicate through nodes that cannot read them.
 *
 * The database holds the *carrier*, an ordinary shard of opaque records that any node stores,
 * merges, repairs and forwards like every other. A member holds the keys and also keeps the
 * *opened* shard: the decrypted records, in a database of its own that is not replicated, and that
 * searches read. It is a reader of the carrier's feed with a durable cursor; deleting it costs
 * time, never data.
 *
 * Invariants: a write is acknowledged once the carrier's commit is durable. Reads first catch up
 * with the feed, so they show every commit before them. A record that cannot be opened is listed
 * with its reason and blocks no other. Not here: cryptography (sealer.ts), and the view of
 * concurrent writes (model/strategies.ts, over opened siblings).
 */
import { must } from '../assert.ts'
import { SqliteVectorError } from '../errors.ts'
import { nameGiven, objectGiven, oneOf, rejectUnknownKeys } from '../options.ts'
import { prepareRecord } from '../store/input.ts'
import type {
  BatchOptions,
  ListOptions,
  ListPage,
  RecordInput,
  RecordUpdate,
  VectorRecord,
} from '../store/types.ts'
import type { HybridOptions, HybridResult } from '../store/query/types.ts'
import { createVectorDB, type SQLiteVectorDB } from '../store/vector-db.ts'
import type { Filter } from '../search/filter.ts'
import { CONFLICT_STRATEGIES } from '../model/strategies.ts'
import type { ConflictStrategyName } from '../model/types.ts'
import { OpenedShard, type Unopened } from './opened-shard.ts'
import { Sealer, SEALED_ID_BYTES_MAX } from './sealer.ts'
import { ShardKeys } from './shard-keys.ts'
import { type Metadata, type Metric, type ShardInfo, type VectorInput } from '../model/records.ts'
import { type SearchOptions, type SearchResult } from '../store/query/types.ts'

/** Options of {@link openSealedShard}. */
export interface SealedShardOptions {
  /** Components of every vector. Integer, 1 to 8,192. */
  readonly dimension: number
  /** How distance is measured. Relays do not know it. @defaultValue `'cosine'` */
  readonly metric?: Metric
  /** Keys of the shard, the same on every member. */
  readonly keys: ShardKeys
  /**
   * The view of concurrent writes. Must be the same on every member. @defaultValue
   * `'last-write-wins'`
   */
  readonly conflictStrategy?: ConflictStrategyName
  /**
   * Database file for the opened records, in clear; or `:memory:`, which leaves none on the disk
   * and opens every record again at each start. @defaultValue `':memory:'`
   */
  readonly openedPath?: string
}

/** The result of {@link SealedShard.reseal}. */
export interface Resealed {
  /** Records sealed again, by the current key. */
  readonly resealed: number
  /**
   * Records left alone: those in conflict, which a write would decide, and those that cannot be
   * opened here.
   */
  readonly skipped: number
}

/** The options of every carrier, so that a relay need not know its content. */
const CARRIER = { dimension: 1, metric: 'l2', modelId: 'sealed/1' } as const

/** The vector of every record of a carrier: it carries no information. */
const NO_VECTOR = [0]

/** Records of one transaction of a batch. */
const BATCH_RECORDS = 256

/**
 * Opens the sealed shard `shardId` of `db`, creating its carrier when there is none.
 * @throws `STORE_SHARD_MISMATCH` when the name belongs to a shard that is not sealed; TypeError,
 * RangeError
 */
export async function openSealedShard(
  db: SQLiteVectorDB,
  shardId: string,
  options: SealedShardOptions,
): Promise<SealedShard> {
  objectGiven('openSealedShard: options', options)
  rejectUnknownKeys('openSealedShard', options, [
    'dimension',
    'metric',
    'keys',
    'conflictStrategy',
    'openedPath',
  ])
  const { dimension, metric = 'cosine', keys, openedPath = ':memory:' } = options
  const { conflictStrategy = 'last-write-wins' } = options
  if (!(keys instanceof ShardKeys)) throw new TypeError('keys must be ShardKeys')
  oneOf('conflictStrategy', conflictStrategy, CONFLICT_STRATEGIES)
  const opened = await createVectorDB({ path: openedPath, durability: 'normal' })
  try {
    db.createShard(shardId, CARRIER)
    const shard: ShardInfo = { shardId, dimension, metric, modelId: null }
    const reader = new OpenedShard(db, opened, shard, conflictStrategy)
    return new SealedShard(db, shard, keys, reader)
  } catch (error) {
    opened.close()
    throw error
  }
}

/**
 * A sealed shard whose keys we hold. Made by {@link openSealedShard}; close it before its database.
 */
export class SealedShard implements AsyncDisposable {
  readonly #db: SQLiteVectorDB
  readonly #shard: ShardInfo
  readonly #opened: OpenedShard
  /** The last update of each record under way, settled when it is over. */
  readonly #updates = new Map<string, Promise<unknown>>()
  #sealer: Sealer

  constructor(db: SQLiteVectorDB, shard: ShardInfo, keys: ShardKeys, opened: OpenedShard) {
    this.#db = db
    this.#shard = shard
    this.#opened = opened
    this.#sealer = new Sealer(shard.shardId, keys)
  }

  get shardId(): string {
    return this.#shard.shardId
  }

  /** Writes a new record. @throws `STORE_RECORD_EXISTS`, and errors of {@link upsert} */
  async insert(record: RecordInput): Promise<void> {
    await this.insertBatch([record])
  }

  /**
   * Writes a record, new or not; resolves when it is durable.
   * @throws TypeError, RangeError, `STORE_DIMENSION_MISMATCH`; RangeError for an id or a record too
   * long to be sealed
   */
  async upsert(record: RecordInput): Promise<void> {
    await this.insertBatch([record], { mode: 'upsert' })
  }

  /** Writes records in transactions of 256; when it rejects, the transactions before stay. */
  async insertBatch(records: readonly RecordInput[], options: BatchOptions = {}): Promise<void> {
    const { mode = 'insert', onProgress, signal } = options
    // Everything is checked before anything is written.
    for (const record of records) this.#check(record)
    for (let from = 0; from < records.length; from += BATCH_RECORDS) {
      signal?.throwIfAborted()
      const part = records.slice(from, from + BATCH_RECORDS)
      await this.#db.group(() => {
        for (const record of part) this.#write(record, mode)
      })
      onProgress?.({ done: Math.min(records.length, from + BATCH_RECORDS), total: records.length })
    }
  }

  /**
   * Changes parts of a record, as {@link SQLiteVectorDB.update} does. Concurrent calls on one
   * record are applied one after the other, and none undoes another. @throws `STORE_RECORD_UNKNOWN`
   */
  async update(id: string, update: RecordUpdate): Promise<void> {
    objectGiven('update', update)
    rejectUnknownKeys('update', update, ['embedding', 'metadata', 'text', 'metadataMode'])
    nameGiven('id', id, SEALED_ID_BYTES_MAX)
    const { metadataMode = 'merge' } = update
    oneOf('metadataMode', metadataMode, ['merge', 'replace'])
    await this.#inTurnOf(id, async () => {
      // Another process, or a peer's write, may come between the read and the write.
      let isWritten = false
      while (!isWritten) isWritten = await this.#updateOnce(id, { ...update, metadataMode })
    })
  }

  /** Deletes a record; false when there was none. */
  async delete(id: string): Promise<boolean> {
    nameGiven('id', id, SEALED_ID_BYTES_MAX)
    const token = this.#sealer.idToToken(id)
    return this.#db.group(() => this.#db.delete(this.shardId, token))
  }

  /** The record, its vector included; null when there is none. */
  async get(id: string): Promise<VectorRecord | null> {
    return (await this.#current()).get(id)
  }

  async list(options: ListOptions = {}): Promise<ListPage> {
    return (await this.#current()).list(options)
  }

  async count(filter?: Filter): Promise<number> {
    return (await this.#current()).count(filter)
  }

  async search(vector: VectorInput, options: SearchOptions = {}): Promise<readonly SearchResult[]> {
    return (await this.#current()).search(vector, options)
  }

  async hybrid(options: HybridOptions): Promise<readonly HybridResult[]> {
    return (await this.#current()).hybrid(options)
  }

  /**
   * The records that cannot be opened here, with the reason: an unknown key, or content that was
   * tampered with.
   */
  async unopened(options: ListOptions = {}): Promise<readonly Unopened[]> {
    return (await this.#current()).unopened(options)
  }

  /**
   * Opens with these keys from now on, including records that did not open before; returns how many
   * are left unopened.
   */
  async useKeys(keys: ShardKeys): Promise<number> {
    if (!(keys instanceof ShardKeys)) throw new TypeError('keys must be ShardKeys')
    await this.#current()
    this.#sealer = new Sealer(this.shardId, keys)
    return this.#opened.retry(this.#sealer)
  }

  /**
   * Seals records of older keys with the current key, as writes that replicate. After that the
   * older keys can be dropped. The signal ends it early; calling it again continues.
   */
  async reseal(options: { readonly signal?: AbortSignal } = {}): Promise<Resealed> {
    const opened = await this.#current()
    const sealer = this.#sealer
    let resealed = 0
    let skipped = 0
    let cursor: string | null = null
    do {
      options.signal?.throwIfAborted()
      const page: ListPage = this.#db.list(this.shardId, { cursor, limit: BATCH_RECORDS })
      const tokens = page.records
        .filter(
          ({ metadata }) => sealer.keyIdOf(JSON.stringify(metadata)) !== sealer.keys.currentId,
        )
        .map(({ id }) => id)
      const done = await this.#db.group(() =>
        tokens.filter((token) => {
          const record = this.#openable(opened, token)
          if (record !== null) this.#write(record, 'upsert')
          return record !== null
        }),
      )
      resealed += done.length
      skipped += tokens.length - done.length
      cursor = page.nextCursor
    } while (cursor !== null)
    return { resealed, skipped }
  }

  async close(): Promise<void> {
    await this.#opened.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** The opened shard, as new as the carrier. */
  async #current(): Promise<OpenedShard> {
    await this.#opened.catchUp(this.#sealer)
    return this.#opened
  }

  /** One attempt; false when the record was written to since it was read. */
  async #updateOnce(id: string, update: RecordUpdate): Promise<boolean> {
    const token = this.#sealer.idToToken(id)
    const before = this.#dotsOf(token)
    const present = await this.get(id)
    if (present === null) throw unknown(this.shardId, id)
    const { embedding, metadata, text, metadataMode } = update
    const kept: Metadata = metadataMode === 'merge' ? present.metadata : {}
    const shownText = text === undefined ? present.text : text
    const record: RecordInput = {
      id,
      embedding: embedding ?? must(present.embedding, 'the vector of a record'),
      metadata: metadata === undefined ? present.metadata : { ...kept, ...metadata },
      ...(shownText === null ? {} : { text: shownText }),
    }
    this.#check(record)
    return this.#db.group(() => {
      if (this.#dotsOf(token) !== before) return false
      this.#write(record, 'upsert')
      return true
    })
  }

  /** The writes that the carrier's record is made of, as a text to compare. */
  #dotsOf(token: string): string {
    const { changes } = this.#db.replica.readRecords(this.shardId, [token], 1)
    const siblings = changes[0]?.siblings ?? []
    return siblings.map(({ dot }) => `${dot.actor} ${dot.counter}`).join()
  }

  /** Runs updates of one record one after the other. */
  async #inTurnOf(id: string, fn: () => Promise<void>): Promise<void> {
    const before = this.#updates.get(id) ?? Promise.resolve()
    const mine = before.then(fn)
    // A failure is for its own caller; the next update still has its turn.
    const settled = mine.catch(() => undefined)
    this.#updates.set(id, settled)
    try {
      await mine
    } finally {
      if (this.#updates.get(id) === settled) this.#updates.delete(id)
    }
  }

  #check(record: RecordInput): void {
    const { id } = prepareRecord(this.#shard, record)
    nameGiven('record.id', id, SEALED_ID_BYTES_MAX)
  }

  /** Within a transaction: the dot that seals the record is the one that the write then gets. */
  #write(record: RecordInput, mode: 'insert' | 'upsert'): void {
    const db = this.#db
    const { shardId } = this
    const { id, embedding, metadata, text } = prepareRecord(this.#shard, record)
    const token = this.#sealer.idToToken(id)
    if (mode === 'insert' && db.get(shardId, token) !== null) {
      throw new SqliteVectorError(
        'STORE_RECORD_EXISTS',
        `shard ${JSON.stringify(shardId)} has a record ${JSON.stringify(id)} already`,
      )
    }
    const { actor } = db.replica.identity()
    const dot = { actor, counter: this.#counter(actor) + 1 }
    const sealed = this.#sealer.seal(token, dot, { embedding, metadata, text })
    db.upsert(shardId, {
      id: token,
      embedding: NO_VECTOR,
      metadata: JSON.parse(sealed) as Metadata,
    })
    must(this.#counter(actor) === dot.counter ? dot : null, 'the dot that a write was sealed for')
  }

  #counter(actor: string): number {
    return this.#db.replica.shardState(this.shardId).versionVector.get(actor) ?? 0
  }

  /** The shown record, when it may be written again unchanged; else null. */
  #openable(opened: OpenedShard, token: string): RecordInput | null {
    const id = this.#sealer.tokenToId(token)
    if (id === null || opened.isUnopened(token)) return null
    const { changes } = this.#db.replica.readRecords(this.shardId, [token], 1)
    if (changes[0]?.siblings.length !== 1) return null
    const record = opened.get(id)
    if (record === null) return null
    const { embedding, metadata, text } = record
    return {
      id,
      embedding: must(embedding, 'the vector of a record'),
      metadata,
      ...(text === null ? {} : { text }),
    }
  }
}

function unknown(shardId: string, id: string): SqliteVectorError {
  return new SqliteVectorError(
    'STORE_RECORD_UNKNOWN',
    `shard ${JSON.stringify(shardId)} has no record ${JSON.stringify(id)}`,
  )
}
