/**
 * Clusters over real QUIC: joining with a token, what a token is not good for, renewal, revocation.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { X509Certificate } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../src/clock/system-clock.ts'
import { SqliteVectorError } from '../../src/errors.ts'
import { createVectorDB, type SQLiteVectorDB } from '../../src/store/vector-db.ts'
import { createVectorSync, type SyncEvent, type VectorSync } from '../../src/sync/index.ts'
import { ClusterAuthority } from '../../src/transport/identity/authority.ts'
import { certificateFingerprint } from '../../src/transport/identity/certificate.ts'
import { authorityFolder, readMembership } from '../../src/transport/cluster/files.ts'
import { encodeMessage } from '../../src/transport/cluster/messages.ts'
import { ClusterService, isRenewalDue } from '../../src/transport/cluster/service.ts'
import { readToken } from '../../src/transport/cluster/token.ts'
import {
  clusterNodes,
  createIdentity,
  initCluster,
  inviteNode,
  joinCluster,
  openIdentity,
  QuicTransport,
  replaceCertificate,
  revokeNode,
  TrustList,
} from '../../src/transport/index.ts'

const DAY_MS = 86_400_000
const PATIENCE = { timeout: 30_000, interval: 50 }

let root: string
const open: (() => Promise<void>)[] = []

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'cluster-'))
})

afterEach(async () => {
  for (const close of open.splice(0).toReversed()) await close()
  rmSync(root, { recursive: true })
})

interface Node {
  readonly folder: string
  readonly db: SQLiteVectorDB
  readonly sync: VectorSync
  readonly address: string
  readonly events: SyncEvent[]
}

function folderOf(name: string): string {
  return join(root, `${name}.db-node`)
}

async function start(name: string): Promise<Node> {
  const db = await createVectorDB({ path: join(root, `${name}.db`) })
  const events: SyncEvent[] = []
  const sync = createVectorSync(db, name, { onEvent: (event) => events.push(event) })
  open.push(async () => {
    await sync.close()
    db.close()
  })
  const address = await sync.listen('127.0.0.1:0')
  return { folder: folderOf(name), db, sync, address, events }
}

/** A cluster made by `a`, which runs. */
async function cluster(): Promise<Node> {
  initCluster(folderOf('a'), { name: 'test', nodeId: 'a' })
  return start('a')
}

function codeOf(error: unknown): string {
  return error instanceof SqliteVectorError ? error.code : String(error)
}

test('two nodes that joined by tokens sync with each other, and know each other by certified names', async () => {
  const a = await cluster()
  for (const name of ['b', 'c']) {
    const { token } = inviteNode(a.folder)
    await joinCluster(folderOf(name), a.address, token, { nodeId: name })
  }
  const [b, c] = [await start('b'), await start('c')]
  b.db.createShard('notes', { dimension: 1, metric: 'l2' })
  b.db.insert('notes', { id: 'x', embedding: [1] })

  const result = await c.sync.sync('notes', b.address)

  expect(result).toMatchObject({ applied: 1, peerNodeId: 'b' })
  expect(clusterNodes(a.folder).map(({ nodeId }) => nodeId)).toEqual(['a', 'b', 'c'])
  expect(readMembership(b.folder)).toMatchObject({ name: 'test', address: a.address })
  expect(clusterNodes(a.folder)[1]?.fingerprint).toBe(b.sync.fingerprint)
  expect(() => clusterNodes(b.folder)).toThrow('no authority')
})

test('a node keeps its key when it joins, and the key travels nowhere', async () => {
  const a = await cluster()
  const before = openIdentity(folderOf('b'), { nodeId: 'b' })

  await joinCluster(folderOf('b'), a.address, inviteNode(a.folder).token, { nodeId: 'b' })
  const after = openIdentity(folderOf('b'))

  expect(after.privateKeyPem()).toBe(before.privateKeyPem())
  expect(after.fingerprint).not.toBe(before.fingerprint)
})

