/**
 * A shard with an embedder attached: insert text, ask with text.
 *
 * Not here: how texts are sent to the embedder (embed-texts.ts), and records without a vector
 * (waiting-shard.ts).
 */
import type {
  Filter,
  Metadata,
  Metric,
  RecordInput,
  SQLiteVectorDB,
  VectorInput,
} from '@agentic-flow/sqlite-vector'
import { EMBED_COMMIT_RECORDS, ID_BYTES_MAX, K_MAX } from '@agentic-flow/sqlite-vector/limits'
import {
  integerIn,
  nameGiven,
  oneOf,
  rejectUnknownKeys,
  shown,
} from '@agentic-flow/sqlite-vector/options'
import { embedTexts, type EmbedTextsOptions } from './embed-texts.ts'
import { askShard } from './ask.ts'
import type { AskResult, Embedder, TextRecord } from './types.ts'
import { WaitingShard } from './waiting-shard.ts'
import { searchWords } from './words.ts'

/** How a shard embeds. */
export interface EmbeddedShardOptions extends Omit<
  EmbedTextsOptions,
  'signal' | 'onProgress' | 'onRetry'
> {
  /** Metric of the shard when it is created here. @defaultValue `'cosine'` */
  readonly metric?: Metric
  /** Text that the vector is made from, such as title and text. @defaultValue the record's text */
  readonly textOf?: (record: TextRecord) => string
}

/** Options of one call. */
export type EmbedCallOptions = Pick<EmbedTextsOptions, 'signal' | 'onProgress' | 'onRetry'>

/** Options of `ask()`. */
export interface AskOptions {
  /** Records wanted. Integer, 1 to 10,000. @defaultValue `10` */
  readonly k?: number
  readonly filter?: Filter
  /**
   * Rankings that count. `'text'` needs no embedder. @defaultValue `'hybrid'`, or `'text'` without
   * an embedder
   */
  readonly ranking?: 'hybrid' | 'vector' | 'text'
  readonly signal?: AbortSignal
}

/** The outcome of `embedMissing()`. */
export interface EmbedMissingReport {
  readonly embedded: number
  /** Ids whose shard holds another record by now; their texts wait until one of both is deleted. */
  readonly conflicting: readonly string[]
}

const OPTION_KEYS = [
  'metric',
  'textOf',
  'batchTexts',
  'concurrency',
  'attempts',
  'firstDelayMs',
  'lastDelayMs',
  'clock',
  'chance',
]

/**
 * Attaches `embedder` to a shard, and creates the shard when it is missing. With null, texts are
 * kept without a vector until a node with the model embeds them, and `ask()` ranks by words.
 * @throws SqliteVectorError `STORE_SHARD_MISMATCH` when the shard holds vectors of another model or
 * dimension
 */
export function attachEmbedder(
  db: SQLiteVectorDB,
  shardId: string,
  embedder: Embedder | null,
  options: EmbeddedShardOptions = {},
): EmbeddedShard {
  rejectUnknownKeys('attachEmbedder', options, OPTION_KEYS)
  if (embedder !== null) {
    if (db.shards().some((shard) => shard.shardId === shardId)) db.checkEmbedder(shardId, embedder)
    else {
      const { dimension, modelId } = embedder
      const { metric } = options
      db.createShard(shardId, {
        dimension,
        modelId,
        ...(metric === undefined ? {} : { metric }),
      })
    }
  }
  return new EmbeddedShard(db, shardId, embedder, options)
}

/** Made by {@link attachEmbedder}. */
export class EmbeddedShard {
  readonly shardId: string
  readonly embedder: Embedder | null
  readonly #db: SQLiteVectorDB
  readonly #waiting: WaitingShard
  readonly #options: EmbeddedShardOptions

  /** @internal */
  constructor(
    db: SQLiteVectorDB,
    shardId: string,
    embedder: Embedder | null,
    options: EmbeddedShardOptions,
  ) {
    this.#db = db
    this.shardId = shardId
    this.embedder = embedder
    this.#waiting = new WaitingShard(db, shardId)
    this.#options = options
  }

