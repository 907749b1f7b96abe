/**
 * A channel between two ends in one process: the twin of quic/channel.ts for tests and simulations.
 *
 * Frames are copied when they are sent, travel along a {@link Path} and wait at the other end until
 * they are read; at most `windowBytes` of them (and the frame that crosses that line) are under way
 * or unread, then `send()` waits.
 */
import { SqliteVectorError } from '../../errors.ts'
import { MEMORY_WINDOW_BYTES } from '../../limits.ts'
import { abortable, throwIfAborted } from '../abortable.ts'
import { checkFrameBytes, FRAME_PREFIX_BYTES } from '../framing.ts'
import type { Channel, WaitOptions } from '../types.ts'

/** Carries events to the other end in order, after its delay. */
export interface Path {
  deliver(event: () => void): void
}

/** Services of the connection that owns a channel. */
export interface MemoryChannelHost {
  readonly frameBytesMax: number
  endError(): SqliteVectorError | null
  countSent(bytes: number): void
  countReceived(bytes: number): void
  onDone(channel: MemoryChannel): void
}

interface Receiver {
  readonly resolve: (frame: Uint8Array | null) => void
  readonly reject: (error: unknown) => void
}

export class MemoryChannel implements Channel {
  readonly #host: MemoryChannelHost
  readonly #path: Path
  #twin: MemoryChannel | null = null
  readonly #frames: Uint8Array[] = []
  readonly #receivers: Receiver[] = []
  readonly #senders: { readonly resolve: () => void; readonly reject: (e: unknown) => void }[] = []
  #unreadBytes = 0
  #peerFinished = false
  #endRead = false
  #finished = false
  #failure: SqliteVectorError | null = null

  constructor(host: MemoryChannelHost, path: Path) {
    this.#host = host
    this.#path = path
  }

  static connect(a: MemoryChannel, b: MemoryChannel): void {
    a.#twin = b
    b.#twin = a
  }

  async send(frame: Uint8Array, options: WaitOptions = {}): Promise<void> {
    throwIfAborted(options.signal)
    checkFrameBytes(frame.byteLength, this.#host.frameBytesMax)
    this.#throwIfUnwritable()
    const copy = new Uint8Array(frame)
    while (this.#unreadBytes >= MEMORY_WINDOW_BYTES) {
      await abortable<void>(options.signal, (resolve, reject) => {
        const sender = { resolve, reject }
        this.#senders.push(sender)
        return () => this.#senders.splice(this.#senders.indexOf(sender), 1)
      })
      this.#throwIfUnwritable()
    }
    const bytes = copy.byteLength + FRAME_PREFIX_BYTES
    this.#unreadBytes += bytes
    this.#host.countSent(bytes)
    const twin = this.#twin
    this.#path.deliver(() => twin?.arrive(copy))
  }

  async receive(options: WaitOptions = {}): Promise<Uint8Array | null> {
    throwIfAborted(options.signal)
    return abortable<Uint8Array | null>(options.signal, (resolve, reject) => {
      const receiver = { resolve, reject }
      this.#receivers.push(receiver)
      this.#serve()
      return () => this.#receivers.splice(this.#receivers.indexOf(receiver), 1)
    })
  }

  async finish(): Promise<void> {
    if (this.#finished) return
    this.#throwIfUnwritable()
    this.#finished = true
    const twin = this.#twin
    this.#path.deliver(() => twin?.finishArrived())
    this.#noticeDone()
  }

  abort(reason = 'aborted'): void {
    if (this.#isDone()) return
    const twin = this.#twin
    this.#path.deliver(() => {
      twin?.fail(new SqliteVectorError('TRANSPORT_ABORTED', 'the peer aborted the channel'))
    })
    this.fail(new SqliteVectorError('TRANSPORT_ABORTED', `we gave the channel up: ${reason}`))
  }

  /** Rejects waiting and later calls. */
  fail(error: SqliteVectorError): void {
    if (this.#isDone()) return
    this.#failure = error
    this.#frames.length = 0
    this.#rejectSenders(error)
    for (const receiver of this.#receivers.splice(0)) receiver.reject(error)
    this.#host.onDone(this)
  }

  /** The connection is over: sends fail at once, receives once what had arrived is taken. */
  connectionEnded(error: SqliteVectorError): void {
    this.#rejectSenders(error)
    this.#serve()
  }

  /** The twin's frame is here. */
  arrive(frame: Uint8Array): void {
    if (this.#failure !== null || this.#host.endError() !== null) return
    this.#frames.push(frame)
    this.#serve()
  }

  finishArrived(): void {
    this.#peerFinished = true
    this.#serve()
  }

  #serve(): void {
    while (this.#receivers.length > 0) {
      const frame = this.#frames.shift()
      if (frame !== undefined && frame.byteLength > this.#host.frameBytesMax) {
        this.#refuse(frame.byteLength)
        return
      }
      if (frame !== undefined) {
        const bytes = frame.byteLength + FRAME_PREFIX_BYTES
        this.#host.countReceived(bytes)
        const twin = this.#twin
        this.#path.deliver(() => twin?.credit(bytes))
        this.#receivers.shift()?.resolve(frame)
        continue
      }
      const error = this.#failure ?? (this.#peerFinished ? null : this.#host.endError())
      if (error !== null) {
        for (const receiver of this.#receivers.splice(0)) receiver.reject(error)
        return
      }
      if (!this.#peerFinished) return
      this.#endRead = true
      this.#receivers.shift()?.resolve(null)
      this.#noticeDone()
    }
  }

  credit(bytes: number): void {
    this.#unreadBytes -= bytes
    if (this.#unreadBytes < MEMORY_WINDOW_BYTES) this.#senders.shift()?.resolve()
  }

  #refuse(byteLength: number): void {
    const limit = this.#host.frameBytesMax
    const twin = this.#twin
    this.#path.deliver(() => {
      twin?.fail(new SqliteVectorError('TRANSPORT_ABORTED', 'the peer aborted the channel'))
    })
    const message = `a frame of ${byteLength} bytes exceeds the limit of ${limit}`
    this.fail(new SqliteVectorError('TRANSPORT_FRAME_TOO_LARGE', message))
  }

  #rejectSenders(error: SqliteVectorError): void {
    for (const sender of this.#senders.splice(0)) sender.reject(error)
  }

  #throwIfUnwritable(): void {
    const error = this.#failure ?? this.#host.endError()
    if (error !== null) throw error
    if (this.#finished) {
      throw new SqliteVectorError('TRANSPORT_CLOSED', 'the channel is finished')
    }
  }

  #isDone(): boolean {
    return this.#failure !== null || (this.#finished && this.#endRead)
  }

  #noticeDone(): void {
    if (this.#isDone()) this.#host.onDone(this)
  }
}
