/**
 * What every Transport must do. Each implementation's test file is one call of {@link transportContract};
 * another transport could run it as it is.
 */
import { describe, expect, test } from 'vitest'
import { SqliteVectorError } from '../../src/errors.ts'
import type { Channel, Connection, Transport } from '../../src/transport/types.ts'

/** Two parties that trust each other; one listens. */
export interface TransportFixture extends AsyncDisposable {
  readonly dialler: Transport
  readonly listener: Transport
  readonly address: string
}

export interface FixtureOptions {
  /** Largest frame that the listener sends or takes. */
  readonly listenerFrameBytesMax?: number
  /** Channels that a party may have open at once. */
  readonly channelsMax?: number
}

export interface ContractBounds {
  /** Largest frame by default. */
  readonly frameBytesMax: number
  /** Most bytes that sends may have been taken over while the other side reads nothing. */
  readonly unreadBytesMax: number
}

const DEADLINE_MS = 15_000

export function transportContract(
  name: string,
  bounds: ContractBounds,
  open: (options?: FixtureOptions) => Promise<TransportFixture>,
): void {
  describe(`transport contract: ${name}`, () => {
    framesTests(bounds, open)
    flowTests(bounds, open)
    endTests(open)
    signalTests(open)
    manyTests(open)
  })
}

type Open = (options?: FixtureOptions) => Promise<TransportFixture>

function framesTests(bounds: ContractBounds, open: Open): void {
  test('frames arrive whole, in the order they were sent, at an aligned offset', async () => {
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

    expect(received.length).toBe(frames.length)
    received.forEach((frame, index) => {
      expect(Buffer.compare(frame, frames[index] as Uint8Array)).toBe(0)
      expect(frame.byteOffset % 8).toBe(0)
    })
  })

  test('a frame of the largest size arrives, one byte more is refused by the sender', async () => {
    await using pair = await connect(open)
    const [here, there] = await channelPair(pair)
    const largest = pattern(bounds.frameBytesMax, 1)

    const sending = here.send(largest)
    const received = await there.receive()
    await sending
    const tooLarge = here.send(new Uint8Array(bounds.frameBytesMax + 1))

    expect(Buffer.compare(received as Uint8Array, largest)).toBe(0)
    await expect(tooLarge).rejects.toMatchObject({ code: 'TRANSPORT_FRAME_TOO_LARGE' })
    await here.send(Uint8Array.of(1))
    expect(await there.receive()).toEqual(Uint8Array.of(1))
  })

  test('a frame above the receiver’s own limit is refused there and aborts the channel', async () => {
    await using pair = await connect(open, { listenerFrameBytesMax: 100 })
    const [here, there] = await channelPair(pair)

    await here.send(new Uint8Array(100))
    await here.send(new Uint8Array(101))
    const first = await there.receive()

    expect(first?.byteLength).toBe(100)
    await expect(there.receive()).rejects.toMatchObject({ code: 'TRANSPORT_FRAME_TOO_LARGE' })
    await expect(here.receive()).rejects.toMatchObject({ code: 'TRANSPORT_ABORTED' })
  })

  test('a received frame is the caller’s to keep', async () => {
    await using pair = await connect(open)
    const [here, there] = await channelPair(pair)
    const reused = new Uint8Array(1_000)

    const received: Uint8Array[] = []
    for (let value = 1; value <= 3; value += 1) {
      reused.fill(value)
      await here.send(reused)
      received.push((await there.receive()) as Uint8Array)
    }

    expect(received.map((frame) => frame[999])).toEqual([1, 2, 3])
  })

  test('both sides open channels over one connection', async () => {
    await using pair = await connect(open)

    const opened = await pair.accepted.openChannel()
    await opened.send(Uint8Array.of(9))
    const arrived = await next(pair.dialledChannels)

    expect(await arrived.receive()).toEqual(Uint8Array.of(9))
  })

  test('each side knows the other by its fingerprint', async () => {
    await using pair = await connect(open)

    expect(pair.dialled.peer).toEqual(pair.fixture.listener.identity)
    expect(pair.accepted.peer).toEqual(pair.fixture.dialler.identity)
  })
}

