/**
 * Opening and closing files: ours, others’, newer, damaged, read-only.
 */
import { flushShard } from '../../../src/store/feed/shards.ts'
import { copyFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'

import { describe, expect, test } from 'vitest'

import xxhash from 'xxhash-wasm'

import { insertBatch } from '../../../src/store/local/batch.ts'
import { CommitHooks } from '../../../src/store/replica/commit-hooks.ts'
import { OpenFile } from '../../../src/store/file/transaction.ts'
import { prepareRecord } from '../../../src/store/input.ts'
import { APPLICATION_ID, SCHEMA_VERSION, STEPS } from '../../../src/store/file/schema.ts'
import { loadShard, type ShardRow, shardRow } from '../../../src/store/feed/shards.ts'
import { openSqlite, sqliteFailure } from '../../../src/store/file/sqlite.ts'
import { createVectorDB } from '../../../src/store/vector-db.ts'
import { insertRecord } from '../../../src/store/local/writes.ts'
import { folder, open, record, shown, TestClock } from './fixture.ts'

describe('a file', () => {
  test('holds after close() what was written, feed and search included', async () => {
    using place = folder()
    const path = place.file('a.db')
    const first = await open({ path })
    await first.db.insertBatch(
      'docs',
      ['a', 'b', 'c'].map((id) => record(id, { id })),
    )
    first.db.delete('docs', 'b')
    const [rows, state] = [shown(first.db), first.db.replica.shardState('docs')]
    first.db.close()

    using second = await open({ path, shard: false })

    expect(shown(second.db)).toEqual(rows)
    expect(second.db.replica.shardState('docs')).toEqual(state)
    expect(second.db.search('docs', [1, 0, 0], { k: 5 }).map(({ id }) => id)).toHaveLength(2)
  })

  test('is ours by its header, in WAL, with pages of 8 KiB', async () => {
    using place = folder()
    const path = place.file('a.db')
    const fixture = await open({ path })
    fixture.db.close()
    using db = new DatabaseSync(path, { readOnly: true })
    const pragma = (name: string): unknown =>
      Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0]

    expect(pragma('application_id')).toBe(0x53514c56)
    expect(pragma('user_version')).toBe(SCHEMA_VERSION)
    expect(pragma('journal_mode')).toBe('wal')
    expect(pragma('page_size')).toBe(8_192)
    expect(readFileSync(path).subarray(68, 72).toString()).toBe('SQLV')
  })

  test('of an older release is brought up to date with its records', async () => {
    using place = folder()
    const path = place.file('a.db')
    writeFirstRelease(path)

    using second = await open({ path })

    expect(second.db.searchText('docs', 'fish').map(({ id }) => id)).toEqual(['a'])
    expect(second.db.get('docs', 'a')).toEqual({
      id: 'a',
      embedding: Float32Array.of(1, 2, 3),
      metadata: { old: true },
      text: 'a fish swims',
    })
    second.db.insert('docs', record('b'))
    expect(second.db.replica.shardState('docs')).toMatchObject({ head: 2, recordCount: 2 })
  })

  test('of a newer release is refused and not touched', async () => {
    using place = folder()
    const path = place.file('a.db')
    const fixture = await open({ path })
    fixture.db.close()
    const newer = new DatabaseSync(path)
    newer.exec(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`)
    newer.close()

    await expect(createVectorDB({ path })).rejects.toMatchObject({
      code: 'STORE_SCHEMA_TOO_NEW',
      message: expect.stringContaining(`schema ${SCHEMA_VERSION + 1}`) as string,
    })
  })

  test('of another program is refused and not touched', async () => {
    using place = folder()
    const path = place.file('a.db')
    const other = new DatabaseSync(path)
    other.exec('CREATE TABLE theirs (x); PRAGMA journal_mode = WAL')
    other.close()

    await expect(createVectorDB({ path })).rejects.toMatchObject({ code: 'STORE_CORRUPT' })

    using again = new DatabaseSync(path)
    expect(again.prepare('SELECT name FROM sqlite_schema').all()).toHaveLength(1)
  })

  test('that is no database is refused', async () => {
    using place = folder()
    const path = place.file('a.db')
    writeFileSync(path, 'not a database, but long enough to be looked at as one. '.repeat(20))

    await expect(createVectorDB({ path })).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
  })

  test('that lost its end is refused by name or read as far as it goes, never silently short', async () => {
    using place = folder()
    const path = place.file('a.db')
    const fixture = await open({ path })
    await fixture.db.insertBatch(
      'docs',
      Array.from({ length: 200 }, (_, n) => record(`r${n}`)),
    )
    fixture.db.close()
    const bytes = readFileSync(path).length

    for (const share of [0.3, 0.6, 0.9]) {
      const torn = place.file(`torn-${share}.db`)
      copyFileSync(path, torn)
      truncateSync(torn, Math.floor((bytes * share) / 8_192) * 8_192)
      const attempt = async (): Promise<number> => {
        using db = await createVectorDB({ path: torn })
        return db.list('docs', { limit: 1_000, includeVectors: true }).records.length
      }
      await expect(attempt()).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
    }
  })

  test('in a folder that is not there is refused', async () => {
    using place = folder()

    await expect(createVectorDB({ path: place.file('none/a.db') })).rejects.toMatchObject({
      code: 'STORE_IO',
      message: expect.stringContaining('none/a.db') as string,
    })
  })

  test('that is a folder is refused', async () => {
    using place = folder()

    await expect(createVectorDB({ path: place.file('') })).rejects.toMatchObject({
      code: 'STORE_IO',
    })
  })
})

describe('close()', () => {
  test('twice is once, and every call after it is refused', async () => {
    const { db } = await open()
    db.close()
    db.close()

    for (const call of [
      () => db.insert('docs', record('a')),
      () => db.get('docs', 'a'),
      () => db.search('docs', [1, 0, 0]),
      () => db.stats(),
      () => db.transaction(() => 1),
      () => db.group(() => 1),
      () => db.replica.identity(),
      () => db.replica.onCommit(() => undefined),
      () => db.replica.poll(),
    ]) {
      expect(call).toThrow(expect.objectContaining({ code: 'STORE_CLOSED' }))
    }
    await expect(db.insertBatch('docs', [record('a')])).rejects.toMatchObject({
      code: 'STORE_CLOSED',
    })
  })

  test('is what the end of a using block does', async () => {
    let kept
    {
      using db = await createVectorDB({ path: ':memory:' })
      kept = db
    }

    expect(() => kept.shards()).toThrow(expect.objectContaining({ code: 'STORE_CLOSED' }))
  })
})

describe('failures of SQLite', () => {
  test('a lock that another writer holds is STORE_BUSY, and the call may be repeated', async () => {
    using place = folder()
    const path = place.file('a.db')
    const first = await open({ path })
    first.db.close()
    using db = await createVectorDB({ path, busyTimeoutMs: 0 })
    using writer = new DatabaseSync(path)
    writer.exec('BEGIN IMMEDIATE')

    const insert = (): void => db.insert('docs', record('a'))

    expect(insert).toThrow(expect.objectContaining({ code: 'STORE_BUSY', retryable: true }))
    expect(db.count('docs')).toBe(0)
    writer.exec('ROLLBACK')
    insert()
    expect(db.count('docs')).toBe(1)
  })

  test.each([
    ['STORE_FULL', 'PRAGMA max_page_count = 3', 'INSERT INTO t VALUES (randomblob(100000))'],
    ['STORE_READ_ONLY', 'PRAGMA query_only = 1', 'INSERT INTO t VALUES (1)'],
  ])('%s keeps SQLite’s error as its cause', (code, before, statement) => {
    using db = new DatabaseSync(':memory:')
    db.exec(`CREATE TABLE t (x); ${before}`)
    let thrown: unknown
    try {
      db.exec(statement)
    } catch (error) {
      thrown = sqliteFailure('a.db', error)
      expect(thrown).toMatchObject({ code, cause: error })
    }
    expect(thrown).toMatchObject({ message: expect.stringMatching(/^a\.db: /) as string })
  })

  test('what SQLite had no part in stays as it is', () => {
    const error = new TypeError('mine')

    expect(sqliteFailure('a.db', error)).toBe(error)
  })

  test('a full disk in the middle of a batch leaves nothing of it, and writing goes on', async () => {
    using place = folder()
    const path = place.file('a.db')
    const first = await open({ path })
    first.db.insert('docs', record('kept'))
    first.db.close()
    const core = await coreOf(path)
    const state = (): ShardRow => core.read(() => shardRow(core, 'docs'))
    const before = state()
    const text = 'x'.repeat(10_000)
    const records = Array.from({ length: 200 }, (_, n) => ({ ...record(`r${n}`), text }))
    const { page_count: pages } = core.db.prepare('PRAGMA page_count').get() ?? {}
    core.db.exec(`PRAGMA max_page_count = ${Number(pages) + 20}`)

    await expect(insertBatch(core, 'docs', records, {})).rejects.toMatchObject({
      code: 'STORE_FULL',
      retryable: true,
    })

    expect(state()).toEqual(before)
    core.db.exec('PRAGMA max_page_count = 1000000')
    await insertBatch(core, 'docs', records, {})
    expect(state().record_count).toBe(201)
    core.close()
  })

  test('a write that fails half-way inside a transaction undoes all of it, also when it is caught', async () => {
    using place = folder()
    const path = place.file('a.db')
    const first = await open({ path })
    first.db.close()
    const core = await coreOf(path)
    const { page_count: pages } = core.db.prepare('PRAGMA page_count').get() ?? {}
    core.db.exec(`PRAGMA max_page_count = ${Number(pages)}`)

    const writing = (): void =>
      core.write((transaction) => {
        const shard = loadShard(transaction, 'docs')
        const text = 'x'.repeat(100_000)
        const prepared = prepareRecord(shard, { ...record('large'), text })
        expect(() => core.write(() => insertRecord(transaction, shard, prepared))).toThrow(
          expect.objectContaining({ code: 'STORE_FULL' }),
        )
      })

    expect(writing).toThrow(expect.objectContaining({ code: 'STORE_FULL' }))
    expect(core.read(() => shardRow(core, 'docs')).head).toBe(0)
    core.close()
  })
})

/** A file with one record as the first release wrote it: tables of the first step, without a full-text index. */
function writeFirstRelease(path: string): void {
  using db = new DatabaseSync(path)
  db.exec('PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL')
  db.exec(STEPS[0] ?? '')
  db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = 1`)
  const actor = new Uint8Array(16).fill(7)
  db.prepare('INSERT INTO actors (actor, actor_id) VALUES (1, ?)').run(actor)
  db.prepare('INSERT INTO database_metadata VALUES (1, ?, 1, 0)').run(new Uint8Array(16))
  db.prepare(
    `INSERT INTO shard_metadata (shard, shard_id, dimension, metric, head, record_count,
       version_vector, gc_floor, fingerprint, updated_at)
     VALUES (1, 'docs', 3, 'cosine', 1, 1, ?, x'00', zeroblob(8), 0)`,
  ).run(Uint8Array.of(1, ...actor, 1))
  db.exec(`INSERT INTO vectors VALUES (1, 1, 'a', 1, '{"old":true}', 'a fish swims');
    INSERT INTO vector_changelog (position, record, operation, hlc, actor, counter, context)
      VALUES ((1 << 44) | 1, 1, 1, 0, 1, 1, x'')`)
  const embedding = new Uint8Array(Float32Array.of(1, 2, 3).buffer)
  db.prepare('INSERT INTO embeddings VALUES (1, ?)').run(embedding)
}

/** The store's inside, for what only its own connection can be told. */
async function coreOf(path: string): Promise<OpenFile> {
  const hasher = await xxhash()
  const db = openSqlite({ path, durability: 'normal', busyTimeoutMs: 0 })
  return new OpenFile({
    flushShard,
    hooks: new CommitHooks(db, path),
    readOnly: false,
    db,
    path,
    clock: new TestClock(),
    hash64: (bytes) => hasher.h64Raw(bytes, 0n),
    sliceRows: 1_000,
    randomBytes: (count) => new Uint8Array(count),
    onEvent: () => undefined,
  })
}
