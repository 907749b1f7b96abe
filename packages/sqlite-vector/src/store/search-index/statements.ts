/**
 * The statements of search, prepared once per open file and kept; those that filters make are kept
 * while they are in use.
 *
 * Not here: statements that write (statements.ts).
 */
import type { SqliteDatabase, SqliteStatement } from '#platform'

const SQL = {
  // An embedding of a wrong length is left out like one that is missing; `recount()` names it.
  // By position (shard << 44 | change_id), the changelog's key: shard and change_id are derived
  // columns.
  readTail: `SELECT c.record, c.change_id, e.embedding
    FROM vector_changelog c LEFT JOIN embeddings e ON e.record = c.record
      AND length(e.embedding) = (SELECT dimension * 4 FROM shard_metadata WHERE shard = ?1)
    WHERE c.position > ((?1 << 44) | ?2) AND c.position < ((?1 + 1) << 44)
    ORDER BY c.position LIMIT ?3`,
  feed: `SELECT d.log_id, s.collected_through FROM shard_metadata s, database_metadata d
    WHERE s.shard = ?`,
  embeddingAt: `SELECT e.embedding, c.record
      FROM vector_changelog c JOIN embeddings e ON e.record = c.record
      AND length(e.embedding) = (SELECT dimension * 4 FROM shard_metadata WHERE shard = ?1)
    WHERE c.position >= ((?1 << 44) | ?2) AND c.position < ((?1 + 1) << 44)
    ORDER BY c.position LIMIT 1`,
  embedding: 'SELECT embedding FROM embeddings WHERE record = ?',
  idOf: 'SELECT vector_id FROM vectors WHERE record = ?',
  record: 'SELECT vector_id, metadata, document FROM vectors WHERE record = ?',
} as const

/** Statements that filters made, at most; the least recently used gives way. */
const FILTER_STATEMENTS_MAX = 64

/** The prepared statements of search on one open file. */
export class SearchStatements {
  readonly readTail: SqliteStatement
  readonly feed: SqliteStatement
  readonly embeddingAt: SqliteStatement
  readonly embedding: SqliteStatement
  readonly idOf: SqliteStatement
  readonly record: SqliteStatement
  readonly #db: SqliteDatabase
  readonly #filters = new Map<string, SqliteStatement>()

  constructor(db: SqliteDatabase) {
    this.#db = db
    this.readTail = db.prepare(SQL.readTail)
    // Rows as arrays: this statement reads every row of a shard.
    this.readTail.setReturnArrays(true)
    this.feed = db.prepare(SQL.feed)
    this.embeddingAt = db.prepare(SQL.embeddingAt)
    this.embedding = db.prepare(SQL.embedding)
    this.idOf = db.prepare(SQL.idOf)
    this.record = db.prepare(SQL.record)
    // A search runs it for each result.
    this.record.setReturnArrays(true)
  }

  /** A statement made from a filter, prepared now or kept from an earlier search. */
  prepared(sql: string): SqliteStatement {
    const known = this.#filters.get(sql)
    const statement = known ?? this.#db.prepare(sql)
    // Taken out and put back, the oldest in the map is the least recently used.
    this.#filters.delete(sql)
    this.#filters.set(sql, statement)
    const [oldest] = this.#filters.keys()
    if (this.#filters.size > FILTER_STATEMENTS_MAX && oldest !== undefined) {
      this.#filters.delete(oldest)
    }
    return statement
  }
}
