/**
 * A copy of an open file, taken while others read and write it: SQLite's online backup, through a
 * connection and a read transaction of its own. On the connection that writes, a page copied in the
 * middle of a transaction fails the backup; without the read transaction, every commit of others
 * would start it again.
 *
 * Not here: how the copy behaves when it is opened. It is another file, so it gets a writing
 * identity and a log of its own at its first open (replica/file-mark.ts).
 *
 * The copy appears under its name only when it is whole and was checked.
 */
import { files, random, sqlite } from '#platform'

import { bytesToHex } from '../bytes.ts'
import { SqliteVectorError } from '../errors.ts'
import { confirmOwnWrites } from './replica/own-writes.ts'
import type { OpenFile } from './file/transaction.ts'
import { APPLICATION_ID } from './file/schema.ts'
import { loadShard, type ShardRow } from './feed/shards.ts'
import { fileFailure, withFileErrors } from './file/failures.ts'
import { openReadOnly, sqliteFailure, withSqliteErrors } from './file/sqlite.ts'

/** Pages copied between two turns of the event loop. */
const PAGES_PER_TURN = 256

const TOKEN_BYTES = 16

/** Mode of a copy whose source is not a file. */
const PRIVATE_MODE = 0o600

/**
 * Copies the file to `path`. Resolves with the bytes of the copy.
 * @throws SqliteVectorError `STORE_IO` when there is a file already, `STORE_CORRUPT` when the copy
 * is not sound
 */
export async function snapshot(
  core: OpenFile,
  path: string,
  signal: AbortSignal | undefined,
): Promise<number> {
  core.assertOpen()
  signal?.throwIfAborted()
  if (files.exists(path)) throw new SqliteVectorError('STORE_IO', `${path} exists`)
  // The opened copy passes our writes on: they are not ours alone any more.
  if (!core.readOnly) noteCopied(core)
  const source =
    core.path === ':memory:' ? null : withFileErrors(core.path, () => files.facts(core.path))
  const partial = `${path}.${bytesToHex(random.bytes(16))}.partial`
  try {
    reserve(partial, (source?.mode ?? PRIVATE_MODE) & 0o777)
    if (core.path === ':memory:') core.db.prepare('VACUUM INTO ?').run(partial)
    else await copyPages(core, partial, signal)
    signal?.throwIfAborted()
    const bytes = withSqliteErrors(partial, () => finish(partial))
    if (source !== null) files.giveTo(partial, source)
    files.rename(partial, path)
    return bytes
  } catch (error) {
    throw fileFailure(path, sqliteFailure(partial, error))
  } finally {
    for (const suffix of ['', '-wal', '-shm', '-journal']) files.remove(partial + suffix)
  }
}

function noteCopied(core: OpenFile): void {
  core.write((transaction) => {
    for (const row of core.sql.listShards.all() as unknown as ShardRow[]) {
      confirmOwnWrites(transaction, loadShard(transaction, row.shard_id))
    }
  })
}

/** Makes the file that the copy fills: a new one, so that no link of that name is followed. */
function reserve(partial: string, mode: number): void {
  const file = files.open(partial, 'create', mode)
  files.close(file)
  // The umask can only have taken permissions away.
  files.chmod(partial, mode)
}

/** Copies the file as it is now, however long that takes. */
async function copyPages(
  { path }: OpenFile,
  partial: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  using source = openReadOnly({ path, durability: 'full', busyTimeoutMs: 0 })
  source.exec('BEGIN')
  // A transaction begins with its first read.
  source.prepare('SELECT log_id FROM database_metadata').get()
  await sqlite.backup(source, partial, {
    pagesPerTurn: PAGES_PER_TURN,
    onProgress: () => signal?.throwIfAborted(),
  })
}

/** Marks the copy as one, and checks it. */
function finish(path: string): number {
  using db = sqlite.open(path)
  const value = (pragma: string): unknown =>
    Object.values(db.prepare(`PRAGMA ${pragma}`).get() ?? {})[0]
  if (value('application_id') !== APPLICATION_ID || value('integrity_check') !== 'ok') {
    throw new SqliteVectorError('STORE_CORRUPT', `${path}: the copy is not sound`)
  }
  // One file that can be moved as it is; the first open goes back to write-ahead logging.
  db.exec('PRAGMA journal_mode = DELETE')
  db.exec('DELETE FROM open_sessions')
  db.prepare('UPDATE database_metadata SET open_token = ?').run(random.bytes(TOKEN_BYTES))
  return Number(value('page_count')) * Number(value('page_size'))
}
