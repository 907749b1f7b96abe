/**
 * Drives one engine connection: datagrams in and out, its timers, keep-alive, pacing, packet size.
 *
 * Knows nothing of peers, streams or frames (quic/connection.ts). Invariant: after every datagram,
 * timer and pass the engine is asked for what to send and when it wants to be woken next.
 *
 * Packet size: the engine does no path MTU discovery. Datagrams start at the configured size; when
 * a path that took the handshake then swallows everything larger than 1,200 bytes (three timeouts
 * in a row without an answer), they shrink to that, which every QUIC path must carry (RFC 9000
 * §14). A path that was dead for a moment, or a machine that was busy, looks the same, so the full
 * size is tried again after a second; each time that fails, after twice as long.
 *
 * Address changes: what was under way to a peer's former address is lost, but the engine keeps a
 * loss detector for each path, and that of the former path waits for an acknowledgement of one of
 * its own packets, which can never come. So when its timer fires, its probe is sent to where the
 * peer is now: the acknowledgement of that one tells the engine that all before it were lost.
 *
 * Loss: when the engine's BBR hears of one, it takes what is under way at that moment for all that
 * the path carries. So where writers wait, the room that an acknowledgement makes is filled before
 * the next one is heard.
 *
 * Reference: RFC 9000 §10 (idle, closing), RFC 9002 §6.2 (timeouts).
 */
import { abortable } from '../abortable.ts'
import { isLoopback } from '../address.ts'
import type { HostPort } from '../address.ts'
import { CONNECTION_IDS_MAX } from '../../limits.ts'
import type { NativeConnection, NativePathStats } from './binding.ts'
import type { ResolvedQuicOptions } from './options.ts'
import { QuicPacer } from './pacer.ts'

/** Datagram size that every QUIC path carries. */
export const DATAGRAM_BYTES_MIN = 1_200

const PACE_MS = 1
/** Sent in one go; some milliseconds of system calls. */
const FLUSH_DATAGRAMS_MAX = 32
const TIMEOUTS_BEFORE_SHRINKING = 3
const REGROW_MS = 1_000
const REGROW_MS_MAX = 60_000

/** Services of the owner of a pump. */
export interface PumpHost {
  readonly options: ResolvedQuicOptions
  /** Memory for one datagram of at most `byteLength`; not used again while it is being sent. */
  datagramMemory(byteLength: number): Uint8Array
  transmit(datagram: Uint8Array, from: HostPort, to: HostPort): void
  /** The engine has taken a datagram; called before anything that it made possible is done. */
  received(): void
  /** Something came in: {@link QuicPump.progress} soon. */
  passSoon(): void
  /** True while writers wait until more may be under way. */
  isBlocked(): boolean
  /** Between input and output: does the work that has become possible. */
  progress(): void
  /** The engine has nothing more to say, ever. */
  gone(error: Error | null): void
  /** True while the connection is in use. */
  wanted(): boolean
}

export interface PumpCounts {
  readonly wireBytesSent: number
  readonly wireBytesReceived: number
  readonly datagramsSent: number
  readonly datagramsReceived: number
}

export class QuicPump {
  readonly native: NativeConnection
  readonly #host: PumpHost
  readonly #pacer: QuicPacer
  readonly #datagramBytesFull: number
  #datagramBytes: number
  #regrowAtMs = Number.POSITIVE_INFINITY
  #regrowMs = REGROW_MS
  #cancelTimer: (() => void) | null = null
  #timerAtMs = 0
  #isPacing = false
  /**
   * After the last flush there was more to say: it waits for time or for acknowledgements, and is
   * not idle.
   */
  #waited = false
  #isGone = false
  #sentMs: number
  #receivedMs: number
  #timeoutsUnanswered = 0
  /** Addresses that the peer has left, newest last. */
  readonly #formerPeers: HostPort[] = []
  readonly #listeners: (() => void)[] = []
  /** Packets that had been decrypted when the peer was last asked for a sign of life. */
  #packetsBefore = 0
  #wireBytesSent = 0
  #wireBytesReceived = 0
  #datagramsSent = 0
  #datagramsReceived = 0

