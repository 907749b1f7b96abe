/**
 * The command as a person runs it: real processes, real files, exit codes.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { hashedNgramEmbedder } from '../src/demo/embedder.ts'

const MAIN = join(import.meta.dirname, '..', 'src', 'main.ts')

let folder: string
let database: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-cli-'))
  database = join(folder, 'a.db')
  using db = await createVectorDB({ path: database })
  const { dimension, modelId } = hashedNgramEmbedder
  db.createShard('notes', { dimension, modelId })
  db.createShard('foreign', { dimension: 2, modelId: 'another-model' })
  const texts = ['The harbour opens at dawn.', 'Apples ripen in the orchard.']
  const vectors = await hashedNgramEmbedder.embed(texts)
  for (const [index, text] of texts.entries()) {
    db.insert('notes', { id: `note-${index}`, embedding: vectors[index] ?? [], text })
  }
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--conditions=source', MAIN, ...args],
    { encoding: 'utf8' },
  )
  return { status, stdout, stderr }
}

test('--help lists the commands and --version is that of the package', () => {
  expect(run('--help')).toMatchObject({ status: 0, stderr: '' })
  expect(run('--help').stdout).toContain('trust')
  expect(run('--version').stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
})

test('no command, an unknown one and a missing argument are usage errors', () => {
  expect(run()).toMatchObject({ status: 2, stdout: '' })
  expect(run('tell').stderr).toContain('no command tell')
  expect(run('stats')).toMatchObject({ status: 2 })
  expect(run('stats').stderr).toContain('DATABASE is missing')
})

test('stats counts the records of every shard', () => {
  const { status, stdout } = run('stats', database, '--json')

  expect(status).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({
    shards: [
      { shardId: 'foreign', recordCount: 0 },
      { shardId: 'notes', recordCount: 2 },
    ],
  })
})

test('a command that only looks does not make a file', () => {
  const missing = join(folder, 'missing.db')

  expect(run('stats', missing)).toMatchObject({ status: 2 })
  expect(existsSync(missing)).toBe(false)
})

test('search finds a record by its text, and refuses vectors of a model it does not have', () => {
  const found = run('search', database, 'notes', 'When does the harbour open?', '--k', '1')
  const refused = run('search', database, 'foreign', 'anything')

  expect(found).toMatchObject({ status: 0 })
  expect(found.stdout).toContain('note-0')
  expect(refused.status).toBe(2)
  expect(refused.stderr).toContain('another-model')
})

test('an error of the library is said with its code and what to do', () => {
  const notDatabase = join(folder, 'text.db')
  writeFileSync(notDatabase, 'no database at all, but long enough to be looked at'.repeat(20))

  const { status, stderr } = run('stats', notDatabase)

  expect(status).toBe(1)
  expect(stderr).toMatch(/^STORE_CORRUPT: /)
})

test('two nodes that pinned each other sync; a third that nobody pinned is refused by name', async () => {
  const b = join(folder, 'b.db')
  const stranger = join(folder, 'stranger.db')
  const pem = (path: string): string => {
    const file = `${path}.pem`
    writeFileSync(file, run('fingerprint', path, '--certificate').stdout)
    return file
  }
  const pinned = run('trust', 'add', database, pem(b), '--name', 'b').stdout.trim()
  run('trust', 'add', b, pem(database), '--name', 'a')
  run('trust', 'add', stranger, pem(database))
  const listening = spawn(
    process.execPath,
    ['--conditions=source', MAIN, 'listen', database, '127.0.0.1:0'],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  try {
    const [line] = (await once(createInterface({ input: listening.stdout }), 'line')) as [string]
    const address = line.split(' ').at(-1) ?? ''

    const synced = run('sync', b, 'notes', address, '--json')
    const refused = run('sync', stranger, 'notes', address)

    expect(run('trust', 'list', database).stdout).toBe(`${pinned}  b\n`)
    expect(run('fingerprint', b).stdout.trim()).toBe(pinned)
    expect(JSON.parse(synced.stdout)).toMatchObject({ applied: 2, sent: 0 })
    expect(run('search', b, 'notes', 'ripe apples', '--k', '1').stdout).toContain('note-1')
    expect(refused.status).toBe(1)
    expect(refused.stderr).toContain('TRANSPORT_REFUSED_BY_PEER')
    expect(refused.stderr).toContain(run('fingerprint', stranger).stdout.trim())
  } finally {
    listening.kill('SIGTERM')
    const [code] = (await once(listening, 'exit')) as [number | null]
    expect(code).toBe(0)
  }
}, 30_000)
