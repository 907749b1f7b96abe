/**
 * Codes kept beside the database: the first search after an open uses them, and whatever becomes of
 * the files, searches give what a scan of the rows gives.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  watch,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { crc32 } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import type { StoreEvent } from '../../../../src/store/types.ts'
import { createVectorDB, type SQLiteVectorDB } from '../../../../src/store/vector-db.ts'
import { clustered } from '../../search/data.ts'
import { type DbFixture, temporaryDb } from '../../search/fixture.ts'

const COUNT = 240
const DIMENSION = 32
const ROWS = clustered(COUNT + 200, DIMENSION, 31, 30)

const POLL = { timeout: 20_000 }

/** Room for int8 and bits of the shard, not for float32. */
const CODES = { searchMemoryBytes: 24_000 }

/** A shard whose codes have been saved, all connections closed. */
async function saved(): Promise<
  DbFixture & { readonly folder: string; readonly file: () => string }
> {
  const fixture = await temporaryDb(CODES)
  const { db, path } = fixture
  db.createShard('s', { dimension: DIMENSION })
  await db.insertBatch(
    's',
    ROWS.slice(0, COUNT).map((embedding, i) => ({ id: `r${i}`, embedding })),
  )
  await db.warmIndex('s')
  db.close()
  const folder = `${path}-index`
  const file = (): string => {
    const [name = '', ...more] = readdirSync(folder)
    expect(more).toEqual([])
    return join(folder, name)
  }
  return { ...fixture, folder, file }
}

/** Opens with codes, and hears what is refused. */
async function reopened(
  fixture: DbFixture,
  options: object = CODES,
): Promise<{ readonly db: SQLiteVectorDB; readonly events: StoreEvent[] }> {
  const events: StoreEvent[] = []
  const db = await fixture.open({ ...options, onEvent: (event) => events.push(event) })
  return { db, events }
}

function usesCodes(db: SQLiteVectorDB): boolean {
  return db.explain('s').index.rows?.includes('float32') === false
}

/** The deepest default search gives what a scan of the rows gives. */
async function expectRows(fixture: DbFixture, db: SQLiteVectorDB): Promise<void> {
  const scanning = await fixture.open({ searchMemoryBytes: 0 })
  for (const query of [ROWS[0]!, ROWS[COUNT + 10]!]) {
    const options = { k: 40, rescore: 10_000 }
    expect(db.search('s', query, options)).toEqual(scanning.search('s', query, { k: 40 }))
    const near = { k: 10, exact: true }
    expect(db.search('s', query, near)).toEqual(scanning.search('s', query, near))
  }
  scanning.close()
}

async function told(events: readonly StoreEvent[], reason: RegExp): Promise<void> {
  await expect
    .poll(() => events, POLL)
    .toEqual([
      { type: 'index-refused', shardId: 's', reason: expect.stringMatching(reason) as string },
    ])
}

describe('the first search after an open', () => {
  test('uses the saved codes, in one private file', async () => {
    await using fixture = await saved()
    const { db, events } = await reopened(fixture)

    expect(usesCodes(db)).toBe(true)
    expect(db.explain('s')).toMatchObject({ source: 'table', index: { state: 'ready' } })
    await expectRows(fixture, db)
    expect(statSync(fixture.folder).mode & 0o777).toBe(0o700)
    expect(statSync(fixture.file()).mode & 0o777).toBe(0o600)
    db.close()
    expect(events).toEqual([])
  })

  test('sees what was written since, by whomever', async () => {
    await using fixture = await saved()
    const other = await fixture.open({ saveIndex: false })
    other.insert('s', { id: 'new', embedding: ROWS[COUNT]! })
    other.update('s', 'r5', { embedding: ROWS[COUNT + 1]! })
    for (const id of ['r0', 'r7', `r${COUNT - 1}`]) other.delete('s', id)
    other.close()

    const { db, events } = await reopened(fixture)

    expect(usesCodes(db)).toBe(true)
    await expectRows(fixture, db)
    expect(db.search('s', ROWS[COUNT]!, { k: 1 })[0]?.id).toBe('new')
    db.close()
    expect(events).toEqual([])
  })

  test('goes without float32 rows until they are read, or an exact search wants them', async () => {
    await using fixture = await saved()
    const { db } = await reopened(fixture, {})
    expect(usesCodes(db)).toBe(true)
    await db.warmIndex('s')
    expect(db.explain('s').index.rows).toContain('float32')
    await expectRows(fixture, db)

    const { db: exactFirst } = await reopened(fixture, {})
    exactFirst.search('s', ROWS[0]!, { exact: true })
    expect(exactFirst.explain('s').index.rows).toContain('float32')
    await exactFirst.warmIndex('s')
    await expectRows(fixture, exactFirst)
  })

  test('deletes that were collected since make the codes void', async () => {
    await using fixture = await saved()
    const other = await fixture.open({ saveIndex: false })
    other.delete('s', 'r3')
    expect(other.collectTombstones('s')).toBe(1)
    other.close()

    const { db, events } = await reopened(fixture)

    await expectRows(fixture, db)
    await told(events, /the feed has no way on from it/)
  })
})

