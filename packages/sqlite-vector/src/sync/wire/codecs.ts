/**
 * The two general-purpose codecs that frames may be compressed with: Zstandard, which comes with
 * Node, and LZ4, whose library is optional: where it is not installed, this side neither writes nor
 * reads it. Bytes in, bytes out; which bytes are worth it decides compression.ts.
 *
 * Decompressing is bounded: the caller says how many bytes must come out, and nothing larger is
 * allocated, whatever the input claims. Zstandard: RFC 8878. LZ4 block format:
 * https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md, after its length in four bytes.
 */
import { compression, type PlatformCompressor } from '#platform'

import { FRAME_BYTES_MAX } from '../../limits.ts'
import { corrupt } from './frame.ts'

/** A codec by the name that options use. */
export type CodecName = 'lz4' | 'zstd'

/** One codec. */
export interface Codec {
  readonly name: CodecName
  compress(bytes: Uint8Array): Uint8Array
  /** Exactly `length` bytes. @throws `SYNC_FRAME_CORRUPT` */
  decompress(bytes: Uint8Array, length: number): Uint8Array
}

/** Numbers of the codecs on the wire; in HELLO they are added up, so each is a bit of its own. */
export const CODEC_NUMBERS: Readonly<Record<CodecName, number>> = { lz4: 1, zstd: 2 }

/**
 * Log2 of the largest window that a frame can need: a claim of more is refused before memory is
 * taken.
 */
const ZSTD_WINDOW_LOG_MAX = Math.ceil(Math.log2(FRAME_BYTES_MAX))

/** Zstandard as the platform has it; the output is bounded before it is allocated. */
function zstdOf(compressor: PlatformCompressor): Codec {
  return {
    name: 'zstd',
    compress: (bytes) => compressor.compress(bytes),
    decompress: (bytes, length) => exactly(length, () => compressor.decompress(bytes, length)),
  }
}

/** LZ4 blocks, each preceded by its plain length, u32 little-endian. */
function lz4Of(compressor: PlatformCompressor): Codec {
  return {
    name: 'lz4',
    compress: (bytes) => compressor.compress(bytes),
    decompress: (bytes, length) => {
      // The library allocates what the block claims, so the claim is checked first.
      const claimed =
        bytes.byteLength < 4
          ? -1
          : new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true)
      if (claimed !== length) throw corrupt('a compressed block does not have the length it claims')
      return exactly(length, () => compressor.decompress(bytes, length))
    },
  }
}

function exactly(length: number, decompress: () => Uint8Array): Uint8Array {
  let plain: Uint8Array
  try {
    plain = decompress()
  } catch (cause) {
    throw corrupt('a compressed block cannot be read', { cause })
  }
  if (plain.byteLength !== length) {
    throw corrupt('a compressed block of another length than it should have')
  }
  return plain
}

let loaded: readonly Codec[] | null = null

/** The codecs that work here. Loads the optional library at the first call. */
export function codecs(): readonly Codec[] {
  if (loaded === null) {
    const zstd = compression.zstd(ZSTD_WINDOW_LOG_MAX)
    const lz4 = compression.lz4()
    loaded = [...(zstd === null ? [] : [zstdOf(zstd)]), ...(lz4 === null ? [] : [lz4Of(lz4)])]
  }
  return loaded
}

/** The codec of this name or number, or null where it is not installed or there is none. */
export function findCodec(nameOrNumber: CodecName | number): Codec | null {
  return (
    codecs().find(({ name }) => name === nameOrNumber || CODEC_NUMBERS[name] === nameOrNumber) ??
    null
  )
}

/** The numbers of {@link codecs}, added up: what HELLO offers. */
export function codecMask(): number {
  return codecs().reduce((mask, { name }) => mask | CODEC_NUMBERS[name], 0)
}
