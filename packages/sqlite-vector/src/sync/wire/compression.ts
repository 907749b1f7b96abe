/**
 * Compression of BATCH and RECORDS frames: on the way out what is worth it, on the way in back to
 * the very frame that delta.ts wrote. Pure; sessions and the delta codec know nothing of it.
 *
 * A compressed frame:
 *
 * | bytes | field      | encoding |
 * | ----- | ---------- | -------- |
 * | 8     | head       | of the plain frame, checksum included; byte 2 is the codec's number, |
 * |       |            | byte 3 the compressed blocks: 1 front, 2–16 planes 0–3; 32 planes |
 * | 4     | plain      | u32 little-endian: bytes of the plain frame |
 * | 4     | embeddings | u32: where the embeddings begin in it |
 * | 5 × 4 | blocks     | u32 each: bytes of the front and of planes 0–3 as they follow |
 * | …     | front      | the plain frame from byte 8 to the embeddings |
 * | …     | planes     | byte 0 of every float32, then byte 1, 2, 3; without flag 32 the |
 * |       |            | floats as they are, in block 0 |
 *
 * The checksum is that of the plain frame, so it also covers compressing and decompressing. Only
 * the upper bytes of a float (sign, exponent, first bits of the fraction) repeat; the lower ones
 * are noise, which no codec shrinks: hence planes, each compressed only where that gains. (Byte
 * planes: the "shuffle" filter of HDF5 and Blosc.)
 */
import { assert } from '../../assert.ts'
import { FRAME_BYTES_MAX } from '../../limits.ts'
import { CODEC_NUMBERS, type Codec, codecMask, findCodec } from './codecs.ts'
import { corrupt, FRAME_HEAD_BYTES } from './frame.ts'
import { decodeArray } from './messagepack.ts'

/** How frames are compressed. `adaptive`: Zstandard where it gains. */
export type Compression = 'none' | 'lz4' | 'zstd' | 'adaptive'

/** {@link Compression}, as options list it. */
export const COMPRESSIONS: readonly Compression[] = ['none', 'lz4', 'zstd', 'adaptive']

const PLANES = 4
const BLOCKS = 1 + PLANES
const BLOCKS_AT = FRAME_HEAD_BYTES + 4 + 4 + BLOCKS * 4
const FLAG_FRONT = 1
const FLAG_PLANES = 32

/** Below this many bytes the blocks' table and the call cost more than is gained. */
const COMPRESSED_BYTES_MIN = 1_024

/** Share of the embeddings' bytes that compressing them must save to be done at all. */
const PLANE_GAIN_MIN = 0.05

/** Frames between two looks at whether the planes still gain. */
const FRAMES_PER_LOOK = 64

/** Floats looked at for that. */
const FLOATS_LOOKED_AT = 16_384

/**
 * Values of the header of a delta that are needed here: dimension and number of embeddings
 * (delta.ts).
 */
const HEADER = { values: 6, dimension: 1, embeddings: 5 } as const

/**
 * Compresses the frames of one direction of one session. Keeps what it learned about the
 * embeddings: which planes gain.
 */
export class FrameCompressor {
  readonly #codec: Codec
  #planes = 0
  #framesToLook = 0

  private constructor(codec: Codec) {
    this.#codec = codec
  }

  /**
   * null when nothing is to be compressed: not wanted, or not with a codec that the reader offers.
   */
  static for(compression: Compression, offered: number): FrameCompressor | null {
    if (compression === 'none') return null
    const name = compression === 'adaptive' ? 'zstd' : compression
    const codec = findCodec(name)
    if (codec === null || (offered & CODEC_NUMBERS[name]) === 0) return null
    return new FrameCompressor(codec)
  }

