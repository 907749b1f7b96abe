/**
 * Noticing at open that the file is not the one that was open here last: an older copy was put in its place, or
 * it was copied from elsewhere.
 *
 * Every open draws a token and keeps it twice: in the file, and beside it in the folder `<path>-node/`, once a node
 * lives there. When the two disagree at the next open, one of them came from somewhere else. A backup that holds both
 * is not noticed here; peers notice it (own-writes.ts).
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'

import { bytesToHex } from '../bytes.ts'
import type { StoreCore } from './core.ts'

const TOKEN_BYTES = 16
const TOKEN_FILE = 'open-token'

/**
 * True when the file and the folder beside it do not belong together; both have a new token afterwards. Inside
 * the transaction that notes the open: opens of other processes wait for it.
 */
export function exchangeToken(core: StoreCore): boolean {
  const { db, path } = core
  const row = db.prepare('SELECT open_token FROM database_metadata').get()
  const inFile = row?.['open_token'] === null ? null : bytesToHex(row?.['open_token'] as Uint8Array)
  const folder = join(dirname(path), `${basename(path)}-node`)
  const hasFolder = path !== ':memory:' && existsSync(folder)
  if (inFile === null && !hasFolder) return false
  const beside = hasFolder ? readToken(join(folder, TOKEN_FILE)) : null
  if (hasFolder) {
    const token = core.randomBytes(TOKEN_BYTES)
    db.prepare('UPDATE database_metadata SET open_token = ?').run(token)
    writeToken(join(folder, TOKEN_FILE), bytesToHex(token))
  } else {
    db.exec('UPDATE database_metadata SET open_token = NULL')
  }
  return inFile !== beside
}

/** The first token of a file whose folder was made after the file was opened. */
export function keepToken(core: StoreCore): void {
  const row = core.db.prepare('SELECT open_token FROM database_metadata').get()
  if (row?.['open_token'] === null) exchangeToken(core)
}

function readToken(path: string): string | null {
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : null
}

/** Whole or not at all, and on the disk. */
function writeToken(path: string, token: string): void {
  const partial = `${path}.partial`
  const file = openSync(partial, 'w', 0o600)
  try {
    writeSync(file, `${token}\n`)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(partial, path)
}
