/**
 * Processes that write and sync, killed at random moments; a full disk; a file that was cut off.
 *
 * After each: the file opens, or is refused by name; what was acknowledged is there; the peer and the file come to hold the
 * same rows. `CRASH_TRIALS=200 npx vitest run tests/crash.test.ts` is the long run (`npm run test:slow`); a failure prints the seed.
 */
import { execFileSync, spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { createVectorDB, SqliteVectorError, type SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import { createVectorSync, type VectorSync } from '@agentic-flow/sqlite-vector/sync'
import { randomFrom, testRecord } from './helpers/records.ts'

const SHARD = 'crashed'
const DIMENSION = 16
const TRIALS = Number(process.env['CRASH_TRIALS'] ?? 8)
const SEED = Number(process.env['CRASH_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const WRITER = join(import.meta.dirname, 'helpers', 'load-writer.ts')

let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-crash-'))
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** What a record must be, as acknowledged: the index of its last update, or that it was deleted. */
type Acknowledged = Map<number, { updated: number | null; deleted: boolean }>

interface Load {
  readonly acknowledged: Acknowledged
  next: number
  syncs: number
}

/** Runs a writer, kills it `afterMs` after it was ready, and notes what it acknowledged. */
async function runAndKill(
  path: string,
  address: string,
  load: Load,
  afterMs: number,
): Promise<void> {
  const args = ['--conditions=source', WRITER, path, 'writer', SHARD, address, String(load.next)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let complaints = ''
  child.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()))
  const ended = new Promise<NodeJS.Signals | null>((resolve) => {
    child.on('exit', (_code, signal) => resolve(signal))
  })
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'ready') setTimeout(() => child.kill('SIGKILL'), afterMs)
    else note(line, load)
  }
  // The one that comes next may be there as well: committed, and killed before it was said.
  load.next += 1
  expect(await ended, `the writer was killed and did not end by itself: ${complaints}`).toBe(
    'SIGKILL',
  )
}

function note(line: string, load: Load): void {
  const [what, index, by] = line.split(' ')
  const record = Number(index)
  if (what === 'synced') load.syncs += 1
  if (what === 'insert') {
    load.acknowledged.set(record, { updated: null, deleted: false })
    load.next = record + 1
  }
  if (what === 'update') load.acknowledged.set(record, { updated: Number(by), deleted: false })
  if (what === 'delete') load.acknowledged.set(record, { updated: null, deleted: true })
}

/** Acknowledged writes that the file does not show. A write that was not acknowledged may be there. */
function missing(db: SQLiteVectorDB, { acknowledged }: Load): string[] {
  const lost: string[] = []
  for (const [index, { updated, deleted }] of acknowledged) {
    const record = db.get(SHARD, `record-${index}`)
    if (deleted && record !== null) lost.push(`delete ${index}`)
    // The delete or the update after an acknowledged write may be committed and not said.
    if (!deleted && record === null && !acknowledged.has(index + 4)) continue
    if (!deleted && record === null) lost.push(`insert ${index}`)
    if (!deleted && updated !== null && record?.metadata['updated'] !== updated) {
      lost.push(`update ${index}`)
    }
  }
  return lost
}

describe(`kill -9 over a load of writes and syncs, ${TRIALS} times (seed ${SEED})`, () => {
  let peer: { db: SQLiteVectorDB; sync: VectorSync; address: string }
  let path: string

  beforeAll(async () => {
    const db = await createVectorDB({ path: join(folder, 'peer.db') })
    path = join(folder, 'writer.db')
    const sync = createVectorSync(db, 'peer')
    using first = await createVectorDB({ path })
    first.createShard(SHARD, { dimension: DIMENSION })
    await using writer = createVectorSync(first, 'writer')
    writer.trust.add(sync.certificatePem, 'peer')
    sync.trust.add(writer.certificatePem, 'writer')
    peer = { db, sync, address: await sync.listen('127.0.0.1:0') }
  })

  afterAll(async () => {
    await peer.sync.close()
    peer.db.close()
  })

  test(
    'loses nothing that was acknowledged, and both files end alike',
    async () => {
      const random = randomFrom(SEED)
      const load: Load = { acknowledged: new Map(), next: 0, syncs: 0 }
      for (let trial = 0; trial < TRIALS; trial += 1) {
        await runAndKill(path, peer.address, load, Math.floor(50 + 1_500 * random() ** 2))
        using db = await createVectorDB({ path })
        expect(missing(db, load), `trial ${trial}, seed ${SEED}`).toEqual([])
        expect(db.recount(SHARD).correct, `trial ${trial}, seed ${SEED}`).toBe(true)
      }
      using db = await createVectorDB({ path })
      await using sync = createVectorSync(db, 'writer')
      await sync.sync(SHARD, peer.address)

      expect(load.acknowledged.size).toBeGreaterThan(TRIALS)
      expect(load.syncs, 'syncs came to their end between kills').toBeGreaterThan(0)
      expect(missing(peer.db, load)).toEqual([])
      expect(peer.db.replica.shardState(SHARD).digest).toBe(db.replica.shardState(SHARD).digest)
      expect(peer.db.replica.shardState(SHARD).conflictCount).toBe(0)
    },
    TRIALS * 10_000 + 30_000,
  )
})

/** A file system of one MiB in memory, or null where one may not be mounted. */
function mountSmall(): (Disposable & { readonly path: string }) | null {
  const path = join(folder, 'small')
  mkdirSync(path)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', path], { stdio: 'ignore' })
  } catch {
    return null
  }
  return { path, [Symbol.dispose]: () => void execFileSync('umount', ['-l', path]) }
}

