/**
 * The streams of one connection: opens ours, takes the peer's, and gives each its turn.
 *
 * Not the connection's state (quic/connection.ts) and not the bytes of a stream (quic/stream.ts).
 * Invariants:
 *   T1  A stream of the peer is routed once its first byte, the type, has arrived; an unknown type
 *       is reset.
 *   T2  A writer that was not waiting goes ahead of those that are; each turn is of a bounded size
 *       (quic/turns.ts).
 *   T3  A stream counts as open until both of its directions are done; one that was given up, until
 *       all that the peer sent on it has arrived and was credited.
 */
import { SqliteVectorError } from '../../errors.ts'
import { CHANNEL_QUANTUM_BYTES } from '../../limits.ts'
import { abortable, AsyncQueue, throwIfAborted } from '../abortable.ts'
import type { NativeConnection } from './binding.ts'
import { QuicChannel } from './channel.ts'
import type { EarlyGate } from './channel.ts'
import type { ResolvedQuicOptions } from './options.ts'
import { isBidirectional, QuicStream, STREAM_CODE, STREAM_TYPE } from './stream.ts'
import type { StreamHost } from './stream.ts'
import { StreamTurns } from './turns.ts'
import type { Channel, ChannelOptions } from '../types.ts'

/** Readers that are asked one by one whether something has arrived for them. */
const STARVED_ASKED_MAX = 8

/** What a stream table needs of its connection. */
export interface StreamTableHost extends EarlyGate {
  readonly isServer: boolean
  readonly native: NativeConnection
  readonly options: ResolvedQuicOptions
  readonly shutdownRead: number
  readonly shutdownWrite: number
  /** The error of calls on an ended connection; null while it lives. */
  endError(): SqliteVectorError | null
  /** Asks for a flush: something may have to be sent. */
  flushSoon(): void
  /** Asks for a pass: a writer waits for its turn. */
  passSoon(): void
  /** The peer opened its control stream. */
  onControl(stream: QuicStream): void
  /** The peer opened a channel that carries messages. */
  onMessages(channel: Channel): void
}

/** Counts of one connection's streams. */
export interface StreamCounts {
  readonly channelBytesSent: number
  readonly channelBytesReceived: number
  readonly channelsOpen: number
  readonly channelsOpened: number
}

export class StreamTable implements StreamHost {
  readonly #host: StreamTableHost
  readonly #streams = new Map<number, QuicStream>()
  readonly #channels = new AsyncQueue<Channel>()
  readonly #creditWaiters: (() => void)[] = []
  readonly #turns = new StreamTurns<QuicStream>()
  readonly #starved = new Set<QuicStream>()
  #nextBidirectional: number
  /** Above every bidirectional stream of the peer that was seen. */
  #nextOfPeer: number
  #channelsOpen = 0
  #channelsOpened = 0
  #idleSinceMs: number
  #channelBytesSent = 0
  #channelBytesReceived = 0

  constructor(host: StreamTableHost) {
    this.#host = host
    this.#nextBidirectional = host.isServer ? 1 : 0
    this.#nextOfPeer = host.isServer ? 0 : 1
    this.#idleSinceMs = host.options.clock.monotonicMs()
  }

  get native(): NativeConnection {
    return this.#host.native
  }

  get shutdownRead(): number {
    return this.#host.shutdownRead
  }

  get shutdownWrite(): number {
    return this.#host.shutdownWrite
  }

  /** Start of the time without an open channel, on the monotonic clock; null while one is open. */
  get idleSinceMs(): number | null {
    return this.#channelsOpen === 0 ? this.#idleSinceMs : null
  }

  /** True while writers wait for credit. */
  get isBlocked(): boolean {
    return !this.#turns.isEmpty
  }

  counts(): StreamCounts {
    return {
      channelBytesSent: this.#channelBytesSent,
      channelBytesReceived: this.#channelBytesReceived,
      channelsOpen: this.#channelsOpen,
      channelsOpened: this.#channelsOpened,
    }
  }

  /** Channels that the peer opened, until the connection ends. */
  async *channels(): AsyncIterable<Channel> {
    yield* this.#channels
  }

  /** Opens a channel of one of the types in STREAM_TYPE; waits for the peer's limit. */
  async open(type: number, options: ChannelOptions): Promise<Channel> {
    throwIfAborted(options.signal)
    for (;;) {
      const error = this.#host.endError()
      if (error !== null) throw error
      if (this.native.peerStreamsLeftBidi() > 0) break
      await abortable<void>(options.signal, (resolve) => {
        this.#creditWaiters.push(resolve)
        return () => this.#creditWaiters.splice(this.#creditWaiters.indexOf(resolve), 1)
      })
    }
    const stream = this.#openStream(this.#nextBidirectional, type, true)
    this.#nextBidirectional += 4
    return this.#channelOn(stream, options.early === true)
  }

  /** Opens our control stream, with `parts` behind its type. */
  openControl(parts: readonly Uint8Array[]): void {
    const control = this.#openStream(this.#host.isServer ? 3 : 2, STREAM_TYPE.control, false)
    control.write(parts, true).catch(() => {
      // It fits any window. If the connection ends first, every call on it reports that.
    })
  }

