/**
 * Networks that misbehave: whatever a path does to datagrams, a transfer completes and is byte-equal.
 * The relay stands between the nodes on loopback; benchmarks/transport measures the same with real delays.
 */
import { expect, test } from 'vitest'
import type { QuicConnection } from '../../src/transport/quic/connection.ts'
import type { Channel, Connection } from '../../src/transport/types.ts'
import { next, pattern } from '../../src/testing/connection-pair.ts'
import { introduce, openNode } from './quic-fixture.ts'
import type { NodeOptions, TestNode } from './quic-fixture.ts'
import { UdpRelay } from './udp-relay.ts'
import type { RelayBehaviour } from './udp-relay.ts'

const FRAME_BYTES = 65_536

interface Path extends AsyncDisposable {
  readonly dialler: TestNode
  readonly listener: TestNode
  readonly relay: UdpRelay
  readonly dialled: QuicConnection
  readonly accepted: Connection
}

/** Two nodes with a relay between them. The small datagrams are those of real networks. */
async function openPath(behaviour: RelayBehaviour, options: NodeOptions = {}): Promise<Path> {
  const common = { datagramBytes: 1_350, ...options }
  const [dialler, listener] = [await openNode(common), await openNode(common)]
  introduce(dialler, listener)
  const relay = await UdpRelay.open(await listener.transport.listen('127.0.0.1:0'), behaviour, 7)
  const dialled = await dialler.transport.dial(relay.address)
  const accepted = await next(listener.transport.accept()[Symbol.asyncIterator]())
  return {
    dialler,
    listener,
    relay,
    dialled,
    accepted,
    async [Symbol.asyncDispose]() {
      await Promise.all([dialler.transport.close(), listener.transport.close()])
      await relay[Symbol.asyncDispose]()
    },
  }
}

/** Reads frames to the end and compares each with what was sent; how many bytes. */
async function checkAll(channel: Channel): Promise<number> {
  let bytes = 0
  for (let frame = await channel.receive(); frame !== null; frame = await channel.receive()) {
    const expected = pattern(FRAME_BYTES, bytes / FRAME_BYTES)
    if (Buffer.compare(frame, expected) !== 0) throw new Error(`frame at ${bytes} differs`)
    bytes += frame.byteLength
  }
  return bytes
}

/** Sends frames both ways at once; how many bytes arrived unharmed. */
async function transfer(path: Path, frames: number, midway = (): void => {}): Promise<number> {
  const here = await path.dialled.openChannel()
  const there = await next(path.accepted.channels()[Symbol.asyncIterator]())
  const sendAll = async (channel: Channel): Promise<void> => {
    for (let index = 0; index < frames; index += 1) {
      if (channel === here && index === frames >> 1) midway()
      await channel.send(pattern(FRAME_BYTES, index))
    }
    await channel.finish()
  }
  const [, , first, second] = await Promise.all([
    sendAll(here),
    sendAll(there),
    checkAll(here),
    checkAll(there),
  ])
  return first + second
}

test.each<[string, RelayBehaviour]>([
  ['1 % loss', { delayMs: 5, lossRate: 0.01 }],
  ['5 % loss', { delayMs: 5, lossRate: 0.05 }],
  ['20 % loss', { delayMs: 2, lossRate: 0.2 }],
  ['5 % reordering', { delayMs: 5, reorderRate: 0.05 }],
  ['20 % duplication', { delayMs: 2, duplicateRate: 0.2 }],
  ['all of them', { delayMs: 5, lossRate: 0.03, reorderRate: 0.05, duplicateRate: 0.05 }],
])('a transfer under %s is complete and byte-equal', async (_, behaviour) => {
  await using path = await openPath(behaviour)

  const bytes = await transfer(path, 12)

  expect(bytes).toBe(2 * 12 * FRAME_BYTES)
  expect(path.relay.forwarded).toBeGreaterThan(500)
})

