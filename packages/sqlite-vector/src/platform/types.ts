/**
 * The platform seam: everything that the library takes from the system it runs on.
 *
 * The core (ground, model, search, store, sync, sealed) imports `#platform` and names no module of
 * Node. The package manifest maps `#platform` to an implementation: `platform/node` today. Each
 * group below is one export of an implementation. Members are the operations that the library uses
 * and no more; a platform without an optional one (compression, files of its own) says so with
 * null.
 *
 * Not here: the clock (clock/types.ts, an argument of everything that needs time) and the network
 * (transport/).
 */

/** Cryptographic randomness. */
export interface PlatformRandom {
  /** `count` random bytes. */
  bytes(this: void, count: number): Uint8Array
  /** An integer from 0 to below `below`, which is at most 2^32. */
  below(below: number): number
}

/** Digests and authenticated encryption, both synchronous. */
export interface PlatformCrypto {
  /** SHA-256: 32 bytes. */
  sha256(bytes: Uint8Array): Uint8Array
  /** CRC-32 (IEEE 802.3) of `bytes`, continued from `seed`. Unsigned. */
  crc32(bytes: Uint8Array, seed?: number): number
  /** AES-256-GCM: ciphertext, then the tag of 16 bytes. `nonce` has 12 bytes. */
  sealGcm(key: Uint8Array, nonce: Uint8Array, associated: Uint8Array, plain: Uint8Array): Uint8Array
  /** Opens the result of {@link PlatformCrypto.sealGcm}; null when it does not authenticate. */
  openGcm(
    key: Uint8Array,
    nonce: Uint8Array,
    associated: Uint8Array,
    sealed: Uint8Array,
  ): Uint8Array | null
}

/** Text and bytes, where the platform has something faster than the language. */
export interface PlatformEncoding {
  /** Length of `text` in UTF-8 bytes; a lone surrogate counts as U+FFFD, three bytes. */
  utf8Length(text: string): number
  /** Base64 with padding, or base64url without. */
  toBase64(bytes: Uint8Array, alphabet?: 'base64' | 'base64url'): string
  /** The bytes that either alphabet encodes. Characters outside of it are skipped. */
  fromBase64(text: string): Uint8Array
  /** True when both hold the same bytes. */
  equal(a: Uint8Array, b: Uint8Array): boolean
}

/** One general-purpose compressor. */
export interface PlatformCompressor {
  compress(bytes: Uint8Array): Uint8Array
  /** The plain bytes, at most `lengthMax` of them. Throws for anything else. */
  decompress(bytes: Uint8Array, lengthMax: number): Uint8Array
}

/** Compressors; null where the platform has none. */
export interface PlatformCompression {
  /**
   * Zstandard (RFC 8878) at its fastest level. `windowLogMax` bounds the memory of a decompression.
   */
  zstd(windowLogMax: number): PlatformCompressor | null
  /** LZ4 blocks, each behind its plain length (u32, little-endian). Loads an optional library. */
  lz4(): PlatformCompressor | null
}

/** Turns of the event loop. */
export interface PlatformTurns {
  /** Resolves after everything that is waiting now had its turn. */
  next(): Promise<void>
  /** The same, without keeping the process alive. */
  nextIdle(): Promise<void>
  /** Calls `callback` in the next turn. */
  soon(callback: () => void): void
}

/** The machine and the process. */
export interface PlatformMachine {
  readonly pid: number
  /** False where files have no modes for group and others. */
  readonly hasFileModes: boolean
  /** Identity of the running boot; null where the system does not say. */
  bootId(): string | null
  /** True while a process with this id lives. */
  isAlive(this: void, pid: number): boolean
}

/** The facts about a file that the library asks for. */
export interface FileFacts {
  readonly bytes: number
  /** Permission bits, type bits included, as POSIX `st_mode`. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly inode: bigint
  readonly modifiedNs: bigint
  /** Time of birth of the inode. */
  readonly bornNs: bigint
}

