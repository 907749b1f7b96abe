/**
 * The memory transport: {@link Transport} between parties in one process, for tests and
 * simulations.
 *
 * No wire, no encryption, no identity proof: the network names each party. Time and chance are
 * passed in, so a simulation decides both. Loss shows as it does on a reliable transport, as delay:
 * a lost frame arrives a retransmission later.
 */
import { systemClock } from '../../clock/system-clock.ts'
import type { Clock } from '../../clock/types.ts'
import { SqliteVectorError } from '../../errors.ts'
import { CHANNELS_OPEN_DEFAULT, FRAME_BYTES_MAX } from '../../limits.ts'
import { integerIn, nameGiven, numberIn, rejectUnknownKeys } from '../../options.ts'
import { AsyncQueue, abortable, throwIfAborted } from '../abortable.ts'
import { formatAddress, parseAddress } from '../address.ts'
import type { Path } from './channel.ts'
import { MemoryConnection } from './connection.ts'
import type { Connection, DialOptions, PeerAddress, PeerIdentity, Transport } from '../types.ts'

export interface MemoryNetworkOptions {
  /** Delay from one party to another, in milliseconds. Number, 0 to 60 000. @defaultValue `0` */
  readonly latencyMs?: number
  /** Share of frames that are lost once and sent again. Number, 0 to 0.9. @defaultValue `0` */
  readonly lossRate?: number
  /**
   * Channels that a party may open at once on a connection. Integer, 1 to 10 000.
   * @defaultValue `256`
   */
  readonly maxConcurrentStreams?: number
  /** Largest frame in bytes. Integer, 1 to 8 388 608. @defaultValue the largest */
  readonly frameBytesMax?: number
  /** Source of the time; another one in tests. @defaultValue the system's clock */
  readonly clock?: Clock
  /** Uniform in [0, 1): decides on losses. @defaultValue `() => 0.5` */
  readonly random?: () => number
}

/** Deviations of one party. */
export interface MemoryTransportOptions {
  /** Largest frame in bytes that it sends or takes. @defaultValue the network's */
  readonly frameBytesMax?: number
}

type ResolvedOptions = Required<MemoryNetworkOptions>

const DEFAULTS = {
  latencyMs: 0,
  lossRate: 0,
  maxConcurrentStreams: CHANNELS_OPEN_DEFAULT,
  frameBytesMax: FRAME_BYTES_MAX,
  clock: systemClock,
  random: () => 0.5,
} satisfies Required<MemoryNetworkOptions>

/** The first port given to a party that listens on port 0. */
const FIRST_PORT = 10_000

/** A network of parties in this process. */
export class MemoryNetwork {
  readonly #options: ResolvedOptions
  readonly #listeners = new Map<PeerAddress, MemoryTransport>()
  readonly #links = new Set<Link>()
  readonly #cuts = new Set<string>()
  #nextPort = FIRST_PORT

  constructor(given: MemoryNetworkOptions = {}) {
    rejectUnknownKeys('MemoryNetwork', given, Object.keys(DEFAULTS))
    const options = { ...DEFAULTS, ...given }
    numberIn('latencyMs', options.latencyMs, 0, 60_000)
    numberIn('lossRate', options.lossRate, 0, 0.9)
    integerIn('maxConcurrentStreams', options.maxConcurrentStreams, 1, 10_000)
    integerIn('frameBytesMax', options.frameBytesMax, 1, FRAME_BYTES_MAX)
    this.#options = Object.freeze(options)
  }

  /** A party of this network, known to the others by `fingerprint`. */
  transport(fingerprint: string, options: MemoryTransportOptions = {}): Transport {
    nameGiven('fingerprint', fingerprint, 64)
    rejectUnknownKeys('transport', options, ['frameBytesMax'])
    const frameBytesMax = options.frameBytesMax ?? this.#options.frameBytesMax
    integerIn('frameBytesMax', frameBytesMax, 1, FRAME_BYTES_MAX)
    return new MemoryTransport(this, fingerprint, frameBytesMax)
  }

  /**
   * Ends connections between two parties, as a silent network does, and lets no new ones through.
   */
  cut(a: string, b: string): void {
    this.#cuts.add(pairName(a, b))
    for (const link of this.#links) {
      if (
        pairName(link.dialler.identity.fingerprint, link.listener.identity.fingerprint) !==
        pairName(a, b)
      )
        continue
      link.end('the network is cut')
    }
  }

  /** Lets two parties reach each other again. */
  heal(a: string, b: string): void {
    this.#cuts.delete(pairName(a, b))
  }

