/**
 * The baseline: plain SQLite rows, read in batches, shipped over one TCP connection as MessagePack, and
 * inserted in one transaction a batch. No changelog, no checksum, no encryption, no resumption: what
 * one would write by hand, and as fast as it gets in one afternoon.
 */
import { once } from 'node:events'
import { createServer, connect, type Socket } from 'node:net'
import { DatabaseSync } from 'node:sqlite'

import type { RecordInput } from '@agentic-flow/sqlite-vector'
import { pack, unpack } from 'msgpackr'

/** One row as it travels: id, metadata, embedding. */
type Row = readonly [string, string, Uint8Array]

const INSERT_VECTOR =
  'INSERT INTO vectors (record, shard, vector_id, metadata, document) VALUES (?, 1, ?, ?, NULL)'
const INSERT_EMBEDDING = 'INSERT INTO embeddings (record, embedding) VALUES (?, ?)'

function openPlain(path: string): DatabaseSync {
  const db = new DatabaseSync(path)
  db.exec(`PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS vectors (record INTEGER PRIMARY KEY, shard INTEGER NOT NULL,
      vector_id TEXT NOT NULL, metadata TEXT NOT NULL, document TEXT,
      UNIQUE (shard, vector_id)) STRICT;
    CREATE TABLE IF NOT EXISTS embeddings (record INTEGER PRIMARY KEY, embedding BLOB NOT NULL)
      STRICT`)
  return db
}

/** Writes rows in transactions of the caller's making. */
function rowWriter(db: DatabaseSync): (rows: readonly Row[]) => void {
  const begin = db.prepare('BEGIN IMMEDIATE')
  const commit = db.prepare('COMMIT')
  const vector = db.prepare(INSERT_VECTOR)
  const embedding = db.prepare(INSERT_EMBEDDING)
  let key = 0
  return (rows) => {
    begin.run()
    for (const [id, metadata, bytes] of rows) {
      key += 1
      vector.run(key, id, metadata)
      embedding.run(key, bytes)
    }
    commit.run()
  }
}

/** A file with `records`, for {@link servePlain} to read. */
export function fillPlain(path: string, records: readonly RecordInput[]): void {
  const db = openPlain(path)
  rowWriter(db)(
    records.map(({ id, metadata, embedding }): Row => {
      const { buffer, byteOffset, byteLength } = embedding as Float32Array
      return [id, JSON.stringify(metadata), new Uint8Array(buffer, byteOffset, byteLength)]
    }),
  )
  db.close()
}

/** Sends every row of the file to each connection, in batches; resolves with the port. */
export async function servePlain(path: string, batchSize: number): Promise<number> {
  const db = openPlain(path)
  const server = createServer({ noDelay: true }, (socket) => void sendAll(db, socket, batchSize))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

async function sendAll(db: DatabaseSync, socket: Socket, batchSize: number): Promise<void> {
  const next = db.prepare(`SELECT record, vector_id, metadata, embedding FROM vectors
    JOIN embeddings USING (record) WHERE record > ? ORDER BY record LIMIT ?`)
  let after = 0
  for (;;) {
    const rows = next.all(after, batchSize) as {
      record: number
      vector_id: string
      metadata: string
      embedding: Uint8Array
    }[]
    const last = rows.at(-1)
    if (last === undefined) break
    after = last.record
    const body = pack(
      rows.map(({ vector_id: id, metadata, embedding }): Row => [
        id,
        metadata,
        Buffer.from(embedding.buffer),
      ]),
    )
    const prefix = Buffer.alloc(4)
    prefix.writeUInt32LE(body.length)
    socket.cork()
    socket.write(prefix)
    const roomLeft = socket.write(body)
    socket.uncork()
    if (!roomLeft) await once(socket, 'drain')
  }
  socket.end()
}

/** Receives every row into a new file; resolves with the milliseconds and bytes that took. */
export async function pullPlain(
  path: string,
  port: number,
): Promise<{ ms: number; count: number; bytes: number }> {
  const db = openPlain(path)
  const write = rowWriter(db)
  const started = performance.now()
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  let pending: Buffer[] = []
  let have = 0
  let need = 4
  let count = 0
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    pending.push(chunk)
    have += chunk.length
    while (have >= need) {
      const whole = pending.length === 1 ? (pending[0] as Buffer) : Buffer.concat(pending)
      const bodyBytes = whole.readUInt32LE(0)
      if (have < 4 + bodyBytes) {
        pending = [whole]
        need = 4 + bodyBytes
        break
      }
      const rows = unpack(whole.subarray(4, 4 + bodyBytes)) as Row[]
      write(rows)
      count += rows.length
      const rest = whole.subarray(4 + bodyBytes)
      pending = rest.length === 0 ? [] : [rest]
      have = rest.length
      need = 4
    }
  }
  const ms = performance.now() - started
  db.close()
  return { ms, count, bytes: socket.bytesRead }
}
