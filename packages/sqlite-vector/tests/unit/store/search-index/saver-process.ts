/**
 * A process that changes a shard and saves its codes, again and again, until it is killed.
 * Not a test; started by index-files.test.ts.
 */
import { createVectorDB } from '../../../../src/store/vector-db.ts'
import { clustered } from '../../search/data.ts'

const [path = '', searchMemoryBytes = ''] = process.argv.slice(2)
const db = await createVectorDB({
  path,
  searchMemoryBytes: Number(searchMemoryBytes),
  durability: 'normal',
})
const rows = clustered(200, 32, 77)
for (let round = 0; round < 10_000; round += 1) {
  for (const [i, embedding] of rows.entries()) {
    db.upsert('s', { id: `r${(round * 31 + i) % 240}`, embedding })
  }
  await db.warmIndex('s')
}
