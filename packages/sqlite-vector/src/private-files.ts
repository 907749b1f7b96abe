/**
 * Files that must be whole, and files that must be private.
 *
 * Writing is atomic: a temporary file in the same folder, flushed, then renamed or linked into
 * place. A secret file that group or others may read is refused, never repaired in silence.
 */
import { files, machine, random } from '#platform'

import { bytesToHex, utf8ToBytes } from './bytes.ts'
import { SqliteVectorError } from './errors.ts'

/** Writes a whole file or nothing: a temporary file beside it, flushed, then renamed. */
export function writeFileAtomic(path: string, content: string | Uint8Array, mode: number): void {
  const temporary = writeTemporary(path, content, mode)
  try {
    files.rename(temporary, path)
  } catch (error) {
    files.remove(temporary)
    throw error
  }
}

/** Refuses a secret file that group or others may read. Windows has no such modes. */
export function checkPrivateFile(path: string): void {
  const facts = files.facts(path)
  if (!machine.hasFileModes || facts === null) return
  const mode = facts.mode & 0o777
  if ((mode & 0o077) === 0) return
  throw new SqliteVectorError(
    'TRANSPORT_IDENTITY_INVALID',
    `${path} is open to other users (mode ${mode.toString(8).padStart(4, '0')}, want 0600): ` +
      'if nobody can have copied it, run chmod 600 on it; otherwise delete the folder to get a new identity',
  )
}

export function fileExists(path: string): boolean {
  return files.exists(path)
}

/** Creates `path` unless it exists; where two try at once, one file wins whole. */
export function publishOnce(path: string, content: string, mode: number): void {
  const temporary = writeTemporary(path, content, mode)
  try {
    files.link(temporary, path)
  } catch (error) {
    if (!isExisting(error)) throw error
  } finally {
    files.remove(temporary)
  }
}

function writeTemporary(path: string, content: string | Uint8Array, mode: number): string {
  const temporary = `${path}.${bytesToHex(random.bytes(8))}.tmp`
  const file = files.open(temporary, 'create', mode)
  try {
    files.write(file, typeof content === 'string' ? utf8ToBytes(content) : content)
    // The umask can only have taken permissions away; say what we mean.
    files.chmod(temporary, mode)
    files.flush(file)
  } finally {
    files.close(file)
  }
  return temporary
}

function isExisting(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EEXIST'
}
