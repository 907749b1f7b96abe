/**
 * A vector database in one file: create, insert, search, update, close, open again.
 *
 *   npx node --conditions=source examples/01-embed.ts
 */
import assert from 'node:assert/strict'
import { createVectorDB } from '@agentic-flow/sqlite-vector'

{
  using db = await createVectorDB({ path: 'colours.db' })
  db.createShard('colours', { dimension: 3, metric: 'l2' })
  await db.insertBatch('colours', [
    { id: 'red', embedding: [1, 0, 0], metadata: { warm: true } },
    { id: 'green', embedding: [0, 1, 0], metadata: { warm: false } },
    { id: 'blue', embedding: [0, 0, 1], metadata: { warm: false } },
  ])
  db.update('colours', 'green', { metadata: { note: 'of leaves' } })
}

// What was written is in the file, whoever opens it next.
using db = await createVectorDB({ path: 'colours.db' })
const [nearest] = db.search('colours', [0.9, 0.2, 0], { k: 1 })
assert.equal(nearest?.id, 'red')
assert.deepEqual(db.get('colours', 'green')?.metadata, { warm: false, note: 'of leaves' })
process.stdout.write(`nearest to orange: ${nearest.id}, distance ${nearest.distance.toFixed(3)}\n`)