  constructor(host: PumpHost, native: NativeConnection, datagramBytes: number) {
    this.#host = host
    this.native = native
    this.#datagramBytes = datagramBytes
    this.#datagramBytesFull = datagramBytes
    this.#sentMs = host.options.clock.monotonicMs()
    this.#receivedMs = this.#sentMs
    const gain = host.options.congestionControl === 'bbr' ? 2 : 1.25
    this.#pacer = new QuicPacer(gain, datagramBytes, () => this.#pathToPace())
  }

  get isGone(): boolean {
    return this.#isGone
  }

  /** When the peer was last heard, on the monotonic clock. */
  get receivedMs(): number {
    return this.#receivedMs
  }

  /** Largest datagram that is sent now. */
  get datagramBytes(): number {
    return this.#datagramBytes
  }

  counts(): PumpCounts {
    return {
      wireBytesSent: this.#wireBytesSent,
      wireBytesReceived: this.#wireBytesReceived,
      datagramsSent: this.#datagramsSent,
      datagramsReceived: this.#datagramsReceived,
    }
  }

  #pathToPace(): NativePathStats | undefined {
    const path = this.activePath()
    return path === undefined || isLoopback(path.peerHost.host) ? undefined : path
  }

  activePath(): NativePathStats | undefined {
    return this.native.pathStats().find((path) => path.active)
  }

  /**
   * Takes one datagram; its memory is the engine's from now on. Returns the reason why the engine
   * refused it, or null.
   */
  receive(datagram: Uint8Array, from: HostPort, to: HostPort): string | null {
    if (this.#isGone) return null
    let refusedFor: string | null = null
    this.#wireBytesReceived += datagram.byteLength
    this.#datagramsReceived += 1
    try {
      this.native.recv(datagram, { from, to })
      this.#receivedMs = this.#host.options.clock.monotonicMs()
      this.#timeoutsUnanswered = 0
      this.#noticeLife()
    } catch (error) {
      // A forged or damaged datagram is dropped; a fatal one has set localError, seen in the pass.
      refusedFor = error instanceof Error ? error.message : String(error)
    }
    this.#host.received()
    if (refusedFor === null && this.#host.isBlocked() && !isLoopback(from.host)) this.run()
    else this.#host.passSoon()
    return refusedFor
  }

  /** Does the work that has become possible. Its output leaves with the next {@link flush}. */
  progress(): void {
    if (!this.#isGone) this.#host.progress()
  }

  /** Both at once. */
  run(): void {
    this.progress()
    this.flush()
  }

  /** Sends what the engine has to send, then sets the next timer. */
  flush(): void {
    if (this.#isGone) return
    const { clock } = this.#host.options
    const nowMs = clock.monotonicMs()
    if (nowMs >= this.#regrowAtMs) this.#regrow()
    let tokens = this.#pacer.refill(nowMs, this.#waited)
    let datagramsLeft = FLUSH_DATAGRAMS_MAX
    while (tokens > 0) {
      if (datagramsLeft === 0) {
        // Datagrams that came in meanwhile are read first: acknowledgements open the window.
        this.#host.passSoon()
        break
      }
      datagramsLeft -= 1
      const memory = this.#host.datagramMemory(this.#datagramBytes)
      const sent = this.#nextDatagram(memory)
      if (sent === null) break
      const [length, { from, to }] = sent
      this.#countSent(length)
      tokens -= length
      this.#sentMs = nowMs
      this.#host.transmit(memory.subarray(0, length), from, to)
    }
    const isOut = tokens <= 0
    this.#waited = isOut || this.#host.isBlocked()
    if (isOut && !this.#isPacing) {
      this.#isPacing = true
      clock.schedule(PACE_MS, () => {
        this.#isPacing = false
        this.run()
      })
    }
    if (this.native.isClosed()) this.stop()
    else this.#arm()
  }

  /** The peer has another address now. */
  noteFormerPeer(former: HostPort): void {
    this.#formerPeers.push(former)
    if (this.#formerPeers.length > CONNECTION_IDS_MAX) this.#formerPeers.shift()
  }

  /** Asks the peer for a sign of life; whether it gave one, or ended the connection, in time. */
  async isAnswering(deadlineMs: number, signal: AbortSignal | undefined): Promise<boolean> {
    if (this.#isGone) return false
    this.native.sendAckEliciting()
    this.#packetsBefore = this.native.stats().recv
    const answer = abortable<boolean>(signal, (resolve) => {
      const cancel = this.#host.options.clock.schedule(deadlineMs, () => resolve(false))
      this.#listeners.push(() => {
        cancel()
        resolve(true)
      })
      return cancel
    })
    this.flush()
    return answer
  }

  /** Ends without another word. */
  stop(error: Error | null = null): void {
    if (this.#isGone) return
    this.#isGone = true
    this.#cancelTimer?.()
    for (const listener of this.#listeners.splice(0)) listener()
    this.#host.gone(error)
  }

  #nextDatagram(memory: Uint8Array): ReturnType<NativeConnection['send']> {
    if (this.#isGone) return null
    try {
      return this.native.send(memory)
    } catch (cause) {
      this.stop(cause instanceof Error ? cause : new Error(String(cause)))
      return null
    }
  }

  #arm(): void {
    if (this.#isGone) return
    const { clock, keepAliveMs } = this.#host.options
    let delayMs = this.native.timeout() ?? Number.POSITIVE_INFINITY
    if (keepAliveMs > 0 && this.#host.wanted()) {
      delayMs = Math.min(delayMs, this.#sentMs + keepAliveMs - clock.monotonicMs())
    }
    if (delayMs === Number.POSITIVE_INFINITY) return
    const atMs = clock.monotonicMs() + delayMs
    // An earlier timer looks again when it fires: cheaper than setting a new one after every
    // packet.
    if (this.#cancelTimer !== null && this.#timerAtMs <= atMs) return
    this.#cancelTimer?.()
    this.#timerAtMs = atMs
    this.#cancelTimer = clock.schedule(Math.max(1, Math.ceil(delayMs)), () => this.#onTimer())
  }

  #onTimer(): void {
    this.#cancelTimer = null
    if (this.#isGone) return
    const { clock, keepAliveMs } = this.#host.options
    const timeoutMs = this.native.timeout()
    if (timeoutMs !== null && timeoutMs <= 1) {
      this.native.onTimeout()
      this.#noticeSilence()
      this.#probeFormerPaths()
    }
    const silentMs = clock.monotonicMs() - this.#sentMs
    if (keepAliveMs > 0 && silentMs >= keepAliveMs && this.#host.wanted()) {
      this.native.sendAckEliciting()
    }
    this.run()
  }

  /**
   * Only a packet that decrypts is a sign of life: anyone can send to our port from the peer's
   * address.
   */
  #noticeLife(): void {
    if (this.#listeners.length === 0 || this.native.stats().recv <= this.#packetsBefore) return
    for (const listener of this.#listeners.splice(0)) listener()
  }

  #probeFormerPaths(): void {
    if (this.#formerPeers.length === 0) return
    const paths = this.native.pathStats()
    const active = paths.find((path) => path.active)
    if (active === undefined) return
    for (const { active: isActive, localHost, peerHost } of paths) {
      const isFormer = this.#formerPeers.some((former) => isSame(former, peerHost))
      if (isActive || !isFormer) continue
      const memory = this.#host.datagramMemory(DATAGRAM_BYTES_MIN)
      const probe = this.native.sendOnPath(memory, localHost, peerHost)
      if (probe === null) continue
      this.#countSent(probe[0])
      this.#host.transmit(memory.subarray(0, probe[0]), active.localHost, active.peerHost)
    }
  }

  #countSent(length: number): void {
    this.#pacer.spend(length)
    this.#wireBytesSent += length
    this.#datagramsSent += 1
  }

  #noticeSilence(): void {
    this.#timeoutsUnanswered += 1
    if (this.#timeoutsUnanswered < TIMEOUTS_BEFORE_SHRINKING) return
    if (!this.native.isEstablished() || this.#datagramBytes === DATAGRAM_BYTES_MIN) return
    this.#datagramBytes = DATAGRAM_BYTES_MIN
    this.#regrowAtMs = this.#host.options.clock.monotonicMs() + this.#regrowMs
    this.#regrowMs = Math.min(REGROW_MS_MAX, this.#regrowMs * 2)
  }

  #regrow(): void {
    this.#datagramBytes = this.#datagramBytesFull
    this.#regrowAtMs = Number.POSITIVE_INFINITY
    this.#timeoutsUnanswered = 0
  }
}

function isSame(a: HostPort, b: HostPort): boolean {
  return a.port === b.port && a.host === b.host
}
