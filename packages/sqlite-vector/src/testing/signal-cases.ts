/**
 * The transport contract, part four: an `AbortSignal` ends a call that waits, at once, and costs
 * nothing else.
 */
import assert from 'node:assert/strict'

import {
  assertFails,
  assertSameBytes,
  channelPair,
  connect,
  flood,
  readAll,
  turns,
} from './connection-pair.ts'
import { type ContractCase, type OpenFixture } from './types.ts'

export function signalCases(open: OpenFixture): readonly ContractCase[] {
  return [
    {
      name: 'a signal ends receive(), and the frame that follows is not lost',
      run: () => endsReceive(open),
    },
    { name: 'a signal ends a send() that waits for the reader', run: () => endsSend(open) },
    {
      name: 'a signal ends an openChannel() that waits for the peer’s limit',
      run: () => endsOpenChannel(open),
    },
    { name: 'a call with a signal that has fired does nothing', run: () => firedBefore(open) },
  ]
}

async function endsReceive(open: OpenFixture): Promise<void> {
  await using pair = await connect(open)
  const [here, there] = await channelPair(pair)
  const controller = new AbortController()
  const cause = new Error('no longer wanted')

  const waiting = there.receive({ signal: controller.signal })
  controller.abort(cause)
  await assert.rejects(waiting, { code: 'TRANSPORT_ABORTED', cause })
  await here.send(Uint8Array.of(1))

  assertSameBytes(await there.receive(), Uint8Array.of(1))
}

async function endsSend(open: OpenFixture): Promise<void> {
  await using pair = await connect(open)
  const [here] = await channelPair(pair)
  const controller = new AbortController()

  const outcome = assertFails(flood(here, controller.signal), 'TRANSPORT_ABORTED')
  await turns(20)
  controller.abort()

  await outcome
}

async function endsOpenChannel(open: OpenFixture): Promise<void> {
  await using pair = await connect(open, { channelsMax: 1 })
  const [here, there] = await channelPair(pair)
  const controller = new AbortController()

  const waiting = pair.dialled.openChannel({ signal: controller.signal })
  const outcome = assertFails(waiting, 'TRANSPORT_ABORTED')
  await turns(5)
  controller.abort()
  await outcome
  await Promise.all([here.finish(), there.finish()])
  await Promise.all([readAll(here), readAll(there)])

  await pair.dialled.openChannel()
}

async function firedBefore(open: OpenFixture): Promise<void> {
  await using pair = await connect(open)
  const [here, there] = await channelPair(pair)
  const options = { signal: AbortSignal.abort() }

  const calls = [
    pair.fixture.dialler.dial(pair.fixture.address, options),
    pair.dialled.openChannel(options),
    here.send(Uint8Array.of(1), options),
    here.receive(options),
  ]
  await Promise.all(calls.map((call) => assertFails(call, 'TRANSPORT_ABORTED')))
  await here.send(Uint8Array.of(2))

  assertSameBytes(await there.receive(), Uint8Array.of(2))
}
