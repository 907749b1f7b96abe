/**
 * Every statement on a hot path, prepared once per open file and kept.
 *
 * Not here: what they mean together (register.ts, feed/reader.ts, shards.ts). SQL names are
 * translated here and in the modules that read the rows, nowhere else.
 *
 * Stamps are written as `(?ms << 16) | ?logical` and read back as two numbers, so that no 64-bit
 * integer has to become a BigInt.
 */
import type { SqliteDatabase, SqliteStatement } from '#platform'

/** A row of `vector_changelog`, as {@link Statements.findVisible} and its like give it. */
export interface ChangelogRow {
  readonly rowid: number
  readonly change_id: number
  readonly operation: number
  readonly ms: number
  readonly logical: number
  readonly actor: number
  readonly counter: number
  readonly embedding_actor: number | null
  readonly embedding_counter: number | null
  readonly context: Uint8Array
}

/** The payload of a visible record. */
export interface PayloadRow {
  readonly vector_id: string
  readonly metadata: string
  readonly document: string | null
  readonly embedding: Uint8Array
}

/** A row of `vector_conflicts`. */
export interface ConflictRow {
  readonly actor: number
  readonly counter: number
  readonly ms: number
  readonly logical: number
  readonly operation: number
  readonly embedding_actor: number | null
  readonly embedding_counter: number | null
  readonly metadata: string | null
  readonly document: string | null
  readonly embedding: Uint8Array | null
}

// Stamps use all 64 bits, so the shift brings the sign along: the mask takes it off again.
const STAMP = `((hlc >> 16) & 281474976710655) AS ms, (hlc & 65535) AS logical`

const SHARD_COLUMNS = `shard, shard_id, dimension, metric, model_id, text_analysis, conflict_strategy, head,
  record_count, tombstone_count, conflict_count, quarantine_count, version_vector,
  ahead_vector, gc_floor, fingerprint AS digest, updated_at, ${STAMP}`

const CHANGELOG_COLUMNS = `c.record AS rowid, c.change_id, c.operation,
  ((c.hlc >> 16) & 281474976710655) AS ms, (c.hlc & 65535) AS logical,
  c.actor, c.counter, c.embedding_actor, c.embedding_counter, c.context`