  bind(transport: MemoryTransport, address: PeerAddress): PeerAddress {
    const { host, port } = parseAddress(address)
    const bound = formatAddress({ host, port: port === 0 ? this.#nextPort++ : port })
    if (this.#listeners.has(bound)) {
      throw new SqliteVectorError('TRANSPORT_ADDRESS_IN_USE', `${bound} is in use`)
    }
    this.#listeners.set(bound, transport)
    return bound
  }

  async connect(
    dialler: MemoryTransport,
    address: PeerAddress,
    options: DialOptions,
  ): Promise<MemoryConnection> {
    parseAddress(address)
    await this.#pause(this.#options.latencyMs * 2, options.signal)
    const listener = this.#listeners.get(address)
    if (listener === undefined) {
      throw new SqliteVectorError('TRANSPORT_DIAL_FAILED', `no party listens at ${address}`)
    }
    const own = dialler.identity.fingerprint
    const peer = listener.identity.fingerprint
    if (listener === dialler) {
      throw new SqliteVectorError('TRANSPORT_PEER_UNTRUSTED', `${address} is ourselves (${own})`)
    }
    if (this.#cuts.has(pairName(own, peer))) {
      throw new SqliteVectorError(
        'TRANSPORT_HANDSHAKE_TIMEOUT',
        `no handshake with ${address} in time`,
      )
    }
    for (const link of this.#links) {
      const open = link.endOf(dialler, listener)
      if (open !== null) return open
    }
    const link = new Link(dialler, listener, address, this.#options)
    this.#links.add(link)
    link.whenEnded.then(
      () => this.#links.delete(link),
      () => {},
    )
    listener.deliver(link.atListener)
    return link.atDialler
  }

  release(transport: MemoryTransport): void {
    for (const [address, listener] of this.#listeners) {
      if (listener === transport) this.#listeners.delete(address)
    }
    for (const link of this.#links) link.endOfParty(transport)
  }

  #pause(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
    if (delayMs === 0) return Promise.resolve()
    return abortable<void>(signal, (resolve) => this.#options.clock.schedule(delayMs, resolve))
  }
}

class MemoryTransport implements Transport {
  readonly identity: PeerIdentity
  readonly frameBytesMax: number
  readonly #network: MemoryNetwork
  readonly #accepted = new AsyncQueue<Connection>()
  #closed = false

  constructor(network: MemoryNetwork, fingerprint: string, frameBytesMax: number) {
    this.#network = network
    this.frameBytesMax = frameBytesMax
    this.identity = Object.freeze({ fingerprint })
  }

  async listen(address: PeerAddress): Promise<PeerAddress> {
    this.#throwIfClosed()
    return this.#network.bind(this, address)
  }

  async dial(address: PeerAddress, options: DialOptions = {}): Promise<Connection> {
    this.#throwIfClosed()
    throwIfAborted(options.signal)
    return this.#network.connect(this, address, options)
  }

  async *accept(): AsyncIterable<Connection> {
    yield* this.#accepted
  }

  deliver(connection: MemoryConnection): void {
    this.#accepted.push(connection)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#accepted.end()
    this.#network.release(this)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #throwIfClosed(): void {
    if (this.#closed) throw new SqliteVectorError('TRANSPORT_CLOSED', 'the transport is closed')
  }
}

/** Both ends of one connection. */
class Link {
  readonly dialler: MemoryTransport
  readonly listener: MemoryTransport
  readonly atDialler: MemoryConnection
  readonly atListener: MemoryConnection
  readonly whenEnded: Promise<unknown>

  constructor(
    dialler: MemoryTransport,
    listener: MemoryTransport,
    address: PeerAddress,
    options: ResolvedOptions,
  ) {
    this.dialler = dialler
    this.listener = listener
    const common = {
      channelsMax: options.maxConcurrentStreams,
      rttMs: options.latencyMs * 2,
      newPath: () => new DelayedPath(options),
    }
    this.atDialler = new MemoryConnection({
      ...common,
      frameBytesMax: dialler.frameBytesMax,
      peer: listener.identity,
      remoteAddress: address,
    })
    this.atListener = new MemoryConnection({
      ...common,
      frameBytesMax: listener.frameBytesMax,
      peer: dialler.identity,
      remoteAddress: `${dialler.identity.fingerprint.slice(0, 8)}:0`,
    })
    MemoryConnection.connect(this.atDialler, this.atListener)
    this.whenEnded = Promise.all([this.atDialler.closed, this.atListener.closed])
  }

  /** The open end at `party` of a connection with `other`. */
  endOf(party: MemoryTransport, other: MemoryTransport): MemoryConnection | null {
    const forward = this.dialler === party && this.listener === other
    const backward = this.listener === party && this.dialler === other
    if (!forward && !backward) return null
    if (!this.atDialler.isOpen || !this.atListener.isOpen) return null
    return forward ? this.atDialler : this.atListener
  }

  endOfParty(party: MemoryTransport): void {
    if (this.dialler === party) void this.atDialler.close('the peer is shutting down')
    if (this.listener === party) void this.atListener.close('the peer is shutting down')
  }

  end(reason: string): void {
    for (const connection of [this.atDialler, this.atListener]) {
      connection.endWith({ by: 'timeout', code: 'TRANSPORT_CLOSED', reason })
    }
  }
}

/** One direction: events arrive in order, each after the latency, a lost one a round trip later. */
class DelayedPath implements Path {
  readonly #options: ResolvedOptions
  readonly #waiting: (() => void)[] = []
  #lastMs = Number.NEGATIVE_INFINITY

  constructor(options: ResolvedOptions) {
    this.#options = options
  }

  deliver(event: () => void): void {
    const { latencyMs, lossRate, clock, random } = this.#options
    if (latencyMs === 0 && lossRate === 0) {
      event()
      return
    }
    const nowMs = clock.monotonicMs()
    const lost = lossRate > 0 && random() < lossRate
    // A sender misses an ack after about a round trip and a half.
    const delayMs = latencyMs + (lost ? Math.max(1, latencyMs * 3) : 0)
    this.#lastMs = Math.max(this.#lastMs, nowMs + delayMs)
    this.#waiting.push(event)
    clock.schedule(this.#lastMs - nowMs, () => this.#waiting.shift()?.())
  }
}

function pairName(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`
}
