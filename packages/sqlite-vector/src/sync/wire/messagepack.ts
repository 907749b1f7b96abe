/**
 * The MessagePack arrays at the head of frames: written and read by msgpackr, checked before that.
 *
 * msgpackr trusts its input: a declared length of four thousand million makes it allocate as much, and
 * its extensions revive records and classes. So {@link arrayEnd} first walks the bytes without
 * allocating anything: only nil, booleans, integers, float64, strings, binaries and arrays; every length
 * within the bytes at hand; nesting bounded. What passes costs no more than its own length.
 *
 * MessagePack specification: https://github.com/msgpack/msgpack/blob/master/spec.md
 */
import { Packr } from 'msgpackr'

import { SqliteVectorError } from '../../errors.ts'
import { corrupt } from './frame.ts'

const packr = new Packr({ useRecords: false, int64AsType: 'number' })

const DEPTH_MAX = 5

/** What a header array holds. */
export type HeaderValue = null | boolean | number | string | Uint8Array | readonly HeaderValue[]

/** The bytes of `values` as a MessagePack array; valid until they are garbage. */
export function encodeArray(values: readonly HeaderValue[]): Uint8Array {
  return packr.pack(values)
}

/** A value that {@link encodeArray} writes as a MessagePack binary. */
export function binary(bytes: Uint8Array): Uint8Array {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/**
 * The array of at least `countMin` values that starts at `start` of `bytes`, and where it ends. Further
 * values belong to a later release and are ignored. Binaries are views.
 * @throws `SYNC_FRAME_CORRUPT`
 */
export function decodeArray(
  bytes: Uint8Array,
  start: number,
  countMin: number,
): { readonly values: readonly HeaderValue[]; readonly end: number } {
  const token = bytes[start]
  if (token === undefined || !isArrayToken(token)) throw corrupt('no header array')
  const end = valueEnd(bytes, start, 0)
  let values: unknown
  try {
    values = packr.unpack(bytes.subarray(start, end))
  } catch (cause) {
    // The walk let nothing pass that msgpackr refuses; should a release of it differ, the bytes are at fault.
    throw new SqliteVectorError('SYNC_FRAME_CORRUPT', 'malformed frame: unreadable header', {
      cause,
    })
  }
  if (!Array.isArray(values) || values.length < countMin) {
    throw corrupt(`header of fewer than ${countMin} values`)
  }
  return { values: values as readonly HeaderValue[], end }
}

/** @throws `SYNC_FRAME_CORRUPT` unless `value` is an integer from `min` to `max` */
export function integerField(
  value: HeaderValue | undefined,
  min: number,
  max: number,
  what: string,
): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw corrupt(`${what} is no integer from ${min} to ${max}`)
  }
  return value
}

/** @throws `SYNC_FRAME_CORRUPT` unless `value` is a string of at most `bytesMax` UTF-8 bytes, without NUL */
export function textField(value: HeaderValue | undefined, bytesMax: number, what: string): string {
  if (
    typeof value !== 'string' ||
    value.includes('\0') ||
    !value.isWellFormed() ||
    (value.length * 3 > bytesMax && Buffer.byteLength(value) > bytesMax)
  ) {
    throw corrupt(`${what} is no text of at most ${bytesMax} bytes`)
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
    throw corrupt(`${what} is no binary of ${min} to ${max} bytes`)
  }
  return value
}

function isArrayToken(token: number): boolean {
  return (token & 0xf0) === 0x90 || token === 0xdc || token === 0xdd
}

/** Where the value that starts at `at` ends. */
function valueEnd(bytes: Uint8Array, at: number, depth: number): number {
  const token = bytes[at]
  if (token === undefined) throw corrupt('header is cut off')
  if (isArrayToken(token)) return arrayEnd(bytes, at, token, depth)
  const end = at + scalarBytes(bytes, at, token)
  if (end > bytes.byteLength) throw corrupt('header is cut off')
  return end
}

function arrayEnd(bytes: Uint8Array, start: number, token: number, depth: number): number {
  if (depth >= DEPTH_MAX) throw corrupt('header is nested too deep')
  let at = start + 1
  let count = token & 15
  if (token === 0xdc || token === 0xdd) {
    const width = token === 0xdc ? 2 : 4
    count = bigEndian(bytes, at, width)
    at += width
  }
  // Every value takes a byte at least.
  if (count > bytes.byteLength - at) throw corrupt('header array is longer than the frame')
  for (let index = 0; index < count; index += 1) at = valueEnd(bytes, at, depth + 1)
  return at
}

/** Bytes of the value with this token, which is no array. */
function scalarBytes(bytes: Uint8Array, at: number, token: number): number {
  if (token < 0x80 || token >= 0xe0) return 1
  if (token >= 0xa0 && token <= 0xbf) return 1 + (token & 31)
  switch (token) {
    case 0xc0:
    case 0xc2:
    case 0xc3:
      return 1
    case 0xc4:
    case 0xd9:
      return 2 + bigEndian(bytes, at + 1, 1)
    case 0xc5:
    case 0xda:
      return 3 + bigEndian(bytes, at + 1, 2)
    case 0xc6:
    case 0xdb:
      return 5 + bigEndian(bytes, at + 1, 4)
    case 0xcc:
    case 0xd0:
      return 2
    case 0xcd:
    case 0xd1:
      return 3
    case 0xce:
    case 0xd2:
      return 5
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return 9
    default:
      throw corrupt(`header token ${token} is not in use`)
  }
}

function bigEndian(bytes: Uint8Array, at: number, width: number): number {
  if (at + width > bytes.byteLength) throw corrupt('header is cut off')
  let value = 0
  for (let index = 0; index < width; index += 1) value = value * 256 + (bytes[at + index] ?? 0)
  return value
}
