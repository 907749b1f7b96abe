/**
 * usearch: an HNSW index in memory, its own defaults (connectivity 16), ef 64 to search; saved and
 * loaded as a file. Its JavaScript interface has no filter.
 */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { K, row } from '../data.ts'
import type { Engine } from '../engine.ts'
import { competitor } from './competitor.ts'

interface UsearchIndex {
  add(keys: bigint | BigUint64Array, vectors: Float32Array, threads?: number): void
  search(query: Float32Array, k: number, threads: number): { readonly keys: BigUint64Array }
  remove(key: bigint): void
  save(path: string): void
  load(path: string): void
}

export async function open(folder: string): Promise<Engine> {
  const { Index } = competitor('usearch') as { Index: new (options: object) => UsearchIndex }
  const path = join(folder, 'usearch.index')
  const create = (): UsearchIndex =>
    new Index({ metric: 'cos', dimensions: 384, connectivity: 16, expansion_search: 64 })
  const index = create()
  return Promise.resolve({
    build: async (data) => {
      for (let i = 0; i < data.count; i += 1) index.add(BigInt(i), row(data.base, i).slice(), 1)
      index.save(path)
      return Promise.resolve()
    },
    search: (query, k) => search(index, query.slice(), k),
    exact: null,
    filtered: null,
    insert: (i, vector) => index.add(BigInt(i), vector.slice(), 1),
    update: (i, vector) => {
      index.remove(BigInt(i))
      index.add(BigInt(i), vector.slice(), 1)
    },
    remove: (i) => index.remove(BigInt(i)),
    diskBytes: () => statSync(path).size,
    close: () => undefined,
    reopen: async (query) => {
      const loaded = create()
      loaded.load(path)
      if (search(loaded, query.slice(), K).length !== K) throw new Error('too few after loading')
      return Promise.resolve()
    },
  })
}

function search(on: UsearchIndex, query: Float32Array, k: number): number[] {
  return Array.from(on.search(query, k, 1).keys, Number)
}
