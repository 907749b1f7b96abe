/**
 * Noticing at open that the file is not the one that was open here last: an older copy was put in
 * its place, or it was copied from elsewhere.
 *
 * - The file holds its own mark: number and time of birth of its inode. A copy is another inode,
 *   however it was made; only what writes over a file in its place leaves the inode as it is.
 * - Every open draws a token and keeps it twice: in the file, and beside it in the folder
 *   `<path>-node/`, once a node lives there. When the two disagree, one of them came from somewhere
 *   else. The token's file is a new inode each time and names its own mark, so that a copy of it
 *   counts for nothing.
 *
 * Not noticed here: what is copied below the file system (a virtual machine that is set back), and
 * a file that is written over in its place with a copy made since it was last opened. Peers notice
 * these (own-writes.ts).
 */
import { type FileFacts, files, paths } from '#platform'

import { bytesToHex, utf8ToBytes } from '../../bytes.ts'
import { SqliteVectorError } from '../../errors.ts'
import type { OpenFile, WriteTransaction } from '../file/transaction.ts'
import { correctCounts } from './recount.ts'
import type { ShardRow } from '../feed/shards.ts'

const TOKEN_BYTES = 16
const TOKEN_FILE = 'open-token'

/** The value of {@link readToken} for a copied token; equal to no other. */
const COPIED = 'copied'

/**
 * True when this is not the file that was open here last; it is from now on. Inside the transaction
 * that notes the open: opens of other processes wait for it.
 */
export function exchangeMarks(core: OpenFile): boolean {
  const { db, path } = core
  if (path === ':memory:') return false
  const row = db.prepare('SELECT file_mark FROM database_metadata').get()
  const mark = markOf(files.facts(path))
  // Null: by a release that kept none.
  const before = row?.['file_mark'] ?? mark
  if (row?.['file_mark'] !== mark) {
    db.prepare('UPDATE database_metadata SET file_mark = ?').run(mark)
  }
  const isOtherToken = exchangeToken(core)
  return before !== mark || isOtherToken
}

/** The first token of a file whose folder was made after the file was opened. */
export function keepToken(core: OpenFile): void {
  const row = core.db.prepare('SELECT open_token FROM database_metadata').get()
  if (row?.['open_token'] === null) exchangeToken(core)
}

/**
 * A file that was put in the place of another may lie beside the other's log, which SQLite has read
 * into it by now. The result must at least be whole, and is counted again. @throws
 * SqliteVectorError `STORE_CORRUPT`
 */
export function checkMixture(transaction: WriteTransaction): void {
  const { core } = transaction
  const one = (sql: string): unknown => Object.values(core.db.prepare(sql).get() ?? {})[0]
  const verdict = String(one('PRAGMA integrity_check'))
  const isWhole =
    one('SELECT count(*) FROM vector_changelog') ===
    one('SELECT (SELECT count(*) FROM vectors) + (SELECT count(*) FROM tombstones)')
  if (verdict !== 'ok' || !isWhole) {
    throw new SqliteVectorError(
      'STORE_CORRUPT',
      `${core.path} was opened with a write-ahead log that belongs to another database` +
        ` (${verdict === 'ok' ? 'rows are missing' : verdict}). ` +
        `Restore the copy again and delete ${core.path}-wal first`,
    )
  }
  for (const { shard_id: shardId } of core.sql.listShards.all() as unknown as ShardRow[]) {
    correctCounts(transaction, shardId)
  }
}

/**
 * True when the token in the file and the one beside it do not belong together; both are new
 * afterwards.
 */
function exchangeToken(core: OpenFile): boolean {
  const { db, path } = core
  const row = db.prepare('SELECT open_token FROM database_metadata').get()
  const inFile = row?.['open_token'] === null ? null : bytesToHex(row?.['open_token'] as Uint8Array)
  const folder = paths.join(paths.dirname(path), `${paths.basename(path)}-node`)
  const hasFolder = path !== ':memory:' && files.exists(folder)
  if (inFile === null && !hasFolder) return false
  const beside = hasFolder ? readToken(paths.join(folder, TOKEN_FILE)) : null
  if (hasFolder) {
    const token = core.randomBytes(TOKEN_BYTES)
    db.prepare('UPDATE database_metadata SET open_token = ?').run(token)
    writeToken(paths.join(folder, TOKEN_FILE), bytesToHex(token))
  } else {
    db.exec('UPDATE database_metadata SET open_token = NULL')
  }
  return inFile !== beside
}

function readToken(path: string): string | null {
  if (!files.exists(path)) return null
  const [token = '', mark] = files.readText(path).trim().split(' ')
  // Without a mark: by a release that wrote none.
  if (mark === undefined || mark === markOf(files.facts(path))) return token
  return COPIED
}

/** Whole or not at all, on the disk, and in a file of its own. */
function writeToken(path: string, token: string): void {
  const partial = `${path}.partial`
  const file = files.open(partial, 'write', 0o600)
  try {
    files.write(file, utf8ToBytes(`${token} ${markOf(files.factsOfOpen(file))}\n`))
    files.flush(file)
  } finally {
    files.close(file)
  }
  files.rename(partial, path)
}

/** A mark that no two files of a file system share, and no copy keeps. */
function markOf(facts: FileFacts | null): string {
  return facts === null ? '' : `${facts.inode}.${facts.bornNs}`
}
