/**
 * One QUIC connection: authenticates the peer, hands out channels, says how it ended.
 *
 *   handshaking ──leaf trusted──► open ──peer's control stream──► accepted
 *        any ──close, error, timeout──► ended ──drained──► gone
 *
 * Datagrams and timers are quic/pump.ts's business, sockets the endpoint's. Invariants:
 *   C1  No byte of a peer is shown, and no channel of it delivered, before its leaf certificate was
 *       judged; that is done on every connection, resumed ones included.
 *   C2  `end` is set once; from then on every call rejects with it, reads after what had arrived.
 *   C3  Before the handshake is done (early data, which can be replayed) a channel that was opened
 *       for it sends at most EARLY_FRAMES_MAX frames, all together EARLY_BYTES_MAX bytes; the rest
 *       waits. Nothing that came so, not even the name of the peer's process, decides between two
 *       connections.
 *   C4  A peer that was assumed in early data, by the certificate in its session ticket, is judged
 *       again by the certificate that completed the handshake, before anything else is read or
 *       sent. Where the two differ the connection ends, and frames meant for the assumed peer are
 *       not sent again.
 *
 * Each side opens one control stream (quic/control.ts), which names its process. The listener does
 * so when it has taken the peer in, so its arrival tells the dialler that it is accepted: in TLS
 * 1.3 a client's handshake ends before the server has judged its certificate.
 *
 * Reference: RFC 9000 §5, §10; RFC 9001 §4.1.2, §4.6.
 */
import { X509Certificate } from 'node:crypto'
import { assert, must } from '../../assert.ts'
import { SqliteVectorError } from '../../errors.ts'
import { EARLY_BYTES_MAX } from '../../limits.ts'
import { formatAddress } from '../address.ts'
import type { HostPort } from '../address.ts'
import { certificateFingerprint } from '../identity/certificate.ts'
import { timeFault } from '../identity/trust.ts'
import type { NativeConnection } from './binding.ts'
import { controlParts, readControl } from './control.ts'
import { CLOSE_CODE, describeEnd, peerChanged } from './errors.ts'
import type { QuicPasses } from './passes.ts'
import { QuicPump } from './pump.ts'
import type { PumpHost } from './pump.ts'
import { STREAM_TYPE } from './stream.ts'
import type { QuicStream } from './stream.ts'
import { StreamTable } from './stream-table.ts'
import type { StreamTableHost } from './stream-table.ts'
import type {
  Channel,
  ChannelOptions,
  Connection,
  ConnectionEnd,
  ConnectionStats,
  PeerIdentity,
} from '../types.ts'

const ID_BYTES = 20
const REASON_BYTES_MAX = 256

/** Further counts of QUIC. */
export interface QuicConnectionStats extends ConnectionStats {
  /** Bytes that may be under way at once. */
  readonly congestionWindowBytes: number
  /** Estimated rate of delivery in bytes per second. */
  readonly deliveryRate: number
  /** Size of the largest datagram sent now. */
  readonly datagramBytes: number
  /** True when the handshake resumed an earlier session. */
  readonly resumed: boolean
  /** Fate of data sent before the handshake was done. */
  readonly earlyData: 'none' | 'taken' | 'refused'
  /** Times that the peer's address changed. */
  readonly pathChanges: number
  /** Channels opened since the start, by either side. */
  readonly channelsOpened: number
}

/** Refusal of a peer. */
export interface Refusal {
  readonly closeCode: number
  /** Reason that the peer is told. */
  readonly toPeer: string
  readonly end: ConnectionEnd
}

/** Services of the endpoint that owns the connection. */
export interface ConnectionHost extends Pick<PumpHost, 'options' | 'datagramMemory' | 'transmit'> {
  readonly shutdownRead: number
  readonly shutdownWrite: number
  /** Names this process on control streams. */
  readonly instance: Uint8Array
  random(byteLength: number): Uint8Array
  /** Proves, after a restart, that we gave out this connection id. */
  resetToken(id: Uint8Array): bigint
  readonly passes: QuicPasses
  addId(id: Uint8Array, connection: QuicConnection): void
  removeId(id: Uint8Array, connection: QuicConnection): void
  /** The handshake is done or has failed; called again when the connection ends. */
  handshakeOver(connection: QuicConnection): void
  onGone(connection: QuicConnection): void
}

/** Decisions on a connection and news of it, for the owner of the endpoint. */
export interface ConnectionEvents {
  /** Judges the leaf certificate; null when the peer showed none. */
  judge(connection: QuicConnection, leaf: Uint8Array | null): PeerIdentity | Refusal
  /** The peer is authenticated: frames can flow. */
  onOpen(connection: QuicConnection): void
  /** The handshake is done. */
  onEstablished(connection: QuicConnection): void
  /** The peer's control stream has arrived: the peer accepts us, and its process has a name. */
  onAccepted(connection: QuicConnection): void
  /** The peer opened a channel that carries messages (quic/messages.ts). */
  onMessages(connection: QuicConnection, channel: Channel): void
  onSession(connection: QuicConnection, session: Uint8Array): void
  onEnd(connection: QuicConnection): void
}

