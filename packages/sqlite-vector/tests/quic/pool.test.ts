/**
 * The pool: one connection for a pair of nodes, whoever dialled; idle ones end, dead ones are replaced.
 */
import { expect, test } from 'vitest'
import { next, readAll } from '../../src/testing/connection-pair.ts'
import { errorOf, introduce, openNode } from './quic-fixture.ts'
import type { TestNode } from './quic-fixture.ts'
import { UdpRelay } from './udp-relay.ts'

async function listening(node: TestNode): Promise<string> {
  return node.transport.listen('127.0.0.1:0')
}

function openCount({ transport }: TestNode): number {
  const { active, idle } = transport.getStats()
  return active + idle
}

/** Polls until `look` holds; the test's own time limit is the deadline. */
async function until(look: () => boolean): Promise<void> {
  while (!look()) await new Promise((resolve) => setTimeout(resolve, 5))
}

test('dialling an address again gives the same connection, one after the other or at once', async () => {
  await using a = await openNode()
  await using b = await openNode()
  introduce(a, b)
  const address = await listening(b)

  const [first, second] = await Promise.all([a.transport.dial(address), a.transport.dial(address)])
  const third = await a.transport.dial(address)

  expect(second).toBe(first)
  expect(third).toBe(first)
  expect(a.transport.getStats()).toMatchObject({ dialled: 1, created: 1, idle: 1 })
})

test('a listener that dials back uses the connection that the peer dialled', async () => {
  await using a = await openNode()
  await using b = await openNode()
  introduce(a, b)
  const [ofA, ofB] = [await listening(a), await listening(b)]
  await a.transport.dial(ofB)
  const accepted = await next(b.transport.accept()[Symbol.asyncIterator]())

  const back = await b.transport.dial(ofA)

  expect(back).toBe(accepted)
  expect(b.transport.getStats()).toMatchObject({ dialled: 0, accepted: 1 })
})

test('dials from both sides at once come down to one connection', async () => {
  await using a = await openNode()
  await using b = await openNode()
  introduce(a, b)
  // Behind relays neither can know that the address it dials is the one that dials it.
  await using toA = await UdpRelay.open(await listening(a), { delayMs: 10 })
  await using toB = await UdpRelay.open(await listening(b), { delayMs: 10 })

  const [fromA, fromB] = await Promise.all([
    a.transport.dial(toB.address),
    b.transport.dial(toA.address),
  ])
  const channel = await fromA.openChannel()
  await channel.send(Uint8Array.of(1))
  await until(() => openCount(a) === 1 && openCount(b) === 1)

  expect(fromA.peer.fingerprint).toBe(b.identity.fingerprint)
  expect(fromB.peer.fingerprint).toBe(a.identity.fingerprint)
  const [againA, againB] = await Promise.all([
    a.transport.dial(toB.address),
    b.transport.dial(toA.address),
  ])
  expect([openCount(a), openCount(b)]).toEqual([1, 1])
  expect(againA.isOpen && againB.isOpen).toBe(true)
})

test('a connection that nobody uses is closed by its dialler, one in use is not', async () => {
  await using a = await openNode({ idleCloseMs: 1 })
  await using b = await openNode()
  await using c = await openNode()
  introduce(a, b)
  introduce(a, c)
  const [unused, used] = [
    await a.transport.dial(await listening(b)),
    await a.transport.dial(await listening(c)),
  ]
  const channel = await used.openChannel()

  const end = await unused.closed

  expect(end).toMatchObject({ by: 'us', reason: 'the connection was not used' })
  await channel.send(Uint8Array.of(1))
  expect(a.transport.getStats()).toMatchObject({ closedIdle: 1, active: 1 })
})

test('above its limit a listener turns peers away by name and serves the others', async () => {
  await using listener = await openNode({ maxConnections: 1 })
  await using first = await openNode()
  await using second = await openNode()
  introduce(listener, first)
  introduce(listener, second)
  const address = await listening(listener)
  const served = await first.transport.dial(address)

  const error = await errorOf(second.transport.dial(address))

  expect(error.code).toBe('TRANSPORT_LIMIT_EXCEEDED')
  expect(error.message).toContain('1 connections are open already')
  expect(listener.transport.getStats()).toMatchObject({ overLimit: 1, idle: 1 })
  expect(served.isOpen).toBe(true)
})

test('a peer may hold a bounded number of connections', async () => {
  await using listener = await openNode()
  await using first = await openNode()
  introduce(listener, first)
  const address = await listening(listener)
  const twins: TestNode[] = []
  for (let index = 0; index < 17; index += 1) {
    twins.push(await openNode({ identity: first.identity, trust: first.trust }))
  }

  const outcomes = await Promise.allSettled(twins.map((twin) => twin.transport.dial(address)))

  const refused = outcomes.filter(({ status }) => status === 'rejected')
  expect(refused.length).toBe(1)
  expect(refused[0]).toMatchObject({ reason: { code: 'TRANSPORT_LIMIT_EXCEEDED' } })
  await Promise.all(twins.map((twin) => twin.transport.close()))
})

test('a dialler at its limit closes an idle connection, and refuses when none is idle', async () => {
  await using a = await openNode({ maxConnections: 1 })
  await using b = await openNode()
  await using c = await openNode()
  introduce(a, b)
  introduce(a, c)
  const [ofB, ofC] = [await listening(b), await listening(c)]
  const idle = await a.transport.dial(ofB)

  const used = await a.transport.dial(ofC)
  const channel = await used.openChannel()
  await channel.send(Uint8Array.of(1))
  const error = await errorOf(a.transport.dial(ofB))

  expect(await idle.closed).toMatchObject({ by: 'us' })
  expect(error.code).toBe('TRANSPORT_LIMIT_EXCEEDED')
})

test('a name is tried at every address it has', async () => {
  await using a = await openNode()
  await using b = await openNode()
  introduce(a, b)
  const { port } = new URL(`udp://${await listening(b)}`)

  const connection = await a.transport.dial(`localhost:${port}`)

  expect(connection.peer.fingerprint).toBe(b.identity.fingerprint)
  const channel = await connection.openChannel()
  await channel.finish()
  channel.abort()
  await expect(readAll(channel)).rejects.toMatchObject({ code: 'TRANSPORT_ABORTED' })
})
