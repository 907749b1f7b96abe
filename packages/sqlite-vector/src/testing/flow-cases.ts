/**
 * The transport contract, part two: a slow reader makes its own writer wait, and no other.
 */
import assert from 'node:assert/strict'

import {
  assertSameBytes,
  channelPair,
  connect,
  pattern,
  readAll,
  settled,
} from './connection-pair.ts'
import { type ContractBounds, type ContractCase, type OpenFixture } from './types.ts'

export function flowCases(bounds: ContractBounds, open: OpenFixture): readonly ContractCase[] {
  return [
    {
      name: 'a writer stops when the reader stalls, and goes on when it reads',
      run: () => stalledReader(bounds, open),
    },
    {
      name: 'a stalled channel does not hold up another',
      run: () => stalledChannel(bounds, open),
    },
    {
      name: 'a small exchange passes a large transfer that is under way',
      run: () => smallPassesLarge(open),
    },
    { name: 'what channels carried is counted, prefixes included', run: () => counted(open) },
  ]
}

async function stalledReader({ unreadBytesMax }: ContractBounds, open: OpenFixture): Promise<void> {
  await using pair = await connect(open)
  const [here, there] = await channelPair(pair)
  const frame = pattern(65_536, 5)
  const enough = Math.ceil(unreadBytesMax / frame.length) + 1
  let taken = 0
  const sending = (async () => {
    for (; taken < enough; taken += 1) await here.send(frame)
    await here.finish()
  })()

  const stalledAt = await settled(() => taken)
  const received = await readAll(there)
  await sending

  assert.ok(stalledAt < enough, `${stalledAt} frames were accepted though the peer read nothing`)
  assert.equal(received.length, enough)
  for (const other of received) assertSameBytes(other, frame)
}

async function stalledChannel({ frameBytesMax }: ContractBounds, open: OpenFixture): Promise<void> {
  await using pair = await connect(open)
  const [stalled] = await channelPair(pair)
  const gaveUp = Promise.allSettled([stalled.send(new Uint8Array(frameBytesMax))])
  const [here, there] = await channelPair(pair)

  await here.send(Uint8Array.of(4))
  const received = await there.receive()

  assertSameBytes(received, Uint8Array.of(4))
  stalled.abort()
  await gaveUp
}

async function smallPassesLarge(open: OpenFixture): Promise<void> {
  await using pair = await connect(open)
  const [large, largeThere] = await channelPair(pair)
  const [small, smallThere] = await channelPair(pair)
  const frame = pattern(524_288, 1)
  const state = { isOver: false }
  const transfer = (async () => {
    for (let index = 0; index < 40; index += 1) await large.send(frame)
    await large.finish()
  })()
  const reading = readAll(largeThere).finally(() => {
    state.isOver = true
  })

  let exchanges = 0
  while (!state.isOver) {
    await small.send(Uint8Array.of(exchanges % 256))
    await smallThere.send((await smallThere.receive()) as Uint8Array)
    await small.receive()
    exchanges += 1
  }
  await transfer

  assert.equal((await reading).length, 40)
  assert.ok(exchanges > 5, `${exchanges} small exchanges while 20 MiB travelled`)
}

async function counted(open: OpenFixture): Promise<void> {
  await using pair = await connect(open)
  const [here, there] = await channelPair(pair)
  const sentBefore = pair.dialled.stats().channelBytesSent
  const receivedBefore = pair.accepted.stats().channelBytesReceived

  await here.send(new Uint8Array(1_000))
  await there.receive()

  assert.equal(pair.dialled.stats().channelBytesSent - sentBefore, 1_004)
  assert.equal(pair.accepted.stats().channelBytesReceived - receivedBefore, 1_004)
  assert.ok(pair.dialled.stats().wireBytesSent >= 1_004)
}
