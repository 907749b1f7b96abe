/**
 * Text in, questions answered: an embedder fitted on the texts themselves, and a text that waits for a model.
 *
 *   npx node --conditions=source examples/06-ask.ts
 */
import assert from 'node:assert/strict'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { attachEmbedder, fitLsaEmbedder } from '@agentic-flow/sqlite-vector-embeddings'

const notes = [
  { id: 'harbour', text: 'The harbour closes at night; ships wait outside until the gate opens.' },
  { id: 'orchard', text: 'Apples ripen in the orchard and are picked in September.' },
  { id: 'glacier', text: 'The glacier moves a metre a day and carries stones to the lake.' },
]
using db = await createVectorDB({ path: 'notes.db' })

// A node without a model keeps texts; they are found by their words.
await attachEmbedder(db, 'notes', null).add([
  { id: 'library', text: 'The library lends books for a month.' },
])

const embedder = await fitLsaEmbedder(notes.map(({ text }) => text))
const shard = attachEmbedder(db, 'notes', embedder)
await shard.add(notes)
const { embedded } = await shard.embedMissing()

const [best] = await shard.ask('When can ships enter the harbour?', { k: 1 })
assert.equal(best?.id, 'harbour')
assert.equal(embedded, 1)
process.stdout.write(`${best.text}\n`)
