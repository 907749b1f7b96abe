/**
 * What `createVectorSync()` offers for replication, between whole nodes over the memory network: a strategy of one's
 * own, what is known of peers' clocks, collecting, and no sync with oneself.
 */
import { expect, test } from 'vitest'

import type { ConflictFunction } from '../../src/store/types.ts'
import { createVectorSync, type VectorSync, type VectorSyncConfig } from '../../src/sync/index.ts'
import { MemoryNetwork } from '../../src/transport/memory/network.ts'
import { type Fixture, open, record } from '../unit/store/fixture.ts'
import { type Metadata } from '../../src/model/records.ts'

const DAY_MS = 86_400_000

interface Node extends AsyncDisposable {
  readonly fixture: Fixture
  readonly sync: VectorSync
  readonly address: string
}

async function node(
  network: MemoryNetwork,
  name: string,
  config: VectorSyncConfig = {},
): Promise<Node> {
  const fixture = await open()
  const transport = network.transport(name.repeat(64))
  const sync = createVectorSync(fixture.db, name, { ...config, transport })
  const dispose = async (): Promise<void> => {
    await sync.close()
    fixture.db.close()
  }
  return { fixture, sync, address: await sync.listen(), [Symbol.asyncDispose]: dispose }
}

/** Whoever has the most votes; a delete has none. */
const mostVotes: ConflictFunction = (siblings) =>
  siblings
    .map(({ value }) => value)
    .reduce((best, value) => (votesOf(value) > votesOf(best) ? value : best), null)

function votesOf(value: { readonly metadata: Metadata } | null): number {
  const votes = value?.metadata['votes']
  return typeof votes === 'number' ? votes : -1
}

test('a strategy may be a function, and all nodes that use it show the same', async () => {
  const network = new MemoryNetwork()
  await using a = await node(network, 'a', { conflictStrategy: mostVotes })
  await using b = await node(network, 'b', { conflictStrategy: mostVotes })
  a.fixture.db.insert('docs', record('x', { votes: 7 }))
  b.fixture.clock.ms += 1_000
  b.fixture.db.insert('docs', record('x', { votes: 3 }))

  await a.sync.sync('docs', b.address)
  await b.sync.sync('docs', a.address)

  for (const { fixture } of [a, b]) {
    expect(fixture.db.get('docs', 'x')?.metadata).toEqual({ votes: 7 })
    expect(fixture.db.replica.shardState('docs').conflictCount).toBe(1)
  }
})

test('getSession() says how far ahead the stamps were that each peer sent', async () => {
  const network = new MemoryNetwork()
  await using a = await node(network, 'a')
  await using ahead = await node(network, 'b')
  await using right = await node(network, 'c')
  ahead.fixture.clock.ms += 10 * DAY_MS
  ahead.fixture.db.insert('docs', record('early'))
  await a.sync.sync('docs', right.address)
  const skews = (): unknown =>
    Object.fromEntries(a.sync.getSession().peers.map(({ peer, skewMs }) => [peer[0], skewMs]))

  expect(skews()).toEqual({ c: null })
  right.fixture.db.insert('docs', record('on-time'))
  await a.sync.sync('docs', right.address)
  await a.sync.sync('docs', ahead.address)

  expect(skews()).toEqual({ b: 10 * DAY_MS, c: 0 })
})

test('a node does not sync with itself, nor with a copy that has its key', async () => {
  const network = new MemoryNetwork()
  await using a = await node(network, 'a')
  await using copy = await node(network, 'a')

  await expect(a.sync.sync('docs', a.address)).rejects.toMatchObject({
    code: 'TRANSPORT_PEER_UNTRUSTED',
  })
  for (const call of [copy.sync.sync('docs', a.address), a.sync.verify('docs', copy.address)]) {
    await expect(call).rejects.toMatchObject({ code: 'SYNC_SELF', retryable: false })
  }
})

test('refuses options that are none', async () => {
  using fixture = await open()
  const make = (config: object) => () => createVectorSync(fixture.db, 'n', config)

  expect(make({ conflictStrategy: 'mine' })).toThrow(TypeError)
  expect(make({ collectIntervalMs: -1 })).toThrow(RangeError)
  expect(make({ collectIntervalMs: 86_400_001 })).toThrow(RangeError)
  expect(make({ replicaRetentionMs: 1.5 })).toThrow(RangeError)
})
