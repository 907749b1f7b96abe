/**
 * Shards share `searchMemoryBytes`: they give up float32 rows before one gives up its index, so that
 * searches that go round the shards build nothing again.
 */
import { expect, test } from 'vitest'
import { clustered } from '../../search/data.ts'
import { temporaryDb } from '../../search/fixture.ts'

const COUNT = 600
const DIMENSION = 32
const SHARDS = ['a', 'b', 'c', 'd']
const ROWS = clustered(COUNT, DIMENSION, 1, 20)

/** Codes of a row take 52 bytes here, float32 beside them 132 more. */
const CODES_OF_ALL = SHARDS.length * COUNT * 52

test('shards searched in turn all keep an index where their codes fit together', async () => {
  await using fixture = await temporaryDb({
    searchMemoryBytes: CODES_OF_ALL + COUNT * 140,
    saveIndex: false,
  })
  await using scanned = await temporaryDb({ searchMemoryBytes: 0 })
  for (const { db } of [fixture, scanned]) {
    for (const shard of SHARDS) {
      db.createShard(shard, { dimension: DIMENSION })
      db.transaction(() => {
        for (const [i, embedding] of ROWS.entries()) db.insert(shard, { id: `r${i}`, embedding })
      })
    }
  }
  const { db } = fixture

  for (let round = 0; round < 3; round += 1) {
    for (const shard of SHARDS) {
      expect(db.search(shard, ROWS[round]!)).toEqual(scanned.db.search(shard, ROWS[round]!))
    }
    for (const shard of SHARDS) expect(db.indexInfo(shard).rows).not.toBeNull()
  }
  const held = SHARDS.map((shard) => db.indexInfo(shard).rows?.includes('float32'))
  expect(held.filter(Boolean).length).toBeLessThanOrEqual(1)
  db.update('a', 'r5', { embedding: ROWS[6]! })
  scanned.db.update('a', 'r5', { embedding: ROWS[6]! })
  expect(db.search('a', ROWS[6]!, { exact: true })).toEqual(
    scanned.db.search('a', ROWS[6]!, { exact: true }),
  )
})
