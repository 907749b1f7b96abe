/**
 * Four nodes linked as mesh, ring, star and tree: all hold the same in the end, and hardly anything travels twice.
 *
 * `npm run bench -- topologies` has twelve processes, a killed node and a parted network.
 */
import { expect, test } from 'vitest'

import { peersToDial, type Topology } from '../../src/sync/index.ts'
import { agree, type LiveNode, LiveNodes, SHARD } from './live-nodes.ts'

const PATIENCE = { timeout: 60_000, interval: 20 }
const WRITES = 25

function isLive({ sync }: LiveNode): boolean {
  return sync.getSession().autoSyncs.every(({ status }) => status === 'live')
}

/** Every node dials whom the topology has it dial. */
async function link(nodes: readonly LiveNode[], topology: Topology): Promise<void> {
  const names = nodes.map(({ name }) => name)
  const links = nodes.flatMap((from) =>
    nodes
      .filter((to) => peersToDial(topology, names, from.name).includes(to.name))
      .map((to) => [from, to] as const),
  )
  for (const [from, to] of links) from.sync.startAutoSync(SHARD, to.address)
  await expect.poll(() => nodes.every(isLive), PATIENCE).toBe(true)
}

/** Changes received by all, for each that was news to its receiver. */
function travels(nodes: readonly LiveNode[]): number {
  let [received, applied] = [0, 0]
  for (const event of nodes.flatMap(({ events }) => events)) {
    if (event.type !== 'applied') continue
    received += event.received
    applied += event.applied
  }
  return received / applied
}

async function writeEverywhere(nodes: readonly LiveNode[]): Promise<void> {
  for (let count = 0; count < WRITES; count += 1) {
    for (const { db, name } of nodes) {
      db.insert(SHARD, { id: `${name} ${count}`, embedding: [count, 1] })
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
}

test.each<[string, Topology, number]>([
  ['a mesh', { type: 'mesh' }, 1.3],
  ['a ring', { type: 'ring' }, 1.65],
  ['a star', { type: 'star', hub: 'n1' }, 1.3],
  ['a tree', { type: 'hierarchical', fanOut: 2 }, 1.3],
])(
  '%s ends with everything everywhere, sent hardly more than once',
  { timeout: 150_000 },
  async (_, topology, bar) => {
    await using fleet = await LiveNodes.of('memory', 4)
    const { nodes } = fleet
    for (const { db } of nodes) db.createShard(SHARD, { dimension: 2 })
    await link(nodes, topology)

    await writeEverywhere(nodes)

    await expect.poll(() => agree(nodes), PATIENCE).toBe(true)
    for (const { db } of nodes) expect(db.count(SHARD)).toBe(WRITES * nodes.length)
    expect(travels(nodes)).toBeGreaterThanOrEqual(1)
    expect(travels(nodes)).toBeLessThanOrEqual(bar)
  },
)
