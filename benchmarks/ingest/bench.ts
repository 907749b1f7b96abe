/**
 * What the change feed costs: inserts and applied remote changes against plain SQLite statements that
 * write the same rows with the same settings, alternating in one process. See README.md.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import { createVectorDB, type DeltaRead, type RecordInput } from '@agentic-flow/sqlite-vector'

import { bar, median, type Bar, type BenchOptions } from '../bar.ts'

export const title = 'ingest: writes with a change feed against plain SQLite, 384 dimensions'

const DIMENSION = 384
const BATCH = 100

type Durability = 'full' | 'normal'

/** A run: the records it wrote in a second. */
type Run = (path: string) => Promise<number>

export async function bars(options: BenchOptions): Promise<readonly Bar[]> {
  const count = options.quick ? 2_000 : 10_000
  const rounds = options.quick ? 3 : 15
  const records = makeRecords(count)
  const folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-ingest-'))
  try {
    const result: Bar[] = []
    for (const durability of ['full', 'normal'] as const) {
      options.log(`inserts, durability ${durability}`)
      const {
        a: ours,
        b: plain,
        ratio,
      } = await alternate(
        folder,
        rounds,
        (path) => insertOurs(path, durability, records),
        (path) => insertPlain(path, durability, records),
      )
      result.push(bar(`insert in batches of ${BATCH}, ${durability}`, ours, 'none', 'records/s'))
      result.push(bar(`plain SQLite insert, ${durability}`, plain, 'none', 'records/s'))
      result.push(bar(`insert / plain insert, ${durability}`, ratio, '>= 0.8', 'ratio'))
    }
    options.log('applying remote changes')
    const changes = await remoteChanges(folder, records)
    const {
      a: upserted,
      b: applied,
      ratio,
    } = await alternate(
      folder,
      rounds,
      (path) => upsertPlain(path, records),
      (path) => applyOurs(path, changes),
    )
    result.push(bar(`apply ${count} remote changes, full`, applied, 'none', 'records/s'))
    result.push(bar('plain SQLite upsert, full', upserted, 'none', 'records/s'))
    result.push(bar('cost of applying / of a plain upsert, full', ratio, '<= 1.6', 'ratio'))
    return result
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** What two runs that take turns came to. */
interface Duel {
  readonly a: number
  readonly b: number
  /** Median of a's rate over b's, round by round: both met the same machine at the same moment. */
  readonly ratio: number
}

async function alternate(folder: string, rounds: number, a: Run, b: Run): Promise<Duel> {
  const rates: { a: number[]; b: number[] } = { a: [], b: [] }
  // The first round warms the code and the disk, and does not count.
  for (let round = 0; round <= rounds; round += 1) {
    for (const [name, run] of round % 2 === 0 ? pairs(a, b) : pairs(a, b).toReversed()) {
      const path = join(folder, `${name}.db`)
      const rate = await run(path)
      for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true })
      if (round > 0) rates[name].push(rate)
    }
  }
  const ratios = rates.a.map((rate, index) => rate / (rates.b[index] ?? Number.NaN))
  return { a: median(rates.a), b: median(rates.b), ratio: median(ratios) }
}

function pairs(a: Run, b: Run): (readonly ['a' | 'b', Run])[] {
  return [
    ['a', a],
    ['b', b],
  ]
}

async function insertOurs(
  path: string,
  durability: Durability,
  records: readonly RecordInput[],
): Promise<number> {
  const db = await createVectorDB({ path, durability })
  db.createShard('bench', { dimension: DIMENSION })
  const start = performance.now()
  for (let from = 0; from < records.length; from += BATCH) {
    await db.insertBatch('bench', records.slice(from, from + BATCH))
  }
  db.close()
  const elapsed = performance.now() - start
  using again = await createVectorDB({ path, durability })
  check(again.count('bench'), records.length)
  check(again.replica.shardState('bench').head, records.length)
  return (records.length / elapsed) * 1_000
}

/** The same rows in the same two tables, as one would write them by hand. */
async function insertPlain(
  path: string,
  durability: Durability,
  records: readonly RecordInput[],
): Promise<number> {
  const db = openPlain(path, durability)
  const vector = db.prepare(
    'INSERT INTO vectors (record, shard, vector_id, metadata, document) VALUES (?, 1, ?, ?, ?)',
  )
  const embedding = db.prepare('INSERT INTO embeddings (record, embedding) VALUES (?, ?)')
  let key = 0
  return timePlain(path, db, records, (record) => {
    key += 1
    vector.run(key, record.id, JSON.stringify(record.metadata), record.text ?? null)
    embedding.run(key, bytesOf(record))
  })
}

