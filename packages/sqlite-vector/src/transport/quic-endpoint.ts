/**
 * A QUIC endpoint: UDP sockets, and the connections that speak over them.
 *
 * It finds a datagram's connection by its destination id, lets new ones in within limits, and runs
 * one pass per connection for all datagrams of one poll. It decides nothing about peers: trust is
 * asked for by the connection, accepted connections go to `onOpen`.
 *
 * What an unauthenticated sender can cost is bounded: first datagrams below 1,200 bytes are dropped
 * (RFC 9000 §14.1), from {@link HANDSHAKES_BEFORE_RETRY} handshakes under way a sender has to prove
 * its address by a token (§8.1.2), from {@link HANDSHAKES_MAX} it is dropped, and every handshake has
 * a deadline.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { SqliteVectorError } from '../errors.ts'
import { DATAGRAM_BYTES, HANDSHAKES_BEFORE_RETRY, HANDSHAKES_MAX } from '../limits.ts'
import { formatAddress } from './address.ts'
import type { HostPort } from './address.ts'
import type { NativeConfig, NativeHeader, QuicBinding } from './quic-binding.ts'
import { INSTANCE_BYTES, QuicConnection } from './quic-connection.ts'
import type { ConnectionHost } from './quic-connection.ts'
import { handshakeTimeout } from './quic-errors.ts'
import type { ResolvedQuicOptions } from './quic-options.ts'
import { QuicSocket } from './quic-socket.ts'

const ID_BYTES = 20
const FIRST_DATAGRAM_BYTES_MIN = 1_200
const MEMORY_BYTES = 700 * DATAGRAM_BYTES
const TOKEN_MAC_BYTES = 16
const TOKEN_TIME_BYTES = 8
const TOKEN_MS_MAX = 10_000
const LINGER_MS_MAX = 100

export interface EndpointEvents {
  /** Configuration of the next connection, either direction. */
  readonly config: () => NativeConfig
  /** A peer that dialled us is authenticated. */
  readonly onOpen: (connection: QuicConnection) => void
  readonly onEnd: (connection: QuicConnection) => void
}

export class QuicEndpoint implements ConnectionHost {
  readonly options: ResolvedQuicOptions
  readonly shutdownRead: number
  readonly shutdownWrite: number
  readonly instance: Uint8Array = randomBytes(INSTANCE_BYTES)
  readonly #binding: QuicBinding
  readonly #events: EndpointEvents
  readonly #connections = new Set<QuicConnection>()
  readonly #byId = new Map<string, QuicConnection>()
  readonly #idsOf = new Map<QuicConnection, Set<string>>()
  readonly #handshakes = new Map<QuicConnection, () => void>()
  readonly #tokenKey = randomBytes(32)
  readonly #sockets: QuicSocket[] = []
  #listening: QuicSocket | null = null
  #marked = new Set<QuicConnection>()
  #memory = Buffer.allocUnsafeSlow(MEMORY_BYTES)
  #memoryUsed = 0
  #passPlanned = false
  #closing = false
  #whenGone: (() => void) | null = null

  constructor(binding: QuicBinding, options: ResolvedQuicOptions, events: EndpointEvents) {
    this.#binding = binding
    this.options = options
    this.#events = events
    this.shutdownRead = binding.Shutdown.Read
    this.shutdownWrite = binding.Shutdown.Write
  }

  async listen(at: HostPort): Promise<HostPort> {
    this.#listening = await this.#bind(at)
    return this.#listening.local
  }

