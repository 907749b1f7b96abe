/**
 * A QUIC endpoint: UDP sockets, and the connections that speak over them.
 *
 * It finds a datagram's connection by its destination id and lets new ones in within limits.
 * quic/passes.ts schedules the work on connections. The owner (quic/transport.ts) decides on trust,
 * reuse and limits, through {@link EndpointEvents}.
 *
 * The cost of an unauthenticated sender is bounded: first datagrams below 1,200 bytes are dropped
 * (RFC 9000 §14.1), a network may start handshakes at a limited rate, from {@link
 * HANDSHAKES_BEFORE_RETRY} under way a sender has to prove its address by a token (§8.1.2), from
 * {@link HANDSHAKES_MAX} it is dropped, and every handshake has a deadline. Before its address is
 * proven, at most three times what a sender sent goes back (§8.1; the engine sees to that). All of
 * it is counted.
 */
import { randomBytes } from 'node:crypto'
import { SqliteVectorError } from '../../errors.ts'
import {
  DATAGRAM_BYTES,
  DATAGRAM_BYTES_LOOPBACK,
  HANDSHAKES_BEFORE_RETRY,
  HANDSHAKES_MAX,
} from '../../limits.ts'
import { formatAddress, isLoopback } from '../address.ts'
import type { HostPort } from '../address.ts'
import { AddressProof } from './address-proof.ts'
import { HandshakeBudget } from './handshake-budget.ts'
import { HandshakeRate } from './handshake-rate.ts'
import type { NativeConfig, NativeConnection, NativeHeader, QuicBinding } from './binding.ts'
import { QuicConnection } from './connection.ts'
import type { ConnectionEvents, ConnectionHost } from './connection.ts'
import { INSTANCE_BYTES } from './control.ts'
import { handshakeTimeout } from './errors.ts'
import { QuicKeyLog } from './key-log.ts'
import type { ResolvedQuicOptions } from './options.ts'
import { QuicPasses } from './passes.ts'
import { QuicSocket } from './socket.ts'

const ID_BYTES = 20
const FIRST_DATAGRAM_BYTES_MIN = 1_200
const MEMORY_BYTES = 1_048_576
/** The engine's word for a handshake that TLS refuses: that is told to the peer. */
const TLS_REFUSAL = 'TlsFail'
const LINGER_MS_MAX = 100

/** Decisions that an endpoint leaves to its owner. */
export interface EndpointEvents extends ConnectionEvents {
  /** Configuration of the next connection, either direction, with datagrams of that size. */
  config(datagramBytes: number): NativeConfig
}

/** Counts of datagrams and handshakes that were turned away. */
export interface EndpointCounts {
  readonly datagramsDropped: number
  readonly handshakesRateLimited: number
  readonly handshakesDropped: number
  readonly retriesSent: number
  /** Answers to packets of connections that we do not know, from before a restart. */
  readonly resetsSent: number
  readonly handshakesUnderWay: number
}

export interface DialTarget {
  /** An IP literal. */
  readonly to: HostPort
  /** The address as the pool knows it. */
  readonly dialled: string
  readonly session: Uint8Array | null
}

export class QuicEndpoint implements ConnectionHost {
  readonly options: ResolvedQuicOptions
  readonly shutdownRead: number
  readonly shutdownWrite: number
  readonly instance: Uint8Array = randomBytes(INSTANCE_BYTES)
  readonly passes: QuicPasses = new QuicPasses()
  readonly #binding: QuicBinding
  readonly #events: EndpointEvents
  readonly #connections = new Set<QuicConnection>()
  readonly #byId = new Map<string, QuicConnection>()
  readonly #idsOf = new Map<QuicConnection, Set<string>>()
  readonly #handshakes = new Map<QuicConnection, () => void>()
  /** Starts of handshakes by addresses that are not proven, and by those that are. */
  readonly #rate = new HandshakeRate()
  readonly #provenRate = new HandshakeRate()
  readonly #budget = new HandshakeBudget<QuicConnection>()
  readonly #resetRate = new HandshakeRate()
  readonly #proof: AddressProof
  readonly #keyLog: QuicKeyLog | null
  readonly #sockets: QuicSocket[] = []
  readonly #listening = new Set<QuicSocket>()
  #memory = Buffer.allocUnsafeSlow(MEMORY_BYTES)
  #memoryUsed = 0
  #closing = false
  #whenGone: (() => void) | null = null
  #datagramsDropped = 0
  #handshakesRateLimited = 0
  #handshakesDropped = 0
  #retriesSent = 0
  #resetsSent = 0

