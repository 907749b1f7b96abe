/**
 * False claims about a node's own writes: a reader's change nothing, a writer's count once rows prove them.
 */
import { describe, expect, test } from 'vitest'
import { must } from '../../src/assert.ts'
import { Permissions } from '../../src/sync/index.ts'
import type { Connection } from '../../src/transport/types.ts'
import { type LiveNode, LiveNodes, SHARD, until } from '../live/live-nodes.ts'
import {
  batch,
  caughtUp,
  forged,
  hear,
  hello,
  LIAR_ACTOR,
  say,
  serveLies,
  subscribe,
  welcome,
} from './raw-peer.ts'
import { encodeFrame } from '../../src/sync/wire/control-frames.ts'

const FAR = Number.MAX_SAFE_INTEGER

/** A node with `count` records that were never sent, and a liar with the given access to it. */
async function victim(
  access: 'read' | 'write',
  count = 5,
): Promise<AsyncDisposable & { a: LiveNode; nodes: LiveNodes; liar: Connection }> {
  const permissions = Permissions.inMemory()
  const nodes = new LiveNodes('memory')
  const a = await nodes.add({ permissions })
  a.db.createShard(SHARD, { dimension: 1, metric: 'l2' })
  for (let n = 0; n < count; n += 1) a.db.insert(SHARD, { id: `r${n}`, embedding: [n + 1] })
  const raw = nodes.impostorOf(9)
  permissions.grant(raw.identity.fingerprint, SHARD, access)
  const liar = await raw.dial(a.address)
  return {
    a,
    nodes,
    liar,
    [Symbol.asyncDispose]: async () => {
      await raw.close()
      await nodes[Symbol.asyncDispose]()
    },
  }
}

/** All that a reader must not change. */
function stateOf({ db }: LiveNode): unknown {
  const { replica } = db
  const { updatedAtMs: _, ...state } = replica.shardState(SHARD)
  return {
    identity: replica.identity(),
    state,
    name: replica.nodeOf(replica.identity().actor),
    records: db.list(SHARD).records,
    siblings: db.list(SHARD).records.map(({ id }) => db.conflictSiblings(SHARD, id)),
    claimed: replica.claimedVector(SHARD),
  }
}

describe.each(['read', 'write'] as const)('a peer that may %s', (access) => {
  test.each([
    ['its HELLO names our actor', 'hello'],
    ['its SUBSCRIBE claims all writes of our actor', 'subscribe'],
    ['its SUBSCRIBE claims them beyond its vector', 'uncovered'],
    ['its ACK claims them', 'ack'],
  ])('renews no identity and renames no write where %s', async (_, way) => {
    await using world = await victim(access)
    const { a, liar } = world
    const before = a.db.replica.identity()
    const { actor } = before
    const claim = new Map([[actor, FAR]])

    for (let round = 0; round < 20; round += 1) {
      if (way === 'hello') await say(liar, [hello(actor), subscribe()])
      else if (way === 'subscribe') await say(liar, [hello(), subscribe({ versionVector: claim })])
      else if (way === 'uncovered') await say(liar, [hello(), subscribe({ uncovered: claim })])
      else await acknowledge(liar, claim)
    }

    expect(a.db.replica.identity()).toEqual(before)
    expect(a.db.replica.shardState(SHARD)).toMatchObject({ head: 5, recordCount: 5 })
    expect(new Set(dotsOf(a))).toEqual(new Set([1, 2, 3, 4, 5].map((n) => `${actor}:${n}`)))
    a.db.insert(SHARD, { id: 'after', embedding: [9] })
    expect(a.db.count(SHARD)).toBe(6)
  })
})

test('a reader that claims anything leaves everything as it was', async () => {
  await using world = await victim('read')
  const { a, liar } = world
  await say(liar, [hello(), subscribe()])
  const before = stateOf(a)
  const { actor } = a.db.replica.identity()

  for (const counter of [1, 3, 5, 6, FAR]) {
    const claim = new Map([
      [actor, counter],
      ['99'.repeat(16), counter],
    ])
    await say(liar, [hello(actor, 'renamed'), subscribe({ versionVector: claim })])
    await say(liar, [hello(LIAR_ACTOR, 'a'), subscribe({ uncovered: claim })])
    await acknowledge(liar, claim)
  }

  expect(stateOf(a)).toEqual(before)
})

test('a writer cannot rename our actor, and a claim of it is answered by asking for the rows', async () => {
  await using world = await victim('write')
  const { a, liar } = world
  const { actor } = a.db.replica.identity()

  await say(liar, [hello(actor, 'mallory'), subscribe()])
  const claim = new Map([[actor, FAR]])
  const answer = await say(liar, [hello(), subscribe({ versionVector: claim })])

  expect(answer.at(-1)?.frame).toMatchObject({ type: 'error', code: 'SYNC_IDENTITY_DOUBTED' })
  expect(a.db.replica.nodeOf(actor)).toBeNull()
  await until(() => a.events.some(({ type }) => type === 'doubt'), 'an event that tells of it')
})

test('a writer that shows a row under our actor is believed, a bounded number of times', async () => {
  await using world = await victim('write')
  const { a, liar } = world
  const seen = new Set<string>()

  for (let round = 0; round < 30; round += 1) {
    const { actor } = a.db.replica.identity()
    seen.add(actor)
    await serveLies(liar, ({ type }) =>
      type === 'subscribe'
        ? [welcome(), batch(1, [forged(`forged-${round}`, actor, 1_000)]), caughtUp(1, new Map())]
        : [],
    )
  }

  expect(seen.size).toBeGreaterThan(1)
  expect(seen.size).toBeLessThan(8)
  expect(a.db.count(SHARD)).toBeGreaterThanOrEqual(5)
  a.db.insert(SHARD, { id: 'after', embedding: [9] })
})

test('a claim at CAUGHT_UP of writes that we never made is not joined, and our next write is ours', async () => {
  await using world = await victim('write')
  const { a, liar } = world
  const { actor } = a.db.replica.identity()
  const claim = new Map([
    [actor, FAR],
    [LIAR_ACTOR, 1],
  ])

  await serveLies(liar, ({ type }) => (type === 'subscribe' ? [welcome(), caughtUp(1, claim)] : []))
  a.db.insert(SHARD, { id: 'after', embedding: [9] })

  expect(a.db.replica.shardState(SHARD).versionVector.get(actor)).toBe(6)
  expect(a.db.replica.identity().actor).toBe(actor)
})

/** Subscribes honestly and lies in the ACK. */
async function acknowledge(liar: Connection, claim: ReadonlyMap<string, number>): Promise<void> {
  const channel = await liar.openChannel()
  await channel.send(encodeFrame(hello()))
  await channel.send(encodeFrame(subscribe()))
  for (;;) {
    const next = await hear(channel)
    if (next === null || next.frame?.type === 'error') break
    if (next.frame?.type !== 'caughtUp') continue
    const cursor = next.frame.head
    await channel.send(encodeFrame({ type: 'ack', cursor, versionVector: claim }))
    await channel.send(encodeFrame({ type: 'done' }))
    while ((await hear(channel)) !== null);
    break
  }
  channel.abort('enough')
}

function dotsOf({ db }: LiveNode): readonly string[] {
  return db
    .list(SHARD)
    .records.flatMap(({ id }) => db.conflictSiblings(SHARD, id))
    .map(({ dot }) => `${must(dot.actor, 'a dot')}:${dot.counter}`)
}