  /** Starts a handshake; the connection says how it goes. Give an IP literal. */
  async dial(to: HostPort): Promise<QuicConnection> {
    const socket = await this.#socketTowards(to)
    const sourceId = randomBytes(ID_BYTES)
    const { serverName, clock, handshakeTimeoutMs } = this.options
    const native = this.#binding.Connection.connect(
      serverName,
      sourceId,
      socket.local,
      to,
      this.#events.config(),
    )
    const connection = this.#register(
      new QuicConnection(this, native, { isServer: false, remote: to, sourceId }),
    )
    const cancel = clock.schedule(handshakeTimeoutMs, () => {
      connection.giveUp(handshakeTimeout(formatAddress(to)))
    })
    connection.accepted.then(cancel, cancel)
    connection.flush()
    return connection
  }

  get connections(): ReadonlySet<QuicConnection> {
    return this.#connections
  }

  /** Ends all connections, gives their last words a moment to arrive, closes the sockets. */
  async close(code: number, reason: string): Promise<void> {
    this.#closing = true
    for (const connection of this.#connections) connection.closeWith(code, reason)
    if (this.#connections.size > 0) {
      await new Promise<void>((resolve) => {
        this.#whenGone = resolve
        this.options.clock.schedule(LINGER_MS_MAX, resolve)
      })
    }
    for (const connection of this.#connections) this.onGone(connection)
    await Promise.all(this.#sockets.splice(0).map((socket) => socket.close()))
  }

  // What connections call.

  random(byteLength: number): Uint8Array {
    return randomBytes(byteLength)
  }

  datagramMemory(): Uint8Array {
    // A datagram's memory is given to the kernel after this call returns: never write to it again.
    if (this.#memoryUsed + DATAGRAM_BYTES > MEMORY_BYTES) {
      this.#memory = Buffer.allocUnsafeSlow(MEMORY_BYTES)
      this.#memoryUsed = 0
    }
    return this.#memory.subarray(this.#memoryUsed, this.#memoryUsed + DATAGRAM_BYTES)
  }

  transmit(datagram: Uint8Array, from: HostPort, to: HostPort): void {
    this.#memoryUsed += datagram.byteLength
    const isV6 = from.host.includes(':')
    const socket = this.#sockets.find(
      ({ local, isV6: v6 }) => local.port === from.port && v6 === isV6,
    )
    socket?.send(datagram, to)
  }

  mark(connection: QuicConnection): void {
    this.#marked.add(connection)
    if (this.#passPlanned) return
    this.#passPlanned = true
    // After the poll phase: all datagrams that are in have been taken by then.
    setImmediate(() => this.#pass())
  }

  addId(id: Uint8Array, connection: QuicConnection): void {
    const key = idKey(id, 0, id.length)
    this.#byId.set(key, connection)
    const ids = this.#idsOf.get(connection)
    if (ids === undefined) this.#idsOf.set(connection, new Set([key]))
    else ids.add(key)
  }

  removeId(id: Uint8Array, connection: QuicConnection): void {
    const key = idKey(id, 0, id.length)
    this.#byId.delete(key)
    this.#idsOf.get(connection)?.delete(key)
  }

  onOpen(connection: QuicConnection): void {
    this.#handshakeOver(connection)
    if (connection.isServer) this.#events.onOpen(connection)
  }

  onEnd(connection: QuicConnection): void {
    this.#handshakeOver(connection)
    this.#events.onEnd(connection)
  }

  onGone(connection: QuicConnection): void {
    for (const key of this.#idsOf.get(connection) ?? []) this.#byId.delete(key)
    this.#idsOf.delete(connection)
    this.#connections.delete(connection)
    if (this.#connections.size === 0) this.#whenGone?.()
  }

  // Inside.

  #pass(): void {
    this.#passPlanned = false
    const marked = this.#marked
    this.#marked = new Set()
    for (const connection of marked) connection.process()
  }

  #receive(datagram: Buffer, from: HostPort, socket: QuicSocket): void {
    const first = datagram[0]
    if (first === undefined || datagram.length < 7) return
    const isLong = (first & 0x80) !== 0
    // A long header says how long its id is; ours are of one length.
    const start = isLong ? 6 : 1
    const idBytes = isLong ? (datagram[5] ?? 0) : ID_BYTES
    if (idBytes > ID_BYTES || datagram.length < start + idBytes) return
    const known = this.#byId.get(idKey(datagram, start, start + idBytes))
    const connection = known ?? (isLong ? this.#accept(datagram, from, socket) : undefined)
    connection?.receive(datagram, from, socket.local)
  }

  #accept(datagram: Buffer, from: HostPort, socket: QuicSocket): QuicConnection | undefined {
    if (socket !== this.#listening || this.#closing) return undefined
    if (datagram.length < FIRST_DATAGRAM_BYTES_MIN) return undefined
    const header = this.#header(datagram)
    if (header === undefined) return undefined
    if (!this.#binding.versionIsSupported(header.version)) {
      const answer = Buffer.alloc(DATAGRAM_BYTES)
      const length = this.#binding.negotiateVersion(header.scid, header.dcid, answer)
      socket.send(answer.subarray(0, length), from)
      return undefined
    }
    if (header.ty !== this.#binding.Type.Initial) return undefined
    const originalId = this.#checkToken(header.token, from)
    if (originalId === null && this.#handshakes.size >= HANDSHAKES_BEFORE_RETRY) {
      this.#retry(header, from, socket)
      return undefined
    }
    if (this.#handshakes.size >= HANDSHAKES_MAX) return undefined
    const sourceId = originalId === null ? randomBytes(ID_BYTES) : Buffer.from(header.dcid)
    const native = this.#binding.Connection.accept(
      sourceId,
      originalId,
      socket.local,
      from,
      this.#events.config(),
    )
    const connection = this.#register(
      new QuicConnection(this, native, { isServer: true, remote: from, sourceId }),
    )
    // Until the client knows our id it uses the one it made up.
    this.addId(Buffer.from(header.dcid), connection)
    const { clock, handshakeTimeoutMs } = this.options
    const cancel = clock.schedule(handshakeTimeoutMs, () => {
      connection.giveUp(handshakeTimeout(formatAddress(from)))
    })
    this.#handshakes.set(connection, cancel)
    return connection
  }

  #header(datagram: Buffer): NativeHeader | undefined {
    try {
      return this.#binding.Header.fromSlice(datagram, ID_BYTES)
    } catch {
      // No QUIC header: anybody may send anything to a UDP port.
      return undefined
    }
  }

  #retry(header: NativeHeader, from: HostPort, socket: QuicSocket): void {
    const answer = Buffer.alloc(DATAGRAM_BYTES)
    const length = this.#binding.retry(
      header.scid,
      header.dcid,
      randomBytes(ID_BYTES),
      this.#token(Buffer.from(header.dcid), from),
      header.version,
      answer,
    )
    socket.send(answer.subarray(0, length), from)
  }

  /** mac ‖ time ‖ original id: whoever shows it can read what is sent to that address. */
  #token(originalId: Buffer, from: HostPort): Buffer {
    const body = Buffer.alloc(TOKEN_TIME_BYTES + originalId.length)
    body.writeDoubleBE(this.options.clock.nowMs())
    originalId.copy(body, TOKEN_TIME_BYTES)
    return Buffer.concat([this.#mac(body, from), body])
  }

  #checkToken(given: Uint8Array | undefined, from: HostPort): Buffer | null {
    if (given === undefined || given.length <= TOKEN_MAC_BYTES + TOKEN_TIME_BYTES) return null
    const token = Buffer.from(given)
    const body = token.subarray(TOKEN_MAC_BYTES)
    if (!timingSafeEqual(token.subarray(0, TOKEN_MAC_BYTES), this.#mac(body, from))) return null
    const ageMs = this.options.clock.nowMs() - body.readDoubleBE()
    return Math.abs(ageMs) <= TOKEN_MS_MAX ? body.subarray(TOKEN_TIME_BYTES) : null
  }

  #mac(body: Buffer, from: HostPort): Buffer {
    const mac = createHmac('sha256', this.#tokenKey).update(formatAddress(from)).update(body)
    return mac.digest().subarray(0, TOKEN_MAC_BYTES)
  }

  #register(connection: QuicConnection): QuicConnection {
    this.#connections.add(connection)
    return connection
  }

  #handshakeOver(connection: QuicConnection): void {
    this.#handshakes.get(connection)?.()
    this.#handshakes.delete(connection)
  }

  async #bind(at: HostPort): Promise<QuicSocket> {
    const socket = await QuicSocket.bind(at, (datagram, from, received) => {
      this.#receive(datagram, from, received)
    })
    if (this.#closing) {
      await socket.close()
      throw new SqliteVectorError('TRANSPORT_CLOSED', 'the transport is closed')
    }
    this.#sockets.push(socket)
    return socket
  }

  /** A socket that reaches `to`: the listening one where it can, so that peers see one address of us. */
  async #socketTowards(to: HostPort): Promise<QuicSocket> {
    const isV6 = to.host.includes(':')
    const usable = this.#sockets.find(
      ({ isV6: v6, local }) =>
        v6 === isV6 && (isWildcard(local.host) || (isLoopback(local.host) && isLoopback(to.host))),
    )
    return usable ?? (await this.#bind({ host: isV6 ? '::' : '0.0.0.0', port: 0 }))
  }
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

function isLoopback(host: string): boolean {
  return host.startsWith('127.') || host === '::1'
}

/** Bytes as a map key: latin1 keeps every byte and is the fastest to make. */
function idKey(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.prototype.latin1Slice.call(bytes, start, end)
}
