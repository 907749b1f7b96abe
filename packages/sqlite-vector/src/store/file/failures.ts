/**
 * Coded errors for failures of the file system: a full disk, a file system without write
 * permission, a file of another user.
 *
 * Not here: SQLite's own failures (sqlite.ts).
 */
import { SqliteVectorError, type ErrorCode } from '../../errors.ts'

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: 'STORE_FULL',
  EDQUOT: 'STORE_FULL',
  EROFS: 'STORE_READ_ONLY',
  EACCES: 'STORE_IO',
  EPERM: 'STORE_IO',
  EIO: 'STORE_IO',
  EISDIR: 'STORE_IO',
  ENOENT: 'STORE_IO',
  ENOTDIR: 'STORE_IO',
  ELOOP: 'STORE_IO',
}

/**
 * Runs `fn`; a failure of the file system becomes a {@link SqliteVectorError} with the cause kept.
 */
export function withFileErrors<T>(path: string, fn: () => T): T {
  try {
    return fn()
  } catch (error) {
    throw fileFailure(path, error)
  }
}

/** The coded error for a failure of the file system; `error` itself when it is of another kind. */
export function fileFailure(path: string, error: unknown): unknown {
  if (error instanceof SqliteVectorError || !(error instanceof Error)) return error
  const code = 'code' in error && typeof error.code === 'string' ? CODES[error.code] : undefined
  if (code === undefined) return error
  const isDenied = /^(?:EACCES|EPERM)\b/.test(error.message)
  const remedy = isDenied ? `; give it to this user: chown "$(id -u):$(id -g)" '${path}'*` : ''
  return new SqliteVectorError(code, `${path}: ${error.message}${remedy}`, { cause: error })
}
