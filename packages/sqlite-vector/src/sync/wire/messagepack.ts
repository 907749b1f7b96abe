/**
 * The MessagePack arrays at the head of frames: a writer, and a reader that is total.
 *
 * Only what headers use is written and read: nil, booleans, integers, float64, strings, binaries
 * and arrays. The reader checks every length against the bytes at hand before it takes anything,
 * and bounds the nesting, so that any input costs no more than its own length and gives values or
 * `SYNC_FRAME_CORRUPT`. Binaries are views.
 *
 * MessagePack specification: https://github.com/msgpack/msgpack/blob/master/spec.md
 */
import { bytesToUtf8, utf8ByteLength, writeUtf8 } from '../../bytes.ts'
import { corrupt } from './frame.ts'

const DEPTH_MAX = 5
const TWO_32 = 0x1_0000_0000

/** A value of a header array. */
export type HeaderValue = null | boolean | number | string | Uint8Array | readonly HeaderValue[]

/** The bytes of `values` as a MessagePack array. */
export function encodeArray(values: readonly HeaderValue[]): Uint8Array {
  const bytes = new Uint8Array(sizeOf(values))
  const view = new DataView(bytes.buffer)
  const end = write(values, view, bytes, 0)
  return end === bytes.length ? bytes : bytes.slice(0, end)
}

/**
 * The array of at least `countMin` values that starts at `start` of `bytes`, and where it ends.
 * Further values belong to a later release and are ignored. Binaries are views.
 * @throws `SYNC_FRAME_CORRUPT`
 */
export function decodeArray(
  bytes: Uint8Array,
  start: number,
  countMin: number,
): { readonly values: readonly HeaderValue[]; readonly end: number } {
  const reader = new Reader(bytes, start)
  const values = reader.next(0)
  if (!Array.isArray(values)) throw corrupt('no header array')
  if (values.length < countMin) throw corrupt(`header of fewer than ${countMin} values`)
  return { values: values as readonly HeaderValue[], end: reader.at }
}

/** @throws `SYNC_FRAME_CORRUPT` unless `value` is an integer from `min` to `max` */
export function integerField(
  value: HeaderValue | undefined,
  min: number,
  max: number,
  what: string,
): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw corrupt(`${what} is not an integer from ${min} to ${max}`)
  }
  return value
}

/**
 * @throws `SYNC_FRAME_CORRUPT` unless `value` is a string of at most `bytesMax` UTF-8 bytes,
 * without NUL
 */
export function textField(value: HeaderValue | undefined, bytesMax: number, what: string): string {
  if (
    typeof value !== 'string' ||
    value.includes('\0') ||
    !value.isWellFormed() ||
    (value.length * 3 > bytesMax && utf8ByteLength(value) > bytesMax)
  ) {
    throw corrupt(`${what} is not a text of at most ${bytesMax} bytes`)
  }
  return value
}

/** @throws `SYNC_FRAME_CORRUPT` unless `value` is a binary of `min` to `max` bytes */
export function bytesField(
  value: HeaderValue | undefined,
  min: number,
  max: number,
  what: string,
): Uint8Array {
  if (!(value instanceof Uint8Array) || value.byteLength < min || value.byteLength > max) {
    throw corrupt(`${what} is not a binary of ${min} to ${max} bytes`)
  }
  return value
}

/** Bytes that `value` takes at most. */
function sizeOf(value: HeaderValue): number {
  if (typeof value === 'string') return 5 + utf8ByteLength(value)
  if (value instanceof Uint8Array) return 5 + value.byteLength
  if (!Array.isArray(value)) return 9
  return (value as readonly HeaderValue[]).reduce<number>((sum, one) => sum + sizeOf(one), 5)
}

/** Writes `value` at `at`; where it ends. */
function write(value: HeaderValue, view: DataView, bytes: Uint8Array, at: number): number {
  if (typeof value === 'number') return writeNumber(value, view, at)
  if (typeof value === 'string') {
    const length = utf8ByteLength(value)
    const from = writeLength(length, view, at, { fix: 0xa0, fixMax: 31, width1: 0xd9 })
    return from + writeUtf8(bytes, from, value)
  }
  if (value instanceof Uint8Array) {
    const from = writeLength(value.byteLength, view, at, { fix: 0, fixMax: -1, width1: 0xc4 })
    bytes.set(value, from)
    return from + value.byteLength
  }
  if (value === null || typeof value === 'boolean') {
    view.setUint8(at, value === null ? 0xc0 : value ? 0xc3 : 0xc2)
    return at + 1
  }
  let end = writeLength(value.length, view, at, { fix: 0x90, fixMax: 15, width1: null })
  for (const one of value) end = write(one, view, bytes, end)
  return end
}