/** An open file whose contents can be flushed without blocking the thread. */
export interface FlushableFile {
  flush(): Promise<void>
  close(): Promise<void>
}

/** Files beside the database. Failures are the system's errors, with `code` and `syscall`. */
export interface PlatformFiles {
  exists(path: string): boolean
  /** Facts about the file, following symbolic links; null where there is none. */
  facts(path: string): FileFacts | null
  factsOfOpen(file: number): FileFacts
  /** The path without symbolic links and relative parts; the last part need not exist. */
  realPath(path: string): string
  /**
   * True when the file, or the folder where it would be, lies on a file system mounted read-only.
   */
  isReadOnly(path: string): boolean
  readText(path: string): string
  /** Opens a file: to read, to write from its start, or to write a file that must not exist yet. */
  open(path: string, how: 'read' | 'write' | 'create', mode?: number): number
  /** Bytes read into `into` from the current position; 0 at the end. */
  read(file: number, into: Uint8Array): number
  /** Writes all of `bytes`. */
  write(file: number, bytes: Uint8Array): void
  flush(file: number): void
  close(file: number): void
  chmod(path: string, mode: number): void
  /** Gives a file to the owner of another, where this process may; silent where it may not. */
  giveTo(path: string, owner: { readonly uid: number; readonly gid: number }): void
  rename(from: string, to: string): void
  /** Links `to` to the file `from`. Throws EEXIST where `to` exists. */
  link(from: string, to: string): void
  /** Removes a file, or a folder with all in it; silent where there is none. */
  remove(path: string): void
  makeFolder(path: string, mode: number): void
  list(folder: string): readonly string[]
  /** Opens an existing file for flushes in the background. */
  openFlushable(path: string): Promise<FlushableFile>
}

/** Names of files. */
export interface PlatformPaths {
  join(...parts: readonly string[]): string
  resolve(path: string): string
  dirname(path: string): string
  basename(path: string): string
}

/** A value in a row, or bound to a statement. */
export type SqliteValue = null | number | bigint | string | Uint8Array

/** A row by column name. */
export type SqliteRow = Record<string, SqliteValue>

/** A value that can be bound to a statement. */
export type SqliteInput = null | number | bigint | string | ArrayBufferView

/** A prepared statement: the subset of `node:sqlite` that the store uses. */
export interface SqliteStatement {
  readonly sourceSQL: string
  all(...values: readonly SqliteInput[]): SqliteRow[]
  get(...values: readonly SqliteInput[]): SqliteRow | undefined
  iterate(...values: readonly SqliteInput[]): Iterable<SqliteRow>
  run(...values: readonly SqliteInput[]): {
    readonly changes: number | bigint
    readonly lastInsertRowid: number | bigint
  }
  /** Rows become arrays of values from here on. */
  setReturnArrays(enabled: boolean): void
}

/** An open database: the subset of `node:sqlite` that the store uses. */
export interface SqliteDatabase extends Disposable {
  readonly isOpen: boolean
  readonly isTransaction: boolean
  exec(sql: string): void
  prepare(sql: string): SqliteStatement
  /** Registers a SQL function. */
  function(
    name: string,
    options: { readonly deterministic?: boolean },
    fn: (...values: SqliteValue[]) => SqliteValue,
  ): void
  close(): void
}

/** SQLite. Its errors carry the extended result code as `errcode`. */
export interface PlatformSqlite {
  open(
    path: string,
    options?: {
      readonly readOnly?: boolean
      /** Reads without locks, log or shared memory: no process may write meanwhile. */
      readonly immutable?: boolean
      readonly busyTimeoutMs?: number
    },
  ): SqliteDatabase
  /**
   * SQLite's online backup into the file `path`, `pagesPerTurn` pages between two turns of the
   * event loop.
   */
  backup(
    source: SqliteDatabase,
    path: string,
    options: { readonly pagesPerTurn: number; readonly onProgress: () => void },
  ): Promise<void>
}
