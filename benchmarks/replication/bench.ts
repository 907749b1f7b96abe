/**
 * What replication costs where it could get out of hand: merging conflicts, applying what peers sent, the memory of
 * deletes, and one record that everybody writes. See README.md.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import { createVectorDB, type RecordInput, type SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import { mergeRegister } from '../../packages/sqlite-vector/src/model/merge.ts'
import type { Change, RecordState } from '../../packages/sqlite-vector/src/model/types.ts'

import { bar, median, type Bar, type BenchOptions } from '../bar.ts'

export const title = 'replication: conflicts, remote changes, deletes, and one hot record'

const DIMENSION = 384
const SHARD = 'bench'
const BATCH = 256
const PAGE_BYTES = 8_192

export async function bars(options: BenchOptions): Promise<readonly Bar[]> {
  const folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-replication-'))
  try {
    options.log('merging')
    const merging = mergeBars(options)
    options.log('applying')
    const applying = await applyBars(folder, options)
    options.log('deleting, collecting, vacuuming')
    const space = await spaceBars(folder, options)
    options.log('one hot record')
    const hot = await hotBars(folder, options)
    return [...merging, ...applying, ...space, ...hot]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** 1,000 records, each written by two actors that did not know of each other, merged in memory. */
function mergeBars({ quick }: BenchOptions): Bar[] {
  const count = 1_000
  const pairs = Array.from({ length: count }, (_, n) => [writeOf('a', n), writeOf('b', n)] as const)
  const times: number[] = []
  for (let round = 0; round < (quick ? 5 : 100); round += 1) {
    const start = performance.now()
    const merged = pairs.map(([local, remote]) => mergeRegister(local, remote))
    times.push(performance.now() - start)
    check(merged.filter(({ siblings }) => siblings.length === 2).length, count)
  }
  return [bar('merge 1,000 conflicting changes in memory, median', median(times), '<= 2', 'ms')]
}

function writeOf(actor: string, n: number): RecordState {
  const dot = { actor: actor.repeat(32), counter: n + 1 }
  const embedding = new Float32Array(DIMENSION)
  const value = { embedding, embeddingDot: dot, metadata: '{}', text: null }
  return {
    siblings: [{ dot, stamp: { ms: 1_700_000_000_000 + n, logical: 0 }, value }],
    context: null,
  }
}

/** What a peer sent, applied in batches as it comes, against plain upserts of the same rows in equal transactions. */
async function applyBars(folder: string, { quick }: BenchOptions): Promise<Bar[]> {
  const records = makeRecords(quick ? 2_000 : 10_000)
  const source = await openShard(join(folder, 'source.db'))
  await source.insertBatch(SHARD, records)
  const { changes, state } = source.replica.readDelta(SHARD, {
    after: 0,
    countMax: records.length,
    bytesMax: Infinity,
    known: new Map(),
  })
  const ratios: number[] = []
  for (let round = 0; round <= (quick ? 3 : 9); round += 1) {
    const plainMs = plainUpsert(join(folder, 'plain.db'), records)
    const applyMs = await applied(join(folder, 'applied.db'), changes, state)
    // The first round warms the code and the disk, and does not count.
    if (round > 0) ratios.push(applyMs / plainMs)
  }
  source.close()
  const name = `cost of applying ${records.length} remote changes / of a plain upsert`
  return [bar(name, median(ratios), '<= 1.6', 'ratio')]
}

async function applied(
  path: string,
  changes: readonly Change[],
  { logId, digest }: { readonly logId: string; readonly digest: string },
): Promise<number> {
  const db = await openShard(path)
  const start = performance.now()
  for (let from = 0; from < changes.length; from += BATCH) {
    const source = { peer: 'f'.repeat(64), logId, cursor: from + BATCH }
    db.replica.applyDelta(SHARD, changes.slice(from, from + BATCH), source)
  }
  db.close()
  const elapsed = performance.now() - start
  using again = await createVectorDB({ path })
  check(again.count(SHARD), changes.length)
  if (again.replica.shardState(SHARD).digest !== digest) throw new Error('rows differ')
  again.close()
  drop(path)
  return elapsed
}

function plainUpsert(path: string, records: readonly RecordInput[]): number {
  const db = new DatabaseSync(path)
  db.exec(`PRAGMA page_size = ${PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    CREATE TABLE vectors (record INTEGER PRIMARY KEY, shard INTEGER NOT NULL,
      vector_id TEXT NOT NULL, metadata TEXT NOT NULL, document TEXT, UNIQUE (shard, vector_id)) STRICT;
    CREATE TABLE embeddings (record INTEGER PRIMARY KEY, embedding BLOB NOT NULL) STRICT`)
  const vector = db.prepare(`INSERT INTO vectors (shard, vector_id, metadata, document)
    VALUES (1, ?, ?, ?) ON CONFLICT (shard, vector_id)
    DO UPDATE SET metadata = excluded.metadata, document = excluded.document RETURNING record`)
  const embedding = db.prepare(`INSERT INTO embeddings (record, embedding) VALUES (?, ?)
    ON CONFLICT (record) DO UPDATE SET embedding = excluded.embedding`)
  const start = performance.now()
  for (let from = 0; from < records.length; from += BATCH) {
    db.exec('BEGIN IMMEDIATE')
    for (const record of records.slice(from, from + BATCH)) {
      const row = vector.get(record.id, JSON.stringify(record.metadata ?? {}), record.text ?? null)
      const floats = record.embedding as Float32Array
      embedding.run(Number(row?.['record']), new Uint8Array(floats.buffer))
    }
    db.exec('COMMIT')
  }
  db.close()
  const elapsed = performance.now() - start
  drop(path)
  return elapsed
}

