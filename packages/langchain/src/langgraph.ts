/**
 * A LangGraph store on two shards: `NAME` holds the items, `NAME.vectors` a vector for each indexed
 * text of an item.
 *
 * A batch reads the state before it, then writes in one transaction; the last of several writes of
 * a key counts. Without an index, `query` ranks by the words of the items. Item timestamps and
 * expiry come from a clock that tests own.
 */
import { createHash } from 'node:crypto'
import type { Filter, JsonValue, SQLiteVectorDB, VectorRecord } from '@agentic-flow/sqlite-vector'
import { ID_BYTES_MAX } from '@agentic-flow/sqlite-vector/limits'
import { rejectUnknownKeys } from '@agentic-flow/sqlite-vector/options'
import {
  BaseStore,
  type GetOperation,
  type IndexConfig,
  type Item,
  type ListNamespacesOperation,
  type Operation,
  type OperationResults,
  type PutOperation,
  type SearchItem,
  type SearchOperation,
} from '@langchain/langgraph-checkpoint'
import { systemClock } from './clock/system-clock.ts'
import { textsAt } from './text-paths.ts'
import { checkNamespace, matchesAll, namespaceFilter, namespacePath } from './namespaces.ts'

export interface SQLiteVectorGraphStoreOptions {
  /** An open database; the store does not close it. */
  readonly db: SQLiteVectorDB
  /** Shard of the items. @defaultValue `'store'` */
  readonly shardId?: string
  /** Embeds texts of items, so that `query` ranks by meaning. @defaultValue none */
  readonly index?: IndexConfig
  /** Items that were not written for so many milliseconds are gone. @defaultValue never */
  readonly ttlMs?: number
  /** Milliseconds since 1970. @defaultValue the machine's */
  readonly nowMs?: () => number
}

interface Stored {
  readonly namespace: readonly string[]
  readonly key: string
  readonly value: Record<string, JsonValue>
  readonly createdAt: number
  readonly updatedAt: number
  readonly expiresAt: number
}

const NEVER = Number.MAX_SAFE_INTEGER
const PLACEHOLDER = Float32Array.of(0)
const SEARCH_LIMIT = 10

/** Long-term memory of LangGraph in a file that replicates. */
export class SQLiteVectorGraphStore extends BaseStore {
  readonly #db: SQLiteVectorDB
  readonly #items: string
  readonly #vectors: string
  readonly #index: IndexConfig | undefined
  readonly #ttlMs: number | undefined
  readonly #nowMs: () => number

