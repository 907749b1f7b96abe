/**
 * LanceDB with IVF-HNSW-SQ (its fastest index with recall near 1 here), refined by 10; the group is
 * a column.
 */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { GROUPS, K, row } from '../data.ts'
import type { Engine } from '../engine.ts'
import { competitor } from './competitor.ts'

interface LanceQuery {
  distanceType(type: string): LanceQuery
  refineFactor(factor: number): LanceQuery
  where(sql: string): LanceQuery
  bypassVectorIndex(): LanceQuery
  select(columns: string[]): LanceQuery
  limit(k: number): LanceQuery
  toArray(): Promise<readonly { readonly id: number }[]>
}

interface LanceTable {
  add(rows: readonly object[]): Promise<unknown>
  createIndex(column: string, options: object): Promise<void>
  vectorSearch(query: Float32Array): LanceQuery
  update(change: { where: string; values: object }): Promise<unknown>
  delete(where: string): Promise<unknown>
}

interface Lance {
  connect(path: string): Promise<{
    createTable(name: string, rows: readonly object[]): Promise<LanceTable>
    openTable(name: string): Promise<LanceTable>
  }>
  readonly Index: { hnswSq(options: object): unknown; btree(): unknown }
}

const INTO = 20_000

export async function open(folder: string): Promise<Engine> {
  const lance = competitor('@lancedb/lancedb') as Lance
  const path = join(folder, 'lance')
  const connection = await lance.connect(path)
  let table: LanceTable
  return {
    build: async (data) => {
      for (let from = 0; from < data.count; from += INTO) {
        const rows = Array.from({ length: Math.min(INTO, data.count - from) }, (_, i) =>
          record(from + i, row(data.base, from + i)),
        )
        if (from === 0) table = await connection.createTable('v', rows)
        else await table.add(rows)
      }
      await table.createIndex('vector', { config: lance.Index.hnswSq({ distanceType: 'cosine' }) })
      await table.createIndex('grp', { config: lance.Index.btree() })
    },
    search: (query, k) => ids(ask(table, query, k).refineFactor(10)),
    exact: (query, k) => ids(ask(table, query, k).bypassVectorIndex()),
    filtered: (query, k, group) =>
      ids(ask(table, query, k).where(`grp = ${group}`).refineFactor(10)),
    insert: async (index, vector) => {
      await table.add([record(index, vector)])
    },
    update: async (index, vector) => {
      await table.update({ where: `id = ${index}`, values: { vector: Array.from(vector) } })
    },
    remove: async (index) => {
      await table.delete(`id = ${index}`)
    },
    diskBytes: () => folderBytes(path),
    close: () => undefined,
    reopen: async (query) => {
      const again = await (await lance.connect(path)).openTable('v')
      if ((await ids(ask(again, query, K))).length !== K) throw new Error('too few after reopening')
    },
  }
}

function ask(on: LanceTable, query: Float32Array, k: number): LanceQuery {
  return on.vectorSearch(query.slice()).distanceType('cosine').select(['id']).limit(k)
}

async function ids(query: LanceQuery): Promise<number[]> {
  return (await query.toArray()).map(({ id }) => id)
}

function record(id: number, vector: Float32Array): object {
  return { id, vector: Array.from(vector), grp: id % GROUPS }
}

function folderBytes(path: string): number {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)
}
