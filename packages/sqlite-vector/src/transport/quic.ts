/**
 * The QUIC transport: {@link Transport} over QUIC v1 on UDP, mutually authenticated by TLS 1.3.
 *
 * Ties together identity, trust and an endpoint; the protocol machine is the engine's. Nobody is
 * trusted by default, and nothing falls back to another transport.
 *
 * Reference: RFC 9000, 9001, 9002; ALPN RFC 7301.
 */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { SqliteVectorError } from '../errors.ts'
import { AsyncQueue, throwIfAborted, whileWaiting } from './abortable.ts'
import { formatAddress, parseAddress } from './address.ts'
import type { HostPort } from './address.ts'
import { certificateFingerprint, certificateToPem } from './certificate.ts'
import { loadQuicBinding } from './quic-binding.ts'
import type { NativeConfig, QuicBinding } from './quic-binding.ts'
import { quicConfig } from './quic-config.ts'
import type { QuicConnection } from './quic-connection.ts'
import { QuicEndpoint } from './quic-endpoint.ts'
import { CLOSE_CODE } from './quic-errors.ts'
import { resolveQuicOptions } from './quic-options.ts'
import type { QuicTransportOptions, RefusedAttempt, ResolvedQuicOptions } from './quic-options.ts'
import type { Connection, DialOptions, PeerAddress, PeerIdentity, Transport } from './types.ts'

/** Counted since the transport was created. */
export interface QuicTransportStats {
  readonly connectionsOpen: number
  readonly connectionsDialled: number
  readonly connectionsAccepted: number
  readonly refused: number
}

export class QuicTransport implements Transport {
  readonly identity: PeerIdentity
  readonly #options: ResolvedQuicOptions
  readonly #binding: QuicBinding
  readonly #endpoint: QuicEndpoint
  readonly #accepted = new AsyncQueue<Connection>()
  readonly #stopWatching: () => void
  #config: NativeConfig | null = null
  #closed: Promise<void> | null = null
  #connectionsDialled = 0
  #connectionsAccepted = 0
  #refused = 0

  private constructor(options: ResolvedQuicOptions, binding: QuicBinding) {
    this.#options = options
    this.#binding = binding
    this.identity = Object.freeze({ fingerprint: options.identity.fingerprint })
    this.#endpoint = new QuicEndpoint(binding, options, {
      config: () => this.#currentConfig(),
      onOpen: (connection) => {
        this.#connectionsAccepted += 1
        this.#accepted.push(connection)
      },
      onEnd: (connection) => this.#noticeRefusal(connection),
    })
    this.#stopWatching = options.trust.onChange(() => this.#trustChanged())
  }

  /** @throws SqliteVectorError `TRANSPORT_UNSUPPORTED_PLATFORM`; TypeError, RangeError for options */
  static async create(options: QuicTransportOptions): Promise<QuicTransport> {
    const transport = new QuicTransport(resolveQuicOptions(options), loadQuicBinding())
    // Bad key material must fail here, not at the first peer.
    transport.#currentConfig()
    return transport
  }

  async listen(address: PeerAddress): Promise<PeerAddress> {
    this.#throwIfClosed()
    const at = await resolveHost(parseAddress(address))
    return formatAddress(await this.#endpoint.listen(at))
  }

  async dial(address: PeerAddress, options: DialOptions = {}): Promise<Connection> {
    this.#throwIfClosed()
    throwIfAborted(options.signal)
    const to = await whileWaiting(resolveHost(parseAddress(address)), options.signal)
    const connection = await this.#endpoint.dial(to)
    try {
      await whileWaiting(
        options.early === true ? connection.opened : connection.accepted,
        options.signal,
      )
    } catch (error) {
      await connection.close('the dial was given up')
      throw error
    }
    this.#connectionsDialled += 1
    return connection
  }

  async *accept(): AsyncIterable<Connection> {
    yield* this.#accepted
  }

  stats(): QuicTransportStats {
    return {
      connectionsOpen: [...this.#endpoint.connections].filter(isOpen).length,
      connectionsDialled: this.#connectionsDialled,
      connectionsAccepted: this.#connectionsAccepted,
      refused: this.#refused,
    }
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
    this.#accepted.end()
    await this.#endpoint.close(CLOSE_CODE.normal, 'the peer is shutting down')
  }

  #throwIfClosed(): void {
    if (this.#closed !== null) {
      throw new SqliteVectorError('TRANSPORT_CLOSED', 'the transport is closed')
    }
  }

  #currentConfig(): NativeConfig {
    const { trust, identity } = this.#options
    trust.refresh()
    this.#config ??= quicConfig(this.#binding, identity, trust.anchorsPem(), this.#options)
    return this.#config
  }

  #trustChanged(): void {
    this.#config = null
    for (const connection of this.#endpoint.connections) {
      if (!isOpen(connection)) continue
      const { fingerprint } = connection.peer
      if (this.#options.trust.allows(fingerprint)) continue
      connection.closeWith(
        CLOSE_CODE.refused,
        `the certificate ${fingerprint} is no longer trusted`,
      )
    }
  }

  #noticeRefusal(connection: QuicConnection): void {
    if (!connection.isServer || connection.end?.code !== 'TRANSPORT_PEER_UNTRUSTED') return
    this.#refused += 1
    const leaf = connection.peerCertificate()
    const attempt: RefusedAttempt = {
      address: connection.remoteAddress,
      fingerprint: leaf === null ? null : certificateFingerprint(leaf),
      certificatePem: leaf === null ? null : certificateToPem(leaf),
      reason: connection.end.reason,
    }
    this.#options.onRefused(attempt)
  }
}

function isOpen(connection: QuicConnection): boolean {
  return connection.isOpen
}

async function resolveHost({ host, port }: HostPort): Promise<HostPort> {
  if (isIP(host) !== 0) return { host, port }
  try {
    return { host: (await lookup(host)).address, port }
  } catch (cause) {
    throw new SqliteVectorError('TRANSPORT_DIAL_FAILED', `cannot resolve the host ${host}`, {
      cause,
    })
  }
}