  /**
   * Texts that wait for a vector, here and from peers. Their shard is `NAME.waiting`; sync it, too.
   */
  get waitingCount(): number {
    return this.#waiting.count
  }

  /**
   * Embeds the texts and commits the records, replacing those with the same id. Commits in groups
   * of 1,000, in order: an error leaves the groups before it committed and nothing of its own.
   * Resolves with the number of records.
   * @throws TypeError, RangeError naming the record, before anything is embedded; `EMBEDDER_…`;
   * `STORE_…`
   */
  async add(records: readonly TextRecord[], options: EmbedCallOptions = {}): Promise<number> {
    rejectUnknownKeys('add', options, ['signal', 'onProgress', 'onRetry'])
    checkRecords(records)
    const { embedder } = this
    for (let start = 0; start < records.length; start += EMBED_COMMIT_RECORDS) {
      const group = records.slice(start, start + EMBED_COMMIT_RECORDS)
      if (embedder === null) this.#keep(group)
      else {
        const vectors = await this.#embed(embedder, group, {
          ...options,
          ...progressFrom(options, start, records.length),
        })
        this.#commit(group, vectors)
      }
    }
    return records.length
  }

  /**
   * Embeds every text that waits, those that peers brought included. A record that changed while it
   * was embedded stays for the next call.
   */
  async embedMissing(options: EmbedCallOptions = {}): Promise<EmbedMissingReport> {
    const { embedder } = this
    if (embedder === null) throw new TypeError('embedMissing needs an embedder; attach one')
    let embedded = 0
    const conflicting: string[] = []
    let cursor: string | null = null
    do {
      options.signal?.throwIfAborted()
      const page = this.#waiting.page(cursor, EMBED_COMMIT_RECORDS)
      const records = page.records.map(({ id, text, metadata }) => ({
        id,
        text: text ?? '',
        metadata,
      }))
      const total = embedded + this.#waiting.count
      const vectors = await this.#embed(embedder, records, {
        ...options,
        ...progressFrom(options, embedded, total),
      })
      const moved = this.#move(records, vectors)
      embedded += moved.count
      conflicting.push(...moved.conflicting)
      cursor = page.nextCursor
    } while (cursor !== null)
    return { embedded, conflicting }
  }

  /** Metadata of a record, with or without a vector; null where there is none. */
  metadataOf(id: string): Metadata | null {
    nameGiven('id', id, ID_BYTES_MAX)
    const record = (this.#exists ? this.#db.get(this.shardId, id) : null) ?? this.#waiting.get(id)
    return record?.metadata ?? null
  }

  /** Deletes records, with or without a vector; how many there were. */
  remove(ids: readonly string[]): number {
    for (const [index, id] of ids.entries()) nameGiven(`ids[${index}]`, id, ID_BYTES_MAX)
    return this.#db.transaction(() => {
      let count = 0
      for (const id of ids) {
        const wasWaiting = this.#waiting.delete(id)
        const wasThere = this.#exists && this.#db.delete(this.shardId, id)
        if (wasWaiting || wasThere) count += 1
      }
      return count
    })
  }

  /**
   * The records that answer a question best: rankings by vector and by words, fused. Texts that
   * wait for a vector are ranked by their words.
   */
  async ask(question: string, options: AskOptions = {}): Promise<readonly AskResult[]> {
    rejectUnknownKeys('ask', options, ['k', 'filter', 'ranking', 'signal'])
    const { embedder } = this
    const { k = 10, filter, ranking = embedder === null ? 'text' : 'hybrid', signal } = options
    if (typeof question !== 'string' || question.trim() === '') {
      throw new TypeError(`question must be a string with a word in it, got ${shown(question)}`)
    }
    integerIn('k', k, 1, K_MAX)
    oneOf('ranking', ranking, ['hybrid', 'vector', 'text'])
    let vector: VectorInput | null = null
    if (ranking !== 'text') {
      if (embedder === null) throw new TypeError(`ranking ${ranking} needs an embedder; attach one`)
      const call = signal === undefined ? {} : { signal }
      const found = await embedTexts(embedder, [question], 'query', { ...this.#sending, ...call })
      vector = found[0] ?? null
    }
    return askShard(this.#db, {
      shardId: this.#exists ? this.shardId : null,
      waitingId: this.#waiting.exists ? this.#waiting.shardId : null,
      question: ranking === 'vector' ? null : searchWords(question),
      vector,
      k,
      filter,
    })
  }

  get #exists(): boolean {
    return this.#db.shards().some(({ shardId }) => shardId === this.shardId)
  }

  get #sending(): EmbedTextsOptions {
    const { metric: _, textOf: __, ...sending } = this.#options
    return sending
  }

  #embed(
    embedder: Embedder,
    records: readonly TextRecord[],
    options: EmbedCallOptions,
  ): Promise<readonly VectorInput[]> {
    const textOf = this.#options.textOf ?? (({ text }: TextRecord) => text)
    const texts = records.map((record) => textOf(record))
    return embedTexts(embedder, texts, 'document', { ...this.#sending, ...options })
  }

  /** A text that replaces an embedded record leaves no vector of the old text behind. */
  #keep(records: readonly TextRecord[]): void {
    this.#db.transaction(() => {
      for (const record of records) {
        this.#waiting.put(record)
        if (this.#exists) this.#db.delete(this.shardId, record.id)
      }
    })
  }

  #commit(records: readonly TextRecord[], vectors: readonly VectorInput[]): void {
    this.#db.transaction(() => {
      for (const [index, record] of records.entries()) {
        this.#db.upsert(this.shardId, embeddedRecord(record, vectors[index]))
        this.#waiting.delete(record.id)
      }
    })
  }

  #move(
    records: readonly TextRecord[],
    vectors: readonly VectorInput[],
  ): { readonly count: number; readonly conflicting: readonly string[] } {
    return this.#db.transaction(() => {
      const conflicting: string[] = []
      let count = 0
      for (const [index, record] of records.entries()) {
        const now = this.#waiting.get(record.id)
        if (now === null || now.text !== record.text || !sameJson(now.metadata, record.metadata)) {
          continue
        }
        // Two writes in two shards have no order: overwriting either would lose it unseen.
        if (this.#db.get(this.shardId, record.id) !== null) {
          conflicting.push(record.id)
          continue
        }
        this.#db.insert(this.shardId, embeddedRecord(record, vectors[index]))
        this.#waiting.delete(record.id)
        count += 1
      }
      return { count, conflicting }
    })
  }
}