  /** Wakes readers, gives writers their turns, and lets waiting openers go on. */
  serve(): void {
    const { native } = this
    this.#serveReaders()
    this.#turns.round((stream) => stream.pump(CHANNEL_QUANTUM_BYTES))
    if (this.#creditWaiters.length > 0 && native.peerStreamsLeftBidi() > 0) {
      for (const wake of this.#creditWaiters.splice(0)) wake()
    }
  }

  /** Drops everything that waits in the engine to be sent: it was meant for another peer. */
  abandon(error: SqliteVectorError): void {
    for (const stream of Array.from(this.#streams.values()))
      stream.abort(error, STREAM_CODE.aborted)
  }

  /** The connection is over: writes fail, reads fail after what had arrived. */
  end(error: SqliteVectorError): void {
    for (const stream of this.#streams.values()) stream.connectionEnded(error)
    for (const wake of this.#creditWaiters.splice(0)) wake()
    this.#channels.end()
  }

  // Called by streams.

  endError(): SqliteVectorError | null {
    return this.#host.endError()
  }

  flushSoon(): void {
    this.#host.flushSoon()
  }

  mayWrite(stream: QuicStream): boolean {
    if (this.#turns.isEmpty) return true
    this.#turns.arrive(stream)
    this.#host.passSoon()
    return false
  }

  block(stream: QuicStream): void {
    this.#turns.wait(stream)
  }

  unblock(stream: QuicStream): void {
    this.#turns.leave(stream)
  }

  starve(stream: QuicStream): void {
    this.#starved.add(stream)
  }

  feed(stream: QuicStream): void {
    this.#starved.delete(stream)
  }

  forget(stream: QuicStream): void {
    this.#starved.delete(stream)
    if (!this.#streams.delete(stream.id)) return
    if (!isBidirectional(stream.id)) return
    this.#channelsOpen -= 1
    this.#idleSinceMs = this.#host.options.clock.monotonicMs()
  }

  countSent(bytes: number): void {
    this.#channelBytesSent += bytes
  }

  countReceived(bytes: number): void {
    this.#channelBytesReceived += bytes
  }

  // Inside.

  /**
   * Getting a list of streams across the binding costs as much as a small frame. So the likely ones
   * are asked one by one first: readers that found too little, and the peer's next stream.
   */
  #serveReaders(): void {
    const { native } = this
    if (this.#starved.size <= STARVED_ASKED_MAX) {
      for (const stream of Array.from(this.#starved)) {
        if (native.streamReadable(stream.id)) stream.onReadable()
      }
    }
    while (native.streamReadable(this.#nextOfPeer)) this.#incoming(this.#nextOfPeer)?.onReadable()
    if (!native.isReadable()) return
    for (const id of native.readable()) {
      const stream = this.#streams.get(id) ?? this.#incoming(id)
      stream?.onReadable()
      stream?.noticeReset()
    }
  }

  #openStream(id: number, type: number, read: boolean): QuicStream {
    const stream = new QuicStream(this, id, { read, write: true })
    this.#register(stream)
    stream.write([Uint8Array.of(type)], false).catch(() => {
      // The stream or the connection ended: every later call on it reports that.
    })
    return stream
  }

  #register(stream: QuicStream): void {
    this.#streams.set(stream.id, stream)
    if (!isBidirectional(stream.id)) return
    this.#channelsOpen += 1
    this.#channelsOpened += 1
  }

  /** A stream that the peer opened: waits for its type, then routes it. */
  #incoming(id: number): QuicStream | undefined {
    const isServers = (id & 1) === 1
    // One of our own that we have given up: the rest of it is of no interest.
    if (isServers === this.#host.isServer) return undefined
    if (isBidirectional(id)) this.#nextOfPeer = Math.max(this.#nextOfPeer, id + 4)
    const stream = new QuicStream(this, id, { read: true, write: isBidirectional(id) })
    this.#register(stream)
    stream.onReadable = () => {
      let type: number
      try {
        type = stream.readType()
      } catch {
        // Reset before its type arrived: no reader waits for it.
        return
      }
      if (type >= 0) this.#route(stream, type)
    }
    return stream
  }

  #route(stream: QuicStream, type: number): void {
    if (isBidirectional(stream.id) && type === STREAM_TYPE.channel) {
      const channel = this.#channelOn(stream, true)
      if (!this.#channels.push(channel)) channel.abort('the connection is closing')
      return
    }
    if (isBidirectional(stream.id) && type === STREAM_TYPE.messages) {
      this.#host.onMessages(this.#channelOn(stream, true))
      return
    }
    if (!isBidirectional(stream.id) && type === STREAM_TYPE.control) {
      this.#host.onControl(stream)
      return
    }
    const message = `the peer opened a stream of the unknown type ${type}`
    stream.abort(new SqliteVectorError('TRANSPORT_ABORTED', message), STREAM_CODE.unknownType)
  }

  /** With `early`, the channel's first frames may leave before the handshake is done. */
  #channelOn(stream: QuicStream, early: boolean): QuicChannel {
    const { frameBytesMax } = this.#host.options
    return new QuicChannel(stream, this.#host, { frameBytesMax, early })
  }
}
