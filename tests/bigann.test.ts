/**
 * Ten thousand real vectors with known neighbours: imported on one node, synced, searched on the other.
 *
 * The data (BIGANN, first 10,000 x 128, TileDB-Vector-Search, MIT) are not part of this repository. They
 * are used where they lie, `../shared/data` beside it; where they do not, the test says it was skipped.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { createVectorSync } from '@agentic-flow/sqlite-vector/sync'
import { expect, test } from 'vitest'

const DATA = join(import.meta.dirname, '..', '..', 'shared', 'data')
const present = existsSync(join(DATA, 'bigann10k_base.bvecs'))
const SHARD = 'bigann'
const K = 10

if (!present) process.stderr.write(`skipped: no BIGANN data in ${DATA}\n`)

/** Rows of a `.bvecs` or `.ivecs` file: an int32 count, then that many components. */
function readRows(name: string, componentBytes: 1 | 4): readonly Float32Array[] {
  const file = readFileSync(join(DATA, name))
  const rows: Float32Array[] = []
  for (let offset = 0; offset < file.length;) {
    const count = file.readInt32LE(offset)
    offset += 4
    const row = new Float32Array(count)
    for (let index = 0; index < count; index += 1) {
      const at = offset + index * componentBytes
      row[index] = componentBytes === 1 ? file.readUInt8(at) : file.readInt32LE(at)
    }
    rows.push(row)
    offset += count * componentBytes
  }
  return rows
}

function distance(a: Float32Array, b: Float32Array): number {
  let sum = 0
  for (const [index, component] of a.entries()) sum += (component - (b[index] ?? 0)) ** 2
  return Math.sqrt(sum)
}

test.skipIf(!present)(
  'exact search on the receiving node has recall@10 of 1 on BIGANN 10k, ties by distance allowed',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-bigann-'))
    try {
      const base = readRows('bigann10k_base.bvecs', 1)
      const queries = readRows('bigann10k_query.bvecs', 1)
      const truth = readRows('bigann10k_groundtruth.ivecs', 4)
      using a = await createVectorDB({ path: join(folder, 'a.db') })
      using b = await createVectorDB({ path: join(folder, 'b.db') })
      a.createShard(SHARD, { dimension: 128, metric: 'l2' })
      await a.insertBatch(
        SHARD,
        base.map((embedding, index) => ({ id: String(index), embedding })),
      )
      await using syncA = createVectorSync(a, 'a', {})
      await using syncB = createVectorSync(b, 'b', {})
      syncA.trust.add(syncB.certificatePem, 'b')
      syncB.trust.add(syncA.certificatePem, 'a')
      await syncB.sync(SHARD, await syncA.listen('127.0.0.1:0'))

      const found = queries.map((query) => b.search(SHARD, query, { k: K }))

      let hits = 0
      for (const [index, results] of found.entries()) {
        const query = queries[index] ?? new Float32Array()
        const farthest = base[truth[index]?.[K - 1] ?? -1] ?? new Float32Array()
        const bound = distance(query, farthest)
        // Counted by distance from the data themselves, not from what the search says.
        hits += results.filter(
          ({ id }) => distance(query, base[Number(id)] ?? new Float32Array()) <= bound,
        ).length
      }
      expect(base).toHaveLength(10_000)
      expect(found.every((results) => new Set(results.map(({ id }) => id)).size === K)).toBe(true)
      expect(hits / (queries.length * K)).toBe(1)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
  120_000,
)
