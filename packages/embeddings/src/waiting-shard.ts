/**
 * Records without a vector: texts that wait for an embedder.
 *
 * Every record of a shard has a vector, on disk and on the wire. A text without one is therefore a
 * record of a companion shard `NAME.waiting` (dimension 1, model `text-only/1`), whose vectors are
 * placeholders that no search compares. It replicates as every shard does, is found by its text,
 * and moves over when it is embedded.
 */
import type {
  ListPage,
  RecordInput,
  SQLiteVectorDB,
  VectorRecord,
} from '@agentic-flow/sqlite-vector'
import type { TextRecord } from './types.ts'

const SUFFIX = '.waiting'
const PLACEHOLDER = Float32Array.of(0)

/** The companion of one shard; made with its first record. */
export class WaitingShard {
  readonly shardId: string
  readonly #db: SQLiteVectorDB

  constructor(db: SQLiteVectorDB, shardId: string) {
    this.#db = db
    this.shardId = `${shardId}${SUFFIX}`
  }

  /** Whether the companion is there; a peer may bring it at any time. */
  get exists(): boolean {
    return this.#db.shards().some(({ shardId }) => shardId === this.shardId)
  }

  get count(): number {
    return this.exists ? this.#db.count(this.shardId) : 0
  }

  put({ id, text, metadata }: TextRecord): void {
    this.#db.createShard(this.shardId, { dimension: 1, metric: 'l2', modelId: 'text-only/1' })
    const record: RecordInput = { id, text, embedding: PLACEHOLDER }
    this.#db.upsert(this.shardId, metadata === undefined ? record : { ...record, metadata })
  }

  get(id: string): VectorRecord | null {
    return this.exists ? this.#db.get(this.shardId, id) : null
  }

  delete(id: string): boolean {
    return this.exists && this.#db.delete(this.shardId, id)
  }

  /** A page of the records, by id. */
  page(cursor: string | null, limit: number): ListPage {
    if (!this.exists) return { records: [], nextCursor: null }
    return this.#db.list(this.shardId, { cursor, limit })
  }
}
