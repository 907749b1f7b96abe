/**
 * Floods that a peer makes without reading the answers, names by the thousand, and faults: each costs its session, bounded
 * memory, and nothing else.
 */
import { describe, expect, test, vi } from 'vitest'
import type { Change } from '../../src/model/types.ts'
import { Permissions } from '../../src/sync/index.ts'
import type { Connection } from '../../src/transport/types.ts'
import type { ControlFrame } from '../../src/sync/wire/control-frames.ts'
import { encodeFrame } from '../../src/sync/wire/control-frames.ts'
import { createSender } from '../../src/sync/session/sender.ts'
import { step } from '../../src/sync/session/step.ts'
import type { SessionEvent } from '../../src/sync/session/types.ts'
import type { ShardState } from '../../src/model/records.ts'
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

const DIMENSION = 1

const STATE: ShardState = {
  shardId: SHARD,
  dimension: DIMENSION,
  metric: 'l2',
  modelId: null,
  head: 9,
  logId: '',
  versionVector: new Map(),
  uncovered: new Map(),
  settled: true,
  gcFloor: new Map(),
  digest: '00'.repeat(8),
  recordCount: 9,
  tombstoneCount: 0,
  conflictCount: 0,
  quarantineCount: 0,
  updatedAtMs: 0,
}

/** A node with records of `bytes` metadata each, and a connection of a peer with the given access. */
async function world(
  access: 'read' | 'write',
  count = 200,
  bytes = 20_000,
): Promise<AsyncDisposable & { a: LiveNode; nodes: LiveNodes; liar: Connection }> {
  const permissions = Permissions.inMemory()
  const nodes = new LiveNodes('memory')
  const a = await nodes.add({ permissions })
  a.db.createShard(SHARD, { dimension: DIMENSION, metric: 'l2' })
  const metadata = { filler: 'x'.repeat(bytes) }
  for (let n = 0; n < count; n += 1) {
    a.db.insert(SHARD, { id: `r${n}`, embedding: [n + 1], metadata })
  }
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

const NEED: ControlFrame = { type: 'need', ids: Array.from({ length: 25 }, (_, n) => `r${n}`) }
const COMPARE: ControlFrame = { type: 'compare', ranges: [{ from: '', to: null }] }

describe.each([
  ['NEED', NEED],
  ['COMPARE', COMPARE],
])('a reader that floods %s and reads no answer', (_, question) => {
  test('is ended by name before more than two answers wait', async () => {
    await using here = await world('read')
    const { a, liar } = here
    await say(liar, [hello(), subscribe()])
    const before = process.memoryUsage().rss

    const channels = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const channel = await liar.openChannel()
        await channel.send(encodeFrame(hello()))
        await channel.send(encodeFrame(subscribe({ live: true })))
        return channel
      }),
    )
    const sends = channels.map(async (channel) => {
      // The sender's window fills up once the node reads no more; a send that waits is all there is to it.
      const signal = AbortSignal.timeout(1_000)
      for (let n = 0; n < 100; n += 1) await channel.send(encodeFrame(question), { signal })
    })
    await Promise.allSettled(sends)

    const ended = (): number =>
      a.events.filter(
        (event) =>
          event.type === 'session-ended' &&
          event.error !== null &&
          'code' in event.error &&
          event.error.code === 'SYNC_PROTOCOL_VIOLATION',
      ).length
    await until(() => ended() === channels.length, 'the end of each session', 10_000)
    expect(process.memoryUsage().rss - before).toBeLessThan(200e6)
    for (const channel of channels) channel.abort('enough')
  })
})

test('a peer may have a bounded number of sessions on one shard, and others of them go on', async () => {
  await using here = await world('read', 2, 10)
  const { a, liar } = here
  const channels = []
  for (let n = 0; n < 40; n += 1) {
    const channel = await liar.openChannel()
    await channel.send(encodeFrame(hello()))
    await channel.send(encodeFrame(subscribe({ live: true })))
    channels.push(channel)
  }
  const refusals = []
  for (const channel of channels) {
    for (;;) {
      const next = await hear(channel)
      if (next === null || next.frame?.type === 'caughtUp') break
      if (next.frame?.type === 'error') {
        refusals.push(next.frame.code)
        break
      }
    }
  }

  expect(refusals).toHaveLength(24)
  expect(new Set(refusals)).toEqual(new Set(['SYNC_SESSION_LIMIT']))
  for (const channel of channels) channel.abort('enough')
  await until(() => a.sync.getSession().sessionsActive === 0, 'the end of all of them')
  expect((await say(liar, [hello(), subscribe()])).at(-1)?.type).toBe('caughtUp')
})

