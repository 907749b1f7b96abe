/**
 * Commands with `--url`: the same as on a file, through the API of a node that runs; what the API refuses keeps its code.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { run, type Running, start } from './helpers.ts'

let folder: string
let server: Running
let url: string
const KEY = 'a-key-that-may-write-and-is-long-enough-0123456789'
const READER = 'a-key-that-may-only-read-and-is-long-enough-012345'

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-remote-'))
  writeFileSync(join(folder, 'key'), `${KEY}\n`)
  writeFileSync(join(folder, 'reader'), READER)
  server = start(
    [
      'serve',
      '--json',
      '--database',
      'node.db',
      '--http-listen',
      '127.0.0.1:0',
      '--sync-listen',
      '127.0.0.1:0',
      '--snapshots-folder',
      'snapshots',
      '--shards',
      'notes:2:l2',
    ],
    {
      cwd: folder,
      environment: {
        SQLITE_VECTOR_HTTP_API_KEYS: `writer:read-write:${KEY},reader:read-only:${READER}`,
      },
    },
  )
  url = (JSON.parse(await server.line()) as { url: string }).url
})

afterAll(async () => {
  const code = await server.stop()
  rmSync(folder, { recursive: true, force: true })
  expect(code).toBe(0)
})

function remote(...args: string[]) {
  return run([...args, '--url', url, '--key-file', join(folder, 'key')], { cwd: folder })
}

test('records go in and out, are found, counted and deleted', () => {
  const file = join(folder, 'in.jsonl')
  const back = join(folder, 'out.jsonl')
  const lines = Array.from(
    { length: 150 },
    (_, index) =>
      `{"id":"r${String(index).padStart(3, '0')}","embedding":[${index},0.1],"metadata":{"odd":${index % 2 === 1}},"text":"word${index}"}\n`,
  ).join('')
  writeFileSync(file, lines)

  const imported = remote('import', 'notes', file, '--json')
  const exported = remote('export', 'notes', back)
  const nearest = remote('query', 'notes', '--vector', '[7,0]', '--k', '1', '--json')
  const words = remote('query', 'notes', '--text', 'word9', '--json')
  const got = remote('get', 'notes', 'r003', 'nobody')
  const counted = remote('count', 'notes', '--filter', '{"odd":true}')
  const removed = remote('delete', 'notes', '--filter', '{"odd":true}')

  expect(JSON.parse(imported.stdout), imported.stderr).toMatchObject({ imported: 150 })
  expect(exported.status, exported.stderr).toBe(0)
  expect(readFileSync(back, 'utf8')).toBe(lines)
  expect(JSON.parse(nearest.stdout)).toMatchObject({ results: [{ id: 'r007' }] })
  // The others share only the part "word", which every text has: it weighs next to nothing.
  const [first, second] = (JSON.parse(words.stdout) as { results: { id: string; score: number }[] })
    .results
  expect(first?.id).toBe('r009')
  expect(second?.score).toBeLessThan((first?.score ?? 0) / 1_000)
  expect(got.status).toBe(1)
  expect(JSON.parse(got.stdout)).toMatchObject({ id: 'r003', text: 'word3' })
  expect(counted.stdout).toBe('75\n')
  expect(removed.stdout).toBe('deleted 75\n')
}, 120_000)

test('shards, stats, verify, quarantine and snapshots', () => {
  expect(remote('shards', 'create', 'more', '--dimension', '3').status).toBe(0)
  expect(remote('shards').stdout).toContain('more')
  expect(JSON.parse(remote('stats', '--json').stdout)).toMatchObject({
    shards: [{ shardId: 'more' }, { shardId: 'notes' }],
  })
  expect(remote('verify', 'more').stdout).toContain('counts correct')
  for (const more of [[], ['--payloads']]) {
    const refused = remote('verify', 'more', '--peer', 'nobody', ...more)
    expect(refused.stderr).toContain('HTTP_PEER_UNKNOWN')
  }
  expect(remote('quarantine', 'list', 'notes').stdout).toBe('nothing in quarantine\n')
  expect(remote('conflicts', 'show', 'notes', 'r000').stderr).toContain('no open conflict')
  expect(remote('snapshot', 'one.db').stdout).toContain('one.db')
  const trick = remote('snapshot', '../outside.db')
  expect(trick.status).toBe(1)
  expect(trick.stderr).toContain('HTTP_INPUT_INVALID')
  expect(remote('shards', 'drop', 'more', '--yes').stdout).toBe('dropped more\n')
}, 120_000)

test('watch follows what is written through the API', async () => {
  await using watching = start(
    [
      'watch',
      'notes',
      '--filter',
      '{"new":true}',
      '--json',
      '--url',
      url,
      '--key-file',
      join(folder, 'key'),
    ],
    { cwd: folder },
  )
  const before = JSON.parse(await watching.line()) as unknown
  run(
    ['import', 'notes', '-', '--format', 'jsonl', '--url', url, '--key-file', join(folder, 'key')],
    {
      input: '{"id":"news","embedding":[1,1],"metadata":{"new":true}}',
    },
  )
  const after = JSON.parse(await watching.line()) as unknown

  expect(before).toEqual({ results: [] })
  expect(after).toMatchObject({ results: [{ id: 'news' }] })
  expect(await watching.stop('SIGINT')).toBe(0)
}, 120_000)

test('no key, a wrong one, one that may only read, no server and a bad record are refused with their codes', () => {
  const ask = (environment: Record<string, string>, ...args: string[]) =>
    run([...args, '--url', url], { cwd: folder, environment })
  const bad = run(['import', 'notes', '-', '--format', 'jsonl', '--url', url], {
    environment: { SQLITE_VECTOR_API_KEY: KEY },
    input: '{"id":"fine","embedding":[1,2]}\n{"id":"bad","embedding":[1]}\n',
  })

  expect(ask({}, 'count', 'notes').stderr).toContain('HTTP_UNAUTHENTICATED')
  expect(ask({ SQLITE_VECTOR_API_KEY: 'wrong' }, 'count', 'notes').stderr).toContain(
    'HTTP_UNAUTHENTICATED',
  )
  expect(ask({ SQLITE_VECTOR_API_KEY: READER }, 'count', 'notes').status).toBe(0)
  expect(ask({ SQLITE_VECTOR_API_KEY: READER }, 'delete', 'notes', 'r000').stderr).toContain(
    'HTTP_FORBIDDEN',
  )
  expect(ask({ SQLITE_VECTOR_API_KEY: KEY }, 'count', 'nothing').stderr).toContain(
    'STORE_SHARD_UNKNOWN',
  )
  expect(run(['count', 'notes', '--url', 'http://127.0.0.1:9']).stderr).toContain(
    'HTTP_UNREACHABLE',
  )
  expect(run(['count', 'notes', '--url', 'ftp://x'])).toMatchObject({ status: 2 })
  expect(bad.status).toBe(1)
  expect(bad.stderr).toContain('line 2 (id "bad")')
  expect(remote('count', 'notes', '--filter', '{"new":true}').stdout).toBe('1\n')
}, 120_000)
