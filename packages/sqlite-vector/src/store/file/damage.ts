/**
 * Errors for content of the file that cannot be true: a missing row, a wrong length, a text that is
 * not JSON.
 *
 * Not here: SQLite's own verdict on pages (integrity.ts), and what becomes of a damaged record
 * (replica/damaged.ts). The file is input: another program or a failing disk may have altered any
 * row, so nothing read from it is asserted.
 */
import type { Metadata } from '../../model/records.ts'
import { SqliteVectorError } from '../../errors.ts'
import { shown } from '../../options.ts'
import type { Statements } from './statements.ts'

/** `STORE_CORRUPT` for one record, with its key in the tables. */
export class DamagedRecord extends SqliteVectorError {
  readonly rowid: number

  constructor(rowid: number, message: string) {
    super('STORE_CORRUPT', message)
    this.rowid = rowid
  }
}

/** `value`, or `STORE_CORRUPT` naming `what` when the file lacks it. */
export function stored<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw damaged(what)
  return value
}

/** `STORE_CORRUPT` for content of the file that belongs to no single record. */
export function damaged(what: string): SqliteVectorError {
  return new SqliteVectorError('STORE_CORRUPT', `the database is damaged: ${what}`)
}

/** The parts of an open file that name a record. */
interface Names {
  readonly path: string
  readonly sql: Statements
}

/** `STORE_CORRUPT` naming file, shard and id of the record behind `rowid`. */
export function damagedRecord(names: Names, rowid: number, what: string): DamagedRecord {
  const row = names.sql.nameOfRecord.get(rowid)
  const id = row === undefined ? `with the key ${rowid}` : shown(row['vector_id'])
  const shard = row === undefined ? '' : ` of shard ${shown(row['shard_id'])}`
  return new DamagedRecord(rowid, `${names.path}: record ${id}${shard} is damaged: ${what}`)
}

/** The metadata that the file holds as `text`. @throws SqliteVectorError `STORE_CORRUPT` */
export function parseMetadata(text: string): Metadata {
  try {
    return JSON.parse(text) as Metadata
  } catch (error) {
    throw new SqliteVectorError('STORE_CORRUPT', 'the metadata of a record is not JSON', {
      cause: error,
    })
  }
}
