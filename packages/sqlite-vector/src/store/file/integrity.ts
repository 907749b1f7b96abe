/**
 * SQLite's own check of a file: every page, index and constraint. Reads the whole file and
 * changes nothing; other processes may use it meanwhile.
 *
 * Not here: checking counts and digests against the rows (`recount()`), and rows against a peer's
 * (`verify()` of the sync).
 */
import { files, sqlite } from '#platform'

import { SqliteVectorError } from '../../errors.ts'
import { withSqliteErrors } from './sqlite.ts'

/** Complaints that are told; a damaged file has thousands, which all mean the same. */
const COMPLAINTS_MAX = 20

/**
 * SQLite's complaints, at most twenty lines; none when the file is sound. O(file).
 * @throws SqliteVectorError `STORE_CORRUPT` when it is not a database, `STORE_IO` when it cannot be
 * read
 */
export function checkIntegrity(path: string): readonly string[] {
  if (!files.exists(path)) throw new SqliteVectorError('STORE_IO', `there is no file ${path}`)
  return withSqliteErrors(path, () => {
    using db = sqlite.open(path, { readOnly: true })
    const rows = db.prepare(`PRAGMA integrity_check(${COMPLAINTS_MAX})`).all()
    const lines = rows.map((row) => String(Object.values(row)[0]))
    return lines.length === 1 && lines[0] === 'ok' ? [] : lines
  })
}
