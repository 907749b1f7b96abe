/**
 * Varints: unsigned LEB128 integers up to 2^53 - 1, written to and read from columns of bytes.
 *
 * Not a codec of anything: delta.ts says what the columns mean. The reader is total: every read is
 * bounded by the bytes at hand, and a varint that is not canonical (too long, too large, padded
 * with zero groups) is refused with `SYNC_FRAME_CORRUPT`.
 */
import { readVarint, VARINT_BYTES_MAX, VARINT_FAULT, writeVarint } from '../../varint.ts'
import { corrupt } from './frame.ts'

/** An append-only run of bytes that keeps its memory between uses. */
export class VarintWriter {
  bytes: Uint8Array = new Uint8Array(16_384)
  length = 0

  /** Appends a non-negative safe integer. */
  put(value: number): void {
    if (this.length + VARINT_BYTES_MAX > this.bytes.length) this.#grow()
    this.length = writeVarint(this.bytes, this.length, value)
  }

  #grow(): void {
    const grown = new Uint8Array(this.bytes.length * 2)
    grown.set(this.bytes)
    this.bytes = grown
  }
}

/** Reads what {@link VarintWriter} wrote, never past `end`. */
export class VarintReader {
  readonly bytes: Uint8Array
  readonly end: number
  at: number

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  /** The next integer, from 0 to `max`. @throws `SYNC_FRAME_CORRUPT` */
  next(max: number, what: string): number {
    const at = this.at
    const first = this.bytes[at]
    if (at < this.end && first !== undefined && first < 128) {
      this.at = at + 1
      if (first > max) throw corrupt(`${what} is ${first}, above ${max}`)
      return first
    }
    return this.#long(max, what)
  }

  #long(max: number, what: string): number {
    const value = readVarint(this.bytes, this, this.end)
    if (value === VARINT_FAULT.cut) throw corrupt(`${what} is cut off`)
    if (value === VARINT_FAULT.padded) throw corrupt(`${what} is padded`)
    if (value < 0) throw corrupt(`${what} is longer than ${VARINT_BYTES_MAX} bytes`)
    if (value > max) throw corrupt(`${what} is ${value}, above ${max}`)
    return value
  }
}