/** The same, for rows that may be there already. */
async function upsertPlain(path: string, records: readonly RecordInput[]): Promise<number> {
  const db = openPlain(path, 'full')
  const vector = db.prepare(`INSERT INTO vectors (shard, vector_id, metadata, document)
    VALUES (1, ?, ?, ?) ON CONFLICT (shard, vector_id)
    DO UPDATE SET metadata = excluded.metadata, document = excluded.document RETURNING record`)
  const embedding = db.prepare(`INSERT INTO embeddings (record, embedding) VALUES (?, ?)
    ON CONFLICT (record) DO UPDATE SET embedding = excluded.embedding`)
  return timePlain(path, db, records, (record) => {
    const row = vector.get(record.id, JSON.stringify(record.metadata), record.text ?? null)
    embedding.run(Number(row?.['record']), bytesOf(record))
  })
}

function openPlain(path: string, durability: Durability): DatabaseSync {
  const db = new DatabaseSync(path)
  db.exec(`PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
    PRAGMA synchronous = ${durability};
    CREATE TABLE vectors (record INTEGER PRIMARY KEY, shard INTEGER NOT NULL,
      vector_id TEXT NOT NULL, metadata TEXT NOT NULL, document TEXT,
      UNIQUE (shard, vector_id)) STRICT;
    CREATE TABLE embeddings (record INTEGER PRIMARY KEY, embedding BLOB NOT NULL) STRICT`)
  return db
}

function timePlain(
  path: string,
  db: DatabaseSync,
  records: readonly RecordInput[],
  write: (record: RecordInput) => void,
): number {
  const begin = db.prepare('BEGIN IMMEDIATE')
  const commit = db.prepare('COMMIT')
  const start = performance.now()
  for (let from = 0; from < records.length; from += BATCH) {
    begin.run()
    for (const record of records.slice(from, from + BATCH)) write(record)
    commit.run()
  }
  db.close()
  const elapsed = performance.now() - start
  const again = new DatabaseSync(path)
  check(Number(again.prepare('SELECT count(*) AS n FROM vectors').get()?.['n']), records.length)
  check(Number(again.prepare('SELECT count(*) AS n FROM embeddings').get()?.['n']), records.length)
  again.close()
  return (records.length / elapsed) * 1_000
}

/** What a peer that holds `records` would send to one that has nothing. */
async function remoteChanges(folder: string, records: readonly RecordInput[]): Promise<DeltaRead> {
  using db = await createVectorDB({ path: join(folder, 'source.db') })
  db.createShard('bench', { dimension: DIMENSION })
  await db.insertBatch('bench', records)
  const query = { after: 0, countMax: records.length, bytesMax: Infinity, known: new Map() }
  return db.replica.readDelta('bench', query)
}

async function applyOurs(path: string, delta: DeltaRead): Promise<number> {
  const db = await createVectorDB({ path })
  db.createShard('bench', { dimension: DIMENSION })
  const { changes } = delta
  let applied = 0
  const start = performance.now()
  for (let from = 0; from < changes.length; from += BATCH) {
    const source = { peer: 'f'.repeat(64), logId: delta.state.logId, cursor: from + BATCH }
    applied += db.replica.applyDelta('bench', changes.slice(from, from + BATCH), source).applied
  }
  db.close()
  const elapsed = performance.now() - start
  check(applied, changes.length)
  using again = await createVectorDB({ path })
  check(again.count('bench'), changes.length)
  if (again.replica.shardState('bench').digest !== delta.state.digest) {
    throw new Error('what was applied is not what was sent')
  }
  return (changes.length / elapsed) * 1_000
}

/** Unit vectors and a small JSON each, from a fixed seed. */
function makeRecords(count: number): readonly RecordInput[] {
  let seed = 42
  const random = (): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    return seed / 2 ** 32
  }
  return Array.from({ length: count }, (_, index) => {
    const embedding = Float32Array.from({ length: DIMENSION }, () => random() - 0.5)
    const norm = Math.hypot(...embedding)
    return {
      id: `record-${index}`,
      embedding: embedding.map((component) => component / norm),
      metadata: { source: `document-${index % 97}.md`, page: index % 13, language: 'en' },
    }
  })
}

function bytesOf(record: RecordInput): Uint8Array {
  const { buffer, byteOffset, byteLength } = record.embedding as Float32Array
  return new Uint8Array(buffer, byteOffset, byteLength)
}

function check(actual: number, expected: number): void {
  if (actual !== expected) throw new Error(`wrote ${actual} of ${expected} records`)
}
