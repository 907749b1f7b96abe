/**
 * Framing: messages over a byte stream.
 *
 * | bytes | field  | encoding                                       |
 * | ----- | ------ | ---------------------------------------------- |
 * | 4     | length | u32 big-endian, 0 to the reader's `frameBytesMax`; 0xffffffff is the end |
 * | …     | frame  | `length` bytes                                 |
 *
 * The end is a mark of four bytes that travels together with the stream's FIN. The FIN alone is not
 * enough: the engine (quiche 0.18) forgets a stream once all its bytes are acknowledged, and with
 * it a FIN that carried no byte and was lost or not sent yet; the reader would wait without end.
 *
 * Knows neither QUIC nor the meaning of a frame. Invariants: a length is judged before a byte of
 * memory is taken for it; memory grows with the bytes that have arrived (it at most doubles), so
 * announcing a large frame costs the announcer's peer nothing; a frame starts at offset 0 of a
 * buffer of its own, so that columns of numbers in it can be used in place.
 */
import { assert } from '../assert.ts'
import { SqliteVectorError } from '../errors.ts'

/** Bytes before each frame. */
export const FRAME_PREFIX_BYTES = 4

const LENGTH_OF_END = 0xffff_ffff

/** Marks the end: no frame follows. Sent with the stream's FIN. */
export const END_MARK: Uint8Array = Uint8Array.of(0xff, 0xff, 0xff, 0xff)

/** Most bytes read behind a prefix before they are asked for. */
export const AHEAD_BYTES = 2_048

const SCRATCH = new Uint8Array(AHEAD_BYTES)
const NOTHING = new Uint8Array()

/** Memory taken for a frame before any of it has arrived. */
const FRAME_BYTES_AT_FIRST = 65_536

/** Source of bytes for a reader. */
export interface ByteSource {
  /** Fills the front of `into`: how many bytes, 0 when none are there yet, -1 at the end. */
  readInto(into: Uint8Array): number
}

/** @throws SqliteVectorError `TRANSPORT_FRAME_TOO_LARGE` */
export function checkFrameBytes(byteLength: number, frameBytesMax: number): void {
  if (byteLength <= frameBytesMax) return
  throw new SqliteVectorError(
    'TRANSPORT_FRAME_TOO_LARGE',
    `a frame of ${byteLength} bytes exceeds the limit of ${frameBytesMax}`,
  )
}

/** The bytes that announce a frame of `byteLength` bytes. */
export function framePrefix(byteLength: number): Uint8Array {
  const prefix = new Uint8Array(FRAME_PREFIX_BYTES)
  new DataView(prefix.buffer).setUint32(0, byteLength)
  return prefix
}

/**
 * Cuts a byte stream into frames; holds at most one unfinished frame, and up to {@link AHEAD_BYTES}
 * that came behind a prefix: small frames then cost one call into the engine, not one for each of
 * their parts.
 */
export class FrameReader {
  readonly #frameBytesMax: number
  readonly #prefix = new Uint8Array(FRAME_PREFIX_BYTES)
  #prefixFilled = 0
  /** Bytes of the frame under way; -1 while its prefix is incomplete. */
  #length = -1
  #frame = new Uint8Array()
  #filled = 0
  #ahead: Uint8Array = NOTHING
  #ended = false

  constructor(frameBytesMax: number) {
    this.#frameBytesMax = frameBytesMax
  }

  /**
   * The next frame, null at the end of the stream, undefined while bytes are missing.
   * @throws SqliteVectorError `TRANSPORT_FRAME_TOO_LARGE`; `TRANSPORT_ABORTED` when the stream ends
   *   inside a frame
   */
  next(source: ByteSource): Uint8Array | null | undefined {
    if (this.#ended) return null
    if (this.#length < 0) {
      const state = this.#readPrefix(source)
      if (state !== 'complete') return state === 'end' ? null : undefined
    }
    while (this.#filled < this.#length) {
      if (this.#filled === this.#frame.length) this.#grow()
      const rest = this.#frame.subarray(this.#filled)
      const count = this.#ahead.length > 0 ? this.#takeAhead(rest) : source.readInto(rest)
      if (count < 0) throw endedInsideFrame()
      if (count === 0) return undefined
      this.#filled += count
      assert(this.#filled <= this.#length, 'a source gives at most what it was asked for')
    }
    const frame = this.#frame
    this.#length = -1
    this.#prefixFilled = 0
    this.#frame = new Uint8Array()
    this.#filled = 0
    return frame
  }

  /** Forgets bytes that were read ahead: the stream was given up. */
  discard(): void {
    this.#ahead = NOTHING
  }

  #readPrefix(source: ByteSource): 'complete' | 'partial' | 'end' {
    while (this.#prefixFilled < FRAME_PREFIX_BYTES) {
      if (this.#ahead.length === 0) {
        const count = source.readInto(SCRATCH)
        if (count === 0) return 'partial'
        if (count < 0) {
          if (this.#prefixFilled > 0) throw endedInsideFrame()
          this.#ended = true
          return 'end'
        }
        this.#ahead = SCRATCH.slice(0, count)
      }
      this.#prefixFilled += this.#takeAhead(this.#prefix.subarray(this.#prefixFilled))
    }
    const length = new DataView(this.#prefix.buffer).getUint32(0)
    if (length === LENGTH_OF_END) {
      this.#ended = true
      return 'end'
    }
    checkFrameBytes(length, this.#frameBytesMax)
    this.#length = length
    this.#frame = uninitialised(Math.min(length, FRAME_BYTES_AT_FIRST))
    return 'complete'
  }

  #takeAhead(into: Uint8Array): number {
    const count = Math.min(into.length, this.#ahead.length)
    into.set(this.#ahead.subarray(0, count))
    this.#ahead = this.#ahead.subarray(count)
    return count
  }

  #grow(): void {
    const larger = uninitialised(Math.min(this.#length, this.#frame.length * 2))
    larger.set(this.#frame)
    this.#frame = larger
  }
}

/** Memory of its own that is not zeroed first: every byte of it is written before it is shown. */
function uninitialised(byteLength: number): Uint8Array<ArrayBuffer> {
  const buffer = Buffer.allocUnsafeSlow(byteLength)
  return new Uint8Array(buffer.buffer, 0, byteLength)
}

function endedInsideFrame(): SqliteVectorError {
  return new SqliteVectorError('TRANSPORT_ABORTED', 'the stream ended inside a frame')
}