  constructor(binding: QuicBinding, options: ResolvedQuicOptions, events: EndpointEvents) {
    this.#binding = binding
    this.options = options
    this.#events = events
    this.#proof = new AddressProof(
      options.clock,
      options.identity.deriveSecret('QUIC stateless reset'),
    )
    this.#keyLog = options.keyLogFile === null ? null : new QuicKeyLog(options.keyLogFile)
    this.shutdownRead = binding.Shutdown.Read
    this.shutdownWrite = binding.Shutdown.Write
  }

  get connections(): ReadonlySet<QuicConnection> {
    return this.#connections
  }

  counts(): EndpointCounts {
    return {
      datagramsDropped: this.#datagramsDropped,
      handshakesRateLimited: this.#handshakesRateLimited,
      handshakesDropped: this.#handshakesDropped,
      retriesSent: this.#retriesSent,
      resetsSent: this.#resetsSent,
      handshakesUnderWay: this.#handshakes.size,
    }
  }

  async listen(at: HostPort): Promise<HostPort> {
    const socket = await this.#bind(at)
    this.#listening.add(socket)
    return socket.local
  }

  /** Starts a handshake; the connection says how it goes. */
  async dial({ to, dialled, session }: DialTarget): Promise<QuicConnection> {
    const noRoute = await QuicSocket.noRoute(to)
    if (noRoute !== null) {
      const reason = `this machine has no route to ${formatAddress(to)} (${noRoute})`
      throw new SqliteVectorError('TRANSPORT_DIAL_FAILED', reason)
    }
    const socket = await this.#socketTowards(to)
    const sourceId = randomBytes(ID_BYTES)
    const { serverName, handshakeTimeoutMs, clock } = this.options
    const datagramBytes = this.#datagramBytesTowards(to)
    const config = this.#events.config(datagramBytes)
    config.setStatelessResetToken(null)
    const native = this.#binding.Connection.connect(serverName, sourceId, socket.local, to, config)
    this.#keyLog?.attach(native)
    const resuming = session !== null && offerSession(native, session)
    const connection = new QuicConnection(this, this.#events, native, {
      isServer: false,
      remote: to,
      sourceId,
      datagramBytes,
      dialled,
      resuming,
    })
    this.#connections.add(connection)
    const cancel = clock.schedule(handshakeTimeoutMs, () => {
      connection.giveUp(handshakeTimeout(formatAddress(to)))
    })
    connection.accepted.then(cancel, cancel)
    connection.pump.flush()
    // With the first flight away the engine knows whether early data may follow.
    if (resuming) connection.pump.run()
    return connection
  }

  /** A handshake under way that was started from this address; undefined without one. */
  incomingFrom(remoteAddress: string): QuicConnection | undefined {
    for (const connection of this.#handshakes.keys()) {
      if (connection.remoteAddress === remoteAddress) return connection
    }
    return undefined
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
    for (const connection of this.#connections) connection.pump.stop()
    await Promise.all(this.#sockets.splice(0).map((socket) => socket.close()))
  }

  // Called by connections.

  random(byteLength: number): Uint8Array {
    return randomBytes(byteLength)
  }

  datagramMemory(byteLength: number): Uint8Array {
    // A datagram's memory is given to the kernel after this call returns: never write to it again.
    if (this.#memoryUsed + byteLength > MEMORY_BYTES) {
      this.#memory = Buffer.allocUnsafeSlow(MEMORY_BYTES)
      this.#memoryUsed = 0
    }
    return this.#memory.subarray(this.#memoryUsed, this.#memoryUsed + byteLength)
  }

  transmit(datagram: Uint8Array, from: HostPort, to: HostPort): void {
    this.#memoryUsed += datagram.byteLength
    const isV6 = from.host.includes(':')
    for (const socket of this.#sockets) {
      if (socket.local.port !== from.port || socket.isV6 !== isV6) continue
      socket.send(datagram, to)
      return
    }
  }

  resetToken(id: Uint8Array): bigint {
    return this.#proof.resetToken(id)
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

  handshakeOver(connection: QuicConnection): void {
    this.#keyLog?.collect(connection.native)
    this.#handshakes.get(connection)?.()
    this.#handshakes.delete(connection)
    this.#budget.close(connection)
  }

  onGone(connection: QuicConnection): void {
    for (const key of this.#idsOf.get(connection) ?? []) this.#byId.delete(key)
    this.#idsOf.delete(connection)
    this.#connections.delete(connection)
    if (this.#connections.size === 0) this.#whenGone?.()
  }

  // Inside.

  #receive(datagram: Buffer, from: HostPort, socket: QuicSocket): void {
    const connection = this.#connectionOf(datagram, from, socket)
    if (connection === undefined) {
      this.#datagramsDropped += 1
      return
    }
    // The bytes of a handshake end with it: what follows in the same turn is the peer's first frames.
    const isUnderWay = !connection.native.isEstablished()
    if (isUnderWay && !this.#budget.take(connection, datagram.length)) {
      this.#datagramsDropped += 1
      this.#handshakesDropped += 1
      connection.pump.stop(new Error('its handshake has sent more bytes than it may'))
      return
    }
    const refusedFor = connection.pump.receive(datagram, from, socket.local)
    if (refusedFor === null || refusedFor === TLS_REFUSAL || !connection.isServer) return
    // A handshake whose very first datagram cannot be decrypted is none: keep nothing for it.
    if (connection.native.stats().recv > 0) return
    this.#datagramsDropped += 1
    connection.pump.stop(new Error('the first datagram is no handshake'))
  }

  #connectionOf(datagram: Buffer, from: HostPort, socket: QuicSocket): QuicConnection | undefined {
    const first = datagram[0]
    if (first === undefined || datagram.length < 7) return undefined
    const isLong = (first & 0x80) !== 0
    // A long header says how long its id is; ours are of one length.
    const start = isLong ? 6 : 1
    const idBytes = isLong ? (datagram[5] ?? 0) : ID_BYTES
    if (idBytes > ID_BYTES || datagram.length < start + idBytes) return undefined
    const known = this.#byId.get(idKey(datagram, start, start + idBytes))
    if (known !== undefined) return known
    if (isLong) return this.#accept(datagram, from, socket)
    // The rest costs a search or an answer, so each address gets little of it.
    if (this.#resetRate.take(from.host, this.options.clock.monotonicMs())) {
      if (!this.#isReset(datagram, from, socket)) this.#reset(datagram, from, socket)
    }
    return undefined
  }

  /**
   * True when a packet under an unknown id is a peer's stateless reset of one of our connections.
   */
  #isReset(datagram: Buffer, from: HostPort, socket: QuicSocket): boolean {
    const address = formatAddress(from)
    for (const connection of this.#connections) {
      if (connection.end !== null || connection.remoteAddress !== address) continue
      // The engine compares the end of it with the tokens that the peer gave out.
      connection.pump.receive(Buffer.from(datagram), from, socket.local)
      if (!connection.native.isClosed()) continue
      // At once: a probe for a sign of life must not take this for one.
      connection.pump.run()
      return true
    }
    return false
  }

  /** Tells a peer that we know its connection no more: we were restarted (RFC 9000 §10.3). */
  #reset(datagram: Buffer, from: HostPort, socket: QuicSocket): void {
    if (!this.#listening.has(socket) || this.#closing) return
    const answer = this.#proof.reset(datagram.subarray(1, 1 + ID_BYTES), datagram.length)
    if (answer === null) return
    this.#resetsSent += 1
    socket.send(answer, from)
  }

  #accept(datagram: Buffer, from: HostPort, socket: QuicSocket): QuicConnection | undefined {
    if (!this.#listening.has(socket) || this.#closing) return undefined
    if (datagram.length < FIRST_DATAGRAM_BYTES_MIN) return undefined
    const header = this.#header(datagram)
    if (header === undefined) return undefined
    if (!this.#binding.versionIsSupported(header.version)) {
      const answer = Buffer.alloc(FIRST_DATAGRAM_BYTES_MIN)
      const length = this.#binding.negotiateVersion(header.scid, header.dcid, answer)
      socket.send(answer.subarray(0, length), from)
      return undefined
    }
    if (header.ty !== this.#binding.Type.Initial) return undefined
    const originalId = this.#proof.checkToken(header.token, from)
    if (!this.#isLetIn(header, originalId, from, socket)) return undefined
    const sourceId = originalId === null ? randomBytes(ID_BYTES) : Buffer.from(header.dcid)
    const datagramBytes = this.#datagramBytesTowards(from)
    const config = this.#events.config(datagramBytes)
    // The engine has 128 bytes for transport parameters: a token does not fit beside those of a
    // retry.
    config.setStatelessResetToken(originalId === null ? this.resetToken(sourceId) : null)
    const native = this.#newNative(() =>
      this.#binding.Connection.accept(sourceId, originalId, socket.local, from, config),
    )
    if (native === undefined) return undefined
    const firstId = Buffer.from(header.dcid)
    const isProven = originalId !== null
    return this.#admit(native, { from, sourceId, datagramBytes, firstId, isProven })
  }

  /** The engine may throw on a malformed datagram; that ends this handshake only. */
  #newNative(accept: () => NativeConnection): NativeConnection | undefined {
    try {
      return accept()
    } catch {
      this.#handshakesDropped += 1
      return undefined
    }
  }

  #admit(
    native: NativeConnection,
    init: {
      readonly from: HostPort
      readonly sourceId: Buffer
      readonly datagramBytes: number
      readonly firstId: Buffer
      /** The sender showed a token: it reads what is sent to its address. */
      readonly isProven: boolean
    },
  ): QuicConnection {
    const { from, sourceId, datagramBytes, firstId, isProven } = init
    this.#keyLog?.attach(native)
    const connection = new QuicConnection(this, this.#events, native, {
      isServer: true,
      remote: from,
      sourceId,
      datagramBytes,
      dialled: null,
      resuming: false,
    })
    this.#connections.add(connection)
    // Until the client knows our id it uses the one it made up.
    this.addId(firstId, connection)
    const { clock, handshakeTimeoutMs } = this.options
    const cancel = clock.schedule(handshakeTimeoutMs, () => {
      connection.giveUp(handshakeTimeout(formatAddress(from)))
    })
    this.#handshakes.set(connection, cancel)
    this.#budget.open(connection, from.host, isProven)
    return connection
  }

  /** The limits on strangers, cheapest first. */
  #isLetIn(
    header: NativeHeader,
    originalId: Buffer | null,
    from: HostPort,
    socket: QuicSocket,
  ): boolean {
    const nowMs = this.options.clock.monotonicMs()
    const underWay = this.#handshakes.size
    if (originalId === null) {
      // A spoofed address costs its owner no more than a round trip: it can prove that it is the
      // owner.
      const isFew = underWay < HANDSHAKES_BEFORE_RETRY && this.#rate.take(from.host, nowMs)
      if (!isFew) this.#retry(header, from, socket)
      if (!isFew) return false
    }
    if (underWay >= HANDSHAKES_MAX) {
      this.#handshakesDropped += 1
      return false
    }
    if (originalId !== null && !this.#provenRate.take(from.host, nowMs)) {
      this.#handshakesRateLimited += 1
      return false
    }
    return true
  }

  #header(datagram: Buffer): NativeHeader | undefined {
    try {
      return this.#binding.Header.fromSlice(datagram, ID_BYTES)
    } catch {
      // Not a QUIC header: any bytes may arrive at a UDP port.
      return undefined
    }
  }

  #retry(header: NativeHeader, from: HostPort, socket: QuicSocket): void {
    const answer = Buffer.alloc(FIRST_DATAGRAM_BYTES_MIN)
    const length = this.#binding.retry(
      header.scid,
      header.dcid,
      randomBytes(ID_BYTES),
      this.#proof.token(Buffer.from(header.dcid), from),
      header.version,
      answer,
    )
    this.#retriesSent += 1
    socket.send(answer.subarray(0, length), from)
  }

  /** Packets of one machine never meet an Ethernet: larger ones cost fewer system calls. */
  #datagramBytesTowards({ host }: HostPort): number {
    const { datagramBytes } = this.options
    if (datagramBytes !== null) return datagramBytes
    return isLoopback(host) ? DATAGRAM_BYTES_LOOPBACK : DATAGRAM_BYTES
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

  /**
   * A socket that reaches `to`: the listening one where it can, so that peers see one address of
   * us.
   */
  async #socketTowards(to: HostPort): Promise<QuicSocket> {
    const isV6 = to.host.includes(':')
    const usable = this.#sockets.find(
      ({ isV6: v6, local }) =>
        v6 === isV6 && (isWildcard(local.host) || (isLoopback(local.host) && isLoopback(to.host))),
    )
    return usable ?? (await this.#bind({ host: isV6 ? '::' : '0.0.0.0', port: 0 }))
  }
}

/** Gives the engine a ticket; false when it is none: the handshake is then a full one. */
function offerSession(native: NativeConnection, session: Uint8Array): boolean {
  try {
    native.setSession(session)
    return true
  } catch {
    return false
  }
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

/** Bytes as a map key: latin1 keeps every byte and is the fastest to make. */
function idKey(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.prototype.latin1Slice.call(bytes, start, end)
}
