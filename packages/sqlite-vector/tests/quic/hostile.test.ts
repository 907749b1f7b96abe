/**
 * Hostile input: whatever strangers send to the port, and peers inside a connection, costs bounded memory,
 * is counted, and harms no honest peer. Generators are seeded.
 */
import { createSocket } from 'node:dgram'
import { expect, test } from 'vitest'
import {
  HANDSHAKES_BEFORE_RETRY,
  HANDSHAKES_BURST_PER_ADDRESS,
  INBOX_MESSAGES_MAX,
} from '../../src/limits.ts'
import { createIdentity } from '../../src/transport/identity/identity.ts'
import type { QuicConnection } from '../../src/transport/quic/connection.ts'
import type { Connection } from '../../src/transport/types.ts'
import { next } from '../../src/testing/connection-pair.ts'
import { errorOf, introduce, openNode } from './quic-fixture.ts'
import type { TestNode } from './quic-fixture.ts'
import { UdpRelay } from './udp-relay.ts'

function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
}

/** Sends datagrams from a socket of its own; the bytes that came back. */
async function attack(address: string, datagrams: Iterable<Uint8Array>): Promise<number> {
  const port = Number(address.split(':')[1])
  const socket = createSocket('udp4')
  let answered = 0
  socket.on('message', (datagram) => {
    answered += datagram.length
  })
  let sent = 0
  for (const datagram of datagrams) {
    socket.send(datagram, port, '127.0.0.1')
    sent += 1
    if (sent % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  await new Promise((resolve) => setTimeout(resolve, 100))
  await new Promise<void>((resolve) => socket.close(() => resolve()))
  return answered
}

/** The first datagrams of real handshakes with `listener`, none of which was ever finished. */
async function firstFlights(listener: TestNode, address: string, count: number): Promise<Buffer[]> {
  await using relay = await UdpRelay.open(address, { isDown: true })
  relay.isCapturing = true
  const dial = async (): Promise<void> => {
    await using stranger = await openNode({ identity, handshakeTimeoutMs: 200 })
    stranger.trust.add(listener.identity.certificatePem)
    await errorOf(stranger.transport.dial(relay.address))
  }
  const identity = createIdentity()
  await Promise.all(Array.from({ length: count }, dial))
  return relay.captured
}

async function roundTrip(node: TestNode, listener: TestNode, address: string): Promise<void> {
  const connection = await node.transport.dial(address)
  const channel = await connection.openChannel()
  await channel.send(Uint8Array.of(1))
  const accepted: Connection = await next(listener.transport.accept()[Symbol.asyncIterator]())
  const there = await next(accepted.channels()[Symbol.asyncIterator]())
  expect(await there.receive()).toEqual(Uint8Array.of(1))
}

test('random, truncated and mutated datagrams are dropped, counted, and answered with less', async () => {
  await using listener = await openNode()
  await using honest = await openNode()
  introduce(listener, honest)
  const address = await listener.transport.listen('127.0.0.1:0')
  const [initial = Buffer.alloc(0)] = await firstFlights(listener, address, 1)
  const random = generator(3)
  let bytes = 0
  function* datagrams(): Iterable<Uint8Array> {
    for (let index = 0; index < 4_000; index += 1) {
      const datagram = hostileDatagram(index, initial, random)
      bytes += datagram.length
      yield datagram
    }
  }
  const before = process.memoryUsage.rss()

  const answered = await attack(address, datagrams())

  expect(listener.transport.getStats().datagramsDropped).toBeGreaterThan(1_500)
  expect(answered).toBeLessThan(3 * bytes)
  expect(process.memoryUsage.rss() - before).toBeLessThan(200 * 1_048_576)
  await roundTrip(honest, listener, address)
})

function hostileDatagram(index: number, initial: Buffer, random: () => number): Uint8Array {
  const byte = (): number => Math.floor(random() * 256)
  const copy = Buffer.from(initial)
  switch (index % 5) {
    case 0:
      return Uint8Array.from({ length: Math.floor(random() * 1_500) }, byte)
    case 1:
      return copy.subarray(0, Math.floor(random() * copy.length))
    case 2:
      // A version that nobody speaks.
      copy.writeUInt32BE(0x1a2a3a4a, 1)
      return copy
    case 3:
      // A short header with an id of nobody.
      copy[0] = 0x40 | (byte() & 0x3f)
      return copy
    default:
      for (let flips = 0; flips < 8; flips += 1) copy[Math.floor(random() * copy.length)] = byte()
      return copy
  }
}

test('one sender cannot start more handshakes than its share', async () => {
  await using listener = await openNode({ handshakeTimeoutMs: 2_000 })
  await using honest = await openNode()
  introduce(listener, honest)
  const address = await listener.transport.listen('127.0.0.1:0')
  const flights = await firstFlights(listener, address, HANDSHAKES_BURST_PER_ADDRESS + 30)

  await attack(address, flights)

  const stats = listener.transport.getStats()
  expect(stats.handshakesUnderWay).toBeGreaterThan(10)
  expect(stats.handshakesUnderWay).toBeLessThanOrEqual(HANDSHAKES_BEFORE_RETRY)
  expect(stats.retriesSent + stats.handshakesRateLimited).toBeGreaterThan(10)
  // The flood's handshakes run out of time, and its share grows back.
  await expect
    .poll(() => listener.transport.getStats(), { timeout: 20_000 })
    .toMatchObject({ handshakesUnderWay: 0, created: 0 })
  await roundTrip(honest, listener, address)
})

test('while handshakes pile up an honest peer proves its address and gets in', async () => {
  await using listener = await openNode({ handshakeTimeoutMs: 60_000 })
  await using honest = await openNode()
  introduce(listener, honest)
  const address = await listener.transport.listen('127.0.0.1:0')
  const flights = await firstFlights(listener, address, HANDSHAKES_BEFORE_RETRY + 30)
  await attack(address, flights.slice(0, HANDSHAKES_BURST_PER_ADDRESS))
  // The sender's share grows back while what it began still waits: then the listener wants proof.
  const attackAgain = async (): Promise<number> => {
    await attack(address, flights.slice(HANDSHAKES_BURST_PER_ADDRESS))
    return listener.transport.getStats().retriesSent
  }
  await expect.poll(attackAgain, { timeout: 20_000, interval: 250 }).toBeGreaterThan(0)

  const { handshakesUnderWay, retriesSent } = listener.transport.getStats()
  await roundTrip(honest, listener, address)

  expect(handshakesUnderWay).toBe(HANDSHAKES_BEFORE_RETRY)
  expect(listener.transport.getStats().retriesSent).toBeGreaterThan(retriesSent)
})

test('before its address is proven a sender gets at most three times its bytes', async () => {
  await using listener = await openNode()
  const address = await listener.transport.listen('127.0.0.1:0')
  const [initial = Buffer.alloc(0)] = await firstFlights(listener, address, 1)

  const answered = await attack(address, [initial])

  expect(answered).toBeGreaterThan(0)
  expect(answered).toBeLessThanOrEqual(3 * initial.length)
})

test('a first datagram that cannot be decrypted leaves nothing behind', async () => {
  await using listener = await openNode()
  const address = await listener.transport.listen('127.0.0.1:0')
  const [initial = Buffer.alloc(0)] = await firstFlights(listener, address, 1)
  const garbage = Array.from({ length: 50 }, (_, index) => {
    const copy = Buffer.from(initial)
    // Within the encrypted part: behind it lies only padding.
    copy.writeUInt32BE((copy.readUInt32BE(100) ^ (index + 1)) >>> 0, 100)
    return copy
  })

  const answered = await attack(address, garbage)

  expect(answered).toBe(0)
  expect(listener.transport.getStats()).toMatchObject({ handshakesUnderWay: 0 })
  expect(listener.transport.getStats().datagramsDropped).toBeGreaterThan(0)
})

test('nonsense on streams inside a connection ends those streams, nothing else', async () => {
  await using listener = await openNode()
  await using peer = await openNode()
  introduce(listener, peer)
  const address = await listener.transport.listen('127.0.0.1:0')
  const dialled = await peer.transport.dial(address)
  const accepted = await next(listener.transport.accept()[Symbol.asyncIterator]())
  const random = generator(13)
  const channels = accepted.channels()[Symbol.asyncIterator]()
  const read: string[] = []
  const reading = (async () => {
    for (let result = await channels.next(); result.done !== true; result = await channels.next()) {
      const channel = result.value
      read.push(
        await channel.receive().then(
          () => 'frame',
          (error) => error.code,
        ),
      )
      channel.abort()
    }
  })()

  for (let index = 0; index < 300; index += 1) {
    const nonsense = Uint8Array.from({ length: 1 + Math.floor(random() * 60) }, () =>
      Math.floor(random() * 256),
    )
    // Half of them say that they are channels, and go on with nonsense.
    if (index % 2 === 0) nonsense[0] = 1
    await writeRaw(dialled, index, nonsense)
  }
  const channel = await dialled.openChannel()
  await channel.send(Uint8Array.of(1))
  await expect.poll(() => read.at(-1), { timeout: 20_000 }).toBe('frame')
  const isOpen = dialled.isOpen
  await dialled.close()
  await reading

  expect(isOpen).toBe(true)
  expect(read.filter((what) => what === 'TRANSPORT_FRAME_TOO_LARGE').length).toBeGreaterThan(100)
  expect(read.at(-1)).toBe('frame')
})

/** Writes bytes to a new stream as they are: its type, then what no channel would send. */
async function writeRaw(
  connection: QuicConnection,
  index: number,
  bytes: Uint8Array,
): Promise<void> {
  await connection.openTyped(bytes[0] ?? 0, {})
  // A client's bidirectional streams are 0, 4, 8, … in the order in which they were opened.
  connection.native.streamSend(index * 4, bytes.subarray(1), true)
  connection.flushSoon()
}

test('a peer that floods messages fills its share of the inbox and no more', async () => {
  await using listener = await openNode()
  await using peer = await openNode()
  introduce(listener, peer)
  const address = await listener.transport.listen('127.0.0.1:0')
  const connection = await peer.transport.dial(address)
  const accepted = await next(listener.transport.accept()[Symbol.asyncIterator]())
  const controller = new AbortController()
  const messageBytes = 200_000
  const inboxBytes = INBOX_MESSAGES_MAX * messageBytes

  const sends = Array.from({ length: 3 * INBOX_MESSAGES_MAX }, () =>
    errorOf(
      peer.transport.send(address, new Uint8Array(messageBytes), { signal: controller.signal }),
    ),
  )
  const taken = (): number => accepted.stats().channelBytesReceived
  await expect.poll(taken, { timeout: 30_000 }).toBeGreaterThanOrEqual(inboxBytes)
  // Time in which a node without the bound would go on reading; too little of it hides a fault, never invents one.
  await new Promise((resolve) => setTimeout(resolve, 500))
  const held = taken()
  controller.abort()
  await Promise.all(sends)
  await connection.close()

  expect(held).toBeLessThan(inboxBytes + messageBytes)
})