  /** `frame`, a sealed delta, compressed; the same where that would not gain. O(bytes). */
  compress(frame: Uint8Array): Uint8Array {
    if (frame.byteLength < COMPRESSED_BYTES_MIN) return frame
    const embeddingsAt = embeddingsOffset(frame)
    const front = frame.subarray(FRAME_HEAD_BYTES, embeddingsAt)
    const embeddings = frame.subarray(embeddingsAt)
    const blocks: Uint8Array[] = []
    let flags = this.#put(front, FLAG_FRONT, blocks)
    const planes = this.#gainingPlanes(embeddings)
    if (planes === 0) {
      blocks.push(embeddings)
    } else {
      flags |= FLAG_PLANES
      for (const [plane, bytes] of splitPlanes(embeddings).entries()) {
        if ((planes & planeFlag(plane)) === 0) blocks.push(bytes)
        else flags |= this.#put(bytes, planeFlag(plane), blocks)
      }
    }
    const total = blocks.reduce((sum, { byteLength }) => sum + byteLength, BLOCKS_AT)
    if (total >= frame.byteLength) return frame
    return assemble(frame, embeddingsAt, flags, CODEC_NUMBERS[this.#codec.name], blocks, total)
  }

  /** Adds `bytes` to `blocks`, compressed where that gains; returns `flag` then, else 0. */
  #put(bytes: Uint8Array, flag: number, blocks: Uint8Array[]): number {
    const compressed = bytes.byteLength === 0 ? bytes : this.#codec.compress(bytes)
    const gains = compressed.byteLength < bytes.byteLength
    blocks.push(gains ? compressed : bytes)
    return gains ? flag : 0
  }

  /** The flags of the planes that are worth compressing, checked again from time to time. */
  #gainingPlanes(embeddings: Uint8Array): number {
    if (this.#framesToLook > 0) {
      this.#framesToLook -= 1
      return embeddings.byteLength === 0 ? 0 : this.#planes
    }
    if (embeddings.byteLength === 0) return 0
    this.#framesToLook = FRAMES_PER_LOOK
    this.#planes = 0
    const sample = embeddings.subarray(0, FLOATS_LOOKED_AT * PLANES)
    let saved = 0
    let gaining = 0
    for (const [plane, bytes] of splitPlanes(sample).entries()) {
      const gain = bytes.byteLength - this.#codec.compress(bytes).byteLength
      if (gain <= bytes.byteLength * PLANE_GAIN_MIN) continue
      saved += gain
      gaining |= planeFlag(plane)
    }
    if (saved > sample.byteLength * PLANE_GAIN_MIN) this.#planes = gaining
    return this.#planes
  }
}

/**
 * The codecs of our HELLO: those that {@link expandFrame} can read here, as a sum of their numbers.
 */
export function offeredCodecs(): number {
  return codecMask()
}

/**
 * The plain frame that `frame` was made of; `frame` itself when it is not compressed. Allocates no
 * more than {@link FRAME_BYTES_MAX}, whatever the bytes say; whether the frame is right its
 * checksum tells.
 * @throws `SYNC_FRAME_CORRUPT`
 */
export function expandFrame(frame: Uint8Array): Uint8Array {
  const number = frame[2] ?? 0
  if (number === 0) return frame
  const codec = findCodec(number)
  if (codec === null) throw corrupt(`compressed with codec ${number}, which we did not offer`)
  if (frame.byteLength < BLOCKS_AT) throw corrupt('a compressed frame that ends in its head')
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  const flags = frame[3] ?? 0
  const plainBytes = view.getUint32(FRAME_HEAD_BYTES, true)
  const embeddingsAt = view.getUint32(FRAME_HEAD_BYTES + 4, true)
  if (
    plainBytes > FRAME_BYTES_MAX ||
    embeddingsAt < FRAME_HEAD_BYTES ||
    embeddingsAt > plainBytes ||
    embeddingsAt % PLANES !== 0 ||
    (plainBytes - embeddingsAt) % PLANES !== 0
  ) {
    throw corrupt('the lengths of a compressed frame disagree')
  }
  const inPlanes = (flags & FLAG_PLANES) !== 0
  const blocks = new BlockReader(frame, view, codec)
  const plain = new Uint8Array(plainBytes)
  plain.set(frame.subarray(0, FRAME_HEAD_BYTES))
  plain[2] = 0
  plain[3] = 0
  plain.set(blocks.next(embeddingsAt - FRAME_HEAD_BYTES, flags & FLAG_FRONT), FRAME_HEAD_BYTES)
  const floatBytes = plainBytes - embeddingsAt
  if (inPlanes) {
    const planes = [0, 1, 2, 3].map((plane) =>
      blocks.next(floatBytes / PLANES, flags & planeFlag(plane)),
    )
    joinPlanes(planes, new Uint32Array(plain.buffer, embeddingsAt, floatBytes / PLANES))
  } else {
    plain.set(blocks.next(floatBytes, 0), embeddingsAt)
  }
  blocks.end()
  return plain
}

