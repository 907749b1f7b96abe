/**
 * Twelve node processes, linked as mesh, ring, star and tree, that write at random at the same time while one is
 * killed and one is cut off; then both come back, and all must hold the same.
 *
 * Without root no network namespaces can be made: then nobody is cut off, and the bars say so. A change that arrives
 * counts as received; one that changes the receiver's state counts as news. `TOPOLOGY_NODES`,
 * `TOPOLOGY_WRITES` and `TOPOLOGIES` (names with commas) make it smaller or larger.
 */
import { setTimeout as wait } from 'node:timers/promises'

import { peersToDial, type Topology } from '@agentic-flow/sqlite-vector/sync'

import { bar, type Bar, type BenchOptions } from '../bar.ts'
import { agree, Fleet, until } from '../live/fleet.ts'
import { canMakeNetworks, Network } from './network.ts'

export const title = 'topologies: twelve processes, one killed, one cut off, time until all agree'

const SHARD = 'shard'
const DIMENSION = 64

const TOPOLOGIES: Readonly<Record<string, Topology>> = {
  mesh: { type: 'mesh' },
  ring: { type: 'ring' },
  star: { type: 'star', hub: 'node-0' },
  tree: { type: 'hierarchical', fanOut: 3 },
}

export async function bars(options: BenchOptions): Promise<readonly Bar[]> {
  const names = process.env['TOPOLOGIES']?.split(',') ?? Object.keys(TOPOLOGIES)
  const isCutting = canMakeNetworks()
  if (!isCutting) options.log('no root: nobody is cut off')
  const measured: Bar[] = []
  for (const name of names) {
    const topology = TOPOLOGIES[name]
    if (topology === undefined) throw new RangeError(`TOPOLOGIES: no topology ${name}`)
    options.log(name)
    measured.push(...(await measure(name, topology, isCutting, options)))
  }
  return measured
}

async function measure(
  name: string,
  topology: Topology,
  isCutting: boolean,
  { quick, log }: BenchOptions,
): Promise<readonly Bar[]> {
  const count = Number(process.env['TOPOLOGY_NODES'] ?? (quick ? 5 : 12))
  const writes = Number(process.env['TOPOLOGY_WRITES'] ?? (quick ? 20 : 100))
  using network = isCutting ? new Network(count) : null
  await using fleet = await Fleet.start(count, {
    idleTimeoutMs: 3_000,
    ...(process.env['TOPOLOGY_RELAY_MS'] === undefined
      ? {}
      : { config: { relayDelayMs: Number(process.env['TOPOLOGY_RELAY_MS']) } }),
    ...(network === null ? {} : { place: (index: number) => network.host(index) }),
  })
  for (const { handle } of fleet.members) {
    await handle.call('createShards', { shardIds: [SHARD], dimension: DIMENSION })
  }
  await link(fleet, topology)
  const calm = await calmPart(fleet, writes)
  log(`  calm: all agree after ${calm.settleMs.toFixed(0)} ms`)

  // Neither the hub nor the root: those take everybody with them, which is what such shapes cost.
  const [killed, cut] = [fleet.get(count - 1), count - 2]
  const writing = fleet.members
    .filter((member) => member !== killed)
    .map(({ handle }, index) => write(handle, writes, 100 + index))
  await wait(50)
  await killed.handle.kill()
  network?.cut(cut)
  const written = await Promise.all(writing)
  network?.heal(cut)
  await fleet.revive(killed)
  for (const { handle } of [killed]) await dial(fleet, handle, killed.name, topology)
  const healedMs = await until(
    async () => agree(await fleet.states(SHARD)),
    `${name}: all agree again`,
    180_000,
    50,
  )
  log(
    `  after a kill${isCutting ? ' and a cut' : ''}: all agree after ${healedMs.toFixed(0)} ms, ${written.reduce((a, b) => a + b.written, 0)} writes meanwhile`,
  )
  const label = `${name} of ${count}`
  return [
    bar(`${label}: all agree after ${writes} random writes each`, calm.settleMs, 'none', 'ms'),
    bar(
      `${label}: times a change travels to a node, for each time it is news`,
      calm.travels,
      name === 'mesh' ? '<= 1.3' : 'none',
      'x',
    ),
    bar(`${label}: bytes on the wire per change and node`, calm.bytesPerChange, 'none', 'bytes'),
    bar(
      `${label}: all agree after one was killed${isCutting ? ' and one cut off' : ' (nobody cut off: no root)'}`,
      healedMs,
      'none',
      'ms',
    ),
  ]
}

/** Everybody writes at once; how long until all agree, and what that cost. */
async function calmPart(
  fleet: Fleet,
  writes: number,
): Promise<{ settleMs: number; travels: number; bytesPerChange: number }> {
  await until(() => allLive(fleet), 'all links are live', 60_000, 50)
  await wait(500)
  const before = await totals(fleet)
  await Promise.all(fleet.members.map(({ handle }, index) => write(handle, writes, index)))
  const settleMs = await until(
    async () => agree(await fleet.states(SHARD)),
    'all agree',
    180_000,
    20,
  )
  await wait(500)
  const after = await totals(fleet)
  const applied = after.applied - before.applied
  return {
    settleMs,
    travels: (after.received - before.received) / applied,
    bytesPerChange: (after.bytes - before.bytes) / applied,
  }
}

async function allLive({ members }: Fleet): Promise<boolean> {
  const links = await Promise.all(members.map(({ handle }) => handle.call('autoSyncs', {})))
  return links.flat().every(({ status }) => status === 'live')
}

function write(
  handle: Fleet['members'][number]['handle'],
  count: number,
  seed: number,
): Promise<{ written: number }> {
  return handle.call('randomWrites', {
    shardId: SHARD,
    dimension: DIMENSION,
    count,
    ids: 400,
    seed,
  })
}

async function link(fleet: Fleet, topology: Topology): Promise<void> {
  for (const { handle, name } of fleet.members) await dial(fleet, handle, name, topology)
}

async function dial(
  fleet: Fleet,
  handle: Fleet['members'][number]['handle'],
  name: string,
  topology: Topology,
): Promise<void> {
  const names = fleet.members.map((member) => member.name)
  for (const peer of peersToDial(topology, names, name)) {
    const address = fleet.members.find((member) => member.name === peer)?.address
    if (address !== undefined) await handle.call('autoSync', { shardId: SHARD, address })
  }
}

async function totals(fleet: Fleet): Promise<{ received: number; applied: number; bytes: number }> {
  const sum = { received: 0, applied: 0, bytes: 0 }
  for (const { handle } of fleet.members) {
    const usage = await handle.call('usage', {})
    sum.received += usage.received
    sum.applied += usage.applied
    sum.bytes += usage.wireBytesSent
  }
  return sum
}
