/**
 * Fingerprint of a shard: the sum modulo 2^64 of a 64-bit hash of every record, so that its order
 * does not matter and one record's change costs one subtraction and one addition. Pure, apart from
 * the scratch memory it reuses.
 *
 * Only records that have a put among their siblings count: tombstones are collected at different
 * times on different replicas, and that must not change the sum.
 *
 * Hashed bytes of a record (xxHash64, seed 0), all integers little-endian:
 *
 * | bytes | field    | encoding                                |
 * | ----- | -------- | --------------------------------------- |
 * | 4     | siblings | u32, count of the dots that follow      |
 * | 16    | actor    | raw, per sibling in the order of dots   |
 * | 8     | counter  | u64, after each actor                   |
 * | …     | id       | UTF-8, to the end                       |
 */
import { assert } from '../assert.ts'
import { ID_BYTES_MAX, VERSION_VECTOR_ACTORS_MAX } from '../limits.ts'
import type { Sibling } from '../sync/types.ts'

/** xxHash64 of bytes, seed 0. */
export type Hash64 = (bytes: Uint8Array) => bigint

/** The sum of no records. */
export const FINGERPRINT_ZERO = 0n

const DOT_BYTES = 24
let scratch = Buffer.alloc(4 + 4 * DOT_BYTES + ID_BYTES_MAX)

/** What the record adds to its shard's fingerprint; 0 when it has no put. */
export function recordHash(hash: Hash64, id: string, siblings: readonly Sibling[]): bigint {
  if (!siblings.some((sibling) => sibling.value !== null)) return FINGERPRINT_ZERO
  assert(siblings.length <= VERSION_VECTOR_ACTORS_MAX, 'at most one sibling per actor')
  const bytesMax = 4 + siblings.length * DOT_BYTES + id.length * 3
  if (scratch.length < bytesMax) scratch = Buffer.alloc(bytesMax)
  let offset = scratch.writeUInt32LE(siblings.length, 0)
  for (const { dot } of siblings) {
    offset += scratch.write(dot.actor, offset, 16, 'hex')
    offset = scratch.writeUInt32LE(dot.counter % 0x1_0000_0000, offset)
    offset = scratch.writeUInt32LE(Math.floor(dot.counter / 0x1_0000_0000), offset)
  }
  offset += scratch.write(id, offset, 'utf8')
  return hash(scratch.subarray(0, offset))
}

/** `sum` with `before` taken out and `after` put in. */
export function exchange(sum: bigint, before: bigint, after: bigint): bigint {
  return BigInt.asUintN(64, sum - before + after)
}

/** Eight bytes, big-endian, as the file keeps them. */
export function fingerprintToBytes(sum: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, sum)
  return bytes
}

/** The sum that {@link fingerprintToBytes} wrote. */
export function bytesToFingerprint(bytes: Uint8Array): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(0)
}

/** Sixteen lowercase hexadecimal digits, as people and peers see it. */
export function fingerprintToHex(sum: bigint): string {
  return sum.toString(16).padStart(16, '0')
}