test('a token works once; a name belongs to one node; a joined node joins no other', async () => {
  const a = await cluster()
  const { token } = inviteNode(a.folder)
  await joinCluster(folderOf('b'), a.address, token, { nodeId: 'b' })

  const tryToJoin = (name: string, nodeId: string, text: string): Promise<unknown> =>
    joinCluster(folderOf(name), a.address, text, { nodeId }).then(() => 'joined', codeOf)

  expect(await tryToJoin('c', 'c', token)).toBe('TRANSPORT_JOIN_REFUSED')
  expect(await tryToJoin('c', 'b', inviteNode(a.folder).token)).toBe('TRANSPORT_JOIN_REFUSED')
  expect(await tryToJoin('b', 'other', inviteNode(a.folder).token)).toBe('TRANSPORT_JOIN_REFUSED')
  expect(await tryToJoin('c', 'c', inviteNode(a.folder).token)).toBe('joined')
  expect(clusterNodes(a.folder).map(({ nodeId }) => nodeId)).toEqual(['a', 'b', 'c'])
})

test('a token of another cluster does not get in, and its holder sees that this is not the cluster', async () => {
  const a = await cluster()
  initCluster(folderOf('foreign'), { name: 'foreign', nodeId: 'f' })
  const { token } = inviteNode(folderOf('foreign'))

  const refused = await joinCluster(folderOf('b'), a.address, token, { nodeId: 'b' }).catch(codeOf)

  expect(refused).toBe('TRANSPORT_PEER_UNTRUSTED')
  expect(readMembership(folderOf('b'))).toBeNull()
  expect(clusterNodes(a.folder)).toHaveLength(1)
})

test('a guest may join and nothing else: no shard, no renewal, no revocations', async () => {
  const a = await cluster()
  a.db.createShard('notes', { dimension: 1, metric: 'l2' })
  const { token } = inviteNode(a.folder)
  const { guest, authorityPem } = readToken(token, systemClock.nowMs())
  const trust = TrustList.inMemory()
  trust.addAuthority(authorityPem)
  await using transport = await QuicTransport.create({ identity: guest, trust })
  const db = await createVectorDB({ path: ':memory:' })
  const sync = createVectorSync(db, 'guest', { transport })

  const synced = await sync
    .sync('notes', a.address, { signal: AbortSignal.timeout(20_000) })
    .catch(codeOf)
  const asked = async (request: Parameters<typeof encodeMessage>[0]): Promise<unknown> =>
    JSON.parse(Buffer.from(await transport.request(a.address, encodeMessage(request))).toString())

  expect(synced).toMatch(/^TRANSPORT_/)
  expect(db.shards()).toEqual([])
  expect(await asked({ type: 'revocations' })).toMatchObject({
    ok: false,
    reason: 'a guest may only join',
  })
  expect(await asked({ type: 'renew', certificatePem: guest.certificatePem })).toMatchObject({
    ok: false,
  })
  expect(
    await asked({ type: 'join', nodeId: 'x', certificatePem: guest.certificatePem }),
  ).toMatchObject({ ok: false, reason: expect.stringContaining('self-signed') })
  expect(a.sync.getSession().members).toEqual([])
  await sync.close()
  db.close()
})

test('a node of the cluster cannot renew the certificate of another, nor join in its name', async () => {
  const a = await cluster()
  await joinCluster(folderOf('b'), a.address, inviteNode(a.folder).token, { nodeId: 'b' })
  const identity = openIdentity(folderOf('b'))
  await using transport = await QuicTransport.create({
    identity,
    trust: TrustList.open(folderOf('b')),
  })
  const asked = async (request: Parameters<typeof encodeMessage>[0]): Promise<unknown> =>
    JSON.parse(Buffer.from(await transport.request(a.address, encodeMessage(request))).toString())

  expect(await asked({ type: 'renew', certificatePem: a.sync.certificatePem })).toMatchObject({
    ok: false,
    reason: 'that is not the certificate that you show',
  })
  expect(
    await asked({ type: 'join', nodeId: 'c', certificatePem: createIdentity().certificatePem }),
  ).toMatchObject({ ok: false, reason: 'only a guest with a token may join' })
})

