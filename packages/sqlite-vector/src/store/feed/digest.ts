/**
 * Digest of a shard: the sum modulo 2^64 of a 64-bit hash of every record, so that its order
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
import { damaged } from '../file/damage.ts'
import { assert } from '../../assert.ts'
import { concatBytes, hexToBytes, utf8ToBytes, viewToBytes, writeUtf8 } from '../../bytes.ts'
import { ID_BYTES_MAX, VERSION_VECTOR_ACTORS_MAX } from '../../limits.ts'
import type { ActorId, RecordValue, Sibling } from '../../model/types.ts'
import { type Hash64 } from '../file/transaction.ts'

/** The sum of no records. */
export const DIGEST_ZERO = 0n

const ACTOR_BYTES = 16
const NONE = 0xffff_ffff
const EMPTY_BYTES: Uint8Array = new Uint8Array(0)
const DOT_BYTES = ACTOR_BYTES + 8
// Most records in a row are of one actor.
let lastActor = ''
let lastActorBytes: Uint8Array = new Uint8Array(ACTOR_BYTES)
let scratch: Uint8Array = new Uint8Array(4 + 4 * DOT_BYTES + ID_BYTES_MAX)
let scratchView: DataView = new DataView(scratch.buffer)

/** The term of the record in its shard's digest; 0 when it has no put. */
export function recordHash(hash: Hash64, id: string, siblings: readonly Sibling[]): bigint {
  if (!siblings.some((sibling) => sibling.value !== null)) return DIGEST_ZERO
  const offset = startHash(siblings.length, id)
  for (const [index, { dot }] of siblings.entries()) {
    writeDot(offset + index * DOT_BYTES, dot.actor, dot.counter)
  }
  return finishHash(hash, offset + siblings.length * DOT_BYTES, id)
}

/** {@link recordHash} of a record whose only sibling is the put (`actor`, `counter`). */
export function putHash(hash: Hash64, id: string, actor: ActorId, counter: number): bigint {
  const offset = startHash(1, id)
  writeDot(offset, actor, counter)
  return finishHash(hash, offset + DOT_BYTES, id)
}

/**
 * The term of a record in a sum that also covers values: the hash of its {@link recordHash}, 8
 * bytes, and of each sibling in the order of dots. All integers little-endian:
 *
 * | bytes | field     | encoding                                         |
 * | ----- | --------- | ------------------------------------------------ |
 * | 4     | embedding | u32, bytes that follow; 2^32 - 1 for a delete    |
 * | …     |           | float32 each, little-endian                      |
 * | 4     | metadata  | u32, bytes that follow; nothing of a delete      |
 * | …     |           | UTF-8                                            |
 * | 4     | text      | u32, bytes that follow; 2^32 - 1 for no text     |
 * | …     |           | UTF-8                                            |
 */
export function payloadHash(
  hash: Hash64,
  names: bigint,
  values: readonly (RecordValue | null)[],
): bigint {
  const head = new Uint8Array(8)
  new DataView(head.buffer).setBigUint64(0, names, true)
  const parts: Uint8Array[] = [head]
  for (const value of values) {
    if (value === null) {
      parts.push(lengthOf(NONE))
      continue
    }
    const metadata = utf8ToBytes(value.metadata)
    const embedding = value.embedding === null ? EMPTY_BYTES : viewToBytes(value.embedding)
    parts.push(lengthOf(embedding.length), embedding, lengthOf(metadata.length), metadata)
    if (value.text === null) {
      parts.push(lengthOf(NONE))
      continue
    }
    const text = utf8ToBytes(value.text)
    parts.push(lengthOf(text.length), text)
  }
  return hash(concatBytes(parts))
}

function lengthOf(length: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, length, true)
  return bytes
}

function startHash(siblingCount: number, id: string): number {
  assert(siblingCount <= VERSION_VECTOR_ACTORS_MAX, 'at most one sibling per actor')
  const bytesMax = 4 + siblingCount * DOT_BYTES + id.length * 3
  if (scratch.length < bytesMax) {
    scratch = new Uint8Array(bytesMax)
    scratchView = new DataView(scratch.buffer)
  }
  scratchView.setUint32(0, siblingCount, true)
  return 4
}

function writeDot(offset: number, actor: ActorId, counter: number): void {
  scratch.set(actorBytes(actor), offset)
  scratchView.setUint32(offset + ACTOR_BYTES, counter % 0x1_0000_0000, true)
  scratchView.setUint32(offset + ACTOR_BYTES + 4, Math.floor(counter / 0x1_0000_0000), true)
}

function finishHash(hash: Hash64, offset: number, id: string): bigint {
  return hash(scratch.subarray(0, offset + writeUtf8(scratch, offset, id)))
}

function actorBytes(actor: ActorId): Uint8Array {
  if (actor !== lastActor) {
    lastActorBytes = hexToBytes(actor)
    lastActor = actor
  }
  return lastActorBytes
}

/** `sum` with `before` taken out and `after` put in. */
export function exchange(sum: bigint, before: bigint, after: bigint): bigint {
  return BigInt.asUintN(64, sum - before + after)
}

/** Eight bytes, big-endian, as the file keeps them. */
export function digestToBytes(sum: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, sum)
  return bytes
}

/** The sum that {@link digestToBytes} wrote. */
export function bytesToDigest(bytes: Uint8Array): bigint {
  if (bytes.byteLength !== 8) throw damaged('the digest of a shard is not 8 bytes long')
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(0)
}

/** Sixteen lowercase hexadecimal digits, as people and peers see it. */
export function digestToHex(sum: bigint): string {
  return sum.toString(16).padStart(16, '0')
}
