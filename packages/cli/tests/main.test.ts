/**
 * The command as a person runs it: real processes, real files, exit codes.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import {
  attachEmbedder,
  fitLsaEmbedder,
  saveLsaEmbedder,
} from '@agentic-flow/sqlite-vector-embeddings'
import { openIdentity, TrustList } from '@agentic-flow/sqlite-vector/transport'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { run, start } from './helpers.ts'

let folder: string
let database: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-cli-'))
  database = join(folder, 'a.db')
  using db = await createVectorDB({ path: database })
  db.createShard('foreign', { dimension: 2, modelId: 'another-model' })
  const texts = ['The harbour opens at dawn.', 'Apples ripen in the orchard.']
  const embedder = await fitLsaEmbedder(texts)
  await saveLsaEmbedder(db, 'notes', embedder)
  const notes = attachEmbedder(db, 'notes', embedder)
  await notes.add(texts.map((text, index) => ({ id: `note-${index}`, text })))
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** The command on the database of these tests. */
function on(path: string, ...args: string[]) {
  return run([...args, '-d', path])
}

/** The certificate of the node of a database, in a file as an operator would hand it over. */
function pem(path: string): string {
  const file = `${path}.pem`
  writeFileSync(file, openIdentity(`${path}-node`).certificatePem)
  return file
}