test('SUBSCRIBE and HOLDS that name actors by the thousand take no room', () => {
  const logId = '0f'.repeat(16)
  const state = { ...STATE, logId, versionVector: new Map([[LIAR_ACTOR, 9]]) }
  let session = createSender({ peer: 'liar', shardId: null })
  const tell = (event: SessionEvent): void => {
    session = step(session, event).session
  }
  tell(hello())
  tell(subscribe({ live: true, versionVector: randomActors(16_000) }))
  tell({ type: 'inspected', nodeId: 'n', identity: { actor: LIAR_ACTOR, logId }, state })
  for (let n = 0; n < 8; n += 1) tell({ type: 'holds', versionVector: randomActors(16_000) })
  tell({ type: 'holds', versionVector: new Map([[LIAR_ACTOR, 7]]) })

  expect(session.phase).toBe('reading')
  expect(session.known.size).toBeLessThanOrEqual(258)
  expect(session.known.get(LIAR_ACTOR)).toBe(7)
  expect(session.subscription?.versionVector.size).toBeLessThanOrEqual(258)
})

test('batches that name actors by the thousand without CAUGHT_UP end with a code, and so do later ones', async () => {
  await using here = await world('write', 2, 10)
  const { a, liar, nodes } = here

  for (let round = 0; round < 3; round += 1) {
    await serveLies(liar, ({ type }) =>
      type === 'subscribe' ? [welcome(), manyActors(), caughtUp(9, new Map())] : [],
    )
  }

  const faults = a.events.filter(
    (event) =>
      event.type === 'session-ended' &&
      event.error !== null &&
      'code' in event.error &&
      event.error.code === 'SYNC_FAULT',
  )
  expect(faults).toEqual([])
  a.db.insert(SHARD, { id: 'after', embedding: [1] })
  const b = await nodes.add()
  await b.sync.sync(SHARD, a.address)
  expect(b.db.get(SHARD, 'after')).not.toBeNull()
})

test('a fault while a session runs ends that session with a code and an event, and no other', async () => {
  await using here = await world('read', 2, 10)
  const { a, liar } = here
  const broken = vi.spyOn(a.db.replica, 'readDelta').mockImplementation(() => {
    throw new TypeError('a bug')
  })
  const answer = await say(liar, [hello(), subscribe()])
  broken.mockRestore()

  expect(answer.map(({ type }) => type)).toEqual(['welcome'])
  const failures = (): (readonly [string, Error])[] =>
    a.events.flatMap((event) =>
      (event.type === 'error' || event.type === 'session-ended') && event.error !== null
        ? [[event.type, event.error] as const]
        : [],
    )
  await until(() => failures().length === 2, 'both events')
  const errors = failures()
  expect(errors.map(([type]) => type)).toEqual(['error', 'session-ended'])
  for (const [, error] of errors) {
    expect(error).toMatchObject({ code: 'SYNC_FAULT' })
    expect(error.cause).toBeInstanceOf(TypeError)
  }
  expect((await say(liar, [hello(), subscribe()])).at(-1)?.type).toBe('caughtUp')
})

test('PUSH vouches for the sender alone', async () => {
  await using here = await world('write', 2, 10)
  const { a, liar } = here
  const victim = '77'.repeat(16)
  const heard = await serveLies(
    liar,
    ({ type, frame }) => {
      if (type === 'subscribe') return [welcome(), caughtUp(1, new Map([[LIAR_ACTOR, 1]]))]
      if (frame?.type !== 'ack' || frame.versionVector === null) return []
      const change = forged('x', LIAR_ACTOR, 2)
      return [{ type: 'push', versionVector: new Map([[victim, 1_000]]) }, batch(1, [change])]
    },
    true,
  )

  expect(heard.at(-1)?.frame).toMatchObject({ type: 'error', code: 'SYNC_PROTOCOL_VIOLATION' })
  expect(a.db.replica.shardState(SHARD).versionVector.has(victim)).toBe(false)
})

let actors = 0

/** A batch of one tiny record whose context names actors by the thousand. */
function manyActors(): Uint8Array {
  const change = forged(`f${actors}`, randomActor(), 1)
  return batch(1, [{ ...change, context: new Map([...randomActors(11_000), ...dotsOf(change)]) }])
}

function randomActor(): string {
  actors += 1
  return actors.toString(16).padStart(32, '0')
}

function dotsOf({ siblings }: Change): [string, number][] {
  return siblings.map(({ dot }) => [dot.actor, dot.counter])
}

function randomActors(count: number): ReadonlyMap<string, number> {
  return new Map(Array.from({ length: count }, () => [randomActor(), 1]))
}
