/**
 * The platform seam (platform/types.ts) on Node: crypto, zlib, timers and the process; files, paths
 * and SQLite in files of their own. Only this folder, the network and the programs name modules of
 * Node.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes, randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import zlib from 'node:zlib'

import type {
  PlatformCompression,
  PlatformCompressor,
  PlatformCrypto,
  PlatformEncoding,
  PlatformMachine,
  PlatformRandom,
  PlatformTurns,
} from '../types.ts'
import { requirePackage } from './require-package.ts'

export type * from '../types.ts'
export { files, paths } from './files.ts'
export { requirePackage } from './require-package.ts'
export { sqlite } from './sqlite.ts'

const GCM = 'aes-256-gcm'
const GCM_TAG_BYTES = 16

/**
 * Level 1 keeps up with a fast network; higher ones gain 1 to 2 % on records and cost twice the
 * time.
 */
const ZSTD_LEVEL = 1

/** The system's source of randomness. */
export const random: PlatformRandom = Object.freeze({
  bytes: (count: number) => new Uint8Array(randomBytes(count)),
  below: (below: number) => randomInt(below),
})

/** OpenSSL and zlib. */
export const crypto: PlatformCrypto = Object.freeze({
  sha256: (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest()),
  crc32: (bytes: Uint8Array, seed = 0) => zlib.crc32(bytes, seed),
  sealGcm(key: Uint8Array, nonce: Uint8Array, associated: Uint8Array, plain: Uint8Array) {
    const cipher = createCipheriv(GCM, key, nonce)
    cipher.setAAD(associated)
    const sealed = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
    return new Uint8Array(sealed)
  },
  openGcm(key: Uint8Array, nonce: Uint8Array, associated: Uint8Array, sealed: Uint8Array) {
    const decipher = createDecipheriv(GCM, key, nonce, { authTagLength: GCM_TAG_BYTES })
    decipher.setAAD(associated)
    try {
      decipher.setAuthTag(sealed.subarray(-GCM_TAG_BYTES))
      const plain = [decipher.update(sealed.subarray(0, -GCM_TAG_BYTES)), decipher.final()]
      return new Uint8Array(Buffer.concat(plain))
    } catch {
      // OpenSSL's one answer to a wrong key, tag or length.
      return null
    }
  },
})

/** `Buffer`'s native conversions. */
export const encoding: PlatformEncoding = Object.freeze({
  utf8Length: (text: string) => Buffer.byteLength(text, 'utf8'),
  toBase64: (bytes: Uint8Array, alphabet: 'base64' | 'base64url' = 'base64') =>
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(alphabet),
  fromBase64: (text: string) => new Uint8Array(Buffer.from(text, 'base64')),
  equal: (a: Uint8Array, b: Uint8Array) =>
    a.byteLength === b.byteLength && Buffer.compare(a, b) === 0,
})

/** The exports of lz4-napi. */
interface Lz4Library {
  compressSync(bytes: Uint8Array): Uint8Array
  uncompressSync(bytes: Uint8Array): Uint8Array
}

/** Zstandard comes with Node; LZ4 is an optional dependency. */
export const compression: PlatformCompression = Object.freeze({
  zstd: (windowLogMax: number): PlatformCompressor => ({
    compress: (bytes) =>
      zlib.zstdCompressSync(bytes, {
        params: { [zlib.constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL },
      }),
    decompress: (bytes, lengthMax) =>
      zlib.zstdDecompressSync(bytes, {
        maxOutputLength: Math.max(1, lengthMax),
        params: { [zlib.constants.ZSTD_d_windowLogMax]: windowLogMax },
      }),
  }),
  lz4(): PlatformCompressor | null {
    try {
      const library = requirePackage('lz4-napi') as Lz4Library
      return {
        compress: (bytes) => library.compressSync(bytes),
        decompress: (bytes) => library.uncompressSync(bytes),
      }
    } catch (error) {
      // Not installed, or no binary for this system: a missing optional dependency is not a
      // failure.
      if (error instanceof Error && /Cannot find|native binding/i.test(error.message)) return null
      throw error
    }
  },
})

/** `setImmediate`. */
export const turns: PlatformTurns = Object.freeze({
  next: () => nextTurn(),
  nextIdle: () => nextTurn(undefined, { ref: false }),
  soon: (callback: () => void) => void setImmediate(callback),
})

/** This process and its kernel. */
export const machine: PlatformMachine = Object.freeze({
  pid: process.pid,
  hasFileModes: process.platform !== 'win32',
  bootId() {
    if (process.platform !== 'linux') return null
    try {
      return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    } catch {
      // A sandbox without /proc: null is the careful answer, it never counts as the same boot.
      return null
    }
  },
  isAlive(pid: number) {
    try {
      process.kill(pid, 0)
      return true
    } catch (error) {
      // EPERM: the process lives and belongs to another user.
      return error instanceof Error && 'code' in error && error.code === 'EPERM'
    }
  },
})
