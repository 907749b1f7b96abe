/**
 * A search that stays open: its result comes again when a write, here or at a peer, changes it.
 *
 *   npx node --conditions=source examples/05-live-search.ts
 */
import assert from 'node:assert/strict'
import { createVectorDB, watch } from '@agentic-flow/sqlite-vector'
import { createVectorSync } from '@agentic-flow/sqlite-vector/sync'

using here = await createVectorDB({ path: 'here.db' })
using there = await createVectorDB({ path: 'there.db' })
here.createShard('notes', { dimension: 2 })
there.createShard('notes', { dimension: 2 })
await using a = createVectorSync(here, 'a')
await using b = createVectorSync(there, 'b')
a.trust.add(b.certificatePem, 'b')
b.trust.add(a.certificatePem, 'a')
a.startAutoSync('notes', await b.listen('127.0.0.1:0'))

const seen: string[] = []
there.insert('notes', { id: 'first', embedding: [1, 0.5] })
for await (const nearest of watch(here, 'notes', { vector: [1, 0], k: 1 })) {
  const [best] = nearest
  if (best === undefined) continue
  seen.push(best.id)
  if (best.id === 'nearer') break
  // Written at the other node, found by the search that is open here.
  there.upsert('notes', { id: 'nearer', embedding: [1, 0.1] })
}
assert.deepEqual(seen, ['first', 'nearer'])
process.stdout.write(`seen one after the other: ${seen.join(', ')}\n`)