export interface ConnectionInit {
  readonly isServer: boolean
  readonly remote: HostPort
  readonly sourceId: Uint8Array
  readonly datagramBytes: number
  /** The address that was dialled, as the pool knows it; null on the listening side. */
  readonly dialled: string | null
  /** True when a ticket was given to the engine. */
  readonly resuming: boolean
}

export class QuicConnection implements Connection, PumpHost, StreamTableHost {
  readonly isServer: boolean
  readonly dialled: string | null
  readonly pump: QuicPump
  readonly closed: Promise<ConnectionEnd>
  /** Resolves when frames can be sent; rejects when the connection ends before. */
  readonly opened: Promise<void>
  /** Resolves when the handshake is done. */
  readonly established: Promise<void>
  /** Resolves when the peer has taken us in, too. */
  readonly accepted: Promise<void>
  /**
   * End of what the peer proved its identity with, milliseconds since 1970; set when it is judged.
   */
  notAfterMs: number = Number.POSITIVE_INFINITY
  /** Reason why it is not handed out any more; null while it is. */
  retiredFor: string | null = null
  readonly #host: ConnectionHost
  readonly #init: ConnectionInit
  readonly #events: ConnectionEvents
  readonly #streams: StreamTable
  readonly #opening = Promise.withResolvers<void>()
  readonly #establishing = Promise.withResolvers<void>()
  readonly #accepting = Promise.withResolvers<void>()
  readonly #ending = Promise.withResolvers<ConnectionEnd>()
  #remote: HostPort
  #peer: PeerIdentity | null = null
  #peerInstance: string | null = null
  #end: ConnectionEnd | null = null
  #isEstablished = false
  #wasEarly = false
  /** The peer is the one of the session ticket: not proven in this handshake yet (C4). */
  #isAssumed = false
  #earlyTaken = false
  #earlyBytesLeft = EARLY_BYTES_MAX
  #hasSession = false
  #pathChanges = 0

  constructor(
    host: ConnectionHost,
    events: ConnectionEvents,
    native: NativeConnection,
    init: ConnectionInit,
  ) {
    this.#host = host
    this.#events = events
    this.#init = init
    this.isServer = init.isServer
    this.dialled = init.dialled
    this.#remote = init.remote
    this.opened = this.#opening.promise
    this.established = this.#establishing.promise
    this.accepted = this.#accepting.promise
    this.closed = this.#ending.promise
    // A dialler awaits these; on the listening side they may have no listener.
    for (const promise of [this.opened, this.established, this.accepted]) promise.catch(() => {})
    this.pump = new QuicPump(this, native, init.datagramBytes)
    this.#streams = new StreamTable(this)
    host.addId(init.sourceId, this)
  }

  get native(): NativeConnection {
    return this.pump.native
  }

