/**
 * Unsigned LEB128: integers from 0 to 2^53 - 1 in one to eight bytes, least significant group
 * first. Pure.
 *
 * Not here: what the integers mean. Reading is total: it never passes `end`, and anything that is
 * not the canonical form of a value (cut off, padded with zero groups, too long) gives one of the
 * negative results below.
 */

/** Bytes that the largest safe integer takes. */
export const VARINT_BYTES_MAX = 8

/** Results of {@link readVarint} for bytes that are not a varint. */
export const VARINT_FAULT = { cut: -1, padded: -2, long: -3 } as const

/**
 * Writes `value` at `at`, where {@link VARINT_BYTES_MAX} bytes must be free; returns the offset
 * after it.
 */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  let rest = value
  let offset = at
  // Bitwise arithmetic is several times faster, and nearly every value is small.
  while (rest > 0x7fffffff) {
    bytes[offset] = (rest % 128) | 128
    offset += 1
    rest = Math.floor(rest / 128)
  }
  while (rest >= 128) {
    bytes[offset] = (rest & 127) | 128
    offset += 1
    rest >>>= 7
  }
  bytes[offset] = rest
  return offset + 1
}

/**
 * Reads the value at `position.at` and moves `position` past it; a {@link VARINT_FAULT} when there
 * is none before `end`.
 */
export function readVarint(bytes: Uint8Array, position: { at: number }, end: number): number {
  let value = 0
  let scale = 1
  for (let length = 0; length < VARINT_BYTES_MAX; length += 1) {
    const byte = bytes[position.at]
    if (position.at >= end || byte === undefined) return VARINT_FAULT.cut
    position.at += 1
    value += (byte & 127) * scale
    if (byte < 128) return byte === 0 && length > 0 ? VARINT_FAULT.padded : value
    scale *= 128
  }
  return VARINT_FAULT.long
}
