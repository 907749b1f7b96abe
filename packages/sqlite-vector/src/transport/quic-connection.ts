/**
 * One QUIC connection: drives the engine's state machine, authenticates the peer, hands out channels.
 *
 *   handshaking ──TLS done, leaf trusted──► open ──peer's control stream──► accepted
 *        any ──close, error, timeout──► ended ──drained──► gone
 *
 * No sockets (quic-endpoint.ts). Invariants:
 *   C1  No byte of a peer is shown, and no channel of it delivered, before its leaf fingerprint was found trusted;
 *       that is looked at on every connection, resumed ones included.
 *   C2  `end` is set once; from then on every call rejects with it, reads after what had arrived.
 *   C3  After every datagram, timer, read, write or close the engine is asked for what to send, and
 *       for its next timer.
 *
 * Each side opens one unidirectional control stream with 16 random bytes that name its process. The
 * listener does so when it has taken the peer in, so its arrival tells the dialer that it is accepted:
 * in TLS 1.3 a client's handshake ends before the server has judged its certificate.
 *
 * Reference: RFC 9000 §5, §10; RFC 9001 §4.1.2.
 */
import { assert, must } from '../assert.ts'
import { SqliteVectorError } from '../errors.ts'
import { CHANNEL_QUANTUM_BYTES, DATAGRAM_BYTES } from '../limits.ts'
import { AsyncQueue, abortable, throwIfAborted } from './abortable.ts'
import { formatAddress } from './address.ts'
import type { HostPort } from './address.ts'
import { certificateFingerprint } from './certificate.ts'
import type { NativeConnection } from './quic-binding.ts'
import { QuicChannel } from './quic-channel.ts'
import { CLOSE_CODE, describeEnd, untrustedPeer } from './quic-errors.ts'
import type { ResolvedQuicOptions } from './quic-options.ts'
import { QuicPacer } from './quic-pacer.ts'
import { QuicStream, STREAM_CODE, STREAM_TYPE } from './quic-stream.ts'
import type { StreamHost } from './quic-stream.ts'
import type {
  Channel,
  Connection,
  ConnectionEnd,
  ConnectionStats,
  PeerIdentity,
  WaitOptions,
} from './types.ts'

/** Bytes of the name of a process on its control stream. */
export const INSTANCE_BYTES = 16

const PACE_MS = 1
const REASON_BYTES_MAX = 256

/** What a connection needs of the endpoint that owns it. */
export interface ConnectionHost {
  readonly options: ResolvedQuicOptions
  readonly shutdownRead: number
  readonly shutdownWrite: number
  /** Names this process on control streams. */
  readonly instance: Uint8Array
  random(byteLength: number): Uint8Array
  /** Memory for one datagram; not used again while it is being sent. */
  datagramMemory(): Uint8Array
  transmit(datagram: Uint8Array, from: HostPort, to: HostPort): void
  mark(connection: QuicConnection): void
  addId(id: Uint8Array, connection: QuicConnection): void
  removeId(id: Uint8Array, connection: QuicConnection): void
  onOpen(connection: QuicConnection): void
  onEnd(connection: QuicConnection): void
  onGone(connection: QuicConnection): void
}

export class QuicConnection implements Connection, StreamHost {
  readonly native: NativeConnection
  readonly isServer: boolean
  readonly closed: Promise<ConnectionEnd>
  /** Resolves when frames can be sent; rejects when the connection ends before. */
  readonly opened: Promise<void>
  /** Resolves when the peer has taken us in, too. */
  readonly accepted: Promise<void>
  readonly #host: ConnectionHost
  readonly #pacer: QuicPacer
  readonly #streams = new Map<number, QuicStream>()
  readonly #channels = new AsyncQueue<Channel>()
  readonly #creditWaiters: (() => void)[] = []
  readonly #blocked = new Set<QuicStream>()
  readonly #opening = Promise.withResolvers<void>()
  readonly #accepting = Promise.withResolvers<void>()
  readonly #ending = Promise.withResolvers<ConnectionEnd>()
  #remote: HostPort
  #peer: PeerIdentity | null = null
  #peerInstance: Uint8Array | null = null
  #end: ConnectionEnd | null = null
  #gone = false
  #nextBidirectional: number
  #cancelTimer: (() => void) | null = null
  #timerAtMs = 0
  #pacing = false
  #sentMs = 0
  #channelsOpen = 0
  #channelBytesSent = 0
  #channelBytesReceived = 0
  #wireBytesSent = 0
  #wireBytesReceived = 0
  #datagramsSent = 0
  #datagramsReceived = 0

