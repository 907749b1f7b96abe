/**
 * The transport contract, part three: every way in which channels, connections and transports end,
 * from either side and in the middle of anything. Nothing hangs, and the other side learns of it.
 */
import assert from 'node:assert/strict'

import {
  assertFails,
  assertSameBytes,
  channelPair,
  connect,
  type ConnectionPair,
  flood,
  settled,
} from './connection-pair.ts'
import { type ContractCase, type OpenFixture } from './types.ts'

export function endCases(open: OpenFixture): readonly ContractCase[] {
  return [
    {
      name: 'finish() ends one direction and leaves the other open',
      run: () => halfClosed(open),
    },
    ...(['opener', 'taker'] as const).map((side) => ({
      name: `abort() by the ${side} ends calls on both sides`,
      run: () => aborted(open, side),
    })),
    { name: 'an aborted channel leaves the others alone', run: () => othersAlone(open) },
    ...(['dialler', 'listener'] as const).map((side) => ({
      name: `close() by the ${side} ends every pending call`,
      run: () => closed(open, side),
    })),
    {
      name: 'frames that arrived before the connection ended can still be received',
      run: () => lastFrames(open),
    },
    {
      name: 'closing a transport ends its connections and its accept loop',
      run: () => closedTransport(open),
    },
    { name: 'two transports cannot listen at one address', run: () => addressInUse(open) },
    { name: 'a malformed address is a mistake of the caller', run: () => malformedAddress(open) },
  ]
}

async function halfClosed(open: OpenFixture): Promise<void> {
  await using pair = await connect(open)
  const [here, there] = await channelPair(pair)

  await here.send(Uint8Array.of(1))
  await here.finish()
  assertSameBytes(await there.receive(), Uint8Array.of(1))
  assert.equal(await there.receive(), null)
  await there.send(Uint8Array.of(2))
  await there.finish()

  assertSameBytes(await here.receive(), Uint8Array.of(2))
  assert.equal(await here.receive(), null)
  assert.equal(await there.receive(), null)
  await here.finish()
  await assertFails(here.send(Uint8Array.of(3)), 'TRANSPORT_CLOSED')
}

async function aborted(open: OpenFixture, side: 'opener' | 'taker'): Promise<void> {
  await using pair = await connect(open)
  const idle = await channelPair(pair)
  const flooded = await channelPair(pair)
  if (side === 'taker') for (const ends of [idle, flooded]) ends.reverse()
  const [aborter, other] = idle
  const [reader, writer] = flooded
  const calls = Promise.all(
    [aborter.receive(), other.receive(), flood(writer)].map((call) =>
      assertFails(call, 'TRANSPORT_ABORTED'),
    ),
  )

  reader.abort()
  aborter.abort('enough')
  aborter.abort('twice')

  await calls
  await assertFails(aborter.send(Uint8Array.of(1)), 'TRANSPORT_ABORTED')
  await assertFails(aborter.finish(), 'TRANSPORT_ABORTED')
}

async function othersAlone(open: OpenFixture): Promise<void> {
  await using pair = await connect(open)
  const [doomed] = await channelPair(pair)
  const [here, there] = await channelPair(pair)

  doomed.abort()
  await here.send(Uint8Array.of(6))

  assertSameBytes(await there.receive(), Uint8Array.of(6))
}

async function closed(open: OpenFixture, side: 'dialler' | 'listener'): Promise<void> {
  await using pair = await connect(open, { channelsMax: 2 })
  const idle = await channelPair(pair)
  const [here, there] = await channelPair(pair)
  const pending = [
    ...idle.map((channel) => channel.receive()),
    flood(here),
    flood(there),
    pair.dialled.openChannel(),
  ]
  const calls = Promise.all(pending.map((call) => assertFails(call, 'TRANSPORT_CLOSED')))
  const [closer, other] = endsOf(pair, side)

  await closer.close('done here')
  await closer.close('twice')

  await calls
  assert.equal((await closer.closed).by, 'us')
  const { by, reason } = await other.closed
  assert.deepEqual({ by, reason }, { by: 'peer', reason: 'done here' })
  await assertFails(closer.openChannel(), 'TRANSPORT_CLOSED')
  await assertFails(other.openChannel(), 'TRANSPORT_CLOSED')
  assert.equal((await pair.dialledChannels.next()).done, true)
  assert.equal((await pair.acceptedChannels.next()).done, true)
}

function endsOf(
  { dialled, accepted }: ConnectionPair,
  first: 'dialler' | 'listener',
): [ConnectionPair['dialled'], ConnectionPair['accepted']] {
  return first === 'dialler' ? [dialled, accepted] : [accepted, dialled]
}

async function lastFrames(open: OpenFixture): Promise<void> {
  await using pair = await connect(open)
  const [here, there] = await channelPair(pair)
  await here.send(Uint8Array.of(1))
  await here.send(Uint8Array.of(2))
  assertSameBytes(await there.receive(), Uint8Array.of(1))
  // On a path with loss the second may still be under way: then it would be lost with the
  // connection.
  await settled(() => pair.accepted.stats().wireBytesReceived)

  await pair.dialled.close()
  await pair.accepted.closed

  assertSameBytes(await there.receive(), Uint8Array.of(2))
  await assertFails(there.receive(), 'TRANSPORT_CLOSED')
}

async function closedTransport(open: OpenFixture): Promise<void> {
  await using pair = await connect(open)

  await pair.fixture.listener.close()
  await pair.fixture.listener.close()

  assert.equal((await pair.accepted.closed).by, 'us')
  assert.equal((await pair.dialled.closed).by, 'peer')
  assert.equal((await pair.incoming.next()).done, true)
  await assertFails(pair.fixture.listener.dial('127.0.0.1:1'), 'TRANSPORT_CLOSED')
}

async function addressInUse(open: OpenFixture): Promise<void> {
  await using pair = await connect(open)

  const second = pair.fixture.dialler.listen(pair.fixture.address)

  await assertFails(second, 'TRANSPORT_ADDRESS_IN_USE')
}

async function malformedAddress(open: OpenFixture): Promise<void> {
  await using pair = await connect(open)

  for (const address of ['', 'host', 'host:99999', '::1:5', '[nonsense]:1']) {
    await assert.rejects(pair.fixture.dialler.dial(address), /address must/)
  }
}