/** Deleting everything, collecting and vacuuming: what is left beyond an empty file. */
async function spaceBars(folder: string, { quick }: BenchOptions): Promise<Bar[]> {
  const count = quick ? 5_000 : 100_000
  const db = await createVectorDB({ path: join(folder, 'space.db') })
  db.createShard(SHARD, { dimension: 8 })
  const pages = (): number => db.stats().fileBytes / PAGE_BYTES
  const empty = pages()
  const records = makeRecords(count, 8)
  await db.insertBatch(SHARD, records)
  const full = pages()
  for (let from = 0; from < count; from += 10_000) {
    db.transaction(() =>
      records.slice(from, from + 10_000).forEach(({ id }) => db.delete(SHARD, id)),
    )
  }
  const start = performance.now()
  check(db.collectTombstones(SHARD), count)
  db.vacuum()
  const elapsed = performance.now() - start
  const left = pages() - empty
  check(db.replica.shardState(SHARD).tombstoneCount, 0)
  db.close()
  return [
    bar(`pages of a file with ${count} records`, full, 'none', 'pages of 8 KiB'),
    bar('pages left after deleting all, collecting and vacuuming', left, '<= 8', 'pages of 8 KiB'),
    bar('collecting and vacuuming', elapsed, 'none', 'ms'),
  ]
}

/** Two nodes write one record 10,000 times and sync through a third now and then. */
async function hotBars(folder: string, { quick }: BenchOptions): Promise<Bar[]> {
  const writes = quick ? 1_000 : 10_000
  const nodes = await Promise.all(
    ['x', 'y', 'z'].map((name) => openShard(join(folder, `${name}.db`))),
  )
  const [x, y, z] = nodes as [SQLiteVectorDB, SQLiteVectorDB, SQLiteVectorDB]
  const record = must(makeRecords(1)[0])
  let siblingsMax = 0
  let early = 0
  for (let n = 0; n < writes; n += 1) {
    const writer = n % 2 === 0 ? x : y
    writer.upsert(SHARD, { ...record, metadata: { n } })
    if (n % 10 !== 9) continue
    for (const [to, from] of [
      [z, x],
      [z, y],
      [x, z],
      [y, z],
    ] as const)
      pull(to, from)
    for (const db of nodes)
      siblingsMax = Math.max(siblingsMax, db.conflictSiblings(SHARD, record.id).length)
    if (n + 1 === writes / 10) early = usedPages(x)
  }
  const growth = usedPages(x) - early
  for (const db of nodes) db.close()
  return [
    bar(
      `most siblings of a record with ${writes} writes of two nodes`,
      siblingsMax,
      '<= 3',
      'siblings',
    ),
    bar('pages in use, from a tenth of these writes to the last', growth, '<= 2', 'pages of 8 KiB'),
  ]
}

function usedPages(db: SQLiteVectorDB): number {
  const { fileBytes, freeBytes } = db.stats()
  return (fileBytes - freeBytes) / PAGE_BYTES
}

function pull(to: SQLiteVectorDB, from: SQLiteVectorDB): void {
  const known = to.replica.shardState(SHARD).versionVector
  const read = from.replica.readDelta(SHARD, { after: 0, countMax: 100, bytesMax: Infinity, known })
  const source = { peer: from.path, logId: read.state.logId, cursor: read.through }
  to.replica.applyDelta(SHARD, read.changes, source)
  to.replica.joinVector(SHARD, source, read.state.versionVector)
}

async function openShard(path: string): Promise<SQLiteVectorDB> {
  const db = await createVectorDB({ path })
  db.createShard(SHARD, { dimension: DIMENSION })
  return db
}

/** Vectors from a fixed seed. */
function makeRecords(count: number, dimension = DIMENSION): RecordInput[] {
  let seed = 42
  const random = (): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    return seed / 2 ** 32
  }
  return Array.from({ length: count }, (_, n) => ({
    id: `record-${n}`,
    embedding: Float32Array.from({ length: dimension }, () => random() - 0.5),
    metadata: { n },
  }))
}

function drop(path: string): void {
  for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true })
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('nothing there')
  return value
}

function check(actual: number, wanted: number): void {
  if (actual !== wanted) throw new Error(`${actual} instead of ${wanted}`)
}
