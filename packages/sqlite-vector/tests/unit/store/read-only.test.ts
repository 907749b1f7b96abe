/**
 * Reading never writes, and refusing never changes: foreign files, read-only opens, full disks, other spellings of a path.
 */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import { describe, expect, test } from 'vitest'

import type { StoreEvent } from '../../../src/store/types.ts'
import { createVectorDB } from '../../../src/store/vector-db.ts'
import { folder, open, record } from './fixture.ts'

const CODE = (code: string): unknown => expect.objectContaining({ code })

async function filled(path: string): Promise<void> {
  using one = await open({ path })
  for (const id of ['a', 'b']) one.db.insert('docs', { ...record(id, { id }), text: `word ${id}` })
  one.db.delete('docs', 'b')
}

describe('a file that is not ours', () => {
  const FOREIGN: Readonly<Record<string, (path: string) => void>> = {
    'another program with an application id': (path) => {
      using db = new DatabaseSync(path)
      db.exec('PRAGMA application_id = 7; CREATE TABLE t (a); INSERT INTO t VALUES (1)')
    },
    'another program without one': (path) => {
      using db = new DatabaseSync(path)
      db.exec('CREATE TABLE t (a); INSERT INTO t VALUES (1)')
    },
    'another program in WAL mode': (path) => {
      using db = new DatabaseSync(path)
      db.exec('PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)')
    },
    'a newer release': (path) => {
      using db = new DatabaseSync(path)
      db.exec('PRAGMA application_id = 1397836886; PRAGMA user_version = 9999; CREATE TABLE t (a)')
    },
    'no database at all': (path) => writeFileSync(path, 'once upon a time '.repeat(100)),
  }
  test.each(Object.entries(FOREIGN))('%s is refused and stays as it is', async (_, make) => {
    using files = folder()
    const path = files.file('foreign.db')
    make(path)
    const before = readFileSync(path)
    const { mtimeMs } = statSync(path)

    await expect(createVectorDB({ path })).rejects.toThrow(/database|schema/)

    expect(readFileSync(path).equals(before)).toBe(true)
    expect(statSync(path).mtimeMs).toBe(mtimeMs)
    expect(readdirSync(dirname(path))).toEqual(['foreign.db'])
  })
})

describe('readOnly', () => {
  test('reads everything, changes no byte, and leaves no file', async () => {
    using files = folder()
    const path = files.file('x.db')
    await filled(path)
    const before = readFileSync(path)
    {
      using db = await createVectorDB({ path, readOnly: true })
      expect(db.get('docs', 'a')).toMatchObject({ id: 'a' })
      expect(db.search('docs', [1, 0, 0], { k: 1 })).toMatchObject([{ id: 'a' }])
      expect(db.searchText('docs', 'word')).toHaveLength(1)
      expect(db.count('docs', { id: 'a' })).toBe(1)
      expect(db.list('docs').records).toHaveLength(1)
      expect(db.stats()).toMatchObject({ readOnly: true })
      expect(db.recount('docs').correct).toBe(true)
      await db.snapshot(files.file('copy.db'))
    }
    expect(readFileSync(path).equals(before)).toBe(true)
    expect(readdirSync(dirname(path)).toSorted()).toEqual(['copy.db', 'x.db'])
    using copy = await createVectorDB({ path: files.file('copy.db') })
    expect(copy.get('docs', 'a')).toMatchObject({ id: 'a' })
  })

  test('refuses every write with STORE_READ_ONLY', async () => {
    using files = folder()
    const path = files.file('x.db')
    await filled(path)
    using db = await createVectorDB({ path, readOnly: true })
    const writes: readonly (() => unknown)[] = [
      () => db.insert('docs', record('c')),
      () => db.upsert('docs', record('a')),
      () => db.update('docs', 'a', { metadata: {} }),
      () => db.delete('docs', 'a'),
      () => db.createShard('more', { dimension: 3 }),
      () => db.dropShard('docs'),
      () => db.collectTombstones('docs'),
      () => db.createMetadataIndex('id'),
      () => db.setConflictStrategy('docs', 'merge'),
      () => db.transaction(() => 1),
      () => db.vacuum(),
      () => db.replica.renewIdentity(),
      () => db.replica.saveSyncState('key', 'value'),
    ]
    for (const write of writes) expect(write, String(write)).toThrow(CODE('STORE_READ_ONLY'))
    await expect(db.insertBatch('docs', [record('c')])).rejects.toThrow(CODE('STORE_READ_ONLY'))
    await expect(db.group(() => db.insert('docs', record('c')))).rejects.toThrow(
      CODE('STORE_READ_ONLY'),
    )
  })

  test('sees the commits of a process that has the file open', async () => {
    using files = folder()
    const path = files.file('x.db')
    using writer = await open({ path })
    using reader = await createVectorDB({ path, readOnly: true })
    writer.db.insert('docs', record('new'))
    expect(reader.get('docs', 'new')).toMatchObject({ id: 'new' })
  })

  test('makes no file where there is none', async () => {
    using files = folder()
    await expect(createVectorDB({ path: files.file('none.db'), readOnly: true })).rejects.toThrow(
      CODE('STORE_IO'),
    )
    expect(readdirSync(files.file('.'))).toEqual([])
  })
})

