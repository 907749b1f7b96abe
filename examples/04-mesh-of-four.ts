/**
 * Four nodes, each linked with each; all write at once, and all end with everything. A conflict is seen, and
 * shown by the same rule everywhere.
 *
 *   npx node --conditions=source examples/04-mesh-of-four.ts
 */
import assert from 'node:assert/strict'
import { setTimeout as wait } from 'node:timers/promises'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { createShardCoordinator } from '@agentic-flow/sqlite-vector/sync'

async function open(name: string) {
  const db = await createVectorDB({ path: `${name}.db` })
  db.createShard('notes', { dimension: 2 })
  const coordinator = createShardCoordinator(db, name, { topology: { type: 'mesh' } })
  return { name, db, coordinator, address: await coordinator.sync.listen('127.0.0.1:0') }
}

const nodes = [await open('a'), await open('b'), await open('c'), await open('d')]
for (const node of nodes) {
  for (const other of nodes) {
    if (other === node) continue
    node.coordinator.sync.trust.add(other.coordinator.sync.certificatePem, other.name)
    node.coordinator.registerPeer({ nodeId: other.name, address: other.address })
  }
}

// Written apart, before they meet: one record that all write, and one of each.
for (const { name, db } of nodes) {
  db.insert('notes', { id: 'shared', embedding: [1, 0], metadata: { by: name } })
  db.insert('notes', { id: `own-${name}`, embedding: [0, 1] })
}
for (const { coordinator } of nodes) coordinator.startAutoSyncAll()

const digests = (): Set<string> =>
  new Set(nodes.map(({ db }) => db.replica.shardState('notes').digest))
for (let tries = 0; digests().size > 1 || nodes[0]?.db.count('notes') !== 5; tries += 1) {
  assert.ok(tries < 1_000, 'all four agree')
  await wait(10)
}
const shown = nodes.map(({ db }) => db.get('notes', 'shared')?.metadata['by'])
assert.equal(new Set(shown).size, 1, 'all show the same one of four concurrent writes')
assert.equal(nodes[0]?.db.replica.shardState('notes').conflictCount, 1)
process.stdout.write(
  `four nodes hold ${nodes[0]?.db.count('notes')} records; ${JSON.stringify(shown[0])} wrote last\n`,
)

for (const { coordinator, db } of nodes) {
  await coordinator.close()
  db.close()
}
