/**
 * The QUIC transport: {@link Transport} over QUIC v1 on UDP, mutually authenticated by TLS 1.3.
 *
 * Ties together identity, trust, tickets, the pool and an endpoint; the protocol machine is the
 * engine's. No peer is trusted by default, and nothing falls back to another transport.
 *
 * Reference: RFC 9000, 9001, 9002; ALPN RFC 7301.
 */
import { X509Certificate } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { SqliteVectorError } from '../../errors.ts'
import { AsyncQueue, throwIfAborted } from '../abortable.ts'
import { formatAddress, parseAddress } from '../address.ts'
import { certificateFingerprint, certificateToPem } from '../identity/certificate.ts'
import { DATAGRAM_BYTES, TRUST_POLL_MS } from '../../limits.ts'
import { loadQuicBinding } from './binding.ts'
import type { NativeConfig, QuicBinding } from './binding.ts'
import { quicConfig } from './config.ts'
import type { QuicConnection, Refusal } from './connection.ts'
import { QuicDialler } from './dialler.ts'
import { QuicEndpoint } from './endpoint.ts'
import type { EndpointEvents } from './endpoint.ts'
import { CLOSE_CODE, untrustedPeer } from './errors.ts'
import { Inbox, requestAnswer, sendMessages } from './messages.ts'
import type { IncomingMessage } from './messages.ts'
import { resolveQuicOptions } from './options.ts'
import type { QuicTransportOptions, ResolvedQuicOptions } from './options.ts'
import { QuicPool } from './pool.ts'
import { TransportTally } from './tally.ts'
import type { QuicTransportStats } from './tally.ts'
import { STREAM_TYPE } from './stream.ts'
import type {
  Channel,
  Connection,
  Credentials,
  DialOptions,
  PeerAddress,
  PeerIdentity,
  Transport,
  WaitOptions,
} from '../types.ts'

export class QuicTransport implements Transport {
  readonly credentials: Credentials
  readonly #options: ResolvedQuicOptions
  readonly #binding: QuicBinding
  readonly #endpoint: QuicEndpoint
  readonly #pool: QuicPool
  readonly #dialler: QuicDialler
  readonly #tally = new TransportTally()
  readonly #accepted = new AsyncQueue<Connection>()
  readonly #displaced = new WeakSet<Connection>()
  readonly #inbox = new Inbox()
  readonly #serving = new Set<Promise<void>>()
  readonly #stopWatching: () => void
  readonly #stopWatchingIdentity: () => void
  #stopPolling: () => void = () => {}
  readonly #configs = new Map<number, NativeConfig>()
  #sealingKey: Uint8Array | null = null
  #closed: Promise<void> | null = null

