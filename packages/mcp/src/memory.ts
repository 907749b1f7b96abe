/**
 * Memory over a node: what the tools do, without MCP. Texts are embedded where there is an
 * embedder; without one they wait in the companion shard `NAME.waiting` and are found by their
 * words.
 */
import { randomUUID } from 'node:crypto'
import type { Embedder, Filter, JsonValue, VectorInput } from '@agentic-flow/sqlite-vector'
import { ASK_WEIGHTS, embedTexts, searchWords } from '@agentic-flow/sqlite-vector-embeddings'
import type { McpServerOptions, MemoryNode, MemoryRecord, MemoryShard } from './types.ts'

type Metadata = { readonly [key: string]: JsonValue }

/** A mistake of the caller, or a state that it has to know; the message says what to do. */
export class MemoryError extends Error {
  override readonly name = 'MemoryError'
}

/** A record as tools give it. */
export interface Memory {
  readonly id: string
  readonly text: string | null
  readonly metadata: Metadata
  readonly score?: number
}

const WAITING = '.waiting'

/** The operations of the tools. */
export class MemoryStore {
  readonly node: MemoryNode
  readonly defaultShard: string
  readonly #embedderOf: (shardId: string) => Promise<Embedder | null>
  readonly #mayUse: (shardId: string) => boolean
  readonly #newId: () => string

  constructor(options: McpServerOptions) {
    this.node = options.node
    this.defaultShard = options.shardId ?? 'memory'
    this.#embedderOf = options.embedderOf ?? (() => Promise.resolve(null))
    this.#mayUse = options.mayUse ?? (() => true)
    this.#newId = options.newId ?? randomUUID
  }

