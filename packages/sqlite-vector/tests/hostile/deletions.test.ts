/**
 * Deletes that rest on a peer's word: an invented floor, and nothing to show, must not empty a shard.
 */
import { expect, test } from 'vitest'
import { Permissions } from '../../src/sync/index.ts'
import type { Connection } from '../../src/transport/types.ts'
import type { StoreEvent } from '../../src/index.ts'
import type { ControlFrame } from '../../src/sync/wire/control-frames.ts'
import { peers, pullFrom } from '../replication/drive.ts'
import { record } from '../unit/store/fixture.ts'
import { type LiveNode, LiveNodes, SHARD, until } from '../live/live-nodes.ts'
import { caughtUp, LIAR_ACTOR, records, serveLies, welcome } from './raw-peer.ts'

async function world(
  count: number,
): Promise<AsyncDisposable & { a: LiveNode; b: LiveNode; liar: Connection; raw: string }> {
  const nodes = new LiveNodes('memory')
  const a = await nodes.add({ permissions: Permissions.inMemory() })
  const b = await nodes.add()
  a.db.createShard(SHARD, { dimension: 1, metric: 'l2' })
  for (let n = 0; n < count; n += 1) a.db.insert(SHARD, { id: `r${n}`, embedding: [n + 1] })
  await b.sync.sync(SHARD, a.address)
  const raw = nodes.impostorOf(9)
  const liar = await raw.dial(a.address)
  return {
    a,
    b,
    liar,
    raw: raw.identity.fingerprint,
    [Symbol.asyncDispose]: async () => {
      await raw.close()
      await nodes[Symbol.asyncDispose]()
    },
  }
}

/** CAUGHT_UP with an invented floor, empty RANGES and empty RECORDS. */
function lies({
  db,
}: LiveNode): (heard: {
  type: string
  frame: ControlFrame | null
}) => readonly (ControlFrame | Uint8Array)[] {
  const vector = new Map([...db.replica.shardState(SHARD).versionVector, [LIAR_ACTOR, 5]])
  return ({ type, frame }) => {
    if (type === 'subscribe') {
      return [welcome(), caughtUp(1, vector, { gcFloor: vector, digest: '00'.repeat(8) })]
    }
    if (frame?.type === 'compare') {
      return [{ type: 'ranges', answers: frame.ranges.map(() => ({ type: 'list', records: [] })) }]
    }
    return type === 'need' ? [records([])] : []
  }
}

test('an invented floor with nothing to show drops nothing of a shard, and is refused by name', async () => {
  await using here = await world(202)
  const { a, b, liar } = here

  for (let round = 0; round < 5; round += 1) await serveLies(liar, lies(a))
  await b.sync.sync(SHARD, a.address)

  expect(a.db.count(SHARD)).toBe(202)
  expect(b.db.count(SHARD)).toBe(202)
  const codes = a.events.flatMap((event) =>
    event.type === 'session-ended' && event.error !== null && 'code' in event.error
      ? [event.error.code]
      : [],
  )
  expect(codes).toEqual(Array.from({ length: 5 }, () => 'SYNC_DELETIONS_REFUSED'))
})

test('it drops what was confirmed, and tells of it', async () => {
  await using here = await world(202)
  const { a, liar, raw } = here
  a.sync.acceptDeletions(SHARD, raw)

  await serveLies(liar, lies(a))

  expect(a.db.count(SHARD)).toBe(0)
  const isTold = (): boolean =>
    a.events.some((event) => event.type === 'repair' && event.dropped === 202)
  await until(isTold, 'an event that says how many')
})

test('small drops add up: a peer cannot empty a large shard by many sessions', async () => {
  using all = await peers('here')
  const { db } = all[0].fixture
  const ids = Array.from({ length: 400 }, (_, n) => `r${n}`)
  for (const id of ids) db.insert('docs', record(id))
  const { versionVector: claimed } = db.replica.shardState('docs')
  const drop = (gone: readonly string[]): unknown =>
    db.replica.repairRecords('docs', [], gone, 'floor', claimed, 'liar', new Map())

  // A tenth of the shard, and not one more.
  for (let at = 0; at < 40; at += 10) drop(ids.slice(at, at + 10))

  expect(() => drop(ids.slice(40, 41))).toThrow(
    expect.objectContaining({ code: 'SYNC_DELETIONS_REFUSED' }),
  )
  expect(db.count('docs')).toBe(360)
})

test('a node that was away drops what was deleted meanwhile, and says which records', async () => {
  using all = await peers('here', 'away')
  const [here, away] = all
  for (let n = 0; n < 60; n += 1) here.fixture.db.insert('docs', record(`r${n}`))
  pullFrom(away, here)
  for (let n = 0; n < 9; n += 1) here.fixture.db.delete('docs', `r${n}`)
  here.fixture.clock.ms += 100 * 86_400_000
  here.fixture.db.collectTombstones('docs', { replicaRetentionMs: 1_000 })

  const { tally, error } = pullFrom(away, here)

  expect([tally.dropped, error]).toEqual([9, null])
  const told = away.fixture.events.flatMap((event: StoreEvent) =>
    event.type === 'records-dropped' ? event.ids : [],
  )
  expect(told).toHaveLength(9)
})

test('a small shard is not emptied by the word of a peer either', async () => {
  await using here = await world(30)
  const { a, liar } = here

  await serveLies(liar, lies(a))

  expect(a.db.count(SHARD)).toBe(30)
})