  private constructor(options: ResolvedQuicOptions, binding: QuicBinding) {
    this.#options = options
    this.#binding = binding
    const { identity, trust, clock } = options
    this.credentials = Object.freeze({
      get certificate() {
        return new X509Certificate(identity.certificatePem).raw
      },
      sign: (context: string, statement: Uint8Array) => identity.sign(context, statement),
      isTrusted: (certificate: Uint8Array) => {
        const verdict = trust.judge(certificate, clock.nowMs())
        return verdict.trusted && verdict.by !== 'invite'
      },
      onTrustChange: (listener: () => void) => trust.onChange(listener),
    })
    this.#endpoint = new QuicEndpoint(binding, options, this.#events())
    this.#pool = new QuicPool(options)
    this.#dialler = new QuicDialler(options, this.#endpoint, this.#pool, (displaced) => {
      // The peer took it before it knew of the other one: channels that it has opened on it must be
      // served.
      if (this.#displaced.has(displaced)) return
      this.#displaced.add(displaced)
      this.#accepted.push(displaced)
    })
    this.#stopWatching = options.trust.onChange(() => this.#trustChanged())
    this.#stopWatchingIdentity = identity.onChange(() => {
      this.#configs.clear()
      options.tickets.forgetAll()
    })
    this.#pollTrust()
  }

  /**
   * @throws SqliteVectorError `TRANSPORT_UNSUPPORTED_PLATFORM`; TypeError, RangeError for options
   */
  static async create(options: QuicTransportOptions): Promise<QuicTransport> {
    const transport = new QuicTransport(resolveQuicOptions(options), loadQuicBinding())
    // Bad key material must fail here, not at the first peer, whose handshake then finds this made.
    transport.#config(options.datagramBytes ?? DATAGRAM_BYTES)
    return transport
  }

  /** Our own fingerprint, as peers see it on connections from now on. */
  get identity(): PeerIdentity {
    return { fingerprint: this.#options.identity.fingerprint }
  }

  /** May be called again for another address, such as the IPv6 one. */
  async listen(address: PeerAddress): Promise<PeerAddress> {
    this.#throwIfClosed()
    const { host, port } = parseAddress(address)
    return formatAddress(await this.#endpoint.listen({ host: await literalOf(host), port }))
  }

  async dial(address: PeerAddress, options: DialOptions = {}): Promise<QuicConnection> {
    this.#throwIfClosed()
    throwIfAborted(options.signal)
    return this.#dialler.dial(address, options, options.early === true ? 'opened' : 'accepted')
  }

  async *accept(): AsyncIterable<Connection> {
    yield* this.#accepted
  }

  /** Sends one message; resolves when the peer has received it with `receive()`. */
  send(address: PeerAddress, message: Uint8Array, options: WaitOptions = {}): Promise<void> {
    return this.sendBatch(address, [message], options)
  }

  /**
   * Sends messages in order over one channel; resolves when the peer has received all of
   * them with `receive()`. An error says how many were.
   */
  async sendBatch(
    address: PeerAddress,
    messages: readonly Uint8Array[],
    options: WaitOptions = {},
  ): Promise<void> {
    const channel = await this.#openForMessages(address, options)
    await sendMessages(channel, messages, options)
  }

  /** Sends one message and waits for the peer's answer to it. */
  async request(
    address: PeerAddress,
    message: Uint8Array,
    options: WaitOptions = {},
  ): Promise<Uint8Array> {
    const channel = await this.#openForMessages(address, options)
    return requestAnswer(channel, message, options)
  }

  /**
   * Does not wait for the peer's word that it takes us, which would be a round trip more: where it
   * does not, the channel says so. But it does wait for the handshake, so that a message cannot be
   * replayed.
   */
  async #openForMessages(address: PeerAddress, options: WaitOptions): Promise<Channel> {
    this.#throwIfClosed()
    throwIfAborted(options.signal)
    const connection = await this.#dialler.dial(address, options, 'established')
    return connection.openTyped(STREAM_TYPE.messages, options)
  }

  /** The next message that a peer sent; null once the transport is closed. */
  receive(options: WaitOptions = {}): Promise<IncomingMessage | null> {
    return this.#inbox.receive(options)
  }

  getStats(): QuicTransportStats {
    return this.#tally.stats(this.#endpoint, this.#pool, this.#dialler)
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(): Promise<void> {
    this.#stopWatching()
    this.#stopPolling()
    this.#stopWatchingIdentity()
    this.#accepted.end()
    this.#inbox.end()
    await this.#endpoint.close(CLOSE_CODE.normal, 'the peer is shutting down')
    await Promise.all(this.#serving)
    this.#orReport(() => this.#options.tickets.save())
  }

  #throwIfClosed(): void {
    if (this.#closed === null) return
    throw new SqliteVectorError('TRANSPORT_CLOSED', 'the transport is closed')
  }

  /** Runs work inside a pass, which has no caller to take an error. */
  #orReport(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#options.onError(error)
    }
  }

  #events(): EndpointEvents {
    const { tickets } = this.#options
    return {
      config: (datagramBytes) => this.#config(datagramBytes),
      judge: (connection, leaf) => this.#judge(connection, leaf),
      onOpen: (connection) => {
        this.#pool.add(connection)
        if (connection.isServer) this.#accepted.push(connection)
      },
      onEstablished: (connection) => this.#tally.established(connection),
      onAccepted: (connection) => this.#pool.settle(connection),
      onMessages: (connection, channel) => {
        const served = this.#inbox.serve(connection.peer, channel).finally(() => {
          this.#serving.delete(served)
        })
        this.#serving.add(served)
      },
      onSession: (connection, session) => {
        if (connection.dialled === null) return
        tickets.put(connection.dialled, { fingerprint: connection.peer.fingerprint, session })
      },
      onEnd: (connection) => {
        this.#pool.remove(connection)
        this.#tally.ended(connection)
        if (connection.failedByTicket && connection.dialled !== null) {
          tickets.forget(connection.dialled)
        }
        this.#noticeRefusal(connection)
      },
    }
  }

  #judge(connection: QuicConnection, leaf: Uint8Array | null): PeerIdentity | Refusal {
    const { trust, clock, onIdentityChange } = this.#options
    const address = connection.remoteAddress
    if (leaf === null) return refusal('you showed no certificate', untrustedPeer(address, null))
    const verdict = trust.judge(leaf, clock.nowMs())
    if (!verdict.trusted) {
      const { fingerprint, reason } = verdict
      return refusal(
        `your certificate ${fingerprint} is not trusted here: ${reason}`,
        `${untrustedPeer(address, fingerprint)} (${reason})`,
      )
    }
    const { fingerprint, nodeId } = verdict
    const tooMany = connection.isServer ? this.#pool.refusal(fingerprint) : null
    if (tooMany !== null) {
      const end = { by: 'us', code: 'TRANSPORT_LIMIT_EXCEEDED', reason: tooMany } as const
      return { closeCode: CLOSE_CODE.overLimit, toPeer: tooMany, end }
    }
    connection.notAfterMs = verdict.notAfterMs
    if (verdict.by === 'invite') return { fingerprint, invite: verdict.invite }
    if (nodeId === null) return { fingerprint }
    const before = trust.notice(nodeId, fingerprint)
    if (before !== null) onIdentityChange({ nodeId, address, before, after: fingerprint })
    this.#orReport(() => trust.save())
    return { fingerprint, nodeId }
  }

  #config(datagramBytes: number): NativeConfig {
    const { trust, identity, tickets } = this.#options
    this.#orReport(() => trust.refresh())
    const sealingKey = tickets.sealingKey()
    if (sealingKey !== this.#sealingKey) {
      this.#sealingKey = sealingKey
      this.#configs.clear()
    }
    let config = this.#configs.get(datagramBytes)
    if (config === undefined) {
      config = quicConfig(this.#binding, identity, {
        options: this.#options,
        anchorsPem: trust.anchorsPem(),
        sealingKey,
        datagramBytes,
      })
      this.#configs.set(datagramBytes, config)
    }
    return config
  }

  /**
   * Another process may take trust back, and time ends certificates: both hold for open
   * connections. A change in the file is announced by `refresh()`, as one that this process makes.
   */
  #pollTrust(): void {
    const { trust, clock } = this.#options
    this.#stopPolling = clock.schedule(TRUST_POLL_MS, () => {
      this.#orReport(() => trust.refresh())
      const nowMs = clock.nowMs()
      for (const connection of this.#endpoint.connections) {
        if (connection.isOpen && connection.notAfterMs < nowMs) this.#judgeAgain(connection)
      }
      if (this.#closed === null) this.#pollTrust()
    })
  }

  #trustChanged(): void {
    this.#configs.clear()
    let someoneLeft = false
    for (const connection of this.#endpoint.connections) {
      if (connection.isOpen && !this.#judgeAgain(connection)) someoneLeft = true
    }
    if (someoneLeft) this.#options.tickets.rotate()
  }

  /** Ends an open connection whose peer is not trusted any more; false when it did. */
  #judgeAgain(connection: QuicConnection): boolean {
    const { trust, clock } = this.#options
    const leaf = connection.peerCertificate()
    const verdict = leaf === null ? null : trust.judge(leaf, clock.nowMs())
    if (verdict?.trusted === true) return true
    const { fingerprint } = connection.peer
    const why = verdict?.reason ?? 'it is not known any more'
    const toPeer = `your certificate ${fingerprint} is not trusted any more: ${why}`
    const reason = `${untrustedPeer(connection.remoteAddress, fingerprint)} (${why})`
    const end = { by: 'us', code: 'TRANSPORT_PEER_UNTRUSTED', reason } as const
    connection.closeWith(CLOSE_CODE.refused, toPeer, end)
    return false
  }

  #noticeRefusal(connection: QuicConnection): void {
    if (!connection.isServer || connection.end?.code !== 'TRANSPORT_PEER_UNTRUSTED') return
    const leaf = connection.peerCertificate()
    this.#options.onRefused({
      address: connection.remoteAddress,
      fingerprint: leaf === null ? null : certificateFingerprint(leaf),
      certificatePem: leaf === null ? null : certificateToPem(leaf),
      reason: connection.end.reason,
    })
  }
}

function refusal(toPeer: string, reason: string): Refusal {
  const end = { by: 'error', code: 'TRANSPORT_PEER_UNTRUSTED', reason } as const
  return { closeCode: CLOSE_CODE.refused, toPeer, end }
}

async function literalOf(host: string): Promise<string> {
  if (isIP(host) !== 0) return host
  try {
    return (await lookup(host)).address
  } catch (cause) {
    const message = `cannot resolve the host ${host}`
    throw new SqliteVectorError('TRANSPORT_DIAL_FAILED', message, { cause })
  }
}
