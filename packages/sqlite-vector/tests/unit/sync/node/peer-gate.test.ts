/**
 * The way to one peer: one dial for all who wait, and none before the backoff is over.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'

import { beforeEach, expect, test } from 'vitest'

import { SqliteVectorError } from '../../../../src/errors.ts'
import { RETRY_BUDGET, RETRY_DELAY_MS, RETRY_REFILL_MS } from '../../../../src/limits.ts'
import { PeerGate } from '../../../../src/sync/node/peer-gate.ts'
import { MemoryNetwork } from '../../../../src/transport/memory/network.ts'
import type { Connection } from '../../../../src/transport/types.ts'
import { VirtualClock, VirtualTime } from '../../../simulation/virtual-clock.ts'

const { signal } = new AbortController()

let time: VirtualTime
let dials: PromiseWithResolvers<Connection>[]
let gate: PeerGate

beforeEach(() => {
  time = new VirtualTime()
  dials = []
  const connect = (): Promise<Connection> => {
    const dial = Promise.withResolvers<Connection>()
    dials.push(dial)
    return dial.promise
  }
  gate = new PeerGate('127.0.0.1:1', connect, new VirtualClock(time))
})

const lost = new SqliteVectorError('TRANSPORT_DIAL_FAILED', 'nobody there')

/** A connection that is one, to somebody. */
async function connection(): Promise<Connection> {
  const network = new MemoryNetwork()
  const [a, b] = [network.transport('a'.repeat(64)), network.transport('b'.repeat(64))]
  return a.dial(await b.listen('127.0.0.1:0'))
}

async function failDial(): Promise<void> {
  const passing = gate.pass(signal)
  await nextTurn()
  dials.at(-1)?.reject(lost)
  await expect(passing).rejects.toBe(lost)
}

test('all who wait share one dial', async () => {
  const passing = [gate.pass(signal), gate.pass(signal), gate.pass(signal)]
  await nextTurn()
  expect(dials.length).toBe(1)

  const open = await connection()
  dials[0]?.resolve(open)

  expect(await Promise.all(passing)).toEqual([open, open, open])
})

test('after a failure nobody dials before the backoff is over, however many ask', async () => {
  await failDial()
  expect([gate.failures, gate.lastError]).toEqual([1, lost])
  const passing = [gate.pass(signal), gate.pass(signal)]
  time.advance(RETRY_DELAY_MS / 2 - 1)
  await nextTurn()
  expect(dials.length).toBe(1)

  time.advance(RETRY_DELAY_MS / 2 + 1)
  await nextTurn()

  expect(dials.length).toBe(2)
  const open = await connection()
  dials[1]?.resolve(open)
  expect(await Promise.all(passing)).toEqual([open, open])
  expect([gate.failures, gate.lastError, gate.waitMs]).toEqual([0, null, 0])
})

test('a peer that comes and goes uses up its budget: then it is dialled more rarely', async () => {
  const waits: number[] = []
  for (let count = 0; count <= RETRY_BUDGET; count += 1) {
    await failDial()
    waits.push(gate.waitMs)
    // The next attempt succeeds, so the backoff begins anew each time.
    const passing = gate.pass(signal)
    time.advance(gate.waitMs + 1)
    await nextTurn()
    dials.at(-1)?.resolve(await connection())
    await passing
  }

  expect(waits.slice(0, RETRY_BUDGET).every((waitMs) => waitMs <= RETRY_DELAY_MS)).toBe(true)
  expect(waits.at(-1)).toBeGreaterThan(RETRY_DELAY_MS)
  expect(waits.at(-1)).toBeLessThanOrEqual(RETRY_REFILL_MS)
})

test('a wait that is given up is no failure of the peer', async () => {
  await failDial()
  const giving = new AbortController()
  const passing = gate.pass(giving.signal)
  giving.abort()

  await expect(passing).rejects.toMatchObject({ code: 'TRANSPORT_ABORTED' })
  expect(gate.failures).toBe(1)
})

test('a caller that gives up ends its own wait, and fails none of the others', async () => {
  const impatient = new AbortController()
  const [first, second] = [gate.pass(impatient.signal), gate.pass(signal)]
  await nextTurn()

  impatient.abort(new SqliteVectorError('TRANSPORT_ABORTED', 'enough'))
  await expect(first).rejects.toThrow('ended by its signal')
  const made = await connection()
  dials[0]?.resolve(made)

  expect(await second).toBe(made)
  expect(dials).toHaveLength(1)
})

test('a dial for which no caller waits any more is not waited for by the next one', async () => {
  const impatient = new AbortController()
  const first = gate.pass(impatient.signal)
  await nextTurn()
  impatient.abort(new SqliteVectorError('TRANSPORT_ABORTED', 'enough'))
  await expect(first).rejects.toThrow('ended by its signal')

  const second = gate.pass(signal)
  await nextTurn()
  const made = await connection()
  dials[1]?.resolve(made)

  expect(await second).toBe(made)
})
