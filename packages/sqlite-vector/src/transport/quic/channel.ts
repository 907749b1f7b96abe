/**
 * A channel on a QUIC stream: frames in, frames out.
 *
 * No protocol: the meaning of a frame is for the layers above. The stream waits for credit; a
 * channel cuts frames (framing.ts) and keeps the readers that wait for the next one.
 */
import { SqliteVectorError } from '../../errors.ts'
import { abortable, throwIfAborted } from '../abortable.ts'
import { EARLY_FRAMES_MAX } from '../../limits.ts'
import { checkFrameBytes, END_MARK, FrameReader, framePrefix } from '../framing.ts'
import { STREAM_CODE } from './stream.ts'
import type { QuicStream } from './stream.ts'
import type { Channel, WaitOptions } from '../types.ts'

/** Frames up to this size are copied behind their prefix: one call into the engine, not two. */
const COPIED_BYTES_MAX = 4_096

/** Limits on frames that leave before the handshake is done. */
export interface EarlyGate {
  readonly isEarly: boolean
  readonly established: Promise<void>
  /** Takes `bytes` from what may be sent early; false when it does not suffice. */
  takeEarly(bytes: number): boolean
}

export interface ChannelInit {
  readonly frameBytesMax: number
  /** True lets frames leave before the handshake is done. */
  readonly early: boolean
}

interface Receiver {
  readonly resolve: (frame: Uint8Array | null) => void
  readonly reject: (error: unknown) => void
}

export class QuicChannel implements Channel {
  readonly #stream: QuicStream
  readonly #frameBytesMax: number
  readonly #reader: FrameReader
  readonly #receivers: Receiver[] = []
  readonly #gate: EarlyGate
  readonly #early: boolean
  #earlyFrames = 0
  /** Frames that wait for the handshake; later ones must not overtake them. */
  #held = 0
  #finished: Promise<void> | null = null

  constructor(stream: QuicStream, gate: EarlyGate, { frameBytesMax, early }: ChannelInit) {
    this.#stream = stream
    this.#gate = gate
    this.#early = early
    this.#frameBytesMax = frameBytesMax
    this.#reader = new FrameReader(frameBytesMax)
    stream.onReadable = () => this.#serve()
  }

  async send(frame: Uint8Array, options: WaitOptions = {}): Promise<void> {
    checkFrameBytes(frame.byteLength, this.#frameBytesMax)
    const prefix = framePrefix(frame.byteLength)
    const parts =
      frame.byteLength <= COPIED_BYTES_MAX ? [Buffer.concat([prefix, frame])] : [prefix, frame]
    if (this.#mustWait(frame.byteLength)) await this.#holdBack(options.signal)
    await this.#stream.write(parts, false, options.signal)
  }

  async receive(options: WaitOptions = {}): Promise<Uint8Array | null> {
    throwIfAborted(options.signal)
    if (this.#receivers.length === 0) {
      const frame = this.#next()
      if (frame !== undefined) return frame
    }
    return abortable<Uint8Array | null>(options.signal, (resolve, reject) => {
      const receiver = { resolve, reject }
      this.#receivers.push(receiver)
      return () => this.#receivers.splice(this.#receivers.indexOf(receiver), 1)
    })
  }

  finish(): Promise<void> {
    this.#finished ??= this.#finish()
    return this.#finished
  }

  abort(reason = 'aborted'): void {
    const error = new SqliteVectorError('TRANSPORT_ABORTED', `we gave the channel up: ${reason}`)
    this.#stream.abort(error, STREAM_CODE.aborted)
    this.#reader.discard()
    this.#serve()
  }

  async #finish(): Promise<void> {
    if (this.#held > 0) await this.#holdBack(undefined)
    await this.#stream.write([END_MARK], true)
  }

  #mustWait(byteLength: number): boolean {
    if (this.#held > 0) return true
    if (!this.#gate.isEarly) return false
    if (!this.#early) return true
    this.#earlyFrames += 1
    return this.#earlyFrames > EARLY_FRAMES_MAX || !this.#gate.takeEarly(byteLength)
  }

  async #holdBack(signal: AbortSignal | undefined): Promise<void> {
    this.#held += 1
    try {
      // All wait for one promise, by one path, so they go on in the order in which they came.
      await abortable<void>(signal, (resolve, reject) => {
        this.#gate.established.then(resolve, reject)
        return () => {}
      })
    } finally {
      this.#held -= 1
    }
  }

  #next(): Uint8Array | null | undefined {
    try {
      return this.#reader.next(this.#stream)
    } catch (error) {
      // Past a bad length nothing can be cut any more.
      if (error instanceof SqliteVectorError) this.#stream.abort(error, STREAM_CODE.aborted)
      throw error
    }
  }

  #serve(): void {
    while (this.#receivers.length > 0) {
      let frame: Uint8Array | null | undefined
      try {
        frame = this.#next()
      } catch (error) {
        for (const receiver of this.#receivers.splice(0)) receiver.reject(error)
        return
      }
      if (frame === undefined) return
      this.#receivers.shift()?.resolve(frame)
    }
  }
}