describe('a file that is not what its database says', () => {
  const damages: readonly (readonly [string, (bytes: Buffer) => Buffer, RegExp])[] = [
    ['is empty', () => Buffer.alloc(0), /ends too early/],
    ['was cut off', (bytes) => bytes.subarray(0, bytes.length - 100), /bytes in place of/],
    ['has a byte too many', (bytes) => Buffer.concat([bytes, Buffer.alloc(1)]), /in place of/],
    ['has a changed byte', (bytes) => changed(bytes, bytes.length >> 1), /checksum differs/],
    ['is another file', () => Buffer.from('# Notes\n\nnothing of the kind'), /another file/],
    ['is of another version', (bytes) => changed(bytes, 8), /has version/],
    ['is of another feed', (bytes) => reheaded(bytes, 'logId'), /the feed of another file/],
    ['holds codes of other rows', recoded, /not those of the rows/],
  ]

  test.each(damages)(
    'because it %s is refused, told of, and made anew',
    async (_, damage, reason) => {
      await using fixture = await saved()
      const file = fixture.file()
      writeFileSync(file, damage(readFileSync(file)))

      const { db, events } = await reopened(fixture)

      await expectRows(fixture, db)
      await told(events, reason)
      await db.warmIndex('s')
      await expectRows(fixture, db)
      db.close()
      const again = await reopened(fixture)
      expect(usesCodes(again.db)).toBe(true)
      await expectRows(fixture, again.db)
      expect(again.events).toEqual([])
      expect(fixture.file()).not.toBe(file)
    },
  )

  test('because it is gone, with its folder, costs time only', async () => {
    await using fixture = await saved()
    rmSync(fixture.folder, { recursive: true })

    const { db, events } = await reopened(fixture)

    await expectRows(fixture, db)
    await db.warmIndex('s')
    db.close()
    expect(existsSync(fixture.file())).toBe(true)
    expect(events).toEqual([])
  })

  test('because an older database was put in its place is not used', async () => {
    await using fixture = await saved()
    const { path, folder } = fixture
    copyFileSync(path, `${path}.older`)
    const later = await fixture.open(CODES)
    for (let i = 0; i < 100; i += 1) later.delete('s', `r${i}`)
    await later.warmIndex('s')
    later.close()
    const newer = readdirSync(folder)
    // Written over in its place, so that nothing but the token tells.
    writeFileSync(path, readFileSync(`${path}.older`))
    const other = await fixture.open({ saveIndex: false })
    for (let i = 0; i < 150; i += 1) other.insert('s', { id: `n${i}`, embedding: ROWS[COUNT + i]! })
    other.close()

    const { db } = await reopened(fixture)

    expect(readdirSync(folder)).toEqual(newer)
    await expectRows(fixture, db)
    await db.warmIndex('s')
    await expectRows(fixture, db)
  })

  test('because database and folder were copied elsewhere is refused there', async () => {
    await using fixture = await saved()
    await using elsewhere = await temporaryDb()
    elsewhere.db.close()
    rmSync(elsewhere.path)
    copyFileSync(fixture.path, elsewhere.path)
    cpSync(fixture.folder, `${elsewhere.path}-index`, { recursive: true })

    const { db, events } = await reopened(elsewhere)

    await expectRows(elsewhere, db)
    const seen = (): unknown[] => events.map(({ type }) => type)
    await expect.poll(seen, POLL).toEqual(['identity-renewed', 'index-refused'])
  })

  test('because it comes with a snapshot without a folder costs time only', async () => {
    await using fixture = await saved()
    const { db } = await reopened(fixture)
    await db.snapshot(`${fixture.path}.copy`)
    const copy = await createVectorDB({ path: `${fixture.path}.copy`, ...CODES })

    const query = ROWS[1]!

    expect(copy.search('s', query)).toEqual(db.search('s', query))
    await copy.warmIndex('s')
    expect(copy.search('s', query)).toEqual(db.search('s', query))
    copy.close()
  })
})