  get options(): ConnectionHost['options'] {
    return this.#host.options
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

  /** True once it was open. */
  get wasOpen(): boolean {
    return this.#peer !== null
  }

  get end(): ConnectionEnd | null {
    return this.#end
  }

  /**
   * Ended before the peer accepted it, for a reason that may be the ticket's: other limits, another
   * peer or an older certificate than the full handshake would show.
   */
  get failedByTicket(): boolean {
    if (!this.#init.resuming || this.#end === null || this.#peerInstance !== null) return false
    const { code, by } = this.#end
    if (code === 'TRANSPORT_CLOSED') return by !== 'us'
    // A resumed session shows the certificates of the one before; both sides may have newer ones.
    const isOfSession = code === 'TRANSPORT_PEER_UNTRUSTED' && this.native.isResumed()
    return isOfSession || code === 'TRANSPORT_PEER_CHANGED' || code === 'TRANSPORT_REFUSED_BY_PEER'
  }

  get process(): string | null {
    return this.#peerInstance
  }

  /** Names the peer's process; null until its control stream has arrived. */
  get peerInstance(): string | null {
    return this.#peerInstance
  }

  /** Since when no channel is open, on the monotonic clock; null while one is. */
  get idleSinceMs(): number | null {
    return this.#streams.idleSinceMs
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

  openChannel(options: ChannelOptions = {}): Promise<Channel> {
    return this.openTyped(STREAM_TYPE.channel, options)
  }

  /** A channel of one of the types in STREAM_TYPE. */
  openTyped(type: number, options: ChannelOptions): Promise<Channel> {
    return this.#streams.open(type, options)
  }

  channels(): AsyncIterable<Channel> {
    return this.#streams.channels()
  }

  stats(): QuicConnectionStats {
    const path = this.pump.activePath()
    return {
      ...this.pump.counts(),
      ...this.#streams.counts(),
      datagramsLost: this.native.stats().lost,
      rttMs: this.#peer === null || path === undefined ? null : path.rtt,
      congestionWindowBytes: path?.cwnd ?? 0,
      deliveryRate: path?.deliveryRate ?? 0,
      datagramBytes: this.pump.datagramBytes,
      resumed: this.native.isResumed(),
      earlyData: this.#earlyData(),
      pathChanges: this.#pathChanges,
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
    // A listener that never gets the end of our handshake cannot read that it is over.
    if (!this.isServer && this.#peer !== null) this.pump.flush()
    if (this.#end !== null) return
    this.#keepSession()
    const text = Buffer.from(reason, 'utf8').subarray(0, REASON_BYTES_MAX)
    try {
      this.native.close(true, code, text)
    } catch (cause) {
      // Done: the engine has closed it already.
      assert(cause instanceof Error, 'the engine throws errors')
    }
    this.#settle(end ?? { by: 'us', code: 'TRANSPORT_CLOSED', reason: reason || 'closed by us' })
    this.pump.flush()
  }

  /** The connection never came about: forget it without waiting for the peer. */
  giveUp(end: ConnectionEnd): void {
    this.closeWith(CLOSE_CODE.normal, end.reason, end)
    this.pump.stop()
  }

  // Called by the pump.

  datagramMemory(byteLength: number): Uint8Array {
    return this.#host.datagramMemory(byteLength)
  }

  transmit(datagram: Uint8Array, from: HostPort, to: HostPort): void {
    this.#host.transmit(datagram, from, to)
  }

  passSoon(): void {
    this.#host.passes.passSoon(this.pump)
  }

  progress(): void {
    if (this.#end === null) this.#noticeEnd()
    if (this.#end === null) this.#advance()
    if (this.#end === null && this.#peer !== null) this.#streams.serve()
  }

  received(): void {
    if (!this.#isAssumed || this.#isEstablished || this.#end !== null) return
    if (this.native.isEstablished()) this.#advance()
  }

  gone(error: Error | null): void {
    if (this.#end === null) this.#noticeEnd()
    if (this.#end === null) {
      const reason = `the QUIC engine failed: ${error?.message ?? 'no reason given'}`
      this.#settle({ by: 'error', code: 'TRANSPORT_CLOSED', reason })
    }
    this.#host.onGone(this)
  }

  isBlocked(): boolean {
    return this.#streams.isBlocked
  }

  wanted(): boolean {
    return this.isOpen
  }

  // Called by streams and channels.

  endError(): SqliteVectorError | null {
    return this.#end === null ? null : new SqliteVectorError(this.#end.code, this.#end.reason)
  }

  flushSoon(): void {
    if (!this.pump.isGone) this.#host.passes.flushSoon(this.pump)
  }

  takeEarly(bytes: number): boolean {
    if (this.#isEstablished) return true
    if (bytes > this.#earlyBytesLeft) return false
    this.#earlyBytesLeft -= bytes
    return true
  }

  get isEarly(): boolean {
    return !this.#isEstablished
  }

  onControl(stream: QuicStream): void {
    readControl(stream, ({ instance, earlyTaken }) => {
      if (this.#peerInstance !== null) return
      this.#peerInstance = instance
      this.#earlyTaken = earlyTaken
      this.#noticeAcceptance()
    })
  }

  onMessages(channel: Channel): void {
    this.#events.onMessages(this, channel)
  }

  // Inside.

  #advance(): void {
    const { native } = this
    const isEstablished = native.isEstablished()
    const isEarly = !isEstablished && native.isInEarlyData()
    if (isEarly) this.#wasEarly = true
    if (this.#peer === null && (isEstablished || isEarly)) this.#authenticate()
    if (!isEstablished || this.#end !== null) return
    const becomesEstablished = !this.#isEstablished
    if (becomesEstablished) {
      if (this.#isAssumed && !this.#proveAssumed()) return
      this.#isEstablished = true
      this.#establishing.resolve()
      this.#host.handshakeOver(this)
      this.#events.onEstablished(this)
      this.#noticeAcceptance()
    }
    this.#keepSession()
    for (let id = native.retiredScidNext(); id !== null; id = native.retiredScidNext()) {
      this.#host.removeId(id, this)
    }
    this.#supplyIds(becomesEstablished)
    while (native.pathEventNext() !== null) this.#noticePath()
  }

  #authenticate(): void {
    const judged = this.#events.judge(this, this.peerCertificate())
    if ('closeCode' in judged) {
      // A peer that resumes a session cannot read a refusal before the handshake is done: it is
      // judged again then.
      if (!this.native.isEstablished()) return
      this.closeWith(judged.closeCode, judged.toPeer, judged.end)
      return
    }
    this.#peer = Object.freeze(judged)
    this.#isAssumed = !this.native.isEstablished()
    const earlyTaken = this.isServer && this.#wasEarly
    this.#streams.openControl(controlParts(this.#host.instance, earlyTaken))
    this.#opening.resolve()
    this.#events.onOpen(this)
  }

  /** Judges an assumed peer again; false when the connection ended by that (C4). */
  #proveAssumed(): boolean {
    const judged = this.#events.judge(this, this.peerCertificate())
    const refusal = 'closeCode' in judged ? judged : this.#changedPeer(judged)
    if (refusal === null) {
      this.#isAssumed = false
      return true
    }
    // The ticket of this handshake would be kept under the name of the assumed peer.
    this.#hasSession = true
    this.#streams.abandon(new SqliteVectorError(refusal.end.code, refusal.end.reason))
    this.closeWith(refusal.closeCode, refusal.toPeer, refusal.end)
    return false
  }

  #changedPeer(judged: PeerIdentity): Refusal | null {
    const { fingerprint, nodeId, invite } = this.peer
    const isSame =
      judged.fingerprint === fingerprint && judged.nodeId === nodeId && judged.invite === invite
    if (isSame) return null
    return {
      closeCode: CLOSE_CODE.peerChanged,
      toPeer: 'another node was expected at your address',
      end: peerChanged(this.remoteAddress, fingerprint, judged.fingerprint),
    }
  }

  #earlyData(): 'none' | 'taken' | 'refused' {
    if (!this.#wasEarly) return 'none'
    return this.isServer || this.#earlyTaken ? 'taken' : 'refused'
  }

  /** The ticket comes a moment after the handshake; the first one is enough. */
  #keepSession(): void {
    if (this.isServer || this.#hasSession || this.#peerInstance === null) return
    const session = this.native.session()
    if (session === null) return
    this.#hasSession = true
    this.#events.onSession(this, session)
  }

  /**
   * Spare connection ids let the peer go on from another address (RFC 9000 §5.1.1). The first ones
   * come a turn after the handshake: before the first request or answer they cost it a datagram and
   * half a millisecond.
   */
  #supplyIds(becomesEstablished: boolean): void {
    const { native } = this
    if (becomesEstablished) {
      this.passSoon()
      return
    }
    for (let left = native.sourceCidsLeft(); left > 0; left -= 1) {
      const id = this.#host.random(ID_BYTES)
      native.newSourceCid(id, this.#host.resetToken(id), false)
      this.#host.addId(id, this)
    }
  }

  #noticePath(): void {
    const remote = this.pump.activePath()?.peerHost
    if (remote === undefined) return
    if (remote.host === this.#remote.host && remote.port === this.#remote.port) return
    this.pump.noteFormerPeer(this.#remote)
    this.#remote = remote
    this.#pathChanges += 1
  }

  /** Not before the handshake is done: a replayed control stream must not pass for a peer. */
  #noticeAcceptance(): void {
    if (this.#peerInstance === null || !this.#isEstablished || this.#end !== null) return
    this.#accepting.resolve()
    this.#events.onAccepted(this)
  }

  #noticeEnd(): void {
    const { native } = this
    const peerError = native.peerError()
    const localError = native.localError()
    if (peerError === null && localError === null && !native.isClosed()) return
    // An assumed peer is not the one whose certificate failed.
    const isKnown = this.#peer !== null && !this.#isAssumed
    const leaf = isKnown ? null : this.peerCertificate()
    const { identity, maxIdleTimeoutMs, clock } = this.#host.options
    const nowMs = clock.nowMs()
    this.#settle(
      describeEnd({
        peerError,
        localError,
        timedOut: native.isTimedOut(),
        established: this.#isEstablished,
        idleTimeoutMs: maxIdleTimeoutMs,
        ownFingerprint: identity.fingerprint,
        peerFingerprint: isKnown
          ? this.peer.fingerprint
          : leaf === null
            ? null
            : certificateFingerprint(leaf),
        remoteAddress: this.remoteAddress,
        peerTimeFault: leaf === null ? null : timeFault(new X509Certificate(leaf), nowMs),
        ownTimeFault: timeFault(new X509Certificate(identity.certificatePem), nowMs),
      }),
    )
  }

  #settle(end: ConnectionEnd): void {
    assert(this.#end === null, 'C2')
    this.#end = Object.freeze(end)
    const error = must(this.endError(), 'C2')
    this.#opening.reject(error)
    this.#establishing.reject(error)
    this.#accepting.reject(error)
    this.#streams.end(error)
    this.#ending.resolve(this.#end)
    this.#host.handshakeOver(this)
    this.#events.onEnd(this)
  }
}