function flowTests(bounds: ContractBounds, open: Open): void {
  test('a writer stops when the reader stalls, and goes on when it reads', async () => {
    await using pair = await connect(open)
    const [here, there] = await channelPair(pair)
    const frame = pattern(65_536, 5)
    const enough = Math.ceil(bounds.unreadBytesMax / frame.length) + 1
    let taken = 0
    const sending = (async () => {
      for (; taken < enough; taken += 1) await here.send(frame)
      await here.finish()
    })()

    const stalledAt = await settled(() => taken)
    const received = await readAll(there)
    await sending

    expect(stalledAt).toBeLessThan(enough)
    expect(received.length).toBe(enough)
    expect(received.every((other) => Buffer.compare(other, frame) === 0)).toBe(true)
  })

  test('a stalled channel does not hold up another', async () => {
    await using pair = await connect(open)
    const [stalled] = await channelPair(pair)
    const gaveUp = stalled.send(new Uint8Array(bounds.frameBytesMax)).catch(() => {})
    const [here, there] = await channelPair(pair)

    await here.send(Uint8Array.of(4))
    const received = await there.receive()

    expect(received).toEqual(Uint8Array.of(4))
    stalled.abort()
    await gaveUp
  })

  test('a small exchange passes a large transfer that is under way', async () => {
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

    expect((await reading).length).toBe(40)
    expect(exchanges).toBeGreaterThan(5)
  })

  test('megabytes flow both ways at once', async () => {
    await using pair = await connect(open)
    const [here, there] = await channelPair(pair)
    const frames = Array.from({ length: 16 }, (_, index) => pattern(524_288, index))
    const sendAll = async (channel: Channel): Promise<void> => {
      for (const frame of frames) await channel.send(frame)
      await channel.finish()
    }

    const [, , atHere, atThere] = await Promise.all([
      sendAll(here),
      sendAll(there),
      readAll(here),
      readAll(there),
    ])

    for (const received of [atHere, atThere]) {
      expect(received.length).toBe(frames.length)
      received.forEach((frame, index) => {
        expect(Buffer.compare(frame, frames[index] as Uint8Array)).toBe(0)
      })
    }
  })

  test('what channels carried is counted, prefixes included', async () => {
    await using pair = await connect(open)
    const [here, there] = await channelPair(pair)
    const sentBefore = pair.dialled.stats().channelBytesSent
    const receivedBefore = pair.accepted.stats().channelBytesReceived

    await here.send(new Uint8Array(1_000))
    await there.receive()

    expect(pair.dialled.stats().channelBytesSent - sentBefore).toBe(1_004)
    expect(pair.accepted.stats().channelBytesReceived - receivedBefore).toBe(1_004)
    expect(pair.dialled.stats().wireBytesSent).toBeGreaterThanOrEqual(1_004)
  })
}

