/**
 * SQLiteVector itself: default search, `exact: true`, a filter on a path with a declared index. A
 * single write is one durable transaction, changelog included, and the search that follows it sees
 * it.
 */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createVectorDB, type SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import { GROUPS, K, row } from '../data.ts'
import type { Engine } from '../engine.ts'

const INTO = 10_000

export async function open(folder: string): Promise<Engine> {
  const path = join(folder, 'ours.db')
  let db: SQLiteVectorDB = await createVectorDB({ path })
  db.createShard('s', { dimension: 384, metric: 'cosine' })
  let unseen = 0
  return {
    build: async (data) => {
      for (let from = 0; from < data.count; from += INTO) {
        const records = Array.from({ length: Math.min(INTO, data.count - from) }, (_, i) => ({
          id: String(from + i),
          embedding: row(data.base, from + i),
          metadata: { group: (from + i) % GROUPS },
        }))
        await db.insertBatch('s', records)
      }
      db.createMetadataIndex('group')
      await db.warmIndex('s')
    },
    search: (query, k) => ids(db.search('s', query, { k })),
    exact: (query, k) => ids(db.search('s', query, { k, exact: true })),
    // Another value each time, which no record has: the same records pass, but the filter was never
    // seen.
    filtered: (query, k, group) => {
      unseen -= 1
      return ids(db.search('s', query, { k, filter: { group: { $in: [group, unseen] } } }))
    },
    filteredAgain: (query, k, group) => ids(db.search('s', query, { k, filter: { group } })),
    insert: (index, embedding) => db.insert('s', { id: String(index), embedding }),
    update: (index, embedding) => db.update('s', String(index), { embedding }),
    remove: (index) => {
      db.delete('s', String(index))
    },
    diskBytes: () => {
      const codes = existsSync(`${path}-index`) ? readdirSync(`${path}-index`) : []
      const files = [path, `${path}-wal`, ...codes.map((name) => join(`${path}-index`, name))]
      return files.reduce((bytes, file) => bytes + statSync(file).size, 0)
    },
    close: () => db.close(),
    reopen: async (query) => {
      db = await createVectorDB({ path })
      if (db.search('s', query, { k: K }).length !== K) throw new Error('too few after reopening')
      db.close()
    },
  }
}

function ids(found: readonly { readonly id: string }[]): number[] {
  return found.map(({ id }) => Number(id))
}
