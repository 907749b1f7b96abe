/**
 * Small conversions between bytes, text and numbers that several layers need. No I/O, no state.
 */

const encoder = new TextEncoder()

/** Length of `text` in UTF-8 bytes. */
export function utf8ByteLength(text: string): number {
  return Buffer.byteLength(text, 'utf8')
}

/** `text` as UTF-8 bytes. */
export function utf8ToBytes(text: string): Uint8Array {
  return encoder.encode(text)
}

/** Lowercase hexadecimal of `bytes`. */
export function bytesToHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/** The bytes that `hex` names. Give an even number of hexadecimal digits. */
export function hexToBytes(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, 'hex'))
}

/** True when both hold the same bytes. */
export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && Buffer.compare(a, b) === 0
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