test('--help lists the commands and --version is that of the package', () => {
  const help = run(['--help'])

  expect(help).toMatchObject({ status: 0, stderr: '' })
  expect(help.stdout).toContain('trust')
  expect(run(['--version']).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
})

test('no command, an unknown one and a missing argument are usage errors', () => {
  expect(run([])).toMatchObject({ status: 2, stdout: '' })
  expect(run(['stat']).stderr).toContain('did you mean stats?')
  expect(run(['conflicts']).stderr).toContain('conflicts takes one of: list, show, resolve, undo')
  const incomplete = run(['count'])
  expect(incomplete.status).toBe(2)
  expect(incomplete.stderr).toContain('SHARD is missing')
  expect(run(['count', 'notes', '--filtre', '{}']).stderr).toContain('did you mean --filter?')
})

test('with --json an error is one JSON object on stderr', () => {
  const usage = on(database, 'count', '--json')
  const unknown = on(database, 'count', 'nothing', '--json')

  expect(usage.status).toBe(2)
  expect(JSON.parse(usage.stderr)).toMatchObject({ error: { code: 'USAGE' } })
  expect(unknown.status).toBe(1)
  expect(JSON.parse(unknown.stderr)).toMatchObject({
    error: { code: 'STORE_SHARD_UNKNOWN', hint: expect.stringContaining('Create the shard') },
  })
})

test('stats counts the records of every shard', () => {
  const { status, stdout } = on(database, 'stats', '--json')

  expect(status).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({
    shards: [
      { shardId: 'foreign', recordCount: 0 },
      { shardId: 'notes', recordCount: 2 },
      { shardId: 'notes.words', recordCount: 6 },
    ],
  })
})

test('a command that only looks does not make a file', () => {
  const missing = join(folder, 'missing.db')

  expect(on(missing, 'stats')).toMatchObject({ status: 2 })
  expect(existsSync(missing)).toBe(false)
})

test('the database may be named by the environment', () => {
  const { stdout } = run(['count', 'notes'], { environment: { SQLITE_VECTOR_DATABASE: database } })

  expect(stdout).toBe('2\n')
})

test('query finds records by meaning, words, likeness and both, and refuses vectors of another model', () => {
  const embedded = on(
    database,
    'query',
    'notes',
    '--embed',
    'When does the harbour open?',
    '--k',
    '1',
  )
  const words = on(database, 'query', 'notes', '--text', 'apples', '--json')
  const like = on(database, 'query', 'notes', '--like', 'note-1', '--k', '1', '--json')
  const refused = on(database, 'query', 'foreign', '--embed', 'anything')

  expect(embedded).toMatchObject({ status: 0 })
  expect(embedded.stdout).toContain('note-0')
  expect(JSON.parse(words.stdout)).toMatchObject({ results: [{ id: 'note-1' }] })
  expect(JSON.parse(like.stdout)).toMatchObject({ results: [{ id: 'note-1' }] })
  expect(refused.status).toBe(2)
  expect(refused.stderr).toContain('another-model')
})

test('init makes a file, a key and a shard once; delete, count and shards drop change them', async () => {
  const path = join(folder, 'fresh.db')
  const made = on(path, 'init', 'points', '--dimension', '2', '--metric', 'l2', '--json')
  const again = on(path, 'init', 'points', '--dimension', '2', '--metric', 'l2', '--json')
  const other = on(path, 'init', 'points', '--dimension', '3')
  {
    using db = await createVectorDB({ path })
    for (const id of ['a', 'b', 'c']) {
      db.insert('points', { id, embedding: [1, 2], metadata: { odd: id !== 'b' } })
    }
  }

  expect(JSON.parse(made.stdout)).toMatchObject({ created: true, shards: [{ shardId: 'points' }] })
  expect(JSON.parse(again.stdout)).toMatchObject({ created: false })
  expect(other).toMatchObject({ status: 1 })
  expect(other.stderr).toContain('STORE_SHARD_MISMATCH')
  expect(on(path, 'delete', 'points', 'a', 'nobody').stdout).toBe('deleted 1\n')
  expect(on(path, 'delete', 'points', '--filter', '{"odd":true}').stdout).toBe('deleted 1\n')
  expect(on(path, 'get', 'points', 'b').stdout).toBe(
    '{"id":"b","metadata":{"odd":false},"text":null,"embedding":[1,2]}\n',
  )
  expect(on(path, 'shards', 'drop', 'points').stderr).toContain('1 records')
  expect(on(path, 'shards', 'drop', 'points', '--yes').stdout).toBe('dropped points\n')
  expect(on(path, 'shards').stdout).toBe('no shards\n')
})

test('an error of the library is said with its code and what to do', () => {
  const notDatabase = join(folder, 'text.db')
  writeFileSync(notDatabase, 'no database at all, but long enough to be looked at'.repeat(20))

  const { status, stderr } = on(notDatabase, 'stats')

  expect(status).toBe(1)
  expect(stderr).toMatch(/^STORE_CORRUPT: /)
})

test('watch prints the result again when another process writes, and ends with Ctrl-C', async () => {
  const path = join(folder, 'watched.db')
  on(path, 'init', 'live', '--dimension', '1', '--metric', 'l2')
  await using watching = start(['watch', 'live', '--json', '-d', path])

  const before = JSON.parse(await watching.line()) as unknown
  {
    using db = await createVectorDB({ path })
    db.insert('live', { id: 'new', embedding: [1] })
  }
  const after = JSON.parse(await watching.line()) as unknown

  expect(before).toEqual({ results: [] })
  expect(after).toMatchObject({ results: [{ id: 'new' }] })
  expect(await watching.stop('SIGINT')).toBe(0)
})

test('two nodes that pinned each other sync; a third that nobody pinned is refused by name', async () => {
  const b = join(folder, 'b.db')
  const stranger = join(folder, 'stranger.db')
  for (const path of [b, stranger]) (await createVectorDB({ path })).close()
  const pinned = on(database, 'trust', 'add', pem(b), '--name', 'b').stdout.trim()
  for (const other of [b, stranger]) {
    TrustList.open(`${other}-node`).add(openIdentity(`${database}-node`).certificatePem)
  }
  await using listening = start(['listen', '127.0.0.1:0', '-d', database])
  const address = (await listening.line()).split(' ').at(-1) ?? ''

  const synced = on(b, 'sync', 'notes', address, '--json')
  const verified = on(b, 'verify', '--peer', address)
  const repaired = on(b, 'repair', 'notes', '--peer', address, '--json')
  const whole = on(b, 'verify', '--peer', address, '--payloads')
  {
    using raw = new DatabaseSync(b)
    raw.exec(`UPDATE vectors SET metadata = '{"altered":true}'`)
  }
  const damaged = on(b, 'verify', '--peer', address, '--payloads')
  const alone = on(b, 'verify', '--payloads')
  const refused = on(stranger, 'sync', 'notes', address)
  on(b, 'peers', 'add', 'a', address)
  const checked = on(b, 'peers', '--check', '--json')

  expect(on(database, 'trust', 'list').stdout).toBe(`${pinned}  b\n`)
  expect(on(b, 'fingerprint', '--certificate').stdout).toBe(readFileSync(pem(b), 'utf8'))
  expect(JSON.parse(synced.stdout)).toMatchObject({ applied: 2, sent: 0 })
  expect(verified).toMatchObject({ status: 0, stdout: 'notes: equal\n' })
  expect(whole).toMatchObject({ status: 0, stdout: 'notes: equal, payloads equal\n' })
  expect(damaged.status).toBe(3)
  expect(damaged.stdout).toContain('notes: equal, 2 records differ in payload: "')
  expect(alone).toMatchObject({ status: 2, stderr: expect.stringContaining('--peer') })
  expect(JSON.parse(repaired.stdout)).toMatchObject({ shards: [{ equal: true, repaired: 0 }] })
  expect(JSON.parse(checked.stdout)).toMatchObject({ peers: [{ nodeId: 'a', status: 'online' }] })
  expect(refused.status).toBe(1)
  expect(refused.stderr).toContain('TRANSPORT_REFUSED_BY_PEER')
  expect(refused.stderr).toContain(openIdentity(`${stranger}-node`).fingerprint)
  expect(await listening.stop()).toBe(0)
  expect(on(b, 'peers', 'remove', 'a').stdout).toBe('forgot a\n')
}, 120_000)

/** What the record in conflict shows. */
async function textOf(path: string): Promise<string | null | undefined> {
  using db = await createVectorDB({ path })
  return db.get('shared', 'x')?.text
}

async function countOf(path: string): Promise<number> {
  using db = await createVectorDB({ path })
  return db.count('points')
}

test('a conflict is listed, shown, decided and taken back; quarantine is empty', async () => {
  const [path, copy] = [join(folder, 'c.db'), join(folder, 'd.db')]
  {
    using one = await createVectorDB({ path })
    using two = await createVectorDB({ path: copy })
    for (const [db, text] of [
      [one, 'mine'],
      [two, 'yours'],
    ] as const) {
      db.createShard('shared', { dimension: 1, metric: 'l2' })
      db.insert('shared', { id: 'x', embedding: [1], text })
    }
    const read = two.replica.readDelta('shared', {
      after: 0,
      countMax: 10,
      bytesMax: 1_000_000,
      known: new Map(),
    })
    one.replica.applyDelta('shared', read.changes, {
      peer: 'f'.repeat(64),
      logId: read.state.logId,
      cursor: read.through,
    })
  }
  const undoFile = join(folder, 'undo.json')

  const listed = on(path, 'conflicts', 'list', 'shared')
  const shown = on(path, 'conflicts', 'show', 'shared', 'x', '--json')
  const { siblings } = JSON.parse(shown.stdout) as {
    siblings: { dot: string; value: { text: string } }[]
  }
  const mine = siblings.find(({ value }) => value.text === 'mine')?.dot ?? ''
  const before = await textOf(path)
  const decided = on(
    path,
    'conflicts',
    'resolve',
    'shared',
    'x',
    '--choose',
    mine,
    '--undo-file',
    undoFile,
  )
  const after = await textOf(path)
  const undone = on(path, 'conflicts', 'undo', undoFile)

  expect(listed).toMatchObject({ status: 3, stdout: 'x  2 writes\n' })
  expect(siblings).toHaveLength(2)
  expect(decided.status).toBe(0)
  expect(after).toBe('mine')
  expect(undone.status).toBe(0)
  expect(await textOf(path)).toBe(before)
  expect(on(path, 'conflicts', 'undo', undoFile).status).toBe(1)
  expect(on(path, 'quarantine', 'list', 'shared').stdout).toBe('nothing in quarantine\n')
  expect(on(path, 'quarantine', 'discard', 'shared', '--entry', '7').stderr).toContain(
    'STORE_QUARANTINE_UNKNOWN',
  )
}, 120_000)

test('a snapshot is restored in the place of a database, and never in the place of one that is open', async () => {
  const path = join(folder, 'kept.db')
  const copy = join(folder, 'kept.snapshot')
  {
    using db = await createVectorDB({ path })
    db.createShard('points', { dimension: 1, metric: 'l2' })
    db.insert('points', { id: 'before', embedding: [1] })
  }
  const taken = on(path, 'snapshot', copy)
  const twice = on(path, 'snapshot', copy)
  const unasked = on(path, 'restore', copy)
  const db = await createVectorDB({ path })
  db.delete('points', 'before')
  const inUse = on(path, 'restore', copy, '--replace')
  db.close()
  const restored = on(path, 'restore', copy, '--replace')

  expect(taken.status).toBe(0)
  expect(twice.stderr).toContain('STORE_IO')
  expect(unasked).toMatchObject({ status: 2 })
  expect(inUse.stderr).toContain('another process')
  expect(restored).toMatchObject({ status: 0, stdout: `${path}: 1 records\n` })
  expect(await countOf(path)).toBe(1)
  expect(await countOf(`${path}.replaced`)).toBe(0)
  expect(on(path, 'verify').stdout).toContain('counts correct')
}, 120_000)

test('bench prints speed with the recall that it was had at, and leaves nothing behind', () => {
  const { status, stdout, stderr } = run([
    'bench',
    '--records',
    '200',
    '--dimension',
    '8',
    '--json',
  ])

  expect(status, stderr).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({
    records: 200,
    dimension: 8,
    recallAt10: 1,
    insertsPerSecond: expect.any(Number),
  })
})