function embeddedRecord(
  { id, text, metadata }: TextRecord,
  embedding: VectorInput | undefined,
): RecordInput {
  if (embedding === undefined) throw new Error(`record ${shown(id)} has no vector`)
  return metadata === undefined ? { id, text, embedding } : { id, text, embedding, metadata }
}

function sameJson(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

function progressFrom(
  { onProgress }: EmbedCallOptions,
  before: number,
  total: number,
): Pick<EmbedCallOptions, 'onProgress'> {
  if (onProgress === undefined) return {}
  return { onProgress: ({ done }) => onProgress({ done: before + done, total }) }
}

function checkRecords(records: readonly TextRecord[]): void {
  if (!Array.isArray(records)) {
    throw new TypeError(`records must be an array, got ${shown(records)}`)
  }
  const seen = new Set<string>()
  for (const [index, record] of (records as readonly TextRecord[]).entries()) {
    const name = `records[${index}]`
    if (typeof record !== 'object' || record === null) {
      throw new TypeError(`${name} must be an object, got ${shown(record)}`)
    }
    rejectUnknownKeys(name, record, ['id', 'text', 'metadata'])
    nameGiven(`${name}.id`, record.id, ID_BYTES_MAX)
    if (seen.has(record.id)) throw new RangeError(`${name}.id ${shown(record.id)} is there twice`)
    seen.add(record.id)
    if (typeof record.text !== 'string' || record.text.trim() === '') {
      throw new TypeError(
        `${name}.text must be a string with a word in it, got ${shown(record.text)}`,
      )
    }
  }
}
