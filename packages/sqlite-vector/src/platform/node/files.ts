/**
 * Files and paths on Node. Every operation is the one of `node:fs` that its name says, synchronous
 * but for
 * {@link files.openFlushable}.
 */
import {
  accessSync,
  type BigIntStats,
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { open } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'

import type { FileFacts, PlatformFiles, PlatformPaths } from '../types.ts'

const FLAGS = { read: 'r', write: 'w', create: 'wx' } as const

/** The file system. */
export const files: PlatformFiles = Object.freeze({
  exists: (path: string) => existsSync(path),
  facts(path: string) {
    const stats = statSync(path, { bigint: true, throwIfNoEntry: false })
    return stats === undefined ? null : factsOf(stats)
  },
  factsOfOpen: (file: number) => factsOf(fstatSync(file, { bigint: true })),
  realPath(path: string) {
    try {
      return realpathSync(path)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
      const absolute = resolve(path)
      const folder = dirname(absolute)
      return folder === absolute ? absolute : join(files.realPath(folder), basename(absolute))
    }
  },
  isReadOnly(path: string) {
    try {
      accessSync(existsSync(path) ? path : dirname(path), constants.W_OK)
      return false
    } catch (error) {
      return codeOf(error) === 'EROFS'
    }
  },
  readText: (path: string) => readFileSync(path, 'utf8'),
  open: (path: string, how: keyof typeof FLAGS, mode?: number) => openSync(path, FLAGS[how], mode),
  read: (file: number, into: Uint8Array) => readSync(file, into, 0, into.length, null),
  write(file: number, bytes: Uint8Array) {
    for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at, bytes.length - at)
  },
  flush: (file: number) => fsyncSync(file),
  close: (file: number) => closeSync(file),
  chmod: (path: string, mode: number) => chmodSync(path, mode),
  giveTo(path: string, { uid, gid }: { readonly uid: number; readonly gid: number }) {
    // Only root gives files away; a file of another user's process is its own.
    if (process.getuid?.() === 0) chownSync(path, uid, gid)
  },
  rename: (from: string, to: string) => renameSync(from, to),
  link: (from: string, to: string) => linkSync(from, to),
  remove: (path: string) => rmSync(path, { force: true, recursive: true }),
  makeFolder: (path: string, mode: number) => void mkdirSync(path, { recursive: true, mode }),
  list: (folder: string) => readdirSync(folder),
  async openFlushable(path: string) {
    const handle = await open(path, 'r+')
    return { flush: () => handle.datasync(), close: () => handle.close() }
  },
})

/** Paths of this system. */
export const paths: PlatformPaths = Object.freeze({
  join: (...parts: readonly string[]) => join(...parts),
  resolve: (path: string) => resolve(path),
  dirname: (path: string) => dirname(path),
  basename: (path: string) => basename(path),
})

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : null
}

function factsOf(stats: BigIntStats): FileFacts {
  return {
    bytes: Number(stats.size),
    mode: Number(stats.mode),
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    inode: stats.ino,
    modifiedNs: stats.mtimeNs,
    bornNs: stats.birthtimeNs,
  }
}
