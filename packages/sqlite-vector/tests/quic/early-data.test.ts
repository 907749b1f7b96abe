/**
 * Resumption and early data: tickets outlive restarts, early data is limited, refusal costs no error.
 */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { TicketStore } from '../../src/transport/quic/tickets.ts'
import type { Channel, Connection, Transport } from '../../src/transport/types.ts'
import { readAll } from '../../src/testing/connection-pair.ts'
import { introduce, openNode } from './quic-fixture.ts'
import type { TestNode } from './quic-fixture.ts'
import { UdpRelay } from './udp-relay.ts'

const PATIENCE = { timeout: 20_000 }

let root: string
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'tickets-'))
})
afterAll(() => rmSync(root, { recursive: true }))

/** Answers every channel's first frame with the same bytes. */
function echo(transport: Transport, seen: Uint8Array[] = []): void {
  const serve = async (channel: Channel): Promise<void> => {
    for (let frame = await channel.receive(); frame !== null; frame = await channel.receive()) {
      seen.push(frame)
      await channel.send(frame)
    }
    await channel.finish()
  }
  const serveAll = async (connection: Connection): Promise<void> => {
    for await (const channel of connection.channels()) serve(channel).catch(() => {})
  }
  const accept = async (): Promise<void> => {
    for await (const connection of transport.accept()) serveAll(connection).catch(() => {})
  }
  accept().catch(() => {})
}

/** One full handshake, so that the dialler has a ticket. */
async function visit(dialler: TestNode, address: string): Promise<void> {
  const connection = await dialler.transport.dial(address)
  const channel = await connection.openChannel()
  await channel.send(Uint8Array.of(7))
  await channel.receive()
  await connection.close()
}

/** The same node, opened again. */
function who({ identity, trust }: TestNode): Pick<TestNode, 'identity' | 'trust'> {
  return { identity, trust }
}

async function ask(connection: Connection, value: number): Promise<number | undefined> {
  const channel = await connection.openChannel({ early: true })
  await channel.send(Uint8Array.of(value))
  await channel.finish()
  const [frame] = await readAll(channel)
  return frame?.[0]
}

test('the second connection to a peer resumes, and its first frames travel as early data', async () => {
  await using listener = await openNode()
  await using dialler = await openNode()
  introduce(listener, dialler)
  const address = await listener.transport.listen('127.0.0.1:0')
  echo(listener.transport)
  await visit(dialler, address)

  const connection = await dialler.transport.dial(address, { early: true })
  const answer = await ask(connection, 42)
  await connection.accepted

  expect(answer).toBe(42)
  expect(connection.peer.fingerprint).toBe(listener.identity.fingerprint)
  expect(connection.stats()).toMatchObject({
    resumed: true,
    earlyData: 'taken',
  })
  expect(dialler.transport.getStats()).toMatchObject({ earlyDataTaken: 1, earlyDataRefused: 0 })
  // The answer does not wait for the end of the listener's handshake.
  await expect
    .poll(() => listener.transport.getStats(), PATIENCE)
    .toMatchObject({ earlyDataTaken: 1, accepted: 2 })
})

test('a dialler that is gone right after its early answer leaves no connection at the listener', async () => {
  await using listener = await openNode()
  await using dialler = await openNode()
  introduce(listener, dialler)
  const address = await listener.transport.listen('127.0.0.1:0')
  echo(listener.transport)
  await visit(dialler, address)

  // More than one peer may hold at once: each must be over at the listener as soon as it is here.
  for (let count = 0; count < 24; count += 1) {
    const connection = await dialler.transport.dial(address, { early: true })
    const channel = await connection.openChannel({ early: true })
    await channel.send(Uint8Array.of(count))
    expect(await channel.receive()).toEqual(Uint8Array.of(count))
    await connection.close()
    await expect
      .poll(() => listener.transport.getStats(), PATIENCE)
      .toMatchObject({ active: 0, idle: 0 })
  }

  expect(listener.transport.getStats()).toMatchObject({ overLimit: 0, handshakesTimedOut: 0 })
})

test('without `early` a session is resumed as well, and nothing of ours travels early', async () => {
  await using listener = await openNode()
  await using dialler = await openNode()
  introduce(listener, dialler)
  const address = await listener.transport.listen('127.0.0.1:0')
  echo(listener.transport)
  await visit(dialler, address)

  const connection = await dialler.transport.dial(address)

  expect(await ask(connection, 9)).toBe(9)
  expect(connection.stats().resumed).toBe(true)
})