test('a full disk is a coded error, and what was acknowledged stays', async ({ skip }) => {
  using small = mountSmall()
  skip(small === null, 'a small file system cannot be mounted here')
  if (small === null) return
  const path = join(small.path, 'full.db')
  const db = await createVectorDB({ path })
  db.createShard(SHARD, { dimension: DIMENSION })
  let acknowledged = 0
  let failure: unknown = null
  while (failure === null) {
    try {
      db.insert(SHARD, testRecord(acknowledged, DIMENSION))
      acknowledged += 1
    } catch (error) {
      failure = error
    }
  }
  const readable = db.count(SHARD)
  // What a process that meets a full disk does next: it ends.
  try {
    db.close()
  } catch (error) {
    expect(error).toMatchObject({ code: 'STORE_FULL' })
  }
  // Elsewhere there is room.
  for (const suffix of ['', '-wal']) {
    try {
      copyFileSync(path + suffix, join(folder, `roomy.db${suffix}`))
    } catch (error) {
      expect(error).toMatchObject({ code: 'ENOENT' })
    }
  }
  using again = await createVectorDB({ path: join(folder, 'roomy.db') })

  expect(failure).toMatchObject({ code: 'STORE_FULL' })
  expect(acknowledged).toBeGreaterThan(10)
  expect(readable).toBe(acknowledged)
  expect(again.count(SHARD)).toBe(acknowledged)
  expect(again.recount(SHARD).correct).toBe(true)
})

test('a file that was cut off anywhere is whole or refused by name, never silently smaller', async () => {
  const path = join(folder, 'whole.db')
  const count = 500
  {
    using db = await createVectorDB({ path })
    db.createShard(SHARD, { dimension: DIMENSION })
    await db.insertBatch(
      SHARD,
      Array.from({ length: count }, (_, n) => testRecord(n, DIMENSION)),
    )
  }
  const { size } = statSync(path)
  const random = randomFrom(SEED)
  const codes = new Set<string>()
  for (let trial = 0; trial < 40; trial += 1) {
    const cut = join(folder, `cut-${trial}.db`)
    copyFileSync(path, cut)
    const length = Math.floor(size * random())
    truncateSync(cut, length)
    try {
      using db = await createVectorDB({ path: cut })
      const shards = db.shards()
      // Cut to nothing, it is a new and empty file.
      if (shards.length === 0) {
        expect(length).toBe(0)
        continue
      }
      expect(db.list(SHARD, { limit: 10_000, includeVectors: true }).records).toHaveLength(count)
      expect(db.recount(SHARD).correct).toBe(true)
    } catch (error) {
      if (!(error instanceof SqliteVectorError)) throw error
      codes.add(error.code)
    }
  }

  expect([...codes]).toEqual(['STORE_CORRUPT'])
})
