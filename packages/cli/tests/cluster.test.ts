/**
 * Clusters and grants as an operator meets them: commands and running nodes, and what they refuse.
 */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { run, type Running, start } from './helpers.ts'

const PATIENCE = { timeout: 45_000, interval: 100 }

interface Ready {
  readonly url: string
  readonly syncAddress: string
  readonly nodeId: string
}

let folder: string
let server: Running
let address: string
let url: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-cluster-'))
  const made = on('a.db', 'cluster', 'init', 'demo', '--json')
  const { token } = JSON.parse(made.stdout) as { token: string }
  writeFileSync(join(folder, 'token'), token)
  on('a.db', 'shards', 'create', 'open', '--dimension', '1', '--metric', 'l2')
  on('a.db', 'shards', 'create', 'secret', '--dimension', '1', '--metric', 'l2')
  writeRecord('a.db', 'open', 'from-a')
  writeRecord('a.db', 'secret', 'hidden')
  server = start(
    [
      'serve',
      '--json',
      '-d',
      'a.db',
      '--http-listen',
      '127.0.0.1:0',
      '--sync-listen',
      '127.0.0.1:0',
    ],
    { cwd: folder },
  )
  const ready = JSON.parse(await server.line()) as Ready
  expect(ready.nodeId).toBe('a')
  ;({ syncAddress: address, url } = ready)
}, 120_000)

afterAll(async () => {
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

function on(database: string, ...args: string[]) {
  return run([...args, '-d', join(folder, database)], { cwd: folder })
}

function writeRecord(database: string, shard: string, id: string) {
  return run(['import', shard, '-', '--format', 'jsonl', '-d', join(folder, database)], {
    input: `{"id":"${id}","embedding":[1]}`,
  })
}

async function metric(pattern: RegExp): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  return text
    .split('\n')
    .filter((line) => pattern.test(line))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

test('a node joins with a token, once; a changed token and a taken name are refused by code', () => {
  const token = readFileSync(join(folder, 'token'), 'utf8')
  const changed = on('b.db', 'cluster', 'join', address, `${token.slice(0, -3)}AAA`)
  const joined = on('b.db', 'cluster', 'join', address, '@token', '--shard', 'open', '--json')
  const again = on('c.db', 'cluster', 'join', address, '@token')
  const fresh = on('a.db', 'cluster', 'token').stdout.trim()
  const taken = on('c.db', 'cluster', 'join', address, fresh, '--node', 'b')
  const twice = on('b.db', 'cluster', 'join', address, fresh)

  expect(changed.stderr).toContain('TRANSPORT_TOKEN_INVALID')
  expect(JSON.parse(joined.stdout), joined.stderr).toMatchObject({
    cluster: 'demo',
    nodeId: 'b',
    peer: 'a',
    applied: { open: 1 },
  })
  expect(again.stderr).toMatch(/^TRANSPORT_JOIN_REFUSED: .*used/)
  expect(taken.stderr).toMatch(/^TRANSPORT_JOIN_REFUSED: .*there is a node/)
  expect(twice.stderr).toContain('already')
  expect(on('a.db', 'cluster', 'list').stdout).toMatch(/ a +member[\s\S]* b +member/)
  expect(on('b.db', 'cluster', 'list').stderr).toContain('no authority')
  expect(statSync(join(folder, 'a.db-node', 'authority', 'authority-key.pem')).mode & 0o077).toBe(0)
}, 120_000)

test('what is granted holds while the node runs: read, nothing, and write again', async () => {
  const pattern = /_sessions_total\{.*SYNC_FORBIDDEN/
  const before = await metric(pattern)

  const granted = on('a.db', 'grant', 'b', 'open', 'read')
  writeRecord('b.db', 'open', 'from-b')
  const reader = JSON.parse(on('b.db', 'sync', 'open', address, '--json').stdout) as object
  const hidden = on('b.db', 'sync', 'secret', address)
  const missing = on('b.db', 'sync', 'absent', address)
  const afterReading = on('a.db', 'get', 'open', 'from-b')
  const refusals = (await metric(pattern)) - before
  const listed = on('a.db', 'grant', '--json')
  on('a.db', 'grant', 'b', 'open', 'write')
  const writer = JSON.parse(on('b.db', 'sync', 'open', address, '--json').stdout) as object

  expect(granted.stdout).toBe('b may read in open\n')
  expect(reader).toMatchObject({ sent: 0, pushed: false })
  expect(hidden.stderr).toContain('SYNC_SHARD_UNKNOWN')
  expect(hidden.stderr.replaceAll('secret', 'X')).toBe(missing.stderr.replaceAll('absent', 'X'))
  expect(afterReading.status).toBe(1)
  expect(refusals).toBeGreaterThan(0)
  expect(JSON.parse(listed.stdout)).toEqual({
    grants: [{ peer: 'b', shards: 'open', access: 'read' }],
  })
  expect(writer).toMatchObject({ sent: 1, pushed: true })
  expect(on('a.db', 'get', 'open', 'from-b').status).toBe(0)
  expect(on('a.db', 'grant', 'b', 'open', '--remove').stdout).toBe('removed\n')
  expect(on('a.db', 'grant', 'b', 'open', 'all').status).toBe(2)
}, 120_000)

test('what is written on one running node is on the other', async () => {
  await using b = start(
    [
      'serve',
      '--json',
      '-d',
      'b.db',
      '--http-listen',
      '127.0.0.1:0',
      '--sync-listen',
      '127.0.0.1:0',
    ],
    { cwd: folder },
  )
  await b.line()
  writeRecord('a.db', 'open', 'live')
  using db = await createVectorDB({ path: join(folder, 'b.db') })

  await expect.poll(() => db.get('open', 'live') !== null, PATIENCE).toBe(true)
  expect(await b.stop()).toBe(0)
}, 120_000)

test('a revoked node is refused by name', () => {
  const revoked = on('a.db', 'cluster', 'revoke', 'b')
  const refused = on('b.db', 'sync', 'open', address)

  expect(revoked.stdout).toContain('revoked b')
  expect(refused.status).toBe(1)
  expect(refused.stderr).toContain('TRANSPORT_REFUSED_BY_PEER')
  expect(refused.stderr).toContain('revoked')
  expect(on('a.db', 'cluster', 'list').stdout).toMatch(/ b +revoked/)
  expect(on('a.db', 'cluster', 'revoke', 'nobody').status).toBe(1)
}, 120_000)
