/**
 * A LangChain.js vector store on a shard: documents are records, `Document.id` is the record's id,
 * `pageContent` its text.
 *
 * Filters are those of SQLiteVector. Scores are similarities: larger is nearer.
 */
import { randomUUID } from 'node:crypto'
import type {
  Filter,
  JsonValue,
  Metric,
  SQLiteVectorDB,
  VectorRecord,
} from '@agentic-flow/sqlite-vector'
import { rejectUnknownKeys, shown } from '@agentic-flow/sqlite-vector/options'
import type { CallbackManagerForRetrieverRun } from '@langchain/core/callbacks/manager'
import { Document, type DocumentInterface } from '@langchain/core/documents'
import type { EmbeddingsInterface } from '@langchain/core/embeddings'
import { BaseRetriever, type BaseRetrieverInput } from '@langchain/core/retrievers'
import { type MaxMarginalRelevanceSearchOptions, VectorStore } from '@langchain/core/vectorstores'

type Metadata = { readonly [key: string]: JsonValue }

export interface SQLiteVectorStoreOptions {
  /** An open database; the store does not close it. */
  readonly db: SQLiteVectorDB
  /** Shard of the documents; made with the first of them. @defaultValue `'documents'` */
  readonly shardId?: string
  /** Metric of the shard when it is made here. @defaultValue `'cosine'` */
  readonly metric?: Metric
  /** Name of the model, kept in the shard and checked. @defaultValue none */
  readonly modelId?: string
}

/** Options of a write. */
export interface AddOptions {
  /** Ids in the order of the documents; they win over `Document.id`. */
  readonly ids?: readonly string[]
}

/** Documents to delete: by id, by filter, or both. */
export interface DeleteOptions {
  readonly ids?: readonly string[]
  readonly filter?: Filter
}

/** Options of `asHybridRetriever()`. */
export interface HybridRetrieverOptions extends BaseRetrieverInput {
  /** Documents wanted. @defaultValue `4` */
  readonly k?: number
  readonly filter?: Filter
  /** How much each ranking counts. @defaultValue `{ text: 1, vector: 1 }` */
  readonly weights?: { readonly text?: number; readonly vector?: number }
}

/** Documents in a shard that replicates. */
export class SQLiteVectorStore extends VectorStore {
  declare FilterType: Filter
  readonly db: SQLiteVectorDB
  readonly shardId: string
  readonly #shard: { readonly metric?: Metric; readonly modelId?: string }