test('tickets and the key that seals them outlive restarts of both sides', async () => {
  const [mine, theirs] = [join(root, 'dialler'), join(root, 'listener')]
  await using firstListener = await openNode({ tickets: TicketStore.open(theirs) })
  await using firstDialler = await openNode({ tickets: TicketStore.open(mine) })
  introduce(firstListener, firstDialler)
  const address = await firstListener.transport.listen('127.0.0.1:0')
  echo(firstListener.transport)
  await visit(firstDialler, address)
  await Promise.all([firstDialler.transport.close(), firstListener.transport.close()])

  await using listener = await openNode({
    ...who(firstListener),
    tickets: TicketStore.open(theirs),
  })
  await using dialler = await openNode({ ...who(firstDialler), tickets: TicketStore.open(mine) })
  await listener.transport.listen(address)
  echo(listener.transport)
  const connection = await dialler.transport.dial(address, { early: true })
  const answer = await ask(connection, 5)
  await connection.accepted

  expect(answer).toBe(5)
  expect(connection.stats()).toMatchObject({ resumed: true, earlyData: 'taken' })
  expect(statSync(join(mine, 'tickets.json')).mode & 0o777).toBe(0o600)
})

test('a listener that lost its ticket key falls back to a full handshake, without an error', async () => {
  await using first = await openNode()
  await using dialler = await openNode()
  introduce(first, dialler)
  const address = await first.transport.listen('127.0.0.1:0')
  echo(first.transport)
  await visit(dialler, address)
  await first.transport.close()

  await using second = await openNode({ identity: first.identity, trust: first.trust })
  await second.transport.listen(address)
  echo(second.transport)
  const connection = await dialler.transport.dial(address, { early: true })
  const answer = await ask(connection, 6)
  await connection.accepted

  expect(answer).toBe(6)
  expect(connection.stats()).toMatchObject({ resumed: false, earlyData: 'refused' })
  expect(dialler.transport.getStats()).toMatchObject({ earlyDataRefused: 1, dialsFailed: 0 })
})

test('a listener that promises less than the ticket remembers is reached all the same', async () => {
  await using first = await openNode({ maxConcurrentStreams: 100 })
  await using dialler = await openNode()
  introduce(first, dialler)
  const tickets = TicketStore.inMemory()
  await using before = await openNode({ ...who(first), tickets, maxConcurrentStreams: 100 })
  const address = await before.transport.listen('127.0.0.1:0')
  echo(before.transport)
  await visit(dialler, address)
  await before.transport.close()

  await using after = await openNode({ ...who(first), tickets, maxConcurrentStreams: 1 })
  await after.transport.listen(address)
  echo(after.transport)
  const connection = await dialler.transport.dial(address)

  expect(await ask(connection, 3)).toBe(3)
})

test('before the handshake is done only the first frames of a channel leave, and few bytes', async () => {
  await using listener = await openNode()
  await using dialler = await openNode()
  introduce(listener, dialler)
  await using relay = await UdpRelay.open(await listener.transport.listen('127.0.0.1:0'))
  const seen: Uint8Array[] = []
  echo(listener.transport, seen)
  await visit(dialler, relay.address)
  seen.length = 0
  relay.behaviour.isDeaf = true

  const connection = await dialler.transport.dial(relay.address, { early: true })
  const [small, large] = [
    await connection.openChannel({ early: true }),
    await connection.openChannel({ early: true }),
  ]
  const sent: string[] = []
  const sending = [
    ...[1, 2, 3, 4].map((value) =>
      small.send(Uint8Array.of(value)).then(() => sent.push(`small ${value}`)),
    ),
    large.send(new Uint8Array(17_000)).then(() => sent.push('large')),
  ]
  await new Promise((resolve) => setTimeout(resolve, 100))
  const early = [...sent]
  const seenEarly = seen.map((frame) => frame[0])
  relay.behaviour.isDeaf = false
  await Promise.all(sending)
  await Promise.all([small.finish(), large.finish()])
  const answers = await readAll(small)

  expect(early).toEqual(['small 1', 'small 2'])
  expect(seenEarly).toEqual([1, 2])
  expect(answers.map((frame) => frame[0])).toEqual([1, 2, 3, 4])
  expect((await readAll(large))[0]?.byteLength).toBe(17_000)
})

test('a replayed first flight completes no handshake and costs honest peers nothing', async () => {
  await using listener = await openNode({ handshakeTimeoutMs: 200 })
  await using dialler = await openNode()
  introduce(listener, dialler)
  await using relay = await UdpRelay.open(await listener.transport.listen('127.0.0.1:0'))
  echo(listener.transport)
  await visit(dialler, relay.address)
  relay.isCapturing = true
  const connection = await dialler.transport.dial(relay.address, { early: true })
  expect(await ask(connection, 8)).toBe(8)
  relay.isCapturing = false
  await connection.close()
  await dialler.transport.close()
  const before = listener.transport.getStats()

  for (let round = 0; round < 5; round += 1) await relay.replay(relay.captured)
  await new Promise((resolve) => setTimeout(resolve, 300))

  const after = listener.transport.getStats()
  expect(after.datagramsReceived).toBeGreaterThan(before.datagramsReceived)
  expect(after.created).toBe(before.created)
  expect(after.active + after.idle).toBe(0)
  await using honest = await openNode({ identity: dialler.identity, trust: dialler.trust })
  expect(await ask(await honest.transport.dial(relay.address), 4)).toBe(4)
})