  constructor(options: SQLiteVectorGraphStoreOptions) {
    super()
    rejectUnknownKeys('SQLiteVectorGraphStore', options, [
      'db',
      'shardId',
      'index',
      'ttlMs',
      'nowMs',
    ])
    const { db, shardId = 'store', index, ttlMs, nowMs = systemClock.nowMs } = options
    if (ttlMs !== undefined && !(ttlMs > 0))
      throw new RangeError(`ttlMs must be above 0, got ${ttlMs}`)
    this.#db = db
    this.#items = shardId
    this.#vectors = `${shardId}.vectors`
    this.#index = index
    this.#ttlMs = ttlMs
    this.#nowMs = nowMs
    db.createShard(this.#items, { dimension: 1, metric: 'l2', modelId: 'langgraph-store/1' })
    if (index !== undefined) db.createShard(this.#vectors, { dimension: index.dims })
  }

  override async batch<Op extends Operation[]>(operations: Op): Promise<OperationResults<Op>> {
    const results: unknown[] = []
    const puts = new Map<string, PutOperation>()
    for (const operation of operations) {
      if ('namespacePrefix' in operation) results.push(await this.#search(operation))
      else if ('value' in operation) {
        checkNamespace(operation.namespace)
        puts.set(idOf(operation.namespace, operation.key), operation)
        results.push(undefined)
      } else if ('key' in operation) results.push(this.#get(operation))
      else results.push(this.#namespaces(operation))
    }
    await this.#write(puts)
    return results as OperationResults<Op>
  }

  /** Deletes items whose time is over; how many there were. They are not shown meanwhile either. */
  sweep(): number {
    return this.#db.transaction(() => {
      const filter: Filter = { expiresAt: { $lte: this.#nowMs() } }
      if (this.#index !== undefined) this.#db.delete(this.#vectors, { filter })
      return this.#db.delete(this.#items, { filter })
    })
  }

  #get({ namespace, key }: GetOperation): Item | null {
    const record = this.#db.get(this.#items, idOf(namespace, key))
    const stored = record === null ? null : storedOf(record)
    return stored === null || stored.expiresAt <= this.#nowMs() ? null : itemOf(stored)
  }

  async #search(operation: SearchOperation): Promise<SearchItem[]> {
    const { namespacePrefix, filter = {}, limit = SEARCH_LIMIT, offset = 0, query } = operation
    const conditions = Object.entries(filter).map(([key, condition]) => [
      `value.${key}`,
      condition as JsonValue,
    ])
    const where: Filter = {
      ...namespaceFilter(namespacePrefix),
      ...Object.fromEntries(conditions),
      expiresAt: { $gt: this.#nowMs() },
    } as Filter
    const wanted = limit + offset
    if (query === undefined || query === '') {
      const found = this.#db
        .query(this.#items)
        .where(where)
        .orderBy('updatedAt', 'desc')
        .limit(wanted)
        .all()
      return found.slice(offset).map((record) => itemOf(storedOf(record)))
    }
    if (this.#index === undefined) {
      return this.#db
        .searchText(this.#items, query, { k: wanted, filter: where })
        .slice(offset)
        .map((record) => ({ ...itemOf(storedOf(record)), score: record.score }))
    }
    const vector = await this.#index.embeddings.embedQuery(query)
    return this.#nearest(vector, where, wanted).slice(offset)
  }

  /** An item has a vector for each of its texts; the nearest one counts. */
  #nearest(vector: number[], filter: Filter, wanted: number): SearchItem[] {
    const best = new Map<string, number>()
    let k = Math.max(wanted * 2, 16)
    for (;;) {
      const found = this.#db.search(this.#vectors, vector, { k, filter })
      for (const { metadata, score } of found) {
        const { item } = metadata
        if (typeof item === 'string' && !best.has(item)) best.set(item, score)
      }
      if (best.size >= wanted || found.length < k || k >= 10_000) break
      k = Math.min(10_000, k * 4)
    }
    return [...best].slice(0, wanted).flatMap(([id, score]) => {
      const record = this.#db.get(this.#items, id)
      return record === null ? [] : [{ ...itemOf(storedOf(record)), score }]
    })
  }

  #namespaces({
    matchConditions = [],
    maxDepth,
    limit,
    offset,
  }: ListNamespacesOperation): string[][] {
    const found = new Map<string, string[]>()
    let cursor: string | null = null
    do {
      const page = this.#db.list(this.#items, { cursor, limit: 10_000 })
      for (const record of page.records) {
        const { namespace, expiresAt } = storedOf(record)
        if (expiresAt <= this.#nowMs() || !matchesAll(namespace, matchConditions)) continue
        const cut = namespace.slice(0, maxDepth ?? namespace.length)
        found.set(JSON.stringify(cut), cut)
      }
      cursor = page.nextCursor
    } while (cursor !== null)
    return [...found]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([, namespace]) => namespace)
      .slice(offset, offset + limit)
  }

  async #write(puts: ReadonlyMap<string, PutOperation>): Promise<void> {
    const texts = [...puts].flatMap(([id, put]) =>
      this.#textsOf(put).map((text, part) => ({ id, part, text })),
    )
    const vectors =
      this.#index === undefined || texts.length === 0
        ? []
        : await this.#index.embeddings.embedDocuments(texts.map(({ text }) => text))
    this.#db.transaction(() => {
      for (const [id, put] of puts) this.#writeOne(id, put)
      for (const [at, { id, part }] of texts.entries()) {
        const { metadata } = this.#db.get(this.#items, id) ?? { metadata: {} }
        const embedding = vectors[at]
        if (embedding === undefined) continue
        this.#db.upsert(this.#vectors, {
          id: `${createHash('sha256').update(id).digest('hex')}#${part}`,
          embedding,
          metadata: { ...metadata, item: id },
        })
      }
    })
  }

  #writeOne(id: string, { namespace, key, value }: PutOperation): void {
    if (this.#index !== undefined) this.#db.delete(this.#vectors, { filter: { item: id } })
    if (value === null) {
      this.#db.delete(this.#items, id)
      return
    }
    const nowMs = this.#nowMs()
    const before = this.#db.get(this.#items, id)
    const createdAt = before === null ? nowMs : storedOf(before).createdAt
    const expiresAt = this.#ttlMs === undefined ? NEVER : nowMs + this.#ttlMs
    const stored = { namespace: [...namespace], key, value, createdAt, updatedAt: nowMs, expiresAt }
    this.#db.upsert(this.#items, {
      id,
      embedding: PLACEHOLDER,
      text: textsAt(value, '$').join('\n'),
      metadata: {
        ...(JSON.parse(JSON.stringify(stored)) as Record<string, JsonValue>),
        path: namespacePath(namespace),
      },
    })
  }

  #textsOf({ value, index }: PutOperation): readonly string[] {
    if (value === null || index === false || this.#index === undefined) return []
    const fields = index ?? this.#index.fields ?? ['$']
    return fields.flatMap((field) => textsAt(value, field)).filter((text) => text.trim() !== '')
  }
}

function idOf(namespace: readonly string[], key: string): string {
  const id = JSON.stringify([...namespace, key])
  if (Buffer.byteLength(id) > ID_BYTES_MAX) {
    throw new RangeError(
      `namespace and key must be at most ${ID_BYTES_MAX} bytes together, got ${Buffer.byteLength(id)}`,
    )
  }
  return id
}

function storedOf({ metadata }: VectorRecord): Stored {
  return metadata as unknown as Stored
}

function itemOf({ namespace, key, value, createdAt, updatedAt }: Stored): Item {
  return {
    namespace: [...namespace],
    key,
    value: structuredClone(value),
    createdAt: new Date(createdAt),
    updatedAt: new Date(updatedAt),
  }
}
