/**
 * SQLite as the store needs it: opening a file with our settings, and what its failures mean.
 *
 * Not here: tables (schema.ts) and transactions (file/transaction.ts). The rest of the library
 * names SQLite only through store/types.ts.
 *
 * Settings: WAL, so that readers never wait for the writer; `synchronous` FULL by default, because
 * a commit that power loss can undo must never have been sent to a peer; pages of 8 KiB, because
 * rows carry embeddings. Result codes: https://www.sqlite.org/rescode.html
 */
import { files, sqlite, type SqliteDatabase } from '#platform'

import { assert } from '../../assert.ts'
import { SqliteVectorError, type ErrorCode } from '../../errors.ts'

/** `full`: a commit survives power loss. `normal`: it survives only a killed process. */
export type Durability = 'full' | 'normal'

/** How to open a file. */
export interface SqliteSettings {
  readonly path: string
  readonly durability: Durability
  readonly busyTimeoutMs: number
  /** Opens a file that exists and refuses every write. */
  readonly readOnly?: boolean
}

/** The first release without the WAL-reset bug, which could corrupt a file. */
const SQLITE_VERSION_MIN = [3, 51, 3] as const

/**
 * Bytes that the write-ahead log keeps once its pages are in the file; a long reader lets it grow.
 */
const LOG_BYTES_KEPT = 16 * 1024 * 1024

/** Opens `path`, creating it when missing, with the settings of this module. */
export function openSqlite(settings: SqliteSettings): SqliteDatabase {
  assert(
    new Uint8Array(Uint16Array.of(1).buffer)[0] === 1,
    'embeddings are little-endian on disk and in memory',
  )
  if (settings.readOnly === true) return openReadOnly(settings)
  return withSqliteErrors(settings.path, () => {
    const db = sqlite.open(settings.path, { busyTimeoutMs: settings.busyTimeoutMs })
    try {
      assertSqliteVersion(db)
      assertWhole(db, settings.path)
      // Both take effect only in a file without tables: a big delete must be able to shrink the
      // file.
      db.exec('PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL')
      enterWal(db, settings)
      db.exec(`PRAGMA journal_size_limit = ${LOG_BYTES_KEPT}`)
      db.exec(`PRAGMA synchronous = ${settings.durability === 'full' ? 'FULL' : 'NORMAL'}`)
      return db
    } catch (error) {
      db.close()
      throw error
    }
  })
}

/**
 * A connection that cannot write. A file without a log is read as it lies where that is the only
 * way: shared memory cannot be made on a full disk, nor without write permission.
 */
export function openReadOnly(settings: SqliteSettings): SqliteDatabase {
  const { path } = settings
  const hasShared = (files.facts(`${path}-shm`)?.bytes ?? 0) > 0
  if (path === ':memory:' || hasLog(path)) return openReading(settings, false)
  if (!hasShared) return openReading(settings, true)
  try {
    return openReading(settings, false)
  } catch (error) {
    const isIo = error instanceof SqliteVectorError && /^STORE_(?:IO|FULL)$/.test(error.code)
    if (!isIo) throw error
    return openReading(settings, true)
  }
}

function openReading({ path, busyTimeoutMs }: SqliteSettings, immutable: boolean): SqliteDatabase {
  return withSqliteErrors(path, () => {
    const db = sqlite.open(path, { readOnly: true, immutable, busyTimeoutMs })
    try {
      assertSqliteVersion(db)
      // The first read finds out whether the log can be used.
      db.prepare('SELECT count(*) FROM sqlite_schema').get()
      return db
    } catch (error) {
      db.close()
      throw error
    }
  })
}

/** Runs `fn`; what SQLite throws becomes a {@link SqliteVectorError} with the cause kept. */
export function withSqliteErrors<T>(path: string, fn: () => T): T {
  try {
    return fn()
  } catch (error) {
    throw sqliteFailure(path, error)
  }
}

