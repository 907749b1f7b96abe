/**
 * Commits that do not wait for the disk: what they may not promise before they are flushed.
 */
import { mkdtempSync, rmSync, unlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import { afterEach, beforeEach, expect, test } from 'vitest'

import { DeferredFlush } from '../../../../src/store/file/flush.ts'
import { createVectorDB } from '../../../../src/store/vector-db.ts'

let folder: string
let db: DatabaseSync
let flush: DeferredFlush

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'flush-'))
  db = new DatabaseSync(join(folder, 'a.db'))
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (x)')
  flush = new DeferredFlush(db, join(folder, 'a.db'), dataVersion)
})

afterEach(() => {
  if (db.isOpen) db.close()
  rmSync(folder, { recursive: true })
})

function dataVersion(): number {
  return Number(db.prepare('PRAGMA data_version').get()?.['data_version'])
}

/** What the store does around a transaction; the level at which it commits. */
function transaction(sql = 'INSERT INTO t VALUES (0)'): unknown {
  flush.beginning()
  const level = db.prepare('PRAGMA synchronous').get()?.['synchronous']
  db.exec(sql)
  flush.committed(true)
  return level
}

const FULL = 2
const NORMAL = 1

test('only what is committed inside of it does not wait for the disk', async () => {
  expect(flush.commit(transaction)).toBe(FULL)
  const end = flush.begin()
  expect(flush.commit(transaction)).toBe(NORMAL)
  expect(transaction()).toBe(FULL)
  expect(() => flush.commit(() => transaction('no statement'))).toThrow('no')
  expect(transaction()).toBe(FULL)
  expect(flush.commit(() => [transaction(), transaction()])).toEqual([NORMAL, FULL])
  expect(flush.commit(transaction)).toBe(NORMAL)
  await end()
  expect(db.prepare('PRAGMA synchronous').get()?.['synchronous']).toBe(FULL)
  expect(flush.commit(transaction)).toBe(FULL)
})

test('a write of who hears of such a commit waits for the disk', async () => {
  const path = join(folder, 'b.db')
  using target = await createVectorDB({ path })
  using from = await createVectorDB({ path: ':memory:' })
  for (const each of [from, target]) each.createShard('docs', { dimension: 1 })
  from.insert('docs', { id: 'theirs', embedding: [1] })
  const end = target.replica.deferFlush()
  await target.replica.whenDurable()
  const stop = target.replica.onCommit(() => {
    stop()
    target.insert('docs', { id: 'ours', embedding: [1] })
  })

  const query = { after: 0, countMax: 9, bytesMax: 999, known: new Map<string, number>() }
  const { changes, state, through } = from.replica.readDelta('docs', query)
  const source = { peer: 'from', logId: state.logId, cursor: through }
  target.replica.applyDelta('docs', changes, source)

  // It was flushed with what came before it: a flush would find no file.
  unlinkSync(`${path}-wal`)
  await target.replica.whenDurable()
  await end()
})

test('inside a transaction, the transaction’s own commit waits', async () => {
  const end = flush.begin()
  flush.beginning()
  db.exec('BEGIN')
  expect(flush.commit(() => db.prepare('PRAGMA synchronous').get()?.['synchronous'])).toBe(FULL)
  db.exec('COMMIT')
  await end()
})

test('nothing is durable any more once the log could not be flushed', async () => {
  const end = flush.begin()
  flush.commit(() => transaction('INSERT INTO t VALUES (1)'))
  await flush.whenDurable()
  await end()
  const again = flush.begin()
  // As where the disk fails: the flush finds no file to flush.
  unlinkSync(join(folder, 'a.db-wal'))
  flush.commit(() => transaction('INSERT INTO t VALUES (2)'))

  await expect(flush.whenDurable()).rejects.toMatchObject({ code: 'STORE_IO' })
  await expect(flush.whenDurable()).rejects.toMatchObject({ code: 'STORE_IO' })
  expect(flush.commit(transaction)).toBe(FULL)
  await again()
})

test('what another process committed is flushed, too, before it is told on', async () => {
  const end = flush.begin()
  await flush.whenDurable()
  const other = new DatabaseSync(join(folder, 'a.db'))
  other.exec('PRAGMA synchronous = NORMAL; INSERT INTO t VALUES (1)')
  other.close()
  unlinkSync(join(folder, 'a.db-wal'))

  await expect(flush.whenDurable()).rejects.toMatchObject({ code: 'STORE_IO' })
  await end()
})

test('a commit that waited for the disk leaves nothing to flush', async () => {
  const end = flush.begin()
  await flush.whenDurable()
  flush.commit(() => transaction('INSERT INTO t VALUES (1)'))
  transaction('INSERT INTO t VALUES (2)')
  // A flush would find no file.
  unlinkSync(join(folder, 'a.db-wal'))
  await flush.whenDurable()

  flush.commit(() => transaction('INSERT INTO t VALUES (3)'))
  await expect(flush.whenDurable()).rejects.toMatchObject({ code: 'STORE_IO' })
  transaction()
  await expect(flush.whenDurable()).rejects.toMatchObject({ code: 'STORE_IO' })
  await end()
})

test('a database in memory, or one whose commits never wait, has nothing to defer', async () => {
  using memory = new DatabaseSync(':memory:')
  const none = new DeferredFlush(memory, ':memory:', () => 1)
  const end = none.begin()
  none.commit(() => memory.exec('CREATE TABLE t (x)'))
  await none.whenDurable()
  await end()

  db.exec('PRAGMA synchronous = NORMAL')
  const normal = new DeferredFlush(db, join(folder, 'a.db'), dataVersion)
  const over = normal.begin()
  unlinkSync(join(folder, 'a.db-wal'))
  normal.commit(() => db.exec('INSERT INTO t VALUES (1)'))
  await normal.whenDurable()
  await over()
})
