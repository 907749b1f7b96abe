/**
 * Declared indexes on a path of the metadata, so that a filter on it does not read every record.
 *
 * An index covers all shards of the file and holds, per record, what filters compare: the value and
 * its JSON type. It is local to the file: it does not replicate, and no answer depends on it.
 */
import type { SqliteDatabase } from '#platform'

import { METADATA_INDEXES_MAX } from '../../limits.ts'
import { shown } from '../../options.ts'
import { parsePath } from '../../search/filter.ts'
import { indexExpressions } from './filter-sql.ts'

const PREFIX = 'metadata:'

/** Creates the index on `path` when it is missing; true when it was. Inside a write transaction. */
export function createMetadataIndex(db: SqliteDatabase, path: string): boolean {
  const present = metadataIndexes(db)
  if (present.includes(checkedPath(path))) return false
  if (present.length >= METADATA_INDEXES_MAX) {
    throw new RangeError(`a file has at most ${METADATA_INDEXES_MAX} metadata indexes`)
  }
  const expressions = indexExpressions(parsePath(path), 'metadata').join(', ')
  db.exec(`CREATE INDEX ${identifier(path)} ON vectors (shard, ${expressions})`)
  return true
}

/** Drops the index on `path`; false when there was none. Inside a write transaction. */
export function dropMetadataIndex(db: SqliteDatabase, path: string): boolean {
  if (!metadataIndexes(db).includes(checkedPath(path))) return false
  db.exec(`DROP INDEX ${identifier(path)}`)
  return true
}

/** Paths that have an index, by their bytes. */
export function metadataIndexes(db: SqliteDatabase): readonly string[] {
  const rows = db
    .prepare(`SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'vectors'
      AND name GLOB 'metadata:*' ORDER BY name`)
    .all()
  return rows.map((row) => String(row['name']).slice(PREFIX.length))
}

function checkedPath(path: unknown): string {
  if (typeof path !== 'string') throw new TypeError(`path must be a string, got ${shown(path)}`)
  if (path === '' || path.startsWith('$') || path.includes('\0') || !path.isWellFormed()) {
    throw new RangeError(`path must name a place in metadata, got ${shown(path)}`)
  }
  return path
}

function identifier(path: string): string {
  return `"${`${PREFIX}${path}`.replaceAll('"', '""')}"`
}
