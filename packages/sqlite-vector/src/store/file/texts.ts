/**
 * The full-text index of each shard: an FTS5 table of its own, kept in the transaction that writes
 * the record, so that costs and BM25 weights belong to the shard.
 *
 * A table holds tokens and no texts (contentless): what a text is cut into is
 * search/text-analysis.ts. It is made with the first text of the shard. Not by triggers: they would
 * cost every insert, also of records without a text. Reference: https://www.sqlite.org/fts5.html,
 * contentless-delete tables.
 */
import type { SqliteDatabase, SqliteStatement } from '#platform'

import {
  indexedText,
  tableTokenizer,
  type TextAnalysis,
  DEFAULT_ANALYSIS,
} from '../../search/text-analysis.ts'

/** The part of a shard that its index needs. */
export interface TextShard {
  readonly shard: number
  readonly text?: TextAnalysis
}

interface ShardStatements {
  readonly add: SqliteStatement
  readonly drop: SqliteStatement
}

/** Rows indexed between two looks at the table in a rebuild. */
const REBUILD_ROWS = 1_000

/** The indexes of one open file. */
export class ShardTexts {
  readonly #db: SqliteDatabase
  readonly #statements = new Map<number, ShardStatements>()
  /** Shards whose tables the running transaction made. */
  readonly #made: number[] = []

  constructor(db: SqliteDatabase) {
    this.#db = db
  }

  add(shard: TextShard, rowid: number, text: string): void {
    this.#of(shard).add.run(rowid, indexedText(text, shard.text ?? DEFAULT_ANALYSIS))
  }

  drop(shard: TextShard, rowid: number): void {
    this.#of(shard).drop.run(rowid)
  }

  dropShard({ shard }: TextShard): void {
    this.#statements.delete(shard)
    this.#db.exec(`DROP TABLE IF EXISTS ${textTable(shard)}`)
  }

  /** Makes the index of a shard again from its rows. */
  rebuild(shard: TextShard): void {
    this.dropShard(shard)
    const page = this.#db.prepare(
      `SELECT record, document FROM vectors
       WHERE shard = ? AND document IS NOT NULL AND record > ? ORDER BY record LIMIT ?`,
    )
    for (let after = 0; ;) {
      const rows = page.all(shard.shard, after, REBUILD_ROWS)
      for (const row of rows) this.add(shard, Number(row['record']), String(row['document']))
      if (rows.length < REBUILD_ROWS) return
      after = Number(rows.at(-1)?.['record'])
    }
  }

  /**
   * Looks at `limit` texts of the shard above `after`: the index must have each, with as many
   * tokens as it is cut into now. Null when it has not.
   */
  checkPage(
    shard: TextShard,
    after: number,
    limit: number,
  ): { readonly count: number; readonly last: number } | null {
    const rows = this.#db
      .prepare(
        `SELECT record, document FROM vectors
         WHERE shard = ? AND document IS NOT NULL AND record > ? ORDER BY record LIMIT ?`,
      )
      .all(shard.shard, after, limit)
    const table = textTable(shard.shard)
    const sizeOf = hasTable(this.#db, table)
      ? this.#db.prepare(`SELECT sz FROM ${table}_docsize WHERE id = ?`)
      : null
    for (const row of rows) {
      const held = sizeOf?.get(Number(row['record']))?.['sz']
      const tokens = tokenCount(String(row['document']), shard.text ?? DEFAULT_ANALYSIS)
      if (!(held instanceof Uint8Array) || varint(held) !== tokens) return null
    }
    return { count: rows.length, last: Number(rows.at(-1)?.['record'] ?? after) }
  }

  /** Texts that the index holds. */
  count({ shard }: TextShard): number {
    const table = textTable(shard)
    if (!hasTable(this.#db, table)) return 0
    return Number(this.#db.prepare(`SELECT count(*) AS c FROM ${table}_docsize`).get()?.['c'])
  }

  /** The place in the running transaction to which {@link undo} goes back. */
  mark(): number {
    return this.#made.length
  }

  /**
   * Before a savepoint is undone: drops the tables made since `mark`. FTS5 makes no other in a
   * transaction of which the creation of one was undone.
   */
  undo(mark: number): void {
    for (const shard of this.#made.splice(mark)) this.dropShard({ shard })
  }

  /** After a transaction: `isUndone` forgets the statements on tables that it made. */
  end(isUndone: boolean): void {
    this.#made.length = 0
    if (isUndone) this.#statements.clear()
  }

  #of(shard: TextShard): ShardStatements {
    const known = this.#statements.get(shard.shard)
    if (known !== undefined) return known
    const table = textTable(shard.shard)
    if (!hasTable(this.#db, table)) {
      this.#db.exec(tableSql(table, shard.text ?? DEFAULT_ANALYSIS))
      this.#made.push(shard.shard)
    }
    const made = {
      add: this.#db.prepare(`INSERT INTO ${table} (rowid, tokens) VALUES (?, ?)`),
      drop: this.#db.prepare(`DELETE FROM ${table} WHERE rowid = ?`),
    }
    this.#statements.set(shard.shard, made)
    return made
  }
}

/** The name of the table of the shard with this key. */
export function textTable(shard: number): string {
  return `record_text_${shard}`
}

export function hasTable(db: SqliteDatabase, name: string): boolean {
  return (
    db.prepare(`SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?`).get(name) !==
    undefined
  )
}

/** Makes the indexes of all shards, for a file whose texts lay in one index. */
export function indexAllTexts(db: SqliteDatabase): void {
  const shards = db
    .prepare('SELECT DISTINCT shard FROM vectors WHERE document IS NOT NULL')
    .all()
    .map((row) => ({ shard: Number(row['shard']) }))
  const texts = new ShardTexts(db)
  for (const shard of shards) texts.rebuild(shard)
}

function tableSql(name: string, analysis: TextAnalysis): string {
  const tokenizer = tableTokenizer(analysis).replaceAll("'", "''")
  return `CREATE VIRTUAL TABLE ${name} USING fts5(
    tokens, content = '', contentless_delete = 1, tokenize = '${tokenizer}')`
}

/** The number of tokens that FTS5 finds in an indexed text. */
function tokenCount(text: string, analysis: TextAnalysis): number {
  const indexed = indexedText(text, analysis)
  if (analysis === 'trigram') return Math.max(0, Array.from(indexed).length - 2)
  return indexed === '' ? 0 : indexed.split(' ').length
}

/** The number that FTS5 keeps of a row: seven bits a byte, the highest first. */
function varint(bytes: Uint8Array): number {
  let value = 0
  for (const byte of bytes) value = value * 128 + (byte & 0x7f)
  return value
}
