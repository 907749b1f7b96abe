/**
 * The transport contract, part five: many channels and many bytes over one connection, with nothing
 * left behind.
 */
import assert from 'node:assert/strict'

import type { Channel } from '../transport/types.ts'
import { assertSameBytes, channelPair, connect, next, pattern, readAll } from './connection-pair.ts'
import { type ContractBounds, type ContractCase, type OpenFixture } from './types.ts'

const CHANNELS = 300
const BYTES_BOTH_WAYS = 8_388_608
const FRAME_BYTES = 524_288
const CHANNELS_AT_ONCE = 500

export function volumeCases(bounds: ContractBounds, open: OpenFixture): readonly ContractCase[] {
  const { channelsInSequence = CHANNELS, bytesBothWays = BYTES_BOTH_WAYS } = bounds
  const frames = Math.ceil(bytesBothWays / FRAME_BYTES)
  return [
    {
      name: `${channelsInSequence} channels in sequence work over one connection`,
      run: () => inSequence(open, channelsInSequence),
    },
    {
      name: `${CHANNELS_AT_ONCE} channels at once work over one connection with a limit of 100`,
      run: () => atOnce(open),
    },
    {
      name: `${(frames * FRAME_BYTES) / 1_048_576} MiB flow both ways at once`,
      run: () => bothWays(open, frames),
    },
  ]
}

async function inSequence(open: OpenFixture, count: number): Promise<void> {
  await using pair = await connect(open)

  for (let index = 0; index < count; index += 1) {
    const [here, there] = await Promise.all([
      pair.dialled.openChannel(),
      next(pair.acceptedChannels),
    ])
    const word = Uint8Array.of(index % 256)
    await Promise.all([here.send(word).then(() => here.finish()), there.finish()])
    const [frames, rest] = await Promise.all([readAll(there), readAll(here)])
    assert.equal(frames.length, 1, `channel ${index}`)
    assertSameBytes(frames[0], word)
    assert.equal(rest.length, 0, `channel ${index}`)
  }

  assert.equal(pair.dialled.stats().channelsOpen, 0)
}

async function atOnce(open: OpenFixture): Promise<void> {
  await using pair = await connect(open, { channelsMax: 100 })
  const serving = echoAll(pair.acceptedChannels)

  await Promise.all(
    Array.from({ length: CHANNELS_AT_ONCE }, async (_, index) => {
      const channel = await pair.dialled.openChannel()
      await channel.send(pattern(2_000, index))
      await channel.finish()
      const [answer] = await readAll(channel)
      assertSameBytes(answer, pattern(2_000, index))
    }),
  )
  await pair.dialled.close()

  assert.equal(await serving, CHANNELS_AT_ONCE)
}

async function bothWays(open: OpenFixture, count: number): Promise<void> {
  await using pair = await connect(open)
  const [here, there] = await channelPair(pair)
  // Two that differ: frames out of order would show.
  const frames = [pattern(FRAME_BYTES, 1), pattern(FRAME_BYTES, 2)] as const
  const frameAt = (index: number): Uint8Array => (index % 2 === 0 ? frames[0] : frames[1])
  const sendAll = async (channel: Channel): Promise<void> => {
    for (let index = 0; index < count; index += 1) await channel.send(frameAt(index))
    await channel.finish()
  }
  const checkAll = async (channel: Channel): Promise<number> => {
    let index = 0
    for (let frame = await channel.receive(); frame !== null; frame = await channel.receive()) {
      assertSameBytes(frame, frameAt(index))
      index += 1
    }
    return index
  }

  const [, , atHere, atThere] = await Promise.all([
    sendAll(here),
    sendAll(there),
    checkAll(here),
    checkAll(there),
  ])

  assert.deepEqual([atHere, atThere], [count, count])
}

/** Echoes every channel until the connection ends; how many there were. */
async function echoAll(channels: AsyncIterator<Channel>): Promise<number> {
  let count = 0
  const echoes: Promise<void>[] = []
  for (let result = await channels.next(); result.done !== true; result = await channels.next()) {
    count += 1
    echoes.push(echo(result.value))
  }
  // The connection ends under the last of them; what they echoed was checked by who sent it.
  await Promise.allSettled(echoes)
  return count
}

async function echo(channel: Channel): Promise<void> {
  for (let frame = await channel.receive(); frame !== null; frame = await channel.receive()) {
    await channel.send(frame)
  }
  await channel.finish()
}