/** The blocks of a compressed frame, in their order. */
class BlockReader {
  readonly #frame: Uint8Array
  readonly #view: DataView
  readonly #codec: Codec
  #index = 0
  #at = BLOCKS_AT

  constructor(frame: Uint8Array, view: DataView, codec: Codec) {
    this.#frame = frame
    this.#view = view
    this.#codec = codec
  }

  /** The next block, which must hold `length` bytes. */
  next(length: number, compressedFlag: number): Uint8Array {
    const bytes = this.#view.getUint32(FRAME_HEAD_BYTES + 8 + this.#index * 4, true)
    this.#index += 1
    if (this.#at + bytes > this.#frame.byteLength) throw corrupt('a block reaches beyond the frame')
    const block = this.#frame.subarray(this.#at, this.#at + bytes)
    this.#at += bytes
    if (compressedFlag !== 0) return this.#codec.decompress(block, length)
    if (bytes !== length) throw corrupt('a block of another length than it should have')
    return block
  }

  end(): void {
    if (this.#at !== this.#frame.byteLength) throw corrupt('bytes after the last block')
  }
}

function assemble(
  frame: Uint8Array,
  embeddingsAt: number,
  flags: number,
  codec: number,
  blocks: readonly Uint8Array[],
  total: number,
): Uint8Array {
  const bytes = new Uint8Array(total)
  const view = new DataView(bytes.buffer)
  bytes.set(frame.subarray(0, FRAME_HEAD_BYTES))
  bytes[2] = codec
  bytes[3] = flags
  view.setUint32(FRAME_HEAD_BYTES, frame.byteLength, true)
  view.setUint32(FRAME_HEAD_BYTES + 4, embeddingsAt, true)
  let at = BLOCKS_AT
  for (const [index, block] of blocks.entries()) {
    view.setUint32(FRAME_HEAD_BYTES + 8 + index * 4, block.byteLength, true)
    bytes.set(block, at)
    at += block.byteLength
  }
  return bytes
}

/** The offset of the embeddings in a delta of our own. */
function embeddingsOffset(frame: Uint8Array): number {
  const { values } = decodeArray(frame, FRAME_HEAD_BYTES, HEADER.values)
  const dimension = values[HEADER.dimension]
  const embeddings = values[HEADER.embeddings]
  assert(typeof dimension === 'number' && typeof embeddings === 'number', 'a delta that we wrote')
  return frame.byteLength - dimension * embeddings * 4
}

function planeFlag(plane: number): number {
  return 2 << plane
}

/** Byte 0 of every little-endian float, then byte 1, 2 and 3. */
function splitPlanes(floats: Uint8Array): readonly Uint8Array[] {
  const count = floats.byteLength / PLANES
  const words = new Uint32Array(floats.buffer, floats.byteOffset, count)
  const all = new Uint8Array(count * PLANES)
  const planes = [0, 1, 2, 3].map((plane) => all.subarray(plane * count, (plane + 1) * count))
  const [first, second, third, fourth] = planes as [Uint8Array, Uint8Array, Uint8Array, Uint8Array]
  for (let index = 0; index < count; index += 1) {
    const word = words[index] as number
    first[index] = word
    second[index] = word >>> 8
    third[index] = word >>> 16
    fourth[index] = word >>> 24
  }
  return planes
}

/** The way back of {@link splitPlanes}. */
function joinPlanes(planes: readonly Uint8Array[], into: Uint32Array): void {
  const [first, second, third, fourth] = planes as [Uint8Array, Uint8Array, Uint8Array, Uint8Array]
  for (let index = 0; index < into.length; index += 1) {
    into[index] =
      (first[index] as number) |
      ((second[index] as number) << 8) |
      ((third[index] as number) << 16) |
      ((fourth[index] as number) << 24)
  }
}