describe('saving', () => {
  test('two connections leave one file, and both are right', async () => {
    await using fixture = await saved()
    const [a, b] = [await fixture.open(CODES), await fixture.open(CODES)]
    for (let i = 0; i < 180; i += 1) a.insert('s', { id: `n${i}`, embedding: ROWS[COUNT + i]! })
    await Promise.all([a.warmIndex('s'), b.warmIndex('s')])
    await expectRows(fixture, a)
    await expectRows(fixture, b)
    a.close()
    b.close()

    const { db, events } = await reopened(fixture)

    expect(fixture.file()).toMatch(/\.codes$/)
    expect(usesCodes(db)).toBe(true)
    await expectRows(fixture, db)
    expect(events).toEqual([])
  })

  test('few changes do not write the file anew, many do, also without a close', async () => {
    await using fixture = await saved()
    const before = fixture.file()
    const few = await fixture.open(CODES)
    for (let i = 0; i < 10; i += 1) few.insert('s', { id: `n${i}`, embedding: ROWS[COUNT + i]! })
    await few.warmIndex('s')
    few.close()
    expect(fixture.file()).toBe(before)

    const many = await fixture.open(CODES)
    for (let i = 0; i < 190; i += 1) many.update('s', `r${i}`, { embedding: ROWS[COUNT + i]! })
    await many.warmIndex('s')

    expect(fixture.file()).not.toBe(before)
    await expectRows(fixture, many)
  })

  test('where it cannot is told of, and nothing else fails', async () => {
    await using fixture = await saved()
    rmSync(fixture.folder, { recursive: true })
    writeFileSync(fixture.folder, 'in the way')

    const { db, events } = await reopened(fixture)
    await expectRows(fixture, db)
    await db.warmIndex('s')
    await expectRows(fixture, db)
    db.close()

    const types = (): Set<string> => new Set(events.map(({ type }) => type))
    await expect.poll(types, POLL).toEqual(new Set(['index-refused', 'index-not-saved']))
  })

  test('a shard that is dropped, and what killed processes left, goes with the next file', async () => {
    await using fixture = await saved()
    const { folder } = fixture
    const before = fixture.file()
    writeFileSync(join(folder, '9-00.codes.partial'), 'left over')
    const db = await fixture.open(CODES)
    db.dropShard('s')
    db.createShard('s', { dimension: DIMENSION })
    await db.insertBatch(
      's',
      ROWS.slice(0, COUNT).map((embedding, i) => ({ id: `n${i}`, embedding })),
    )
    await db.warmIndex('s')

    expect(fixture.file()).not.toBe(before)
    await expectRows(fixture, db)
  })

  test('nothing is written where it is not wanted, or the database is in memory', async () => {
    await using fixture = await temporaryDb({ ...CODES, saveIndex: false })
    using inMemory = await createVectorDB({ path: ':memory:', ...CODES })
    for (const db of [fixture.db, inMemory]) {
      db.createShard('s', { dimension: DIMENSION })
      await db.insertBatch(
        's',
        ROWS.slice(0, COUNT).map((embedding, i) => ({ id: `r${i}`, embedding })),
      )
      await db.warmIndex('s')
      expect(db.explain('s').mode).not.toBe('exact')
      db.close()
    }

    expect(existsSync(`${fixture.path}-index`)).toBe(false)
    expect(existsSync(':memory:-index')).toBe(false)
    const wrong = { path: fixture.path, saveIndex: 'no' as unknown as boolean }
    await expect(createVectorDB(wrong)).rejects.toThrow('saveIndex must be true or false')
  })

  test('a process killed while it saves leaves a database that searches right', async () => {
    await using fixture = await saved()
    const script = fileURLToPath(new URL('saver-process.ts', import.meta.url))
    // Killed after so many changes in the folder: while a file is written, renamed, named, or
    // another taken away.
    for (const changes of [1, 2, 3, 6]) {
      const args = ['--conditions=source', script, fixture.path, String(CODES.searchMemoryBytes)]
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
      const gone = once(child, 'exit')
      let seen = 0
      const watcher = watch(fixture.folder, () => {
        seen += 1
        if (seen === changes) child.kill('SIGKILL')
      })
      await gone
      watcher.close()
      expect(seen).toBeGreaterThanOrEqual(changes)
      const { db } = await reopened(fixture)
      await expectRows(fixture, db)
      db.close()
    }
  })

  test('a file under a name that the database does not know is not read', async () => {
    await using fixture = await saved()
    const file = fixture.file()
    renameSync(file, join(fixture.folder, `1-${'0'.repeat(32)}.codes`))
    mkdirSync(file)

    const { db } = await reopened(fixture)

    await expectRows(fixture, db)
  })
})

function changed(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[at] = (copy[at] ?? 0) ^ 0x55
  return copy
}

/** The same codes under another name of the feed, as long as before, with a right checksum. */
function reheaded(bytes: Buffer, key: string): Buffer {
  const copy = Buffer.from(bytes)
  const at = copy.indexOf(`"${key}":"`) + key.length + 4
  copy.write('0123456789', at)
  return summed(copy)
}

/** Every code changed, with a right checksum. */
function recoded(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes)
  for (let at = copy.length - 8 * COUNT; at < copy.length - 4; at += 1) copy[at] = copy[at]! ^ 0x0f
  return summed(copy)
}

function summed(bytes: Buffer): Buffer {
  bytes.writeUInt32LE(crc32(bytes.subarray(0, -4)), bytes.length - 4)
  return bytes
}
