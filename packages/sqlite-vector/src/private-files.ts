/**
 * Files that must be whole, and files that must be private.
 *
 * Writing is atomic: a temporary file in the same folder, flushed, then renamed or linked into place.
 * A secret file that group or others may read is refused, never repaired in silence.
 */
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  fsyncSync,
  linkSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { SqliteVectorError } from './errors.ts'

/** Writes a whole file or nothing: a temporary file beside it, flushed, then renamed. */
export function writeFileAtomic(path: string, content: string | Uint8Array, mode: number): void {
  const temporary = writeTemporary(path, content, mode)
  try {
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

/** Refuses a secret file that group or others may read. Windows has no such modes. */
export function checkPrivateFile(path: string): void {
  if (process.platform === 'win32') return
  const mode = statSync(path).mode & 0o777
  if ((mode & 0o077) === 0) return
  throw new SqliteVectorError(
    'TRANSPORT_IDENTITY_INVALID',
    `${path} is open to other users (mode ${mode.toString(8).padStart(4, '0')}, want 0600): ` +
      'if nobody can have copied it, run chmod 600 on it; otherwise delete the folder to get a new identity',
  )
}

export function fileExists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined
}

/** Creates `path` unless it exists; where two try at once, one file wins whole. */
export function publishOnce(path: string, content: string, mode: number): void {
  const temporary = writeTemporary(path, content, mode)
  try {
    linkSync(temporary, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    rmSync(temporary, { force: true })
  }
}

function writeTemporary(path: string, content: string | Uint8Array, mode: number): string {
  const temporary = `${path}.${randomBytes(8).toString('hex')}.tmp`
  const descriptor = openSync(temporary, 'wx', mode)
  try {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content
    for (let written = 0; written < bytes.length;) {
      written += writeSync(descriptor, bytes, written)
    }
    // The umask can only have taken permissions away; say what we mean.
    chmodSync(temporary, mode)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
  return temporary
}
