/**
 * The doctor: what it finds, and that it says what to do about each.
 */
import { chmodSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { createShardCoordinator } from '@agentic-flow/sqlite-vector/sync'
import { openIdentity, TrustList } from '@agentic-flow/sqlite-vector/transport'
import { expect, test } from 'vitest'
import {
  checkCertificates,
  checkClock,
  checkDisk,
  checkFile,
  checkFileModes,
  checkIndexes,
  checkPeers,
  checkShards,
  checkWal,
} from '../src/doctor/checks.ts'
import type { Finding } from '../src/doctor/finding.ts'
import { run, temporaryFolder } from './helpers.ts'

const DAY_MS = 86_400_000

async function database(folder: string): Promise<string> {
  const path = join(folder, 'a.db')
  using db = await createVectorDB({ path })
  db.createShard('notes', { dimension: 2 })
  db.insert('notes', { id: 'x', embedding: [1, 2] })
  openIdentity(`${path}-node`, { nodeId: 'a' })
  return path
}

/** Whatever is not in order comes with advice. */
function advised(findings: readonly Finding[]): boolean {
  return findings.every(({ state, advice }) => (state === 'ok') === (advice === null))
}

test('a healthy node gets a clean bill, and a key that others may read is a finding', async () => {
  using folder = temporaryFolder()
  const path = await database(folder.path)

  const healthy = run(['doctor', '--json', '-d', path])
  chmodSync(join(`${path}-node`, 'key.pem'), 0o644)
  const open = run(['doctor', '-d', path])

  expect(healthy.status, healthy.stdout).toBe(0)
  const { findings } = JSON.parse(healthy.stdout) as { findings: Finding[] }
  expect(findings.map(({ check }) => check)).toEqual([
    'file',
    'shard notes',
    'index notes',
    'clock',
    'memory',
    'peers',
    'write-ahead log',
    'node folder',
    'permissions',
    'owner',
    'processes',
    'disk',
    'certificate',
  ])
  expect(open.status).toBe(3)
  expect(open.stdout).toContain('FAILED   permissions')
  expect(open.stdout).toContain('chmod 600')
  expect(run(['doctor', '-d', join(folder.path, 'none.db')])).toMatchObject({ status: 3 })
}, 60_000)

test('a damaged file and a log that does not shrink are found', async () => {
  using folder = temporaryFolder()
  const path = await database(folder.path)
  const noDatabase = join(folder.path, 'no.db')
  writeFileSync(noDatabase, 'nothing of the kind '.repeat(1_000))
  writeFileSync(`${noDatabase}-wal`, '')
  truncateSync(`${noDatabase}-wal`, 300 * 1_048_576)

  const findings = [checkFile(path), checkFile(noDatabase), checkWal(path), checkWal(noDatabase)]

  expect(findings.map(({ state }) => state)).toEqual(['ok', 'failed', 'ok', 'warning'])
  expect(findings[1]?.detail).toContain('STORE_CORRUPT')
  expect(advised(findings)).toBe(true)
})

test('a shard in conflict, an index without memory and a clock that is behind are found', async () => {
  using folder = temporaryFolder()
  const path = await database(folder.path)
  {
    using other = await createVectorDB({ path: join(folder.path, 'b.db') })
    other.createShard('notes', { dimension: 2 })
    other.insert('notes', { id: 'x', embedding: [2, 1] })
    using db = await createVectorDB({ path })
    const query = { after: 0, countMax: 10, bytesMax: 1_000_000, known: new Map() }
    const { changes, state, through } = other.replica.readDelta('notes', query)
    const source = { peer: 'f'.repeat(64), logId: state.logId, cursor: through }
    db.replica.applyDelta('notes', changes, source)
  }
  using db = await createVectorDB({ path, searchMemoryBytes: 1 })

  const shards = checkShards(db)
  const indexes = checkIndexes(db)
  const clocks = [checkClock(db, Date.now()), checkClock(db, Date.now() - DAY_MS)]

  expect(shards).toMatchObject([{ state: 'warning', detail: '1 open conflicts' }])
  expect(indexes).toMatchObject([{ state: 'warning' }])
  expect(clocks.map(({ state }) => state)).toEqual(['ok', 'failed'])
  expect(advised([...shards, ...indexes, ...clocks])).toBe(true)
})

test('certificates that end soon, have ended or are not valid yet are found, also those of peers', async () => {
  using folder = temporaryFolder()
  const path = await database(folder.path)
  const nodeFolder = `${path}-node`
  const own = openIdentity(nodeFolder)
  TrustList.open(nodeFolder).add(openIdentity(join(folder.path, 'other')).certificatePem, 'other')
  const stateAt = (nowMs: number): string[] =>
    checkCertificates(nodeFolder, nowMs).map(({ check, state }) => `${check}: ${state}`)

  expect(stateAt(Date.now())).toEqual(['certificate: ok'])
  expect(stateAt(own.notAfterMs - 10 * DAY_MS)).toEqual([
    'certificate: warning',
    'trust other: warning',
  ])
  expect(stateAt(own.notAfterMs + DAY_MS)).toEqual(['certificate: failed', 'trust other: failed'])
  expect(stateAt(own.notBeforeMs - DAY_MS)).toEqual(['certificate: failed', 'trust other: failed'])
})

test('keys of the cluster and a database that anybody may write are found', async () => {
  using folder = temporaryFolder()
  const path = await database(folder.path)
  const nodeFolder = `${path}-node`
  mkdirSync(join(nodeFolder, 'authority'))
  writeFileSync(join(nodeFolder, 'authority', 'authority-key.pem'), 'secret', { mode: 0o640 })
  chmodSync(join(nodeFolder, 'authority', 'authority-key.pem'), 0o640)
  chmodSync(path, 0o666)

  const findings = checkFileModes(path, nodeFolder)

  expect(findings.map(({ detail }) => detail)).toEqual([
    expect.stringContaining('authority-key.pem'),
    expect.stringContaining('a.db'),
  ])
  expect(advised([...findings, await checkDisk(path)])).toBe(true)
})

test('a peer that is not there and one that does not know us are told apart', async () => {
  using folder = temporaryFolder()
  const path = await database(folder.path)
  using other = await createVectorDB({ path: join(folder.path, 'b.db') })
  await using theirs = createShardCoordinator(other, 'b')
  const address = await theirs.sync.listen('127.0.0.1:0')
  using db = await createVectorDB({ path })
  await using ours = createShardCoordinator(db, 'a')
  ours.registerPeer({ nodeId: 'stranger', address })

  const untrusted = await checkPeers(ours, new AbortController().signal)
  ours.sync.trust.add(theirs.sync.certificatePem, 'b')
  const refused = await checkPeers(ours, new AbortController().signal)
  theirs.sync.trust.add(ours.sync.certificatePem, 'a')
  const reached = await checkPeers(ours, new AbortController().signal)
  ours.unregisterPeer('stranger')
  ours.registerPeer({ nodeId: 'gone', address: '127.0.0.1:9' })
  const gone = await checkPeers(ours, new AbortController().signal, 500)

  expect(untrusted).toMatchObject([
    { check: 'peer stranger', state: 'failed', advice: expect.stringContaining('trust add') },
  ])
  expect(refused).toMatchObject([
    { state: 'failed', advice: expect.stringContaining('fingerprint --certificate') },
  ])
  expect(reached).toMatchObject([{ state: 'ok' }])
  expect(gone).toMatchObject([{ state: 'failed', advice: expect.stringContaining('UDP') }])
}, 60_000)