test('a certificate near its end is renewed while the node runs, and others go on trusting it', async () => {
  const a = await cluster()
  await joinCluster(folderOf('b'), a.address, inviteNode(a.folder).token, { nodeId: 'b' })
  // One that has a day left of two, as the authority would have issued it a year ago.
  const authority = ClusterAuthority.open(authorityFolder(a.folder))
  const soon = authority.renew(readFileSync(join(folderOf('b'), 'certificate.pem'), 'utf8'), {
    days: 1,
  })
  const early = replaceCertificate(folderOf('b'), soon)
  const trust = TrustList.open(folderOf('b'))
  const identity = openIdentity(folderOf('b'))
  await using transport = await QuicTransport.create({ identity, trust })
  const later = { ...systemClock, nowMs: () => early.notAfterMs - DAY_MS / 24 }
  const failures: string[] = []
  // The register knows the certificate that it issued last; this one stands in for it.
  const nodes = join(authorityFolder(a.folder), 'nodes.json')
  const text = readFileSync(nodes, 'utf8')
  const issued = clusterNodes(a.folder)[1]?.fingerprint ?? ''
  writeFileSync(nodes, text.replaceAll(issued, early.fingerprint))
  expect(isRenewalDue(identity, later.nowMs())).toBe(true)

  const service = serviceOf({ folder: folderOf('b'), identity, trust, transport }, failures, later)
  await service.check()

  expect(failures).toEqual([])
  expect(identity.fingerprint).not.toBe(early.fingerprint)
  expect(identity.notAfterMs - systemClock.nowMs()).toBeGreaterThan(300 * DAY_MS)
  expect(openIdentity(folderOf('b')).fingerprint).toBe(identity.fingerprint)
  expect(clusterNodes(a.folder)[1]).toMatchObject({
    fingerprint: identity.fingerprint,
    earlier: [early.fingerprint],
  })
  expect(isRenewalDue(identity, systemClock.nowMs())).toBe(false)
  await transport.close()
  await service.close()
  // Connections from now on show the new one.
  const b = await start('b')
  await b.sync.ping(a.address)
  await expect
    .poll(() => a.sync.getSession().connections.map(({ peer }) => peer), PATIENCE)
    .toContain(identity.fingerprint)
})

test('a revoked node is refused by name where it was revoked at once, and elsewhere after the next question', async () => {
  const a = await cluster()
  for (const name of ['b', 'c']) {
    await joinCluster(folderOf(name), a.address, inviteNode(a.folder).token, { nodeId: name })
  }
  const [b, c] = [await start('b'), await start('c')]
  await b.sync.ping(a.address)

  revokeNode(a.folder, 'b')
  const atAuthority = await createRefusal('b', a.address)
  const list = ClusterAuthority.open(authorityFolder(a.folder)).revocations() ?? ''
  c.sync.trust.addRevocations(list)
  const elsewhere = await createRefusal('b', c.address)

  expect(atAuthority).toMatch(/revoked/)
  expect(elsewhere).toMatch(/revoked/)
  expect(clusterNodes(a.folder)[1]).toMatchObject({ nodeId: 'b', isRevoked: true })
  expect(() => revokeNode(a.folder, 'nobody')).toThrow(RangeError)
  expect(b.sync.fingerprint).toBe(clusterNodes(a.folder)[1]?.fingerprint)
})

/** What a node is told that dials with the certificate of `name`. */
async function createRefusal(name: string, address: string): Promise<string> {
  const folder = folderOf(name)
  await using transport = await QuicTransport.create({
    identity: openIdentity(folder),
    trust: TrustList.open(folder),
  })
  const error = await transport.dial(address).then(
    () => new Error('was let in'),
    (reason: unknown) => reason as Error,
  )
  return error.message
}

test('a cluster made while its node runs is taken up without a restart', async () => {
  const folder = folderOf('a')
  const identity = openIdentity(folder, { nodeId: 'a' })
  const trust = TrustList.open(folder)
  await using transport = await QuicTransport.create({ identity, trust })
  const service = serviceOf({ folder, identity, trust, transport })
  const before = transport.identity.fingerprint

  initCluster(folder, { name: 'late', nodeId: 'a' })
  await service.check()
  const address = await transport.listen('127.0.0.1:0')
  await joinCluster(folderOf('b'), address, inviteNode(folder).token, { nodeId: 'b' })

  expect(transport.identity.fingerprint).not.toBe(before)
  expect(transport.identity.fingerprint).toBe(openIdentity(folder).fingerprint)
  expect(readMembership(folderOf('b'))).toMatchObject({ name: 'late' })
  await transport.close()
  await service.close()
})