function endTests(open: Open): void {
  test('finish() ends one direction and leaves the other open', async () => {
    await using pair = await connect(open)
    const [here, there] = await channelPair(pair)

    await here.send(Uint8Array.of(1))
    await here.finish()
    expect(await there.receive()).toEqual(Uint8Array.of(1))
    expect(await there.receive()).toBeNull()
    await there.send(Uint8Array.of(2))
    await there.finish()

    expect(await here.receive()).toEqual(Uint8Array.of(2))
    expect(await here.receive()).toBeNull()
    expect(await there.receive()).toBeNull()
    await here.finish()
    await expect(here.send(Uint8Array.of(3))).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
  })

  test.each(['opener', 'taker'] as const)(
    'abort() by the %s ends calls on both sides',
    async (side) => {
      await using pair = await connect(open)
      const idle = await channelPair(pair)
      const flooded = await channelPair(pair)
      if (side === 'taker') for (const ends of [idle, flooded]) ends.reverse()
      const [aborter, other] = idle
      const [reader, writer] = flooded
      const outcomes = Promise.allSettled([aborter.receive(), other.receive(), flood(writer)])

      reader.abort()
      aborter.abort('enough')
      aborter.abort('twice')

      for (const outcome of await outcomes) {
        expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'TRANSPORT_ABORTED' } })
      }
      await expect(aborter.send(Uint8Array.of(1))).rejects.toMatchObject({
        code: 'TRANSPORT_ABORTED',
      })
      await expect(aborter.finish()).rejects.toMatchObject({ code: 'TRANSPORT_ABORTED' })
    },
  )

  test('an aborted channel leaves the others alone', async () => {
    await using pair = await connect(open)
    const [doomed] = await channelPair(pair)
    const [here, there] = await channelPair(pair)

    doomed.abort()
    await here.send(Uint8Array.of(6))

    expect(await there.receive()).toEqual(Uint8Array.of(6))
  })

  test.each(['dialler', 'listener'] as const)(
    'close() by the %s ends every pending call',
    async (side) => {
      await using pair = await connect(open, { channelsMax: 2 })
      const idle = await channelPair(pair)
      const [here, there] = await channelPair(pair)
      const outcomes = Promise.allSettled([
        ...idle.map((channel) => channel.receive()),
        flood(here),
        flood(there),
        pair.dialled.openChannel(),
      ])
      const [closer, other] =
        side === 'dialler' ? [pair.dialled, pair.accepted] : [pair.accepted, pair.dialled]

      await closer.close('done here')
      await closer.close('twice')

      for (const outcome of await outcomes) {
        expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'TRANSPORT_CLOSED' } })
      }
      expect(await closer.closed).toMatchObject({ by: 'us' })
      expect(await other.closed).toMatchObject({ by: 'peer', reason: 'done here' })
      await expect(closer.openChannel()).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
      await expect(other.openChannel()).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
      expect((await pair.dialledChannels.next()).done).toBe(true)
      expect((await pair.acceptedChannels.next()).done).toBe(true)
    },
  )

  test('frames that arrived before the connection ended can still be received', async () => {
    await using pair = await connect(open)
    const [here, there] = await channelPair(pair)
    await here.send(Uint8Array.of(1))
    await here.send(Uint8Array.of(2))
    expect(await there.receive()).toEqual(Uint8Array.of(1))

    await pair.dialled.close()
    await pair.accepted.closed

    expect(await there.receive()).toEqual(Uint8Array.of(2))
    await expect(there.receive()).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
  })

  test('closing a transport ends its connections and its accept loop', async () => {
    await using pair = await connect(open)

    await pair.fixture.listener.close()
    await pair.fixture.listener.close()

    expect(await pair.accepted.closed).toMatchObject({ by: 'us' })
    expect(await pair.dialled.closed).toMatchObject({ by: 'peer' })
    expect((await pair.incoming.next()).done).toBe(true)
    await expect(pair.fixture.listener.dial('127.0.0.1:1')).rejects.toMatchObject({
      code: 'TRANSPORT_CLOSED',
    })
  })

  test('two transports cannot listen at one address', async () => {
    await using pair = await connect(open)

    const second = pair.fixture.dialler.listen(pair.fixture.address)

    await expect(second).rejects.toMatchObject({ code: 'TRANSPORT_ADDRESS_IN_USE' })
  })

  test('a malformed address is a mistake of the caller', async () => {
    await using pair = await connect(open)

    for (const address of ['', 'host', 'host:99999', '::1:5', '[nonsense]:1']) {
      await expect(pair.fixture.dialler.dial(address)).rejects.toThrow(/address must/)
    }
  })
}

function signalTests(open: Open): void {
  test('a signal ends receive(), and the frame that follows is not lost', async () => {
    await using pair = await connect(open)
    const [here, there] = await channelPair(pair)
    const controller = new AbortController()

    const waiting = there.receive({ signal: controller.signal })
    controller.abort(new Error('no longer wanted'))
    await expect(waiting).rejects.toMatchObject({
      code: 'TRANSPORT_ABORTED',
      cause: { message: 'no longer wanted' },
    })
    await here.send(Uint8Array.of(1))

    expect(await there.receive()).toEqual(Uint8Array.of(1))
  })

  test('a signal ends a send() that waits for the reader', async () => {
    await using pair = await connect(open)
    const [here] = await channelPair(pair)
    const controller = new AbortController()

    const outcome = expect(flood(here, controller.signal)).rejects.toMatchObject({
      code: 'TRANSPORT_ABORTED',
    })
    await turns(20)
    controller.abort()

    await outcome
  })

  test('a signal ends an openChannel() that waits for the peer’s limit', async () => {
    await using pair = await connect(open, { channelsMax: 1 })
    const [here, there] = await channelPair(pair)
    const controller = new AbortController()

    const waiting = pair.dialled.openChannel({ signal: controller.signal })
    const outcome = expect(waiting).rejects.toMatchObject({ code: 'TRANSPORT_ABORTED' })
    await turns(5)
    controller.abort()
    await outcome
    await Promise.all([here.finish(), there.finish()])
    await Promise.all([readAll(here), readAll(there)])

    await expect(pair.dialled.openChannel()).resolves.toBeDefined()
  })

  test('a call with a signal that has fired does nothing', async () => {
    await using pair = await connect(open)
    const [here, there] = await channelPair(pair)
    const options = { signal: AbortSignal.abort() }

    const calls = [
      pair.fixture.dialler.dial(pair.fixture.address, options),
      pair.dialled.openChannel(options),
      here.send(Uint8Array.of(1), options),
      here.receive(options),
    ]
    for (const call of calls) {
      await expect(call).rejects.toMatchObject({ code: 'TRANSPORT_ABORTED' })
    }
    await here.send(Uint8Array.of(2))

    expect(await there.receive()).toEqual(Uint8Array.of(2))
  })
}

