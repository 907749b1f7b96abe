/**
 * One QUIC stream as bytes: ordered writes that wait for credit, reads that take only what is asked
 * for.
 *
 * Not frames (framing.ts) and not a channel (quic/channel.ts). Invariants:
 *   S1  A write settles once the engine took all its bytes, in the order of the calls; the engine
 *       takes only what the peer's windows and the congestion window allow. That is back-pressure.
 *   S2  Nothing is read out of the engine before a reader asks (but for a few bytes behind it,
 *       framing.ts): an idle reader stalls the writer.
 *   S3  After the first failure both directions are given up and every call rejects with its error.
 *
 * The first byte of every stream says what it carries ({@link STREAM_TYPE}), as HTTP/3 does it
 * (RFC 9114 §6.2). Reference: RFC 9000 §2–4.
 */
import { SqliteVectorError } from '../../errors.ts'
import { RECEIVE_WINDOW_STREAM_BYTES_MAX } from '../../limits.ts'
import { abortable, abortedError } from '../abortable.ts'
import { AHEAD_BYTES } from '../framing.ts'
import type { ByteSource } from '../framing.ts'
import type { NativeConnection } from './binding.ts'

/** Content of a stream, named by its first byte. */
export const STREAM_TYPE = {
  /** Unidirectional, one from each side: the name of the process (quic/connection.ts). */
  control: 0,
  /** Bidirectional: frames both ways until both sides finish. */
  channel: 1,
  /** Bidirectional: one message in each frame, answers back (quic/messages.ts). */
  messages: 2,
} as const

/** Codes of RESET_STREAM and STOP_SENDING. */
export const STREAM_CODE = { aborted: 1, unknownType: 2 } as const

const NOTHING = new Uint8Array()
/**
 * A small frame is read together with the type of its stream: one call into the engine, no list of
 * streams.
 */
const SCRATCH = new Uint8Array(AHEAD_BYTES)
/** Takes the bytes of a stream that was given up. */
const DISCARDED = new Uint8Array(65_536)
/** A peer that sends more than this after we gave a stream up is told to stop… */
const DISCARDED_BYTES_MAX = 2 * RECEIVE_WINDOW_STREAM_BYTES_MAX
/** …and sooner where our own direction had ended, so that no reset of it told the peer. */
const DISCARDED_BYTES_UNTOLD_MAX = 1_048_576

/** Services of the stream table that owns a stream. */
export interface StreamHost {
  readonly native: NativeConnection
  readonly shutdownRead: number
  readonly shutdownWrite: number
  /** The error of calls on an ended connection; null while it lives. */
  endError(): SqliteVectorError | null
  /** Something may have to be sent. */
  flushSoon(): void
  /**
   * A stream without waiting writes has one: true when it may go ahead at once, since no writer
   * waits.
   */
  mayWrite(stream: QuicStream): boolean
  /** The stream has writes that wait for credit. */
  block(stream: QuicStream): void
  unblock(stream: QuicStream): void
  /** A reader of the stream found nothing… */
  starve(stream: QuicStream): void
  /** …and something now. */
  feed(stream: QuicStream): void
  /** Both directions are done. */
  forget(stream: QuicStream): void
  countSent(bytes: number): void
  countReceived(bytes: number): void
}

