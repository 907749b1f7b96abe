/**
 * A look at a file before it is opened: whose database it is, and whether it can be written.
 * Changes nothing, and leaves no file.
 *
 * Not here: opening (sqlite.ts), and the tables (schema.ts). SQLite's own open changes the journal
 * mode of the file that it is given and makes files beside it, so another program's file is
 * recognised by its header first. Reference:
 * https://www.sqlite.org/fileformat.html#the_database_header
 */
import { files, sqlite } from '#platform'

import { utf8ToBytes } from '../../bytes.ts'
import { SqliteVectorError } from '../../errors.ts'
import { APPLICATION_ID, SCHEMA_VERSION } from './schema.ts'

const MAGIC = utf8ToBytes('SQLite format 3\0')
const HEADER_BYTES = 100
const USER_VERSION_AT = 60
const APPLICATION_ID_AT = 68

/**
 * The name under which a database keeps its files: `-node` and `-index` belong to the file, however
 * it was reached.
 */
export function databasePath(path: string): string {
  return path === ':memory:' ? path : files.realPath(path)
}

/**
 * Refuses a file that is not ours, before anything touches it.
 * @throws SqliteVectorError `STORE_CORRUPT` for another program's file, `STORE_SCHEMA_TOO_NEW`
 */
export function inspectFile(path: string): void {
  const facts = path === ':memory:' ? null : files.facts(path)
  if (facts === null || facts.bytes === 0) return
  const header = readHeader(path)
  if (!MAGIC.every((byte, at) => header[at] === byte)) {
    throw new SqliteVectorError('STORE_CORRUPT', `${path} is not a SQLite database`)
  }
  const view = new DataView(header.buffer)
  const applicationId = view.getUint32(APPLICATION_ID_AT)
  const version = view.getUint32(USER_VERSION_AT)
  if (applicationId === APPLICATION_ID) return assertKnown(path, version)
  // A new file of ours carries its id in the log until the first checkpoint.
  if (applicationId === 0 && (hasFile(`${path}-wal`) || isEmpty(path))) return
  throw new SqliteVectorError(
    'STORE_CORRUPT',
    `${path} is the SQLite database of another program (application id ${applicationId})`,
  )
}

function assertKnown(path: string, version: number): void {
  if (version <= SCHEMA_VERSION) return
  throw new SqliteVectorError(
    'STORE_SCHEMA_TOO_NEW',
    `${path} has schema ${version}; this release knows ${SCHEMA_VERSION}`,
  )
}

function readHeader(path: string): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES)
  const file = files.open(path, 'read')
  try {
    files.read(file, header)
  } finally {
    files.close(file)
  }
  return header
}

function isEmpty(path: string): boolean {
  using db = sqlite.open(path, { immutable: true })
  const row = db.prepare('SELECT count(*) AS tables FROM sqlite_schema').get()
  return row?.['tables'] === 0
}

function hasFile(path: string): boolean {
  return (files.facts(path)?.bytes ?? 0) > 0
}