test('an authority that cannot be reached costs nothing but an error, and is asked again', async () => {
  initCluster(folderOf('a'), { name: 'gone', nodeId: 'a' })
  const a = await start('a')
  await joinCluster(folderOf('b'), a.address, inviteNode(a.folder).token, { nodeId: 'b' })
  await a.sync.close()
  const identity = openIdentity(folderOf('b'))
  const trust = TrustList.open(folderOf('b'))
  await using transport = await QuicTransport.create({ identity, trust, handshakeTimeoutMs: 500 })
  const failures: string[] = []
  const service = serviceOf({ folder: folderOf('b'), identity, trust, transport }, failures)

  await service.check()
  await service.check()

  expect(failures.length).toBeGreaterThanOrEqual(2)
  expect(failures.every((code) => code.startsWith('TRANSPORT_'))).toBe(true)
  await transport.close()
  await service.close()
})

function serviceOf(
  setup: Pick<
    ConstructorParameters<typeof ClusterService>[0],
    'folder' | 'identity' | 'trust' | 'transport'
  >,
  failures: string[] = [],
  clock = systemClock,
): ClusterService {
  return new ClusterService({
    ...setup,
    clock,
    signal: new AbortController().signal,
    onError: (error) => failures.push(error.code),
  })
}

test('a node that was killed before it had the answer joins with the same token and name', async () => {
  const made = await cluster()
  const { token } = inviteNode(made.folder)
  const folder = folderOf('b')
  await joinCluster(folder, made.address, token, { nodeId: 'b' })
  const first = clusterNodes(made.folder).find(({ nodeId }) => nodeId === 'b')
  // Killed before it had written the answer: its key is all that it has.
  for (const name of ['cluster.json', 'trust.json', 'certificate.pem']) rmSync(join(folder, name))

  await joinCluster(folder, made.address, token, { nodeId: 'b' })
  const other = joinCluster(folderOf('c'), made.address, token, { nodeId: 'c' })

  await expect(other).rejects.toMatchObject({ code: 'TRANSPORT_JOIN_REFUSED' })
  const nodes = clusterNodes(made.folder).filter(({ nodeId }) => nodeId === 'b')
  expect(nodes).toHaveLength(1)
  expect(nodes[0]?.earlier).toEqual([first?.fingerprint])
})

test('the node that holds the authority cannot be revoked', async () => {
  const a = await cluster()

  expect(() => revokeNode(a.folder, 'a')).toThrow(/holds the authority/)
  expect(clusterNodes(a.folder)[0]?.isRevoked).toBe(false)
})

test('an authority restored from a backup neither takes revocations back nor is ignored', async () => {
  const authority = ClusterAuthority.create(join(root, 'restored'), 'restored')
  const issue = (name: string): string =>
    certificateFingerprint(
      new X509Certificate(
        authority.issue(createIdentity({ nodeId: name }).certificatePem, { nodeId: name }),
      ).raw,
    )
  const [first, lost, after] = [issue('first'), issue('lost'), issue('after')]
  const trust = TrustList.inMemory()
  trust.addAuthority(authority.certificatePem)
  authority.revoke(first)
  const backup = readFileSync(join(root, 'restored', 'revoked.json'))
  authority.revoke(lost)
  trust.addRevocations(authority.revocations() ?? '')
  const before = authority.revocations() ?? ''

  writeFileSync(join(root, 'restored', 'revoked.json'), backup)
  // Numbers go by time, and the clock may stand still within a test.
  const later = ClusterAuthority.open(join(root, 'restored'), {
    clock: { ...systemClock, nowMs: () => Date.now() + 1_000 },
  })
  later.revoke(after)

  expect(later.revocations()).not.toContain(lost)
  expect(trust.addRevocations(later.revocations() ?? '')).toBe(true)
  expect([first, lost, after].map((fingerprint) => trust.mayTrust(fingerprint))).toEqual([
    false,
    false,
    false,
  ])
  expect(trust.addRevocations(before)).toBe(false)
})