interface PendingWrite {
  readonly parts: readonly Uint8Array[]
  readonly fin: boolean
  part: number
  offset: number
  written: boolean
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export class QuicStream implements ByteSource {
  readonly id: number
  /** Called when bytes, the end or a failure can be read. */
  onReadable: () => void = () => {}
  readonly #host: StreamHost
  readonly #writes: PendingWrite[] = []
  #failure: SqliteVectorError | null = null
  #readEnded: boolean
  #writeEnded: boolean
  #isStarved = false
  /** After a failure: nothing more can arrive. */
  #isDrained = false
  #discardedBytes = 0
  /** Read with the type of the stream and not asked for yet. */
  #ahead: Uint8Array = NOTHING

  constructor(host: StreamHost, id: number, directions: { read: boolean; write: boolean }) {
    this.#host = host
    this.id = id
    this.#readEnded = !directions.read
    this.#writeEnded = !directions.write
  }

  /** True once nothing more can be read or written. */
  get done(): boolean {
    return this.#failure !== null || (this.#readEnded && this.#writeEnded)
  }

  /** Sends `parts` in order, then, with `fin`, the end. Settles when the engine has all of it. */
  write(parts: readonly Uint8Array[], fin: boolean, signal?: AbortSignal): Promise<void> {
    const error = this.#writeError()
    if (error !== null) return Promise.reject(error)
    if (signal?.aborted === true) return Promise.reject(abortedError(signal))
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const write: PendingWrite = { parts, fin, part: 0, offset: 0, written: false, resolve, reject }
    this.#writes.push(write)
    if (this.#writes.length === 1 && this.#host.mayWrite(this)) this.pump(Number.POSITIVE_INFINITY)
    this.#host.flushSoon()
    // A write that the engine took at once needs no listener: the usual case.
    if (write.written || signal === undefined) return promise
    return abortable<void>(signal, (taken, refused) => {
      promise.then(taken, refused)
      return () => this.#giveUp(write)
    })
  }

  /** Hands waiting writes to the engine, about `quantum` bytes at most; whether it took any. */
  pump(quantum: number): boolean {
    let budget = quantum
    for (let write = this.#writes[0]; write !== undefined; write = this.#writes[0]) {
      if (budget > 0) budget -= this.#push(write, budget)
      if (this.#failure !== null) return true
      if (!write.written) {
        this.#host.block(this)
        return budget < quantum
      }
      this.#writes.shift()
      if (write.fin) this.#writeEnded = true
      write.resolve()
    }
    this.#host.unblock(this)
    this.#forgetIfDone()
    return true
  }

  readInto(into: Uint8Array): number {
    if (this.#readEnded && this.#ahead.length === 0) return -1
    if (this.#failure !== null) throw this.#failure
    if (this.#ahead.length > 0) return this.#takeAhead(into)
    let result: readonly [number, boolean] | null
    try {
      result = this.#host.native.streamRecv(this.id, into)
    } catch (cause) {
      const error = this.#host.endError() ?? streamError(cause)
      this.#isDrained = true
      this.#finishForPeer()
      this.fail(error)
      throw error
    }
    if (result === null) {
      const ended = this.#host.endError()
      if (ended === null) {
        this.#isStarved = true
        this.#host.starve(this)
        return 0
      }
      this.fail(ended)
      throw ended
    }
    if (this.#isStarved) {
      this.#isStarved = false
      this.#host.feed(this)
    }
    const [count, fin] = result
    this.#host.countReceived(count)
    // Reading frees credit that the peer must hear of.
    this.#host.flushSoon()
    if (fin) {
      this.#readEnded = true
      this.#forgetIfDone()
    }
    return count === 0 && fin ? -1 : count
  }

  /**
   * The first byte, with what came behind it kept for {@link readInto}; -1 while there is none, or
   * at the end.
   */
  readType(): number {
    const count = this.readInto(SCRATCH)
    if (count <= 0) return -1
    this.#ahead = SCRATCH.slice(1, count)
    return SCRATCH[0] ?? -1
  }

  /** Gives up both directions; the peer sees a reset with `code`. */
  abort(error: SqliteVectorError, code: number): void {
    this.#ahead = NOTHING
    if (this.done) return
    this.#endWrite(code)
    this.fail(error)
  }

  /** A writer that nobody reads for would not learn that the peer gave the stream up. */
  noticeReset(): void {
    if (this.#writes.length === 0 || this.#readEnded || this.done) return
    try {
      this.#host.native.streamRecv(this.id, NOTHING)
    } catch (cause) {
      this.#isDrained = true
      this.#finishForPeer()
      this.fail(this.#host.endError() ?? streamError(cause))
    }
  }

  /** The connection is over: writes fail at once, reads once what has arrived is taken. */
  connectionEnded(error: SqliteVectorError): void {
    for (const write of this.#writes.splice(0)) write.reject(error)
    this.onReadable()
  }

  /** Rejects waiting calls with `error`; tells the peer nothing. */
  fail(error: SqliteVectorError): void {
    if (this.done) return
    this.#failure = error
    for (const write of this.#writes.splice(0)) write.reject(error)
    this.#host.unblock(this)
    const notify = this.onReadable
    this.onReadable = () => this.#drain()
    notify()
    this.#drain()
  }

  /**
   * Reads a stream that was given up to its end, and forgets it then: the engine credits bytes to
   * the peer only when they are read, and frees a stream only when its end was read.
   */
  #drain(): void {
    if (this.#readEnded) this.#isDrained = true
    while (!this.#isDrained) {
      try {
        const result = this.#host.native.streamRecv(this.id, DISCARDED)
        if (result === null && this.#host.endError() === null) {
          this.#host.starve(this)
          return
        }
        this.#discardedBytes += result?.[0] ?? 0
        this.#isDrained = result === null || result[1]
        this.#host.flushSoon()
      } catch {
        // Reset by the peer, or gone with the connection: that is the end.
        this.#isDrained = true
      }
      const most = this.#writeEnded ? DISCARDED_BYTES_UNTOLD_MAX : DISCARDED_BYTES_MAX
      if (this.#discardedBytes > most) this.#stopPeer()
    }
    this.#host.feed(this)
    this.#host.forget(this)
  }

  #takeAhead(into: Uint8Array): number {
    const count = Math.min(into.length, this.#ahead.length)
    into.set(this.#ahead.subarray(0, count))
    this.#ahead = this.#ahead.subarray(count)
    return count
  }

  /** Hands over as much of one write as credit and `budget` allow; returns the bytes taken. */
  #push(write: PendingWrite, budget: number): number {
    let pushed = 0
    for (;;) {
      const part = write.parts[write.part] ?? NOTHING
      const isLast = write.part >= write.parts.length - 1
      const end = Math.min(part.length, write.offset + budget - pushed)
      const fin = write.fin && isLast && end === part.length
      const taken = this.#streamSend(part.subarray(write.offset, end), fin)
      // Null: no credit at all, and a wanted end was not taken either.
      if (taken === null) return pushed
      pushed += taken
      write.offset += taken
      if (write.offset < part.length) return pushed
      if (isLast) {
        write.written = true
        return pushed
      }
      write.part += 1
      write.offset = 0
    }
  }

  #streamSend(bytes: Uint8Array, fin: boolean): number | null {
    // Without bytes and without an end there is nothing to say: an empty frame's own part.
    if (bytes.length === 0 && !fin) return 0
    try {
      const { native } = this.#host
      const taken = native.streamSend(this.id, bytes, fin)
      // Null means no credit, but also that the engine has forgotten the stream: this call tells by
      // throwing.
      if (taken === null) native.streamCapacity(this.id)
      else this.#host.countSent(taken)
      return taken
    } catch (cause) {
      this.#endWrite(STREAM_CODE.aborted)
      this.fail(this.#host.endError() ?? streamError(cause))
      return null
    }
  }

  #giveUp(write: PendingWrite): void {
    const index = this.#writes.indexOf(write)
    if (index < 0) return
    if (write.part === 0 && write.offset === 0) {
      this.#writes.splice(index, 1)
      if (this.#writes.length === 0) this.#host.unblock(this)
      return
    }
    const message = 'a frame was given up when part of it was under way'
    this.abort(new SqliteVectorError('TRANSPORT_ABORTED', message), STREAM_CODE.aborted)
  }

  #writeError(): SqliteVectorError | null {
    if (this.#failure !== null) return this.#failure
    const ended = this.#host.endError()
    if (ended !== null) return ended
    const finishing = this.#writeEnded || this.#writes.at(-1)?.fin === true
    return finishing ? new SqliteVectorError('TRANSPORT_CLOSED', 'the channel is finished') : null
  }

  /** Resets our direction, unless its end is said already. */
  #endWrite(code: number): void {
    if (!this.#writeEnded) this.#shutDown(this.#host.shutdownWrite, code)
    this.#host.flushSoon()
  }

  /**
   * Ends our direction after the peer gave the stream up. It reads on to our end, and what it reads
   * is credited to us; after a reset its engine would drop what had arrived, and the credit with it.
   */
  #finishForPeer(): void {
    if (this.#writeEnded) return
    try {
      const taken = this.#host.native.streamSend(this.id, NOTHING, true)
      if (taken !== null) {
        this.#writeEnded = true
        this.#host.flushSoon()
        return
      }
    } catch {
      // The engine knows the stream no more: the reset below finds nothing to do.
    }
    this.#endWrite(STREAM_CODE.aborted)
  }

  /** The peer goes on sending though we gave the stream up. */
  #stopPeer(): void {
    this.#isDrained = true
    this.#shutDown(this.#host.shutdownRead, STREAM_CODE.aborted)
  }

  #shutDown(direction: number, code: number): void {
    try {
      this.#host.native.streamShutdown(this.id, direction, code)
    } catch {
      // The engine has finished that direction already: nothing is left to give up.
    }
  }

  #forgetIfDone(): void {
    if (this.#readEnded && this.#writeEnded) this.#host.forget(this)
  }
}

/** True for a stream that carries bytes both ways (RFC 9000 §2.1). */
export function isBidirectional(streamId: number): boolean {
  return (streamId & 2) === 0
}

/** Maps quiche's error on a stream that the peer gave up, or that is gone. */
function streamError(cause: unknown): SqliteVectorError {
  const text = cause instanceof Error ? cause.message : String(cause)
  const code = /^Stream(?:Reset|Stopped)\((\d+)\)$/.exec(text)?.[1]
  const message =
    code === undefined
      ? `the channel is gone (${text})`
      : `the peer aborted the channel (code ${code})`
  return new SqliteVectorError('TRANSPORT_ABORTED', message, { cause })
}
