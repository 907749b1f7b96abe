/**
 * sqlite-vec's vec0 table, float32, cosine; the group is one of its metadata columns. It compares
 * every record.
 */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { K, GROUPS, row } from '../data.ts'
import type { Engine } from '../engine.ts'
import { competitor } from './competitor.ts'

export async function open(folder: string): Promise<Engine> {
  const path = join(folder, 'sqlite-vec.db')
  const connect = (): DatabaseSync => {
    const db = new DatabaseSync(path, { allowExtension: true })
    const { getLoadablePath } = competitor('sqlite-vec') as { getLoadablePath: () => string }
    db.loadExtension(getLoadablePath())
    db.exec('PRAGMA journal_mode = WAL')
    return db
  }
  let db = connect()
  db.exec(
    'CREATE VIRTUAL TABLE v USING vec0(embedding float[384] distance_metric=cosine, grp integer)',
  )
  const insert = db.prepare('INSERT INTO v (rowid, embedding, grp) VALUES (?, ?, ?)')
  const all = 'SELECT rowid AS id FROM v WHERE embedding MATCH ? AND k = ?'
  const search = db.prepare(`${all} ORDER BY distance`)
  const filtered = db.prepare(`${all} AND grp = ? ORDER BY distance`)
  const update = db.prepare('UPDATE v SET embedding = ? WHERE rowid = ?')
  const remove = db.prepare('DELETE FROM v WHERE rowid = ?')
  const run = (statement: typeof search, query: Float32Array, k: number): number[] =>
    statement.all(bytes(query), k).map((found) => Number(found['id']))
  return Promise.resolve({
    build: async (data) => {
      db.exec('BEGIN')
      for (let i = 0; i < data.count; i += 1) {
        insert.run(BigInt(i), bytes(row(data.base, i)), BigInt(i % GROUPS))
      }
      db.exec('COMMIT')
      return Promise.resolve()
    },
    search: (query, k) => run(search, query, k),
    exact: null,
    filtered: (query, k, group) =>
      filtered.all(bytes(query), k, BigInt(group)).map((found) => Number(found['id'])),
    insert: (index, vector) => {
      insert.run(BigInt(index), bytes(vector), 0n)
    },
    update: (index, vector) => {
      update.run(bytes(vector), BigInt(index))
    },
    remove: (index) => {
      remove.run(BigInt(index))
    },
    diskBytes: () => statSync(path).size + statSync(`${path}-wal`).size,
    close: () => db.close(),
    reopen: async (query) => {
      db = connect()
      if (run(db.prepare(`${all} ORDER BY distance`), query, K).length !== K) {
        throw new Error('too few after reopening')
      }
      db.close()
      return Promise.resolve()
    },
  })
}

function bytes(vector: Float32Array): Uint8Array {
  return new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength)
}
