/**
 * Parts of contract cases: a connection seen from both ends, channels, frames, and failing calls.
 *
 * Makes no demands of its own; frame-cases.ts and its neighbours do.
 */
import assert from 'node:assert/strict'

import { systemClock } from '../clock/system-clock.ts'
import type { Channel, Connection } from '../transport/types.ts'
import { type FixtureOptions, type OpenFixture, type TransportFixture } from './types.ts'

const DEADLINE_MS = 15_000
const SETTLED_MS = 250

/** A connection seen from both ends. */
export interface ConnectionPair extends AsyncDisposable {
  readonly fixture: TransportFixture
  readonly dialled: Connection
  readonly accepted: Connection
  readonly incoming: AsyncIterator<Connection>
  readonly dialledChannels: AsyncIterator<Channel>
  readonly acceptedChannels: AsyncIterator<Channel>
}

export async function connect(
  open: OpenFixture,
  options?: FixtureOptions,
): Promise<ConnectionPair> {
  const fixture = await open(options)
  const signal = AbortSignal.timeout(DEADLINE_MS)
  const incoming = fixture.listener.accept()[Symbol.asyncIterator]()
  const dialled = await fixture.dialler.dial(fixture.address, { signal })
  const accepted = await next(incoming)
  return {
    fixture,
    dialled,
    accepted,
    incoming,
    dialledChannels: dialled.channels()[Symbol.asyncIterator](),
    acceptedChannels: accepted.channels()[Symbol.asyncIterator](),
    [Symbol.asyncDispose]: () => fixture[Symbol.asyncDispose](),
  }
}

/** A channel opened by the dialler, seen from both ends: first the opener's. */
export async function channelPair(pair: ConnectionPair): Promise<[Channel, Channel]> {
  const [here, there] = await Promise.all([
    pair.dialled.openChannel({ signal: AbortSignal.timeout(DEADLINE_MS) }),
    next(pair.acceptedChannels),
  ])
  return [here, there]
}

export async function next<T>(iterator: AsyncIterator<T>): Promise<T> {
  const result = await iterator.next()
  if (result.done === true) throw new Error('the sequence ended')
  return result.value
}

/** Frames until the other side finishes. */
export async function readAll(channel: Channel): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = []
  for (let frame = await channel.receive(); frame !== null; frame = await channel.receive()) {
    frames.push(frame)
  }
  return frames
}

/** Sends until something stops it; resolves never. */
export async function flood(channel: Channel, signal?: AbortSignal): Promise<never> {
  const frame = new Uint8Array(1_000_000)
  for (;;) await channel.send(frame, signal === undefined ? {} : { signal })
}

/** Waits until `read` gives the same value for a quarter of a second. */
export async function settled(read: () => number): Promise<number> {
  const deadline = systemClock.monotonicMs() + DEADLINE_MS
  let value = read()
  let sinceMs = systemClock.monotonicMs()
  while (systemClock.monotonicMs() < deadline) {
    await new Promise((resolve) => setImmediate(resolve))
    const now = read()
    if (now !== value) {
      value = now
      sinceMs = systemClock.monotonicMs()
    } else if (systemClock.monotonicMs() - sinceMs > SETTLED_MS) return value
  }
  throw new Error('it never settled')
}

export async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

/** Bytes that differ by seed; the same on every machine. */
export function pattern(byteLength: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(byteLength)
  let state = (seed * 2_654_435_761 + 1) >>> 0
  for (let index = 0; index < byteLength; index += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    bytes[index] = state >>> 24
  }
  return bytes
}

/** Compares without printing either. */
export function assertSameBytes(actual: Uint8Array | null | undefined, expected: Uint8Array): void {
  assert.ok(actual !== null && actual !== undefined, 'a frame was expected, not the end')
  assert.ok(
    Buffer.compare(actual, expected) === 0,
    `a frame of ${expected.length} bytes arrived as another, of ${actual.length}`,
  )
}

/** The call must fail with this code. */
export async function assertFails(call: Promise<unknown>, code: string): Promise<void> {
  await assert.rejects(call, { code })
}
