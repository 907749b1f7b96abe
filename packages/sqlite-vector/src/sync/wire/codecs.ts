/**
 * The two general-purpose codecs that frames may be compressed with: Zstandard, which comes with Node, and
 * LZ4, whose library is optional: where it is not installed, this side neither writes nor reads it. Bytes in,
 * bytes out; which bytes are worth it decides compression.ts.
 *
 * Decompressing is bounded: the caller says how many bytes must come out, and nothing larger is allocated,
 * whatever the input claims. Zstandard: RFC 8878. LZ4 block format:
 * https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md, after its length in four bytes.
 */
import { createRequire } from 'node:module'
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'

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

/** Level 1 keeps up with a fast network; higher ones gain 1 to 2 % on records and cost twice the time. */
const ZSTD_LEVEL = 1

/** Log2 of the largest window that a frame can need: a claim of more is refused before memory is taken. */
const ZSTD_WINDOW_LOG_MAX = Math.ceil(Math.log2(FRAME_BYTES_MAX))

const COMPRESS_PARAMS = { params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL } }

const zstd: Codec = {
  name: 'zstd',
  compress: (bytes) => zstdCompressSync(bytes, COMPRESS_PARAMS),
  decompress: (bytes, length) =>
    exactly(length, () =>
      zstdDecompressSync(bytes, {
        maxOutputLength: Math.max(1, length),
        params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX },
      }),
    ),
}

/** What lz4-napi exports; the block is preceded by its plain length, u32 little-endian. */
interface Lz4Library {
  compressSync(bytes: Uint8Array): Uint8Array
  uncompressSync(bytes: Uint8Array): Uint8Array
}

function lz4Of(library: Lz4Library): Codec {
  return {
    name: 'lz4',
    compress: (bytes) => library.compressSync(bytes),
    decompress: (bytes, length) => {
      // The library allocates what the block claims, so the claim is checked first.
      const claimed =
        bytes.byteLength < 4
          ? -1
          : new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true)
      if (claimed !== length)
        throw corrupt('a compressed block of another length than it should have')
      return exactly(length, () => library.uncompressSync(bytes))
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
    const lz4 = loadLz4()
    loaded = lz4 === null ? [zstd] : [zstd, lz4]
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

function loadLz4(): Codec | null {
  try {
    return lz4Of(createRequire(import.meta.url)('lz4-napi') as Lz4Library)
  } catch (error) {
    // Not installed, or no binary for this system: an optional dependency that is not there is no failure.
    if (isMissing(error)) return null
    throw error
  }
}

/** True for a module that is not there, and for the loader of a native library that found no binary. */
function isMissing(error: unknown): boolean {
  return error instanceof Error && /Cannot find|native binding/i.test(error.message)
}
