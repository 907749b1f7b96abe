/**
 * The tables of a database file, and the steps that bring an older file up to date.
 *
 * Not here: statements on them (statements.ts). docs/reference/file-format.md repeats this for
 * readers.
 *
 * - `vectors`, `embeddings`: the visible records, which are a view of the replicated state. Apart,
 *   so that reading metadata never pages through embeddings.
 * - `tombstones`: ids of records whose visible state is a delete. Every id is in exactly one of
 *   both.
 * - `vector_changelog`: one row per record, visible or not; the compacted feed of its shard. A
 *   write replaces the row by one with a new, larger `change_id`, which the record's row in
 *   `vectors` or `tombstones` names. Its key `position` is shard << 44 | change_id, so the table is
 *   its own index in the order of every feed and grows at its end; any other index would cost more
 *   than the table.
 * - `saved_indexes`: which file beside the database holds a shard's codes (index-files.ts).
 * - `record_text_N`: the full-text index of shard N, from its first text (texts.ts).
 * - `vector_conflicts`: all siblings of records that have more than one, whole. With a put among
 *   them the changelog's `operation` is 3, without one it is 4.
 *
 * `ahead_vector` covers what batches brought and the version vector does not cover yet; while there
 * is any, the rows are not those of the version vector, and digests are not compared.
 *
 * Encodings: `hlc` is milliseconds << 16 | logical. `context` is empty for "exactly the dots of the
 * siblings", else pairs of varints (actor key, counter). Version vectors are the bytes of
 * `encodeVector`. `embedding_actor` NULL: the embedding came with the write itself.
 *
 * A step is never edited once released; a new one is appended.
 */
import type { SqliteDatabase } from '#platform'

import { SqliteVectorError } from '../../errors.ts'
import { indexAllTexts } from './texts.ts'

/** "SQLV" in the file header, so that `file` and we can tell our files from others. */
export const APPLICATION_ID = 0x53514c56

/** The step of the schema that makes room for the names of files. */
export const SAVED_INDEXES_STEP = `
  CREATE TABLE saved_indexes (
    shard INTEGER PRIMARY KEY, token BLOB NOT NULL, cursor INTEGER NOT NULL) STRICT`

/** The step of the schema that makes the index and fills it from texts already there. */
export const TEXT_INDEX_STEP = `
  CREATE VIRTUAL TABLE record_text USING fts5(
    document, content = 'vectors', content_rowid = 'record', tokenize = 'unicode61 remove_diacritics 2');
  INSERT INTO record_text (record_text) VALUES ('rebuild');
`

/** The table, as a step of the schema. */
export const SYNC_STATE_STEP: string = `
  CREATE TABLE sync_state (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
`

/**
 * The step of the schema that gives each shard an index of its own, with a tokenizer; {@link
 * migrate} fills them.
 */
export const SHARD_TEXTS_STEP = `
  ALTER TABLE shard_metadata ADD COLUMN text_analysis TEXT;
  DROP TABLE record_text;
`