describe('one file under several names', () => {
  test('a link, a relative path and .. open the same node, and draw no new actor', async () => {
    using files = folder()
    mkdirSync(files.file('data'))
    mkdirSync(files.file('links'))
    const path = files.file('data/x.db')
    symlinkSync(path, files.file('links/y.db'))
    symlinkSync(files.file('data'), files.file('links/data'))
    let actor: string
    {
      using first = await open({ path })
      mkdirSync(`${path}-node`, { mode: 0o700 })
      first.db.replica.keepToken()
      actor = first.db.replica.identity().actor
    }
    const names = [
      files.file('links/y.db'),
      files.file('links/data/x.db'),
      relative(process.cwd(), path),
      join(files.file('links'), '..', 'data', 'x.db'),
    ]
    for (const name of names) {
      using again = await open({ path: name, shard: false })
      expect(again.db.path).toBe(path)
      expect(again.db.replica.identity().actor).toBe(actor)
    }
    expect(readdirSync(files.file('links')).toSorted()).toEqual(['data', 'y.db'])
  })

  test('a URI is refused with a hint, and makes no file', async () => {
    using files = folder()
    await expect(createVectorDB({ path: 'file:x.db' })).rejects.toThrow(/not a URI.*pass "x.db"/)
    expect(readdirSync(files.file('.'))).toEqual([])
  })
})

describe('a file that is gone while it is open', () => {
  test.each(['removed', 'replaced'])('when it was %s, writes fail by code', async (how) => {
    using files = folder()
    mkdirSync(files.file('data'))
    const path = files.file('data/x.db')
    using one = await open({ path })
    one.db.insert('docs', record('a'))
    renameSync(files.file('data'), files.file('moved'))
    if (how === 'replaced') {
      mkdirSync(files.file('data'))
      writeFileSync(path, '')
    }
    one.clock.ms += 1_000

    expect(() => one.db.insert('docs', record('b'))).toThrow(CODE('STORE_IO'))
    expect(() => one.db.insert('docs', record('b'))).toThrow(new RegExp(how))
  })
})

describe('the write-ahead log', () => {
  test('shrinks after a long reader left', async () => {
    using files = folder()
    const path = files.file('x.db')
    using one = await open({ path })
    const text = 'x'.repeat(100_000)
    {
      using reader = new DatabaseSync(path, { readOnly: true })
      reader.exec('BEGIN')
      reader.prepare('SELECT count(*) FROM vectors').get()
      for (let index = 0; index < 320; index += 1) {
        one.db.upsert('docs', { ...record(`r${index % 40}`), text })
      }
      expect(statSync(`${path}-wal`).size).toBeGreaterThan(20_000_000)
      reader.exec('COMMIT')
    }
    for (let index = 0; index < 4; index += 1) one.db.upsert('docs', { ...record('last'), text })

    expect(statSync(`${path}-wal`).size).toBeLessThanOrEqual(17_000_000)
  })
})

