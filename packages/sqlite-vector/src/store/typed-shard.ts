/**
 * One shard under the type of its metadata: `db.shard<Doc>('docs')`.
 *
 * The same methods as the database's, without the name of the shard, with metadata of type `M` in
 * records, results and filters. The type is the caller's word: nothing checks at run time that what
 * peers or other programs wrote has it.
 */
import type { VectorQuery } from './query/query-builder.ts'
import type {
  Filter,
  HybridOptions,
  HybridResult,
  SearchOptions,
  SearchResult,
  TextResult,
  TextSearchOptions,
} from './query/types.ts'
import type {
  BatchOptions,
  EmbeddedRecord,
  ListOptions,
  ListPage,
  RecordInput,
  RecordUpdate,
} from './types.ts'
import type { Metadata, VectorInput } from '../model/records.ts'

/** The methods of a database that a typed shard calls, under its type. */
export interface ShardTarget<M extends object> {
  insert(shardId: string, record: RecordInput<M>): void
  upsert(shardId: string, record: RecordInput<M>): boolean
  insertBatch(
    shardId: string,
    records: readonly RecordInput<M>[],
    options: BatchOptions,
  ): Promise<number>
  update(shardId: string, id: string, update: RecordUpdate<M>): void
  update(shardId: string, where: { readonly filter: Filter<M> }, update: RecordUpdate<M>): number
  delete(shardId: string, id: string): boolean
  delete(shardId: string, where: { readonly filter: Filter<M> }): number
  get(shardId: string, id: string): EmbeddedRecord<M> | null
  getMany(shardId: string, ids: readonly string[]): readonly (EmbeddedRecord<M> | null)[]
  list(shardId: string, options: ListOptions<M>): ListPage<M>
  count(shardId: string, filter?: Filter<M>): number
  search(
    shardId: string,
    vector: VectorInput,
    options: SearchOptions<M>,
  ): readonly SearchResult<M>[]
  searchText(shardId: string, text: string, options: TextSearchOptions<M>): readonly TextResult<M>[]
  hybrid(shardId: string, options: HybridOptions<M>): readonly HybridResult<M>[]
  query(shardId: string): VectorQuery<M>
}

/** A shard of a database. Made by `db.shard()`. */
export class TypedShard<M extends object = Metadata> {
  readonly shardId: string
  readonly #db: ShardTarget<M>

  /** @internal */
  constructor(db: ShardTarget<M>, shardId: string) {
    this.#db = db
    this.shardId = shardId
  }

  /**
   * Adds a record. @throws `STORE_RECORD_EXISTS`, `STORE_DIMENSION_MISMATCH`, `STORE_SHARD_UNKNOWN`
   */
  insert(record: RecordInput<M>): void {
    this.#db.insert(this.shardId, record)
  }

  /** Adds a record or replaces the one there; true when there was none. */
  upsert(record: RecordInput<M>): boolean {
    return this.#db.upsert(this.shardId, record)
  }

  /** Adds many records; see `insertBatch()` of the database. */
  insertBatch(records: readonly RecordInput<M>[], options: BatchOptions = {}): Promise<number> {
    return this.#db.insertBatch(this.shardId, records, options)
  }

  /** Changes parts of a record, or of all that pass a filter: then returns how many. */
  update(id: string, update: RecordUpdate<M>): void
  update(where: { readonly filter: Filter<M> }, update: RecordUpdate<M>): number
  update(which: string | { readonly filter: Filter<M> }, update: RecordUpdate<M>): number | void {
    if (typeof which === 'string') return this.#db.update(this.shardId, which, update)
    return this.#db.update(this.shardId, which, update)
  }

  /**
   * Deletes a record, and returns true when there was one; or all that pass, and returns how many.
   */
  delete(id: string): boolean
  delete(where: { readonly filter: Filter<M> }): number
  delete(which: string | { readonly filter: Filter<M> }): boolean | number {
    if (typeof which === 'string') return this.#db.delete(this.shardId, which)
    return this.#db.delete(this.shardId, which)
  }

  /** The record with its embedding, or null. */
  get(id: string): EmbeddedRecord<M> | null {
    return this.#db.get(this.shardId, id)
  }

  /** The records with their embeddings, in the order of `ids`; null for each that there is not. */
  getMany(ids: readonly string[]): readonly (EmbeddedRecord<M> | null)[] {
    return this.#db.getMany(this.shardId, ids)
  }

  /** A page of records in the order of the bytes of their ids. */
  list(options: ListOptions<M> = {}): ListPage<M> {
    return this.#db.list(this.shardId, options)
  }

  /** How many records the shard shows, or how many of them pass a filter. */
  count(filter?: Filter<M>): number {
    return this.#db.count(this.shardId, filter)
  }

  /** The `k` nearest records, nearest first, ties by id. */
  search(vector: VectorInput, options: SearchOptions<M> = {}): readonly SearchResult<M>[] {
    return this.#db.search(this.shardId, vector, options)
  }

  /** The records whose texts fit best. */
  searchText(text: string, options: TextSearchOptions<M> = {}): readonly TextResult<M>[] {
    return this.#db.searchText(this.shardId, text, options)
  }

  /** The rankings by vector and by text, fused. */
  hybrid(options: HybridOptions<M>): readonly HybridResult<M>[] {
    return this.#db.hybrid(this.shardId, options)
  }

  /** A query to be put together step by step. */
  query(): VectorQuery<M> {
    return this.#db.query(this.shardId)
  }
}