/** One per version: what turns the version before into it. */
export const STEPS: readonly string[] = [
  `
  CREATE TABLE database_metadata (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    log_id BLOB NOT NULL, actor INTEGER NOT NULL, created_at INTEGER NOT NULL) STRICT;
  CREATE TABLE open_sessions (
    session BLOB PRIMARY KEY, pid INTEGER NOT NULL, boot_id TEXT, opened_at INTEGER NOT NULL) STRICT;
  CREATE TABLE actors (
    actor INTEGER PRIMARY KEY, actor_id BLOB NOT NULL UNIQUE, node_id TEXT) STRICT;

  CREATE TABLE shard_metadata (
    shard INTEGER PRIMARY KEY AUTOINCREMENT, shard_id TEXT NOT NULL UNIQUE,
    dimension INTEGER NOT NULL, metric TEXT NOT NULL, model_id TEXT, conflict_strategy TEXT,
    head INTEGER NOT NULL DEFAULT 0, record_count INTEGER NOT NULL DEFAULT 0,
    tombstone_count INTEGER NOT NULL DEFAULT 0, conflict_count INTEGER NOT NULL DEFAULT 0,
    quarantine_count INTEGER NOT NULL DEFAULT 0, collected_through INTEGER NOT NULL DEFAULT 0,
    version_vector BLOB NOT NULL, ahead_vector BLOB NOT NULL DEFAULT x'00',
    gc_floor BLOB NOT NULL, fingerprint BLOB NOT NULL,
    hlc INTEGER NOT NULL DEFAULT 0, updated_at INTEGER NOT NULL) STRICT;

  CREATE TABLE vectors (
    record INTEGER PRIMARY KEY, shard INTEGER NOT NULL, vector_id TEXT NOT NULL,
    change_id INTEGER NOT NULL, metadata TEXT NOT NULL, document TEXT,
    UNIQUE (shard, vector_id)) STRICT;
  CREATE TABLE embeddings (record INTEGER PRIMARY KEY, embedding BLOB NOT NULL) STRICT;
  CREATE TABLE tombstones (
    record INTEGER PRIMARY KEY, shard INTEGER NOT NULL, vector_id TEXT NOT NULL,
    change_id INTEGER NOT NULL, UNIQUE (shard, vector_id)) STRICT;

  CREATE TABLE vector_changelog (
    position INTEGER PRIMARY KEY, record INTEGER NOT NULL,
    operation INTEGER NOT NULL, hlc INTEGER NOT NULL, actor INTEGER NOT NULL,
    counter INTEGER NOT NULL, embedding_actor INTEGER, embedding_counter INTEGER,
    context BLOB NOT NULL,
    shard INTEGER NOT NULL GENERATED ALWAYS AS (position >> 44) VIRTUAL,
    change_id INTEGER NOT NULL GENERATED ALWAYS AS (position & 17592186044415) VIRTUAL) STRICT;
  CREATE TABLE vector_conflicts (
    record INTEGER NOT NULL, actor INTEGER NOT NULL, counter INTEGER NOT NULL,
    hlc INTEGER NOT NULL, operation INTEGER NOT NULL,
    embedding_actor INTEGER, embedding_counter INTEGER,
    metadata TEXT, document TEXT, embedding BLOB,
    PRIMARY KEY (record, actor, counter)) STRICT, WITHOUT ROWID;

  CREATE TABLE peers (
    peer INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, node_id TEXT) STRICT;
  CREATE TABLE sync_cursors (
    peer INTEGER NOT NULL, shard INTEGER NOT NULL,
    pulled_log_id BLOB, pulled_cursor INTEGER NOT NULL DEFAULT 0,
    version_vector BLOB, acked_cursor INTEGER NOT NULL DEFAULT 0,
    last_contact INTEGER NOT NULL, PRIMARY KEY (peer, shard)) STRICT, WITHOUT ROWID;
  CREATE TABLE sync_quarantine (
    quarantine INTEGER PRIMARY KEY, shard INTEGER NOT NULL, peer INTEGER NOT NULL,
    vector_id TEXT NOT NULL, reason TEXT NOT NULL, dots BLOB NOT NULL, bytes BLOB NOT NULL,
    at INTEGER NOT NULL, UNIQUE (shard, vector_id, dots)) STRICT;
  `,
  TEXT_INDEX_STEP,
  SYNC_STATE_STEP,
  // The peer's last report that our own vector dominated; and our own writes that peers may have
  // seen.
  `
  ALTER TABLE sync_cursors ADD COLUMN stable_vector BLOB;
  CREATE TABLE own_writes (
    shard INTEGER NOT NULL, actor INTEGER NOT NULL, confirmed INTEGER NOT NULL DEFAULT 0,
    claimed INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (shard, actor)) STRICT, WITHOUT ROWID;
  ALTER TABLE database_metadata ADD COLUMN open_token BLOB;
  ALTER TABLE database_metadata ADD COLUMN release TEXT;
  `,
  // Which file of the file system this is; see replica/file-mark.ts.
  'ALTER TABLE database_metadata ADD COLUMN file_mark TEXT',
  SAVED_INDEXES_STEP,
  // True when the peer said that it does not come back.
  'ALTER TABLE peers ADD COLUMN has_left INTEGER NOT NULL DEFAULT 0',
  // Concurrent deletes of one record are a delete, not a conflict.
  `
  UPDATE vector_changelog SET operation = 4 WHERE operation = 3
    AND record IN (SELECT record FROM tombstones)
    AND record NOT IN (SELECT record FROM vector_conflicts WHERE operation = 1);
  UPDATE shard_metadata SET conflict_count = (SELECT count(*) FROM vector_changelog c
    WHERE c.position >= shard << 44 AND c.position < (shard + 1) << 44 AND c.operation = 3);
  `,
  SHARD_TEXTS_STEP,
]

/** The `user_version` that this release writes. */
export const SCHEMA_VERSION: number = STEPS.length

/**
 * Brings the file to {@link SCHEMA_VERSION}, in the transaction that the caller opened.
 * @throws SqliteVectorError `STORE_SCHEMA_TOO_NEW`, or `STORE_CORRUPT` for another program's file
 */
export function migrate(db: SqliteDatabase, path: string): void {
  const version = pragma(db, 'user_version')
  assertOurs(db, path, version)
  if (version > SCHEMA_VERSION) {
    throw new SqliteVectorError(
      'STORE_SCHEMA_TOO_NEW',
      `${path} has schema ${version}; this release knows ${SCHEMA_VERSION}`,
    )
  }
  if (version === SCHEMA_VERSION) return
  for (const step of STEPS.slice(version)) db.exec(step)
  if (version <= STEPS.indexOf(SHARD_TEXTS_STEP)) indexAllTexts(db)
  db.exec(`PRAGMA application_id = ${APPLICATION_ID}`)
  db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`)
}

/**
 * Checks a file that cannot be changed: it must have the tables of this release.
 * @throws SqliteVectorError `STORE_SCHEMA_TOO_NEW`, `STORE_READ_ONLY` for an older file
 */
export function checkSchema(db: SqliteDatabase, path: string): void {
  const version = pragma(db, 'user_version')
  assertOurs(db, path, version)
  if (version === SCHEMA_VERSION) return
  const isNewer = version > SCHEMA_VERSION
  throw new SqliteVectorError(
    isNewer ? 'STORE_SCHEMA_TOO_NEW' : 'STORE_READ_ONLY',
    `${path} has schema ${version}; this release ${isNewer ? 'knows' : 'must first bring it to'} ${SCHEMA_VERSION}`,
  )
}

function assertOurs(db: SqliteDatabase, path: string, version: number): void {
  const applicationId = pragma(db, 'application_id')
  if (applicationId === APPLICATION_ID) return
  const tables = Number(
    db.prepare('SELECT count(*) AS tables FROM sqlite_schema').get()?.['tables'],
  )
  if (applicationId === 0 && version === 0 && tables === 0) return
  throw new SqliteVectorError(
    'STORE_CORRUPT',
    `${path} is the SQLite database of another program (application id ${applicationId})`,
  )
}

function pragma(db: SqliteDatabase, name: string): number {
  return Number(db.prepare(`PRAGMA ${name}`).get()?.[name])
}