/** The coded error for what SQLite threw, or `error` itself when SQLite had no part in it. */
export function sqliteFailure(path: string, error: unknown): unknown {
  if (isUnreadable(error)) {
    const message = `${path}: the file is damaged: a number in it is out of range`
    return new SqliteVectorError('STORE_CORRUPT', message, { cause: error })
  }
  const resultCode = resultCodeOf(error)
  if (resultCode === null) return error
  const code =
    EXTENDED_CODES.get(resultCode) ??
    CODES.get(resultCode & 0xff) ??
    (isBadJson(error) ? 'STORE_CORRUPT' : undefined)
  if (code === undefined) return error
  const reason = error instanceof Error ? error.message : String(error)
  return new SqliteVectorError(code, `${path}: ${reason}`, { cause: error })
}

/** The binding refuses integers that JavaScript cannot hold; the store writes none. */
function isUnreadable(error: unknown): boolean {
  return error instanceof RangeError && 'code' in error && error.code === 'ERR_OUT_OF_RANGE'
}

/** SQLite's JSON functions met a text that is not JSON, or nested too deeply for them. */
function isBadJson(error: unknown): boolean {
  return error instanceof Error && error.message.includes('malformed JSON')
}

/** SQLite's extended result code, or null when `error` is none of SQLite's. */
export function resultCodeOf(error: unknown): number | null {
  if (!(error instanceof Error) || !('errcode' in error)) return null
  return typeof error.errcode === 'number' ? error.errcode : null
}

// Shared memory of the log cannot get its size: SQLITE_IOERR_SHMSIZE.
const EXTENDED_CODES: ReadonlyMap<number, ErrorCode> = new Map<number, ErrorCode>([
  [4874, 'STORE_FULL'],
])

// Primary result codes: BUSY, LOCKED, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, NOTADB.
const CODES: ReadonlyMap<number, ErrorCode> = new Map<number, ErrorCode>([
  [5, 'STORE_BUSY'],
  [6, 'STORE_BUSY'],
  [8, 'STORE_READ_ONLY'],
  [10, 'STORE_IO'],
  [11, 'STORE_CORRUPT'],
  [13, 'STORE_FULL'],
  [14, 'STORE_IO'],
  [26, 'STORE_CORRUPT'],
])

function assertSqliteVersion(db: SqliteDatabase): void {
  const row = db.prepare('SELECT sqlite_version() AS version').get()
  const version = String(row?.['version'])
  const parts = version.split('.').map(Number)
  for (const [index, least] of SQLITE_VERSION_MIN.entries()) {
    const part = parts[index] ?? 0
    if (part > least) return
    assert(part === least, `SQLite ${SQLITE_VERSION_MIN.join('.')} or newer, this is ${version}`)
  }
}

/** True when pages of the database may lie in a log beside it. */
export function hasLog(path: string): boolean {
  return (files.facts(`${path}-wal`)?.bytes ?? 0) > 0
}

/** SQLite reads what was cut off as zeros, and would find out late. */
function assertWhole(db: SqliteDatabase, path: string): void {
  const facts = files.facts(path)
  if (facts === null) return
  // Pages may still lie in the log; without one, the file holds them all.
  if (hasLog(path)) return
  const pragma = (name: string): number => Number(db.prepare(`PRAGMA ${name}`).get()?.[name])
  const wanted = pragma('page_count') * pragma('page_size')
  const { bytes } = facts
  if (bytes >= wanted) return
  throw new SqliteVectorError(
    'STORE_CORRUPT',
    `${path} was cut off: ${bytes} bytes of at least ${wanted}`,
  )
}

function enterWal(db: SqliteDatabase, settings: SqliteSettings): void {
  // Read first: changing the mode needs the file for itself, and nearly every open finds it
  // changed.
  if (journalMode(db, 'PRAGMA journal_mode') === 'wal') return
  const mode = journalMode(db, 'PRAGMA journal_mode = WAL')
  if (mode === 'wal' || mode === 'memory') return
  throw new SqliteVectorError(
    'STORE_IO',
    `${settings.path}: write-ahead logging is not possible here (journal mode ${mode}); ` +
      'the file system must support shared memory',
  )
}

function journalMode(db: SqliteDatabase, sql: string): string {
  return String(db.prepare(sql).get()?.['journal_mode'])
}