describe('a snapshot', () => {
  test('has the mode of the database, and replaces no link of its name', async () => {
    using files = folder()
    const path = files.file('x.db')
    using one = await open({ path })
    one.db.insert('docs', record('a'))
    chmodSync(path, 0o600)
    await one.db.snapshot(files.file('copy.db'))
    expect(statSync(files.file('copy.db')).mode & 0o777).toBe(0o600)

    writeFileSync(files.file('precious'), 'precious')
    symlinkSync(files.file('precious'), files.file('link.db'))
    await expect(one.db.snapshot(files.file('link.db'))).rejects.toThrow(CODE('STORE_IO'))
    expect(readFileSync(files.file('precious'), 'utf8')).toBe('precious')
  })
})

describe.skipIf(!canMount())('a small disk', () => {
  test('read-only, it is opened for reading by itself, and said so', async () => {
    using disk = mounted()
    {
      using one = await open({ path: disk.file('x.db') })
      one.db.insert('docs', record('a'))
    }
    execFileSync('mount', ['-o', 'remount,ro', disk.path])
    const events: StoreEvent[] = []
    using db = await createVectorDB({
      path: disk.file('x.db'),
      onEvent: (event) => void events.push(event),
    })
    expect(db.get('docs', 'a')).toMatchObject({ id: 'a' })
    expect(() => db.insert('docs', record('b'))).toThrow(CODE('STORE_READ_ONLY'))
    expect(events).toMatchObject([{ type: 'opened-read-only' }])
    using elsewhere = folder()
    await db.snapshot(elsewhere.file('copy.db'))
    await expect(db.snapshot(disk.file('copy.db'))).rejects.toThrow(CODE('STORE_READ_ONLY'))
  })

  test('full, it is opened and read, copied elsewhere, and writes are STORE_FULL', async () => {
    using disk = mounted()
    const path = disk.file('x.db')
    {
      using one = await open({ path })
      one.db.insert('docs', record('a'))
    }
    execFileSync('sh', ['-c', `cat /dev/zero > '${disk.file('ballast')}' 2>/dev/null; true`])
    const events: StoreEvent[] = []
    using db = await createVectorDB({ path, onEvent: (event) => void events.push(event) })
    expect(db.get('docs', 'a')).toMatchObject({ id: 'a' })
    expect(db.search('docs', [1, 0, 0], { k: 1 })).toHaveLength(1)
    expect(() => db.insert('docs', { ...record('b'), text: 'x'.repeat(100_000) })).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^STORE_(?:FULL|READ_ONLY)$/) }),
    )
    using elsewhere = folder()
    await db.snapshot(elsewhere.file('copy.db'))
    await expect(db.snapshot(disk.file('copy.db'))).rejects.toThrow(CODE('STORE_FULL'))
  })
})

function canMount(): boolean {
  try {
    using disk = mounted()
    return disk.path !== ''
  } catch {
    // Mounting needs root, which a developer's machine rarely is; continuous integration is.
    return false
  }
}

/** A file system of 2 MiB that goes away. */
function mounted(): Disposable & {
  readonly path: string
  readonly file: (name: string) => string
} {
  const files = folder()
  const path = files.file('disk')
  mkdirSync(path)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', path], { stdio: 'ignore' })
  } catch (error) {
    files[Symbol.dispose]()
    throw error
  }
  return {
    path,
    file: (name) => join(path, name),
    [Symbol.dispose]: () => {
      execFileSync('umount', ['-l', path])
      files[Symbol.dispose]()
    },
  }
}
