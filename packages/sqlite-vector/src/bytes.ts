/**
 * Small conversions between bytes, text and numbers that several layers need. No I/O, no state.
 */

import { encoding } from '#platform'

const encoder = new TextEncoder()
const decoder = new TextDecoder()

const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) =>
  byte.toString(16).padStart(2, '0'),
)

/** The value of each hexadecimal digit by its character code; 255 for every other character. */
const NIBBLES: Uint8Array = (() => {
  const values = new Uint8Array(128).fill(255)
  for (let value = 0; value < 16; value += 1) {
    const digit = value.toString(16)
    values[digit.charCodeAt(0)] = value
    values[digit.toUpperCase().charCodeAt(0)] = value
  }
  return values
})()

/** Length of `text` in UTF-8 bytes. */
export function utf8ByteLength(text: string): number {
  return encoding.utf8Length(text)
}

/** `text` as UTF-8 bytes. */
export function utf8ToBytes(text: string): Uint8Array {
  return encoder.encode(text)
}

/** Lowercase hexadecimal of `bytes`. */
export function bytesToHex(bytes: Uint8Array): string {
  return hexAt(bytes, 0, bytes.byteLength)
}

/** The bytes that `hex` names. Give an even number of hexadecimal digits. */
export function hexToBytes(hex: string): Uint8Array {
  const bytes = new Uint8Array(hex.length >>> 1)
  writeHex(bytes, 0, hex)
  return bytes
}

/** Lowercase hexadecimal of `bytes` from `start` to before `end`. */
export function hexAt(bytes: Uint8Array, start: number, end: number): string {
  let hex = ''
  for (let at = start; at < end; at += 1) hex += HEX[bytes[at] ?? 0]
  return hex
}

/**
 * Writes the bytes that `hex` names at `offset`. @throws RangeError for a character that is not a
 * digit
 */
export function writeHex(bytes: Uint8Array, offset: number, hex: string): void {
  for (let at = 0; at + 1 < hex.length; at += 2) {
    const high = NIBBLES[hex.charCodeAt(at)] ?? 255
    const low = NIBBLES[hex.charCodeAt(at + 1)] ?? 255
    if (high > 15 || low > 15) throw new RangeError(`hex must be hexadecimal digits, got ${hex}`)
    bytes[offset + (at >>> 1)] = high * 16 + low
  }
}

/** The text that UTF-8 `bytes` hold; what is not UTF-8 becomes U+FFFD. */
export function bytesToUtf8(bytes: Uint8Array): string {
  return decoder.decode(bytes)
}

/** Writes `text` as UTF-8 at `offset`; the bytes written. `bytes` must have room. */
export function writeUtf8(bytes: Uint8Array, offset: number, text: string): number {
  return encoder.encodeInto(text, bytes.subarray(offset)).written
}

/** Base64 of `bytes`, with padding. */
export function bytesToBase64(bytes: Uint8Array): string {
  return encoding.toBase64(bytes)
}

/** Base64url of `bytes`, without padding. */
export function bytesToBase64Url(bytes: Uint8Array): string {
  return encoding.toBase64(bytes, 'base64url')
}

/** The bytes that base64 or base64url `text` holds; other characters are skipped. */
export function base64ToBytes(text: string): Uint8Array {
  return encoding.fromBase64(text)
}

/** One array that holds `parts`, one after another. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.byteLength
  }
  return bytes
}

/** True when both hold the same bytes. */
export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  return encoding.equal(a, b)
}

/** A view of the same memory as bytes: no copy. Minds `byteOffset`. */
export function viewToBytes(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
}

/**
 * The float32 components that little-endian `bytes` hold. A view where the offset is a multiple of
 * four, else a copy. Every platform we run on is little-endian (asserted in store/).
 */
export function bytesToFloat32(bytes: Uint8Array): Float32Array {
  if (bytes.byteOffset % 4 === 0) {
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2)
  }
  return new Float32Array(bytes.slice().buffer)
}

/**
 * Orders strings by their UTF-8 bytes, as SQLite's BINARY collation does. JavaScript's own order is
 * by UTF-16 units, which puts surrogates (the highest code points) before U+E000 to U+FFFF.
 */
export function compareUtf8(a: string, b: string): number {
  if (a === b) return 0
  const length = Math.min(a.length, b.length)
  for (let index = 0; index < length; index += 1) {
    const unitA = a.charCodeAt(index)
    const unitB = b.charCodeAt(index)
    if (unitA !== unitB) return utf8Rank(unitA) - utf8Rank(unitB)
  }
  return a.length - b.length
}

/** A UTF-16 unit such that surrogates come last. */
function utf8Rank(unit: number): number {
  if (unit < 0xd800) return unit
  return unit >= 0xe000 ? unit - 0x800 : unit + 0x2000
}
