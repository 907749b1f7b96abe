/**
 * The transport contract, part one: frames arrive whole and in order, within their bounds, between
 * peers that know each other.
 */
import assert from 'node:assert/strict'

import {
  assertFails,
  assertSameBytes,
  channelPair,
  connect,
  next,
  pattern,
  readAll,
} from './connection-pair.ts'
import { type ContractBounds, type ContractCase, type OpenFixture } from './types.ts'

export function frameCases(bounds: ContractBounds, open: OpenFixture): readonly ContractCase[] {
  return [
    {
      name: 'frames arrive whole, in the order they were sent, at an aligned offset',
      run: () => arriveWhole(open),
    },
    {
      name: 'a frame of the largest size arrives, one byte more is refused by the sender',
      run: () => largestFrame(bounds, open),
    },
    {
      name: 'a frame above the receiver’s own limit is refused there and aborts the channel',
      run: () => aboveTheReceiversLimit(open),
    },
    { name: 'a received frame is the caller’s to keep', run: () => keptFrames(open) },
    { name: 'both sides open channels over one connection', run: () => channelsFromBoth(open) },
    { name: 'each side knows the other by its fingerprint', run: () => knownPeers(open) },
  ]
}

async function arriveWhole(open: OpenFixture): Promise<void> {
  await using pair = await connect(open)
  const [here, there] = await channelPair(pair)
  const sizes = [0, 1, 7, 8, 9, 1_350, 65_536, 65_537, 300_001, 0]
  const frames = sizes.map((size, index) => pattern(size, index))

  const sending = (async () => {
    for (const frame of frames) await here.send(frame)
    await here.finish()
  })()
  const received = await readAll(there)
  await sending

  assert.equal(received.length, frames.length)
  for (const [index, frame] of received.entries()) {
    assertSameBytes(frame, frames[index] as Uint8Array)
    assert.equal(frame.byteOffset % 8, 0, 'the offset is no multiple of 8')
  }
}

async function largestFrame({ frameBytesMax }: ContractBounds, open: OpenFixture): Promise<void> {
  await using pair = await connect(open)
  const [here, there] = await channelPair(pair)
  const largest = pattern(frameBytesMax, 1)

  const sending = here.send(largest)
  const received = await there.receive()
  await sending
  const tooLarge = here.send(new Uint8Array(frameBytesMax + 1))

  assertSameBytes(received, largest)
  await assertFails(tooLarge, 'TRANSPORT_FRAME_TOO_LARGE')
  await here.send(Uint8Array.of(1))
  assertSameBytes(await there.receive(), Uint8Array.of(1))
}

async function aboveTheReceiversLimit(open: OpenFixture): Promise<void> {
  await using pair = await connect(open, { listenerFrameBytesMax: 100 })
  const [here, there] = await channelPair(pair)

  await here.send(new Uint8Array(100))
  await here.send(new Uint8Array(101))
  const first = await there.receive()

  assert.equal(first?.byteLength, 100)
  await assertFails(there.receive(), 'TRANSPORT_FRAME_TOO_LARGE')
  await assertFails(here.receive(), 'TRANSPORT_ABORTED')
}

async function keptFrames(open: OpenFixture): Promise<void> {
  await using pair = await connect(open)
  const [here, there] = await channelPair(pair)
  const reused = new Uint8Array(1_000)

  const received: Uint8Array[] = []
  for (let value = 1; value <= 3; value += 1) {
    reused.fill(value)
    await here.send(reused)
    received.push((await there.receive()) as Uint8Array)
  }

  assert.deepEqual(
    received.map((frame) => frame[999]),
    [1, 2, 3],
  )
}

async function channelsFromBoth(open: OpenFixture): Promise<void> {
  await using pair = await connect(open)

  const opened = await pair.accepted.openChannel()
  await opened.send(Uint8Array.of(9))
  const arrived = await next(pair.dialledChannels)

  assertSameBytes(await arrived.receive(), Uint8Array.of(9))
}

async function knownPeers(open: OpenFixture): Promise<void> {
  await using pair = await connect(open)

  assert.deepEqual(pair.dialled.peer, pair.fixture.listener.identity)
  assert.deepEqual(pair.accepted.peer, pair.fixture.dialler.identity)
}