test('a path that is dead for a second in mid-transfer resumes by itself', async () => {
  await using path = await openPath({ delayMs: 2 })

  const bytes = await transfer(path, 12, () => {
    path.relay.behaviour.isDown = true
    setTimeout(() => {
      path.relay.behaviour.isDown = false
    }, 1_000)
  })

  expect(bytes).toBe(2 * 12 * FRAME_BYTES)
  expect(path.dialled.isOpen).toBe(true)
})

test('a dialler whose address changes in mid-transfer keeps its connection', async () => {
  await using path = await openPath({ delayMs: 2 })
  const before = path.accepted.remoteAddress

  const bytes = await transfer(path, 12, () => path.relay.rebind())

  expect(bytes).toBe(2 * 12 * FRAME_BYTES)
  expect(path.accepted.remoteAddress).not.toBe(before)
  expect((path.accepted as QuicConnection).stats().pathChanges).toBe(1)
  expect(path.listener.transport.getStats()).toMatchObject({ created: 1, pathChanges: 1 })
})

test('a connection survives seven address changes in a row', async () => {
  await using path = await openPath({})
  const channel = await path.dialled.openChannel()
  const there = await next(path.accepted.channels()[Symbol.asyncIterator]())

  for (let change = 0; change < 7; change += 1) {
    path.relay.rebind()
    await channel.send(Uint8Array.of(change))
    expect(await there.receive()).toEqual(Uint8Array.of(change))
    await there.send(Uint8Array.of(change))
    expect(await channel.receive()).toEqual(Uint8Array.of(change))
  }

  expect((path.accepted as QuicConnection).stats().pathChanges).toBeGreaterThanOrEqual(6)
})

test('a path that swallows larger datagrams after the handshake is crossed with smaller ones', async () => {
  await using path = await openPath({ delayMs: 2 })
  path.relay.behaviour.mtuBytes = 1_252
  // Sampled on the way: a connection that shrank tries larger ones again now and then, also at the very end.
  let smallest = Infinity
  const watch = setInterval(() => {
    smallest = Math.min(smallest, path.dialled.stats().datagramBytes)
  }, 1)

  const bytes = await transfer(path, 4)
  clearInterval(watch)

  expect(bytes).toBe(2 * 4 * FRAME_BYTES)
  expect(smallest).toBe(1_200)
})

test('datagrams that shrank because a path was dead for a while grow again', async () => {
  await using path = await openPath({ delayMs: 2 })
  const { behaviour } = path.relay
  await transfer(path, 4, () => {
    behaviour.isDown = true
    // Dead for as long as it takes; a path that never makes them shrink fails the test by its time limit.
    const watch = setInterval(() => {
      if (path.dialled.stats().datagramBytes !== 1_200) return
      clearInterval(watch)
      behaviour.isDown = false
    }, 5)
  })

  await new Promise((resolve) => setTimeout(resolve, 1_200))
  await transfer(path, 4)

  expect(behaviour.isDown).toBe(false)
  expect(path.dialled.stats().datagramBytes).toBe(1_350)
})

test('a peer that vanishes is noticed within the idle timeout', async () => {
  await using path = await openPath({}, { maxIdleTimeoutMs: 1_000, keepAliveMs: 300 })
  const channel = await path.dialled.openChannel()
  const waiting = channel.receive()

  path.relay.behaviour.isDown = true
  const startedMs = performance.now()

  await expect(waiting).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
  // Below the default of 10 s, far above what a busy machine adds.
  expect(performance.now() - startedMs).toBeLessThan(9_000)
  expect(await path.dialled.closed).toMatchObject({ by: 'timeout' })
  expect(path.dialler.transport.getStats().timedOut).toBe(1)
})

test('keep-alive holds an idle connection beyond the idle timeout', async () => {
  await using path = await openPath({}, { maxIdleTimeoutMs: 1_000, keepAliveMs: 300 })

  await new Promise((resolve) => setTimeout(resolve, 2_000))

  expect(path.dialled.isOpen).toBe(true)
})