  constructor(
    host: ConnectionHost,
    native: NativeConnection,
    init: { readonly isServer: boolean; readonly remote: HostPort; readonly sourceId: Uint8Array },
  ) {
    this.#host = host
    this.native = native
    this.isServer = init.isServer
    this.#remote = init.remote
    this.#nextBidirectional = init.isServer ? 1 : 0
    this.opened = this.#opening.promise
    this.accepted = this.#accepting.promise
    this.closed = this.#ending.promise
    // Who dials looks at these; on the listening side nobody may.
    this.opened.catch(() => {})
    this.accepted.catch(() => {})
    const gain = host.options.congestionControl === 'bbr' ? 1.5 : 1.25
    this.#pacer = new QuicPacer(gain, () => native.pathStats().find((path) => path.active))
    host.addId(init.sourceId, this)
  }

  get peer(): PeerIdentity {
    return must(this.#peer, 'a connection is shown after its peer is known')
  }

  get remoteAddress(): string {
    return formatAddress(this.#remote)
  }

  /** Authenticated and not ended. */
  get isOpen(): boolean {
    return this.#peer !== null && this.#end === null
  }

  get end(): ConnectionEnd | null {
    return this.#end
  }

  /** Names the peer's process; null until its control stream has arrived. */
  get peerInstance(): Uint8Array | null {
    return this.#peerInstance
  }

  get shutdownRead(): number {
    return this.#host.shutdownRead
  }

  get shutdownWrite(): number {
    return this.#host.shutdownWrite
  }

  /** The leaf certificate the peer showed, also in a handshake that failed. */
  peerCertificate(): Uint8Array | null {
    return this.native.peerCertChain()?.[0] ?? null
  }

  async openChannel(options: WaitOptions = {}): Promise<Channel> {
    throwIfAborted(options.signal)
    for (;;) {
      const error = this.endError()
      if (error !== null) throw error
      if (this.native.peerStreamsLeftBidi() > 0) break
      await abortable<void>(options.signal, (resolve) => {
        this.#creditWaiters.push(resolve)
        return () => this.#creditWaiters.splice(this.#creditWaiters.indexOf(resolve), 1)
      })
    }
    const stream = this.#openStream(this.#nextBidirectional, STREAM_TYPE.channel, true)
    this.#nextBidirectional += 4
    return this.#channelOn(stream)
  }

  async *channels(): AsyncIterable<Channel> {
    yield* this.#channels
  }

  stats(): ConnectionStats {
    const { sent, lost } = { sent: this.#datagramsSent, lost: this.native.stats().lost }
    const path = this.native.pathStats().find((candidate) => candidate.active)
    return {
      channelBytesSent: this.#channelBytesSent,
      channelBytesReceived: this.#channelBytesReceived,
      wireBytesSent: this.#wireBytesSent,
      wireBytesReceived: this.#wireBytesReceived,
      datagramsSent: sent,
      datagramsReceived: this.#datagramsReceived,
      datagramsLost: lost,
      rttMs: this.#peer === null || path === undefined ? null : path.rtt,
      channelsOpen: this.#channelsOpen,
    }
  }

  close(reason = ''): Promise<void> {
    this.closeWith(CLOSE_CODE.normal, reason)
    return Promise.resolve()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Ends the connection with one of our codes; idempotent. */
  closeWith(code: number, reason: string, end?: ConnectionEnd): void {
    if (this.#end !== null) return
    const text = Buffer.from(reason, 'utf8').subarray(0, REASON_BYTES_MAX)
    try {
      this.native.close(true, code, text)
    } catch (cause) {
      // Done: the engine has closed it already and will say why at the next pass.
      assert(cause instanceof Error, 'the engine throws errors')
    }
    this.#settle(end ?? { by: 'us', code: 'TRANSPORT_CLOSED', reason: reason || 'closed by us' })
    this.flush()
  }

  /** The connection never came about: forget it without waiting for the peer. */
  giveUp(end: ConnectionEnd): void {
    this.closeWith(CLOSE_CODE.normal, end.reason, end)
    this.#vanish()
  }

  // What the endpoint calls.

  /** Takes one datagram; its memory is the engine's from now on. */
  receive(datagram: Uint8Array, from: HostPort, to: HostPort): void {
    if (this.#gone) return
    this.#wireBytesReceived += datagram.byteLength
    this.#datagramsReceived += 1
    try {
      this.native.recv(datagram, { from, to })
    } catch {
      // A forged or damaged datagram is dropped; a fatal one has set localError, seen in the pass.
    }
    this.#host.mark(this)
  }

  /** One pass: everything that has become possible since the last. */
  process(): void {
    if (this.#gone) return
    if (this.#end === null) this.#advance()
    if (this.#end === null && this.#peer !== null) this.#serveStreams()
    this.flush()
  }

  /** Sends what the engine has to send, then sets the next timer. */
  flush(): void {
    if (this.#gone) return
    const { clock } = this.#host.options
    const nowMs = clock.monotonicMs()
    let tokens = this.#pacer.refill(nowMs)
    while (tokens > 0) {
      const memory = this.#host.datagramMemory()
      const sent = this.#nextDatagram(memory)
      if (sent === null) break
      const [length, { from, to }] = sent
      this.#pacer.spend(length)
      tokens -= length
      this.#wireBytesSent += length
      this.#datagramsSent += 1
      this.#sentMs = nowMs
      this.#host.transmit(memory.subarray(0, length), from, to)
    }
    if (tokens <= 0 && !this.#pacing) {
      this.#pacing = true
      clock.schedule(PACE_MS, () => {
        this.#pacing = false
        this.flush()
      })
    }
    this.#noticeEnd()
    if (!this.#gone) this.#arm()
  }

  // What streams call.

  endError(): SqliteVectorError | null {
    return this.#end === null ? null : new SqliteVectorError(this.#end.code, this.#end.reason)
  }

  mark(): void {
    if (!this.#gone) this.#host.mark(this)
  }

  block(stream: QuicStream): void {
    this.#blocked.add(stream)
  }

  unblock(stream: QuicStream): void {
    this.#blocked.delete(stream)
  }

  forget(stream: QuicStream): void {
    if (!this.#streams.delete(stream.id)) return
    if (isBidirectional(stream.id)) this.#channelsOpen -= 1
  }

  countSent(bytes: number): void {
    this.#channelBytesSent += bytes
  }

  countReceived(bytes: number): void {
    this.#channelBytesReceived += bytes
  }

  // Inside.

  #advance(): void {
    const { native } = this
    const established = native.isEstablished()
    if (this.#peer === null && established) this.#authenticate()
    if (!established || this.#end !== null) return
    for (let id = native.retiredScidNext(); id !== null; id = native.retiredScidNext()) {
      this.#host.removeId(id, this)
    }
    this.#supplyIds()
    while (native.pathEventNext() !== null) {
      const path = native.pathStats().find((candidate) => candidate.active)
      if (path !== undefined) this.#remote = path.peerHost
    }
  }

  #authenticate(): void {
    const leaf = this.peerCertificate()
    const fingerprint = leaf === null ? null : certificateFingerprint(leaf)
    if (fingerprint === null || !this.#host.options.trust.allows(fingerprint)) {
      const own = this.#host.options.identity.fingerprint
      this.closeWith(CLOSE_CODE.refused, `the certificate ${fingerprint} is not trusted here`, {
        by: 'error',
        code: 'TRANSPORT_PEER_UNTRUSTED',
        reason: `${untrustedPeer(this.remoteAddress, fingerprint)} (we are ${own})`,
      })
      return
    }
    this.#peer = Object.freeze({ fingerprint })
    const control = this.#openStream(this.isServer ? 3 : 2, STREAM_TYPE.control, false)
    // It fits any window; where the connection ends first, that is told where it matters.
    control.write([this.#host.instance], true).catch(() => {})
    this.#opening.resolve()
    this.#host.onOpen(this)
  }

  /** Spare connection ids let the peer go on from another address (RFC 9000 §5.1.1). */
  #supplyIds(): void {
    const { native } = this
    for (let left = native.sourceCidsLeft(); left > 0; left -= 1) {
      const id = this.#host.random(20)
      const resetToken = BigInt(`0x${Buffer.from(this.#host.random(16)).toString('hex')}`)
      native.newSourceCid(id, resetToken, false)
      this.#host.addId(id, this)
    }
  }

  #serveStreams(): void {
    const { native } = this
    for (const id of native.readable()) {
      const stream = this.#streams.get(id) ?? this.#incoming(id)
      stream?.onReadable()
    }
    const waiting = Array.from(this.#blocked)
    // Who is blocked again after its turn comes last in the next pass.
    this.#blocked.clear()
    for (const stream of waiting) stream.pump(CHANNEL_QUANTUM_BYTES)
    if (this.#creditWaiters.length > 0 && native.peerStreamsLeftBidi() > 0) {
      for (const wake of this.#creditWaiters.splice(0)) wake()
    }
  }

  #openStream(id: number, type: number, read: boolean): QuicStream {
    const stream = new QuicStream(this, id, { read, write: true })
    this.#register(stream)
    stream.write([Uint8Array.of(type)], false).catch(() => {
      // The stream or the connection ended: every later call on it says so.
    })
    return stream
  }

  #register(stream: QuicStream): void {
    this.#streams.set(stream.id, stream)
    if (isBidirectional(stream.id)) this.#channelsOpen += 1
  }

  /** A stream that the peer opened: wait for its type, then give it to whom it is for. */
  #incoming(id: number): QuicStream | undefined {
    const openedByServer = (id & 1) === 1
    // One of our own that we have given up: the rest of it is of no interest.
    if (openedByServer === this.isServer) return undefined
    const stream = new QuicStream(this, id, { read: true, write: isBidirectional(id) })
    this.#register(stream)
    const type = new Uint8Array(1)
    stream.onReadable = () => {
      try {
        if (stream.readInto(type) <= 0) return
      } catch {
        return
      }
      this.#route(stream, type[0] ?? -1)
    }
    return stream
  }

  #route(stream: QuicStream, type: number): void {
    if (isBidirectional(stream.id) && type === STREAM_TYPE.channel) {
      const channel = this.#channelOn(stream)
      if (!this.#channels.push(channel)) channel.abort('the connection is closing')
      return
    }
    if (!isBidirectional(stream.id) && type === STREAM_TYPE.control) {
      this.#readControl(stream)
      return
    }
    const message = `the peer opened a stream of the unknown type ${type}`
    stream.abort(new SqliteVectorError('TRANSPORT_ABORTED', message), STREAM_CODE.unknownType)
  }

  #readControl(stream: QuicStream): void {
    const instance = new Uint8Array(INSTANCE_BYTES)
    let filled = 0
    stream.onReadable = () => {
      try {
        while (filled < INSTANCE_BYTES) {
          const count = stream.readInto(instance.subarray(filled))
          if (count <= 0) return
          filled += count
        }
        stream.readInto(new Uint8Array(1))
      } catch {
        // The peer gave its control stream up: it stays unaccepted, and the handshake timer ends it.
        return
      }
      this.#peerInstance = instance
      this.#accepting.resolve()
    }
    stream.onReadable()
  }

  #channelOn(stream: QuicStream): QuicChannel {
    return new QuicChannel(stream, this.#host.options.frameBytesMax)
  }

  #nextDatagram(memory: Uint8Array): ReturnType<NativeConnection['send']> {
    try {
      return this.native.send(memory)
    } catch (cause) {
      const reason = `the QUIC engine cannot send: ${String(cause)}`
      if (this.#end === null) this.#settle({ by: 'error', code: 'TRANSPORT_CLOSED', reason })
      this.#vanish()
      return null
    }
  }

  #noticeEnd(): void {
    const { native } = this
    const peerError = native.peerError()
    const localError = this.#end === null ? native.localError() : null
    const closed = native.isClosed()
    if (this.#end === null && (peerError !== null || localError !== null || closed)) {
      const leaf = this.#peer === null ? this.peerCertificate() : null
      this.#settle(
        describeEnd({
          peerError,
          localError,
          timedOut: native.isTimedOut(),
          established: this.#peer !== null,
          idleTimeoutMs: this.#host.options.maxIdleTimeoutMs,
          ownFingerprint: this.#host.options.identity.fingerprint,
          peerFingerprint:
            this.#peer?.fingerprint ?? (leaf === null ? null : certificateFingerprint(leaf)),
          remoteAddress: this.remoteAddress,
        }),
      )
    }
    if (closed) this.#vanish()
  }

  #settle(end: ConnectionEnd): void {
    assert(this.#end === null, 'C2')
    this.#end = Object.freeze(end)
    const error = must(this.endError(), 'C2')
    this.#opening.reject(error)
    this.#accepting.reject(error)
    for (const stream of this.#streams.values()) stream.connectionEnded(error)
    for (const wake of this.#creditWaiters.splice(0)) wake()
    this.#channels.end()
    this.#ending.resolve(this.#end)
    this.#host.onEnd(this)
  }

  #vanish(): void {
    if (this.#gone) return
    this.#gone = true
    this.#cancelTimer?.()
    this.#host.onGone(this)
  }

  #arm(): void {
    const { clock, keepAliveMs } = this.#host.options
    let delayMs = this.native.timeout() ?? Number.POSITIVE_INFINITY
    if (this.#end === null && keepAliveMs > 0 && this.#channelsOpen > 0) {
      delayMs = Math.min(delayMs, this.#sentMs + keepAliveMs - clock.monotonicMs())
    }
    if (delayMs === Number.POSITIVE_INFINITY) return
    const atMs = clock.monotonicMs() + delayMs
    // An earlier timer looks again when it fires: cheaper than setting a new one after every packet.
    if (this.#cancelTimer !== null && this.#timerAtMs <= atMs) return
    this.#cancelTimer?.()
    this.#timerAtMs = atMs
    delayMs = Math.max(1, Math.ceil(delayMs))
    this.#cancelTimer = clock.schedule(delayMs, () => this.#onTimer())
  }

  #onTimer(): void {
    this.#cancelTimer = null
    if (this.#gone) return
    const { clock, keepAliveMs } = this.#host.options
    const timeoutMs = this.native.timeout()
    if (timeoutMs !== null && timeoutMs <= 1) this.native.onTimeout()
    const silentMs = clock.monotonicMs() - this.#sentMs
    if (
      this.#end === null &&
      keepAliveMs > 0 &&
      this.#channelsOpen > 0 &&
      silentMs >= keepAliveMs
    ) {
      this.native.sendAckEliciting()
    }
    this.process()
  }
}

function isBidirectional(streamId: number): boolean {
  return (streamId & 2) === 0
}

assert(INSTANCE_BYTES < DATAGRAM_BYTES, 'a control stream fits one datagram')