// Not composed in place, as isolated declarations cannot type that: see prepareStatements().
//
// OR FAIL: what a bulk statement wrote need not be undone by itself, as its transaction fails with
// it; without, SQLite copies every page that the statement touches, which takes back what bulk
// gains.
const SQL = {
  begin: 'BEGIN IMMEDIATE',
  beginRead: 'BEGIN',
  commit: 'COMMIT',
  rollback: 'ROLLBACK',
  savepoint: 'SAVEPOINT nested',
  release: 'RELEASE nested',
  rollbackTo: 'ROLLBACK TO nested',
  dataVersion: 'PRAGMA data_version',

  database: `SELECT d.log_id, d.actor, a.actor_id FROM database_metadata d
    JOIN actors a ON a.actor = d.actor`,
  // The same, and the largest record key given out: what every write transaction begins with.
  beginning: `SELECT d.log_id, d.actor, a.actor_id,
      max(ifnull((SELECT max(record) FROM vectors), 0),
        ifnull((SELECT max(record) FROM tombstones), 0)) AS rowid
    FROM database_metadata d JOIN actors a ON a.actor = d.actor`,
  setIdentity: 'UPDATE database_metadata SET actor = ?, log_id = ?',
  resetAcks: 'UPDATE sync_cursors SET acked_cursor = 0',
  nameActor: `INSERT INTO actors (actor_id, node_id) VALUES (?1, ?2)
    ON CONFLICT (actor_id) DO UPDATE SET node_id = ?2`,
  isOwnActor: 'SELECT 1 FROM own_writes JOIN actors USING (actor) WHERE actor_id = ? LIMIT 1',
  nodeOf: 'SELECT node_id FROM actors WHERE actor_id = ?',
  findActor: 'SELECT actor FROM actors WHERE actor_id = ?',
  getActor: 'SELECT actor_id FROM actors WHERE actor = ?',
  addActor: 'INSERT INTO actors (actor_id) VALUES (?) RETURNING actor',

  getShard: `SELECT {shard} FROM shard_metadata WHERE shard_id = ?`,
  getShardByKey: `SELECT {shard} FROM shard_metadata WHERE shard = ?`,
  listShards: `SELECT {shard} FROM shard_metadata ORDER BY shard_id`,
  addShard: `INSERT INTO shard_metadata
    (shard_id, dimension, metric, model_id, text_analysis, version_vector, gc_floor, fingerprint,
      updated_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  setShard: `UPDATE shard_metadata SET head = ?, record_count = ?, tombstone_count = ?,
    conflict_count = ?, quarantine_count = ?, version_vector = ?, ahead_vector = ?,
    fingerprint = ?, hlc = (? << 16) | ?, conflict_strategy = ?, updated_at = ? WHERE shard = ?`,

  findVisible: `SELECT {changelog} FROM vectors v JOIN vector_changelog c
    ON c.position = (v.shard << 44) | v.change_id WHERE v.shard = ? AND v.vector_id = ?`,
  findHidden: `SELECT {changelog} FROM tombstones t JOIN vector_changelog c
    ON c.position = (t.shard << 44) | t.change_id WHERE t.shard = ? AND t.vector_id = ?`,
  getPayload: `SELECT v.vector_id, v.metadata, v.document, e.embedding
    FROM vectors v JOIN embeddings e USING (record) WHERE v.record = ?`,
  getVisibleId: 'SELECT vector_id FROM vectors WHERE record = ?',
  changeOfRecord: `SELECT {changelog} FROM vector_changelog c
    WHERE c.record = ?2 AND c.position >= ?1 << 44 AND c.position < (?1 + 1) << 44`,
  nameOfRecord: `SELECT vector_id, shard_id FROM (SELECT shard, vector_id FROM vectors WHERE record = ?1
    UNION ALL SELECT shard, vector_id FROM tombstones WHERE record = ?1) LEFT JOIN shard_metadata USING (shard)`,
  getHiddenId: 'SELECT vector_id FROM tombstones WHERE record = ?',
  getConflicts: `SELECT actor, counter, {stamp}, operation, embedding_actor, embedding_counter,
    metadata, document, embedding FROM vector_conflicts WHERE record = ?`,

  listConflicts: `SELECT vector_id, (SELECT count(*) FROM vector_conflicts c
      WHERE c.record = found.record) AS siblings, visible FROM (
    SELECT v.vector_id, v.record, 1 AS visible FROM vectors v
      WHERE v.shard = ?1 AND v.record IN (SELECT record FROM vector_conflicts)
    UNION ALL SELECT t.vector_id, t.record, 0 FROM tombstones t
      WHERE t.shard = ?1
        AND t.record IN (SELECT record FROM vector_conflicts WHERE operation = 1)) AS found
    WHERE vector_id > ?2 ORDER BY vector_id LIMIT ?3`,

  addVector: `INSERT INTO vectors (record, shard, vector_id, change_id, metadata, document)
    VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (shard, vector_id) DO NOTHING`,
  addVectors: `INSERT OR FAIL INTO vectors (record, shard, vector_id, change_id, metadata, document)
    VALUES {rows of 6} ON CONFLICT (shard, vector_id) DO NOTHING`,
  findVector: 'SELECT record AS rowid FROM vectors WHERE shard = ? AND vector_id = ?',
  setVector: 'UPDATE vectors SET change_id = ?, metadata = ?, document = ? WHERE record = ?',
  dropVector: 'DELETE FROM vectors WHERE record = ?',
  dropVectors: 'DELETE FROM vectors WHERE record BETWEEN ? AND ?',
  getText: 'SELECT document FROM vectors WHERE record = ?',
  addEmbedding: 'INSERT INTO embeddings (record, embedding) VALUES (?, ?)',
  addEmbeddings: 'INSERT OR FAIL INTO embeddings (record, embedding) VALUES {rows of 2}',
  setEmbedding: 'UPDATE embeddings SET embedding = ? WHERE record = ?',
  dropEmbedding: 'DELETE FROM embeddings WHERE record = ?',
  addTombstone: 'INSERT INTO tombstones (record, shard, vector_id, change_id) VALUES (?, ?, ?, ?)',
  setTombstone: 'UPDATE tombstones SET change_id = ? WHERE record = ?',
  dropTombstone: 'DELETE FROM tombstones WHERE record = ?',
  addConflict: `INSERT INTO vector_conflicts
    (record, actor, counter, hlc, operation, embedding_actor, embedding_counter,
     metadata, document, embedding)
    VALUES (?, ?, ?, (? << 16) | ?, ?, ?, ?, ?, ?, ?)`,
  dropConflicts: 'DELETE FROM vector_conflicts WHERE record = ?',

  addChange: `INSERT INTO vector_changelog (position, record, operation, hlc, actor, counter,
     embedding_actor, embedding_counter, context)
    VALUES ((? << 44) | ?, ?, ?, (? << 16) | ?, ?, ?, ?, ?, ?)`,
  // The changelog of records ?1 to ?6, all just inserted: keys, change_ids, stamps and counters
  // rise by one from record to record, so one statement writes them all. The cast matters: numbers
  // are bound as floating point, and a sum with one would round the stamp.
  addChanges: `INSERT OR FAIL INTO vector_changelog
    (position, record, operation, hlc, actor, counter, context)
    SELECT (shard << 44) | change_id, record, 1,
      ((?2 << 16) | ?3) + (record - CAST(?1 AS INTEGER)), ?4, ?5 + (record - ?1), x''
    FROM vectors WHERE record BETWEEN ?1 AND ?6`,
  dropChange: 'DELETE FROM vector_changelog WHERE position = (? << 44) | ?',
  setContext: 'UPDATE vector_changelog SET context = ? WHERE position = (? << 44) | ?',
  readFeed: `SELECT {changelog} FROM vector_changelog c
    WHERE c.position > ((?1 << 44) | ?2) AND c.position < ((?1 + 1) << 44)
    ORDER BY c.position LIMIT ?3`,
  // Above ?2 up to ?3, but for rows without a conflict that are writes of actor ?5 up to counter
  // ?6.
  readFeedPast: `SELECT {changelog} FROM vector_changelog c
    WHERE c.position > ((?1 << 44) | ?2) AND c.position <= ((?1 << 44) | ?3)
      AND (c.actor IS NOT (SELECT actor FROM actors WHERE actor_id = ?5)
        OR c.counter > ?6 OR c.operation >= 3)
    ORDER BY c.position LIMIT ?4`,

  // The same with the payloads of visible records: one call instead of one a record.
  readFeedWhole: `SELECT {changelog}, v.vector_id, v.metadata, v.document, e.embedding
    FROM vector_changelog c LEFT JOIN vectors v ON v.record = c.record
    LEFT JOIN embeddings e ON e.record = c.record
    WHERE c.position > ((?1 << 44) | ?2) AND c.position <= ((?1 << 44) | ?3)
    ORDER BY c.position LIMIT ?4`,

  getRecord: `SELECT v.record, v.vector_id, v.metadata, v.document, e.embedding
    FROM vectors v LEFT JOIN embeddings e USING (record) WHERE v.shard = ? AND v.vector_id = ?`,
  listRecords: `SELECT v.record, v.vector_id, v.metadata, v.document FROM vectors v
    WHERE v.shard = ? AND v.vector_id > ? ORDER BY v.vector_id LIMIT ?`,
  listRecordsWithVectors: `SELECT v.record, v.vector_id, v.metadata, v.document, e.embedding
    FROM vectors v LEFT JOIN embeddings e USING (record)
    WHERE v.shard = ? AND v.vector_id > ? ORDER BY v.vector_id LIMIT ?`,

  addPeer: `INSERT INTO peers (fingerprint) VALUES (?) ON CONFLICT (fingerprint) DO UPDATE
    SET fingerprint = fingerprint RETURNING peer`,
  getCursor: `SELECT p.fingerprint, s.shard_id, k.pulled_log_id, k.pulled_cursor, k.version_vector,
    k.acked_cursor, k.last_contact FROM sync_cursors k JOIN peers p USING (peer)
    JOIN shard_metadata s USING (shard) WHERE p.fingerprint = ? AND s.shard_id = ?`,
  // Bytes as text: a thousand rows of blobs cost five times as much.
  listCursors: `SELECT peer, shard, lower(hex(pulled_log_id)), pulled_log_id IS NULL, pulled_cursor,
    hex(version_vector), version_vector IS NULL, acked_cursor, last_contact FROM sync_cursors`,
  listPeerNames: 'SELECT peer, fingerprint FROM peers',
  // The same feed only moves forwards; another feed starts where the batch says.
  setPulled: `INSERT INTO sync_cursors (peer, shard, pulled_log_id, pulled_cursor, last_contact)
    VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (peer, shard) DO UPDATE SET
    pulled_cursor = CASE WHEN pulled_log_id = ?3 THEN max(pulled_cursor, ?4) ELSE ?4 END,
    pulled_log_id = ?3, last_contact = ?5`,
  setAcked: `INSERT INTO sync_cursors (peer, shard, version_vector, acked_cursor, last_contact)
    VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (peer, shard) DO UPDATE SET
    version_vector = ?3, acked_cursor = ?4, last_contact = ?5`,

  setReport: `INSERT INTO sync_cursors (peer, shard, version_vector, last_contact)
    VALUES (?1, ?2, ?3, ?4) ON CONFLICT (peer, shard) DO UPDATE SET
    version_vector = ?3, last_contact = ?4`,
  setStable: 'UPDATE sync_cursors SET stable_vector = ? WHERE peer = ? AND shard = ?',
  reportsOf: `SELECT peer, version_vector, stable_vector, last_contact FROM sync_cursors
    JOIN peers USING (peer) WHERE shard = ? AND has_left = 0`,
  hasLeft: 'SELECT has_left FROM peers WHERE fingerprint = ?',
  setLeft: 'UPDATE peers SET has_left = ? WHERE fingerprint = ?',
  getFloor: 'SELECT gc_floor, collected_through FROM shard_metadata WHERE shard = ?',
  setFloor: `UPDATE shard_metadata SET gc_floor = ?, collected_through = max(collected_through, ?)
    WHERE shard = ?`,
  // Few columns: what a comparison of a whole shard costs is what its rows cost to hand over.
  readRange: `SELECT v.vector_id, c.record AS rowid, c.operation, c.actor, c.counter FROM vectors v JOIN vector_changelog c
      ON c.position = (v.shard << 44) | v.change_id
      WHERE v.shard = ?1 AND v.vector_id >= ?2 AND v.vector_id < ?3
    UNION ALL SELECT t.vector_id, c.record AS rowid, c.operation, c.actor, c.counter
      FROM tombstones t JOIN vector_changelog c
      ON c.position = (t.shard << 44) | t.change_id
      WHERE t.shard = ?1 AND t.vector_id >= ?2 AND t.vector_id < ?3 AND c.operation = 3
    ORDER BY vector_id LIMIT ?4`,
  changesPage: `SELECT count(*) AS rows, max(change_id) AS last, sum(operation = 3) AS conflicts
    FROM (SELECT change_id, operation FROM vector_changelog
      WHERE position > (?1 << 44) + ?2 AND position < ((?1 + 1) << 44) ORDER BY position LIMIT ?3)`,
  maxCounters: `SELECT actor, max(counter) AS counter FROM vector_changelog
      WHERE position > (?1 << 44) + ?2 AND position <= (?1 << 44) + ?3 AND operation <> 3 GROUP BY actor
    UNION ALL SELECT x.actor, max(x.counter) FROM vector_changelog c JOIN vector_conflicts x USING (record)
      WHERE c.position > (?1 << 44) + ?2 AND c.position <= (?1 << 44) + ?3 AND c.operation >= 3
      GROUP BY x.actor`,
  visibleIds: `SELECT count(*) AS rows, max(vector_id) AS last FROM (SELECT vector_id FROM vectors
    WHERE shard = ?1 AND vector_id > ?2 ORDER BY vector_id LIMIT ?3)`,
  // Records of a page of ids whose parts do not fit together; most of the time none.
  damagedIds: `SELECT page.record AS record, page.vector_id FROM (SELECT v.record, v.vector_id, v.metadata, v.change_id, v.shard
      FROM vectors v WHERE v.shard = ?1 AND v.vector_id > ?2 ORDER BY v.vector_id LIMIT ?3) AS page
    LEFT JOIN embeddings e ON e.record = page.record
    LEFT JOIN vector_changelog c ON c.position = (page.shard << 44) | page.change_id
    WHERE e.embedding IS NULL OR length(e.embedding) IS NOT ?4 OR NOT json_valid(page.metadata)
      OR c.record IS NOT page.record LIMIT ?5`,
  hiddenIds: `SELECT count(*) AS rows, max(vector_id) AS last FROM (SELECT vector_id FROM tombstones
    WHERE shard = ?1 AND vector_id > ?2 ORDER BY vector_id LIMIT ?3)`,
  ownWrites: `SELECT w.actor, a.actor_id, w.confirmed, w.claimed FROM own_writes w
    JOIN actors a USING (actor) WHERE w.shard = ?`,
  setConfirmed: `INSERT INTO own_writes (shard, actor, confirmed) VALUES (?1, ?2, ?3)
    ON CONFLICT (shard, actor) DO UPDATE SET confirmed = ?3`,
  setClaimed: `INSERT INTO own_writes (shard, actor, claimed) VALUES (?1, ?2, ?3)
    ON CONFLICT (shard, actor) DO UPDATE SET claimed = ?3`,
  dropOwnWrites: 'DELETE FROM own_writes WHERE shard = ? AND actor = ?',
  resetPulled: 'UPDATE sync_cursors SET pulled_cursor = 0 WHERE shard = ?',
  deletedAfter: `SELECT {changelog} FROM tombstones t JOIN vector_changelog c
    ON c.position = (t.shard << 44) | t.change_id
    WHERE t.shard = ?1 AND t.record > ?2 AND c.operation IN (2, 4) ORDER BY t.record LIMIT ?3`,

  addQuarantine: `INSERT INTO sync_quarantine (shard, peer, vector_id, reason, dots, bytes, at)
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (shard, vector_id, dots) DO NOTHING`,
  listQuarantine: `SELECT q.quarantine, p.fingerprint, q.reason, q.bytes, q.at
    FROM sync_quarantine q JOIN peers p USING (peer)
    WHERE q.shard = ? AND q.quarantine > ? ORDER BY q.quarantine LIMIT ?`,
  dropQuarantine: 'DELETE FROM sync_quarantine WHERE quarantine = ?',
  quarantineUse: `SELECT count(*) AS entries, total(length(bytes)) AS bytes FROM sync_quarantine
    WHERE shard = ? AND peer = ?`,
  quarantineDots: 'SELECT dots FROM sync_quarantine WHERE shard = ?',
} as const

/** The prepared statements of one open file. */
export type Statements = { readonly [name in keyof typeof SQL]: SqliteStatement }

/** Prepares them all. */
export function prepareStatements(db: SqliteDatabase): Statements {
  const entries = Object.entries(SQL).map(
    ([name, sql]) => [name, db.prepare(expanded(sql))] as const,
  )
  return Object.fromEntries(entries) as Statements
}

/** Rows that one statement of a bulk insert writes: beyond ten, more no longer helps. */
export const BULK_ROWS = 10

function expanded(sql: string): string {
  return sql
    .replace(/\{rows of (\d)\}/, (_match, columns) => {
      const row = `(${Array.from({ length: Number(columns) }, () => '?').join(', ')})`
      return Array.from({ length: BULK_ROWS }, () => row).join(', ')
    })
    .replace('{stamp}', STAMP)
    .replaceAll('{changelog}', CHANGELOG_COLUMNS)
    .replace('{shard}', SHARD_COLUMNS)
}
