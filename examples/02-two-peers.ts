/**
 * Two nodes, each with a file of its own: what one writes, the other finds; and what both write apart
 * is on both once they meet again.
 *
 *   npx node --conditions=source examples/02-two-peers.ts
 */
import assert from 'node:assert/strict'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { createVectorSync } from '@agentic-flow/sqlite-vector/sync'

using here = await createVectorDB({ path: 'here.db' })
using there = await createVectorDB({ path: 'there.db' })
here.createShard('notes', { dimension: 3 })
here.insert('notes', { id: 'first', embedding: [1, 0, 0], text: 'written here' })

await using a = createVectorSync(here, 'a')
await using b = createVectorSync(there, 'b')
// Nobody is trusted by default: each pins the certificate that the other showed.
a.trust.add(b.certificatePem, 'b')
b.trust.add(a.certificatePem, 'a')
const address = await a.listen('127.0.0.1:0')

const first = await b.sync('notes', address)
assert.equal(first.applied, 1)
assert.equal(there.search('notes', [0.9, 0.1, 0], { k: 1 })[0]?.text, 'written here')

// Apart: one changes the record, the other adds a second one.
here.update('notes', 'first', { metadata: { seen: true } })
there.insert('notes', { id: 'second', embedding: [0, 1, 0], text: 'written there' })

const second = await b.sync('notes', address)
assert.deepEqual([second.applied, second.sent], [1, 1])
assert.deepEqual(here.list('notes'), there.list('notes'))
process.stdout.write(
  `both hold ${here.count('notes')} records; ${first.wireBytes + second.wireBytes} bytes on the wire\n`,
)