  /** Shards that hold memories; companions are counted with the shard they belong to. */
  async shards(): Promise<readonly (MemoryShard & { readonly waiting: number })[]> {
    const all = (await this.node.shards()).filter(({ shardId }) => this.#mayUse(shardId))
    const countOf = (shardId: string): number =>
      all.find((shard) => shard.shardId === shardId)?.recordCount ?? 0
    const main = all.filter(({ shardId }) => !/\.(waiting|words)$/.test(shardId))
    const lonely = all
      .filter(({ shardId }) => shardId.endsWith(WAITING))
      .map((shard) => ({
        ...shard,
        shardId: shard.shardId.slice(0, -WAITING.length),
        recordCount: 0,
      }))
      .filter(({ shardId }) => !main.some((shard) => shard.shardId === shardId))
    return [...main, ...lonely].map((shard) => ({
      ...shard,
      waiting: countOf(`${shard.shardId}${WAITING}`),
    }))
  }

  async search(given: {
    readonly shard?: string | undefined
    readonly query: string
    readonly k: number
    readonly filter?: Filter | undefined
  }): Promise<readonly Memory[]> {
    const parts = await this.#partsOf(given.shard)
    const filter = given.filter === undefined ? {} : { filter: given.filter }
    const text = searchWords(given.query)
    const found: Memory[] = []
    if (parts.main !== null) {
      const embedder = await this.#embedderOf(parts.main)
      const vector = embedder === null ? null : await vectorOf(embedder, given.query, 'query')
      const ranked = vector === null ? {} : { vector, weights: ASK_WEIGHTS }
      found.push(
        ...(await this.node.query(parts.main, { k: given.k, text, ...ranked, ...filter })).map(
          memoryOf,
        ),
      )
    }
    if (parts.waiting !== null) {
      const waiting = await this.node.query(parts.waiting, { k: given.k, text, ...filter })
      // Scores of two kinds are not compared: what has no vector yet takes turns with what has.
      return interleaved(found, waiting.map(memoryOf)).slice(0, given.k)
    }
    return found
  }

  /** Writes a memory, replacing the one with the same id. */
  async remember(given: {
    readonly shard?: string | undefined
    readonly id?: string | undefined
    readonly text: string
    readonly metadata?: Metadata | undefined
  }): Promise<{ readonly shard: string; readonly id: string; readonly embedded: boolean }> {
    const shard = this.#allowed(given.shard)
    const id = given.id ?? this.#newId()
    const metadata = given.metadata ?? {}
    const embedder = await this.#embedderOf(shard)
    const exists = async (name: string): Promise<boolean> =>
      (await this.node.shards()).some(({ shardId }) => shardId === name)
    if (embedder === null) {
      const waiting = `${shard}${WAITING}`
      if (!(await exists(waiting))) {
        await this.node.createShard(waiting, { dimension: 1, metric: 'l2', modelId: 'text-only/1' })
      }
      await this.node.write(waiting, [{ id, text: given.text, metadata, embedding: [0] }], 'upsert')
      if (await exists(shard)) await this.node.delete(shard, id)
      return { shard, id, embedded: false }
    }
    const embedding = await vectorOf(embedder, given.text, 'document')
    if (!(await exists(shard))) {
      await this.node.createShard(shard, {
        dimension: embedder.dimension,
        modelId: embedder.modelId,
      })
    }
    await this.node.write(shard, [{ id, text: given.text, metadata, embedding }], 'upsert')
    if (await exists(`${shard}${WAITING}`)) await this.node.delete(`${shard}${WAITING}`, id)
    return { shard, id, embedded: true }
  }

  async get(shard: string | undefined, id: string): Promise<Memory | null> {
    const found = await this.#find(shard, id)
    return found === null ? null : memoryOf(found.record)
  }

  /** Changes text or metadata; metadata is merged key by key, and null removes a key. */
  async update(given: {
    readonly shard?: string | undefined
    readonly id: string
    readonly text?: string | undefined
    readonly metadata?: Metadata | undefined
  }): Promise<Memory> {
    const found = await this.#find(given.shard, given.id)
    if (found === null) throw this.#unknown(given.shard, given.id)
    const { record } = found
    const merged = { ...record.metadata, ...given.metadata }
    const metadata = Object.fromEntries(
      Object.entries(merged).filter(([, value]) => value !== null),
    )
    const text = given.text ?? record.text ?? ''
    if (given.text === undefined && record.embedding !== undefined) {
      const { id, embedding } = record
      await this.node.write(found.shard, [{ id, embedding, metadata, text }], 'upsert')
    } else await this.remember({ shard: given.shard, id: given.id, text, metadata })
    return { id: given.id, text, metadata }
  }

  async forget(shard: string | undefined, ids: readonly string[]): Promise<readonly string[]> {
    const parts = await this.#partsOf(shard)
    const forgotten: string[] = []
    for (const id of ids) {
      const results = []
      for (const name of [parts.main, parts.waiting]) {
        if (name !== null) results.push(await this.node.delete(name, id))
      }
      if (results.includes(true)) forgotten.push(id)
    }
    return forgotten
  }

  /**
   * The shard's own name, when it is there and may be used. @throws MemoryError naming those that
   * are there
   */
  async shardOf(given: string | undefined): Promise<string> {
    const { main, waiting } = await this.#partsOf(given)
    return main ?? waiting ?? this.defaultShard
  }

  #allowed(given: string | undefined): string {
    const shard = given ?? this.defaultShard
    if (this.#mayUse(shard)) return shard
    throw new MemoryError(
      `There is no shard ${JSON.stringify(shard)}. Call list_shards for their names.`,
    )
  }

  async #partsOf(
    given: string | undefined,
  ): Promise<{ main: string | null; waiting: string | null }> {
    const shard = this.#allowed(given)
    const all = (await this.node.shards()).map(({ shardId }) => shardId)
    const main = all.includes(shard) ? shard : null
    const waiting = all.includes(`${shard}${WAITING}`) ? `${shard}${WAITING}` : null
    // The default shard is made by the first memory; until then it is merely empty.
    if (main === null && waiting === null && shard !== this.defaultShard) {
      throw new MemoryError(
        `There is no shard ${JSON.stringify(shard)}. Call list_shards for their names.`,
      )
    }
    return { main, waiting }
  }

  async #find(
    given: string | undefined,
    id: string,
  ): Promise<{ readonly shard: string; readonly record: MemoryRecord } | null> {
    const parts = await this.#partsOf(given)
    for (const shard of [parts.main, parts.waiting]) {
      const record = shard === null ? null : await this.node.get(shard, id)
      if (shard !== null && record !== null) return { shard, record }
    }
    return null
  }

  #unknown(shard: string | undefined, id: string): MemoryError {
    return new MemoryError(
      `There is no memory ${JSON.stringify(id)} in ${shard ?? this.defaultShard}. Call search to find its id.`,
    )
  }
}

async function vectorOf(
  embedder: Embedder,
  text: string,
  kind: 'query' | 'document',
): Promise<VectorInput> {
  const [vector] = await embedTexts(embedder, [text], kind, { attempts: 2 })
  if (vector === undefined) throw new Error('the embedder gave no vector')
  return vector
}

function memoryOf({ id, text, metadata, score }: MemoryRecord): Memory {
  return score === undefined ? { id, text, metadata } : { id, text, metadata, score }
}

function interleaved(a: readonly Memory[], b: readonly Memory[]): readonly Memory[] {
  return Array.from({ length: Math.max(a.length, b.length) }, (_, index) =>
    [a[index], b[index]].filter((memory) => memory !== undefined),
  ).flat()
}