test('a peer that is trusted no more cannot come back with its ticket', async () => {
  await using listener = await openNode()
  await using dialler = await openNode()
  introduce(listener, dialler)
  const address = await listener.transport.listen('127.0.0.1:0')
  echo(listener.transport)
  await visit(dialler, address)

  listener.trust.remove(dialler.identity.fingerprint)
  const connection = await dialler.transport.dial(address, { early: true })

  expect(await connection.closed).toMatchObject({ code: 'TRANSPORT_REFUSED_BY_PEER' })
  // With the ticket, and at most once more with a full handshake.
  expect(listener.transport.getStats().refused).toBeGreaterThanOrEqual(1)
  expect(listener.transport.getStats().refused).toBeLessThanOrEqual(2)
})

test('a damaged ticket and a damaged ticket file cost a full handshake, nothing else', async () => {
  const folder = join(root, 'damaged')
  await using listener = await openNode()
  await using dialler = await openNode()
  introduce(listener, dialler)
  const address = await listener.transport.listen('127.0.0.1:0')
  echo(listener.transport)
  const tickets = TicketStore.open(folder)
  tickets.put(address, {
    fingerprint: listener.identity.fingerprint,
    session: Uint8Array.from({ length: 500 }, (_, index) => index % 256),
  })
  await using other = await openNode({ ...who(dialler), tickets })

  expect(await ask(await other.transport.dial(address), 1)).toBe(1)
  await other.transport.close()
  expect(readFileSync(join(folder, 'tickets.json'), 'utf8')).toContain(address)
  writeFileSync(join(folder, 'tickets.json'), '{"version":1,"sealingKey":"')
  expect(TicketStore.open(folder).get(address)).toBeNull()
})

test('early data off means no early data', async () => {
  await using listener = await openNode({ enable0Rtt: false })
  await using dialler = await openNode()
  introduce(listener, dialler)
  const address = await listener.transport.listen('127.0.0.1:0')
  echo(listener.transport)
  await visit(dialler, address)

  const connection = await dialler.transport.dial(address, { early: true })

  expect(await ask(connection, 2)).toBe(2)
  expect(connection.stats().earlyData).toBe('none')
})

test('a dialler without early data still resumes the session', async () => {
  await using listener = await openNode()
  await using dialler = await openNode({ enable0Rtt: false })
  introduce(listener, dialler)
  const address = await listener.transport.listen('127.0.0.1:0')
  echo(listener.transport)
  await visit(dialler, address)

  const connection = await dialler.transport.dial(address, { early: true })

  expect(await ask(connection, 2)).toBe(2)
  expect(connection.stats()).toMatchObject({ resumed: true, earlyData: 'none' })
})

test('a channel that was not opened for early data waits for the handshake', async () => {
  await using listener = await openNode()
  await using dialler = await openNode()
  introduce(listener, dialler)
  await using relay = await UdpRelay.open(await listener.transport.listen('127.0.0.1:0'))
  const seen: Uint8Array[] = []
  echo(listener.transport, seen)
  await visit(dialler, relay.address)

  relay.behaviour.isDeaf = true
  const connection = await dialler.transport.dial(relay.address, { early: true })
  const [late, early] = [
    await connection.openChannel(),
    await connection.openChannel({ early: true }),
  ]
  const sent = late.send(new Uint8Array(100).fill(1))
  await early.send(new Uint8Array(50).fill(2))
  await expect.poll(() => seen.map(({ length }) => length), PATIENCE).toContain(50)
  const arrived = seen.map(({ length }) => length)
  relay.behaviour.isDeaf = false

  expect(arrived).not.toContain(100)
  await sent
  await late.finish()
  expect((await readAll(late))[0]).toEqual(new Uint8Array(100).fill(1))
})

test('a request waits for the handshake: nobody can replay it', async () => {
  await using listener = await openNode()
  await using dialler = await openNode()
  introduce(listener, dialler)
  await using relay = await UdpRelay.open(await listener.transport.listen('127.0.0.1:0'))
  echo(listener.transport)
  await visit(dialler, relay.address)
  const before = listener.transport.getStats().channelsOpened

  relay.behaviour.isDeaf = true
  const asked = dialler.transport.request(relay.address, Uint8Array.of(1))
  // The control stream, which names a process and no more, does travel early.
  await expect.poll(() => listener.transport.getStats().earlyDataTaken, PATIENCE).toBe(1)
  const opened = listener.transport.getStats().channelsOpened - before
  relay.behaviour.isDeaf = false
  const incoming = await listener.transport.receive()
  await incoming?.answer(Uint8Array.of(2))

  expect(opened).toBe(0)
  expect([...(await asked)]).toEqual([2])
})
