/**
 * The command as a person runs it: real processes, real files, exit codes.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { openIdentity, TrustList } from '@agentic-flow/sqlite-vector/transport'
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

/** The certificate of the node of a database, in a file as an operator would hand it over. */
function pem(path: string): string {
  const file = `${path}.pem`
  writeFileSync(file, openIdentity(`${path}-node`).certificatePem)
  return file
}

test('--help lists the commands and --version is that of the package', () => {
  const help = run('--help')

  expect(help).toMatchObject({ status: 0, stderr: '' })
  expect(help.stdout).toContain('trust')
  expect(run('--version').stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
})

test('no command, an unknown one and a missing argument are usage errors', () => {
  expect(run()).toMatchObject({ status: 2, stdout: '' })
  expect(run('tell').stderr).toContain('no command tell')
  const incomplete = run('stats')
  expect(incomplete.status).toBe(2)
  expect(incomplete.stderr).toContain('DATABASE is missing')
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
  const pinned = run('trust', 'add', database, pem(b), '--name', 'b').stdout.trim()
  for (const other of [b, stranger]) {
    TrustList.open(`${other}-node`).add(openIdentity(`${database}-node`).certificatePem)
  }
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
    expect(run('fingerprint', b).stdout).toBe(`${pinned}\n`)
    expect(run('fingerprint', b, '--certificate').stdout).toBe(readFileSync(pem(b), 'utf8'))
    expect(JSON.parse(synced.stdout)).toMatchObject({ applied: 2, sent: 0 })
    expect(refused.status).toBe(1)
    expect(refused.stderr).toContain('TRANSPORT_REFUSED_BY_PEER')
    expect(refused.stderr).toContain(openIdentity(`${stranger}-node`).fingerprint)
  } finally {
    listening.kill('SIGTERM')
    const [code] = (await once(listening, 'exit')) as [number | null]
    expect(code).toBe(0)
  }
}, 120_000)
