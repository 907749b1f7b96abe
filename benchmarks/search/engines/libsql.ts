/**
 * libSQL's native vector index (DiskANN), float32, cosine. It has no filter inside the index.
 */
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { K, row } from '../data.ts'
import type { Engine } from '../engine.ts'
import { competitor } from './competitor.ts'

interface LibsqlStatement {
  run(...values: unknown[]): unknown
  all(...values: unknown[]): readonly { readonly id: number }[]
}

interface LibsqlDatabase {
  exec(sql: string): void
  prepare(sql: string): LibsqlStatement
  close(): void
}

export async function open(folder: string): Promise<Engine> {
  const Database = competitor('libsql') as new (path: string) => LibsqlDatabase
  const path = join(folder, 'libsql.db')
  const db = new Database(path)
  db.exec('PRAGMA journal_mode = WAL')
  db.exec('CREATE TABLE v (id INTEGER PRIMARY KEY, embedding F32_BLOB(384))')
  db.exec(`CREATE INDEX v_index ON v (libsql_vector_idx(embedding, 'metric=cosine'))`)
  const insert = db.prepare('INSERT INTO v (id, embedding) VALUES (?, ?)')
  const update = db.prepare('UPDATE v SET embedding = ? WHERE id = ?')
  const remove = db.prepare('DELETE FROM v WHERE id = ?')
  const sql = `SELECT v.id AS id FROM vector_top_k('v_index', ?, ?) t JOIN v ON v.rowid = t.id`
  const search = db.prepare(sql)
  return Promise.resolve({
    build: async (data) => {
      db.exec('BEGIN')
      for (let i = 0; i < data.count; i += 1) insert.run(i, bytes(row(data.base, i)))
      db.exec('COMMIT')
      return Promise.resolve()
    },
    search: (query, k) => search.all(bytes(query), k).map(({ id }) => id),
    exact: null,
    filtered: null,
    insert: (index, vector) => {
      insert.run(index, bytes(vector))
    },
    update: (index, vector) => {
      update.run(bytes(vector), index)
    },
    remove: (index) => {
      remove.run(index)
    },
    diskBytes: () =>
      statSync(path).size + (existsSync(`${path}-wal`) ? statSync(`${path}-wal`).size : 0),
    close: () => db.close(),
    reopen: async (query) => {
      const again = new Database(path)
      if (again.prepare(sql).all(bytes(query), K).length !== K)
        throw new Error('too few after reopening')
      again.close()
      return Promise.resolve()
    },
  })
}

/** libsql binds the whole buffer of a view, so vectors are copied into one of their own. */
function bytes(vector: Float32Array): Buffer {
  return Buffer.from(vector.slice().buffer)
}