function manyTests(open: Open): void {
  test('300 channels in sequence work over one connection', async () => {
    await using pair = await connect(open)
    const serving = echoAll(pair.acceptedChannels)

    for (let index = 0; index < 300; index += 1) {
      const channel = await pair.dialled.openChannel()
      await channel.send(Uint8Array.of(index % 256))
      await channel.finish()
      const frames = await readAll(channel)
      if (frames.length !== 1 || frames[0]?.[0] !== index % 256) throw new Error(`echo ${index}`)
    }
    await pair.dialled.close()

    expect(await serving).toBe(300)
  })

  test('500 channels at once work over one connection with a limit of 100', async () => {
    await using pair = await connect(open, { channelsMax: 100 })
    const serving = echoAll(pair.acceptedChannels)

    const echoes = await Promise.all(
      Array.from({ length: 500 }, async (_, index) => {
        const channel = await pair.dialled.openChannel()
        await channel.send(pattern(2_000, index))
        await channel.finish()
        const [echo] = await readAll(channel)
        return Buffer.compare(echo as Uint8Array, pattern(2_000, index))
      }),
    )
    await pair.dialled.close()

    expect(echoes.every((difference) => difference === 0)).toBe(true)
    expect(await serving).toBe(500)
  })
}

/** A connection seen from both ends. */
export interface ConnectionPair extends AsyncDisposable {
  readonly fixture: TransportFixture
  readonly dialled: Connection
  readonly accepted: Connection
  readonly incoming: AsyncIterator<Connection>
  readonly dialledChannels: AsyncIterator<Channel>
  readonly acceptedChannels: AsyncIterator<Channel>
}

export async function connect(open: Open, options?: FixtureOptions): Promise<ConnectionPair> {
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

/** A channel opened by the dialler, seen from both ends. */
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

export async function readAll(channel: Channel): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = []
  for (let frame = await channel.receive(); frame !== null; frame = await channel.receive()) {
    frames.push(frame)
  }
  return frames
}

/** Sends until something stops it; resolves never. */
async function flood(channel: Channel, signal?: AbortSignal): Promise<never> {
  const frame = new Uint8Array(1_000_000)
  for (;;) await channel.send(frame, signal === undefined ? {} : { signal })
}

/** Echoes every channel until the connection ends; how many there were. */
async function echoAll(channels: AsyncIterator<Channel>): Promise<number> {
  let count = 0
  const echoes: Promise<void>[] = []
  for (let result = await channels.next(); result.done !== true; result = await channels.next()) {
    const channel = result.value
    count += 1
    echoes.push(
      (async () => {
        for (let frame = await channel.receive(); frame !== null; frame = await channel.receive()) {
          await channel.send(frame)
        }
        await channel.finish()
      })(),
    )
  }
  await Promise.allSettled(echoes)
  return count
}

/** Waits until `read` gives the same value for a quarter of a second. */
async function settled(read: () => number): Promise<number> {
  const deadline = performance.now() + DEADLINE_MS
  let value = read()
  let sinceMs = performance.now()
  while (performance.now() < deadline) {
    await new Promise((resolve) => setImmediate(resolve))
    const now = read()
    if (now !== value) {
      value = now
      sinceMs = performance.now()
    } else if (performance.now() - sinceMs > 250) return value
  }
  throw new Error('it never settled')
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

export function pattern(byteLength: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(byteLength)
  let state = (seed * 2_654_435_761 + 1) >>> 0
  for (let index = 0; index < byteLength; index += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    bytes[index] = state >>> 24
  }
  return bytes
}

/** The error of `promise`. */
export async function errorOf(promise: Promise<unknown>): Promise<SqliteVectorError> {
  try {
    await promise
  } catch (error) {
    if (error instanceof SqliteVectorError) return error
    throw error
  }
  throw new Error('expected a rejection')
}