/** Tokens of a type whose length follows: within the token, or in one, two or four bytes. */
interface LengthTokens {
  readonly fix: number
  readonly fixMax: number
  /**
   * Token of a length in one byte; those of two and four bytes follow it. Null: there is none of
   * one byte.
   */
  readonly width1: number | null
}

function writeLength(length: number, view: DataView, at: number, tokens: LengthTokens): number {
  const { fix, fixMax, width1 } = tokens
  if (length <= fixMax) {
    view.setUint8(at, fix + length)
    return at + 1
  }
  if (length < 0x100 && width1 !== null) {
    view.setUint8(at, width1)
    view.setUint8(at + 1, length)
    return at + 2
  }
  const width2 = width1 === null ? 0xdc : width1 + 1
  if (length < 0x1_0000) {
    view.setUint8(at, width2)
    view.setUint16(at + 1, length)
    return at + 3
  }
  view.setUint8(at, width2 + 1)
  view.setUint32(at + 1, length)
  return at + 5
}

/**
 * The shortest integer form up to 32 bits; float64 for everything else, which holds every safe
 * integer.
 */
function writeNumber(value: number, view: DataView, at: number): number {
  if (!Number.isInteger(value) || value < -0x8000_0000 || value >= TWO_32 || Object.is(value, -0)) {
    view.setUint8(at, 0xcb)
    view.setFloat64(at + 1, value)
    return at + 9
  }
  if (value >= -32 && value < 0x80) {
    view.setInt8(at, value)
    return at + 1
  }
  const isNegative = value < 0
  if (isNegative ? value >= -0x80 : value < 0x100) {
    view.setUint8(at, isNegative ? 0xd0 : 0xcc)
    view.setUint8(at + 1, value)
    return at + 2
  }
  if (isNegative ? value >= -0x8000 : value < 0x1_0000) {
    view.setUint8(at, isNegative ? 0xd1 : 0xcd)
    view.setUint16(at + 1, value)
    return at + 3
  }
  view.setUint8(at, isNegative ? 0xd2 : 0xce)
  view.setUint32(at + 1, value)
  return at + 5
}

/** Reads values one after another, never past the end of its bytes. */
class Reader {
  at: number
  readonly #bytes: Uint8Array
  readonly #view: DataView

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.at = at
  }

  next(depth: number): HeaderValue {
    const token = this.#view.getUint8(this.#take(1))
    if (token < 0x80) return token
    if (token >= 0xe0) return token - 0x100
    if (token >= 0xa0 && token <= 0xbf) return this.#text(token & 31)
    if (token <= 0x8f) throw corrupt(`header token ${token} is not in use`)
    if (token <= 0x9f) return this.#array(token & 15, depth)
    return this.#long(token, depth)
  }

  #long(token: number, depth: number): HeaderValue {
    switch (token) {
      case 0xc0:
        return null
      case 0xc2:
      case 0xc3:
        return token === 0xc3
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#binary(this.#unsigned(1 << (token - 0xc4)))
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#unsigned(1 << (token - 0xd9)))
      case 0xdc:
      case 0xdd:
        return this.#array(this.#unsigned(2 << (token - 0xdc)), depth)
      default:
        return this.#number(token)
    }
  }

  #number(token: number): number {
    switch (token) {
      case 0xcb:
        return this.#view.getFloat64(this.#take(8))
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#unsigned(1 << (token - 0xcc))
      case 0xcf:
        return this.#unsigned(4) * TWO_32 + this.#unsigned(4)
      case 0xd0:
        return this.#view.getInt8(this.#take(1))
      case 0xd1:
        return this.#view.getInt16(this.#take(2))
      case 0xd2:
        return this.#view.getInt32(this.#take(4))
      case 0xd3:
        return this.#view.getInt32(this.#take(4)) * TWO_32 + this.#unsigned(4)
      default:
        throw corrupt(`header token ${token} is not in use`)
    }
  }

  #unsigned(width: number): number {
    const at = this.#take(width)
    if (width === 1) return this.#view.getUint8(at)
    return width === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at)
  }

  #text(length: number): string {
    return bytesToUtf8(this.#binary(length))
  }

  #binary(length: number): Uint8Array {
    const at = this.#take(length)
    return this.#bytes.subarray(at, at + length)
  }

  #array(count: number, depth: number): readonly HeaderValue[] {
    if (depth >= DEPTH_MAX) throw corrupt('header is nested too deep')
    // Every value takes a byte at least.
    if (count > this.#bytes.byteLength - this.at) {
      throw corrupt('header array is longer than the frame')
    }
    const values: HeaderValue[] = []
    for (let index = 0; index < count; index += 1) values.push(this.next(depth + 1))
    return values
  }

  /** The offset of the next `length` bytes. @throws `SYNC_FRAME_CORRUPT` when there are fewer */
  #take(length: number): number {
    const at = this.at
    if (length > this.#bytes.byteLength - at) throw corrupt('header is cut off')
    this.at = at + length
    return at
  }
}