  constructor(embeddings: EmbeddingsInterface, options: SQLiteVectorStoreOptions) {
    super(embeddings, { shardId: options.shardId ?? 'documents' })
    rejectUnknownKeys('SQLiteVectorStore', options, ['db', 'shardId', 'metric', 'modelId'])
    const { db, shardId = 'documents', metric, modelId } = options
    this.db = db
    this.shardId = shardId
    this.#shard = {
      ...(metric === undefined ? {} : { metric }),
      ...(modelId === undefined ? {} : { modelId }),
    }
  }

  override _vectorstoreType(): string {
    return 'sqlite-vector'
  }

  /** A store with these texts. */
  static override async fromTexts(
    texts: string[],
    metadatas: object[] | object,
    embeddings: EmbeddingsInterface,
    options: SQLiteVectorStoreOptions & AddOptions,
  ): Promise<SQLiteVectorStore> {
    const documents = texts.map(
      (pageContent, index) =>
        new Document({
          pageContent,
          metadata: (Array.isArray(metadatas) ? metadatas[index] : metadatas) as Record<
            string,
            unknown
          >,
        }),
    )
    return SQLiteVectorStore.fromDocuments(documents, embeddings, options)
  }

  /** A store with these documents. */
  static override async fromDocuments(
    documents: DocumentInterface[],
    embeddings: EmbeddingsInterface,
    options: SQLiteVectorStoreOptions & AddOptions,
  ): Promise<SQLiteVectorStore> {
    const { ids, ...rest } = options
    const store = new SQLiteVectorStore(embeddings, rest)
    await store.addDocuments(documents, ids === undefined ? {} : { ids })
    return store
  }

  /** Embeds and writes documents; an id that is there is replaced. Resolves with the ids. */
  override async addDocuments(
    documents: DocumentInterface[],
    options: AddOptions = {},
  ): Promise<string[]> {
    const texts = documents.map(({ pageContent }) => pageContent)
    return this.addVectors(await this.embeddings.embedDocuments(texts), documents, options)
  }

  /** Writes documents with their vectors, all or none of up to 10,000. Resolves with the ids. */
  override async addVectors(
    vectors: number[][],
    documents: DocumentInterface[],
    options: AddOptions = {},
  ): Promise<string[]> {
    if (vectors.length !== documents.length) {
      throw new RangeError(
        `vectors must be as many as documents, got ${vectors.length} for ${documents.length}`,
      )
    }
    const { ids } = options
    if (ids !== undefined && ids.length !== documents.length) {
      throw new RangeError(
        `ids must be as many as documents, got ${ids.length} for ${documents.length}`,
      )
    }
    const [first] = vectors
    if (first === undefined) return []
    const records = documents.map(({ id, pageContent, metadata }, index) => ({
      id: ids?.[index] ?? id ?? randomUUID(),
      embedding: vectors[index] ?? [],
      text: pageContent,
      metadata: plainMetadata(metadata),
    }))
    if (!this.#exists())
      this.db.createShard(this.shardId, { dimension: first.length, ...this.#shard })
    await this.db.insertBatch(this.shardId, records, { mode: 'upsert' })
    return records.map(({ id }) => id)
  }

  /** Deletes documents; ids that are not there are passed over. */
  override async delete(options: DeleteOptions): Promise<void> {
    const { ids, filter } = options
    if (ids === undefined && filter === undefined) {
      throw new TypeError(`delete needs ids or a filter, got ${shown(options)}`)
    }
    if (!this.#exists()) return
    this.db.transaction(() => {
      for (const id of ids ?? []) this.db.delete(this.shardId, id)
      if (filter !== undefined) this.db.delete(this.shardId, { filter })
    })
  }

  /** The documents in the order of `ids`; those that are not there are left out. */
  async getByIds(ids: readonly string[]): Promise<DocumentInterface[]> {
    if (!this.#exists()) return []
    return this.db
      .getMany(this.shardId, ids)
      .filter((record) => record !== null)
      .map(documentOf)
  }

  override async similaritySearchVectorWithScore(
    query: number[],
    k: number,
    filter?: Filter,
  ): Promise<[DocumentInterface, number][]> {
    if (!this.#exists()) return []
    return this.db
      .search(this.shardId, query, { k, ...filtered(filter) })
      .map((found) => [documentOf(found), found.score])
  }

  /** Documents that are near the query and unlike one another. */
  override async maxMarginalRelevanceSearch(
    query: string,
    options: MaxMarginalRelevanceSearchOptions<Filter>,
  ): Promise<DocumentInterface[]> {
    if (!this.#exists()) return []
    const { k, fetchK, lambda, filter } = options
    const vector = await this.embeddings.embedQuery(query)
    const mmr = {
      ...(lambda === undefined ? {} : { lambda }),
      ...(fetchK === undefined ? {} : { candidates: Math.max(fetchK, k) }),
    }
    return this.db.search(this.shardId, vector, { k, mmr, ...filtered(filter) }).map(documentOf)
  }

  /**
   * Documents by vector and by words, fused; with a score that is comparable within one answer
   * only.
   */
  async hybridSearchWithScore(
    query: string,
    options: Omit<HybridRetrieverOptions, keyof BaseRetrieverInput> = {},
  ): Promise<[DocumentInterface, number][]> {
    if (!this.#exists()) return []
    const { k = 4, filter, weights } = options
    const vector = await this.embeddings.embedQuery(query)
    const weighted = weights === undefined ? {} : { weights }
    return this.db
      .hybrid(this.shardId, { text: query, vector, k, ...filtered(filter), ...weighted })
      .map((found) => [documentOf(found), found.score])
  }

  /** A retriever that ranks by vector and by words. */
  asHybridRetriever(options: HybridRetrieverOptions = {}): SQLiteVectorHybridRetriever {
    return new SQLiteVectorHybridRetriever(this, options)
  }

  #exists(): boolean {
    return this.db.shards().some(({ shardId }) => shardId === this.shardId)
  }
}

/** Made by {@link SQLiteVectorStore.asHybridRetriever}. */
export class SQLiteVectorHybridRetriever extends BaseRetriever {
  override lc_namespace: string[] = ['langchain', 'retrievers', 'sqlite-vector']
  readonly #store: SQLiteVectorStore
  readonly #options: HybridRetrieverOptions

  /** @internal */
  constructor(store: SQLiteVectorStore, options: HybridRetrieverOptions) {
    super(options)
    this.#store = store
    this.#options = options
  }

  override async _getRelevantDocuments(
    query: string,
    _run?: CallbackManagerForRetrieverRun,
  ): Promise<DocumentInterface[]> {
    const { k, filter, weights } = this.#options
    const found = await this.#store.hybridSearchWithScore(query, {
      ...(k === undefined ? {} : { k }),
      ...(filter === undefined ? {} : { filter }),
      ...(weights === undefined ? {} : { weights }),
    })
    return found.map(([document]) => document)
  }
}

function filtered(filter: Filter | undefined): { readonly filter?: Filter } {
  return filter === undefined ? {} : { filter }
}

function documentOf({ id, text, metadata }: VectorRecord): Document {
  return new Document({ id, pageContent: text ?? '', metadata: { ...metadata } })
}

/** Metadata without undefined values, which JSON does not have; loaders leave them behind. */
function plainMetadata(metadata: { readonly [key: string]: unknown } | undefined): Metadata {
  const entries = Object.entries(metadata ?? {}).filter(([, value]) => value !== undefined)
  // The store checks that they are JSON, and names the one that is not.
  return Object.fromEntries(entries as [string, JsonValue][])
}
