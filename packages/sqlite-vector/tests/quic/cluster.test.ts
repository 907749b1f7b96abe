/**
 * A cluster's authority: nodes it certified trust each other over real QUIC; revoked and renewed ones
 * are treated as such.
 */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ClusterAuthority } from '../../src/transport/identity/authority.ts'
import {
  createIdentity,
  openIdentity,
  replaceCertificate,
} from '../../src/transport/identity/identity.ts'
import type { NodeIdentity } from '../../src/transport/identity/identity.ts'
import type { IdentityChange } from '../../src/transport/quic/options.ts'
import { TrustList } from '../../src/transport/identity/trust.ts'
import { next } from '../../src/testing/connection-pair.ts'
import { errorOf, openNode } from './quic-fixture.ts'

let root: string
let authority: ClusterAuthority
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'cluster-'))
  authority = ClusterAuthority.create(join(root, 'authority'), 'test cluster')
})
afterAll(() => rmSync(root, { recursive: true }))

/** A node of the cluster, as `cluster join` makes one. */
function member(name: string, clock?: { nowMs: number }): NodeIdentity {
  const folder = join(root, name)
  const request = openIdentity(folder, { nodeId: name })
  const issuer =
    clock === undefined
      ? authority
      : ClusterAuthority.open(join(root, 'authority'), { clock: at(clock.nowMs) })
  return replaceCertificate(folder, issuer.issue(request.certificatePem))
}

function at(nowMs: number): { nowMs(): number; monotonicMs(): number; schedule(): () => void } {
  return { nowMs: () => nowMs, monotonicMs: () => nowMs, schedule: () => () => {} }
}

function clusterTrust(): TrustList {
  const trust = TrustList.inMemory()
  trust.addAuthority(authority.certificatePem, 'test cluster')
  return trust
}

test('nodes that the authority certified trust each other by name, strangers stay out', async () => {
  await using a = await openNode({ identity: member('a'), trust: clusterTrust() })
  await using b = await openNode({ identity: member('b'), trust: clusterTrust() })
  await using stranger = await openNode({ trust: clusterTrust() })
  const address = await b.transport.listen('127.0.0.1:0')

  const connection = await a.transport.dial(address)
  const accepted = await next(b.transport.accept()[Symbol.asyncIterator]())
  const error = await errorOf(stranger.transport.dial(address))

  expect(connection.peer).toEqual({ fingerprint: b.identity.fingerprint, nodeId: 'b' })
  expect(accepted.peer).toEqual({ fingerprint: a.identity.fingerprint, nodeId: 'a' })
  expect(error.code).toBe('TRANSPORT_REFUSED_BY_PEER')
})

test('a revoked node is refused by name, and its open connection ends', async () => {
  const trust = clusterTrust()
  await using revoked = await openNode({ identity: member('revoked'), trust: clusterTrust() })
  await using listener = await openNode({ identity: member('judge'), trust })
  const address = await listener.transport.listen('127.0.0.1:0')
  const connection = await revoked.transport.dial(address)

  expect(authority.revoke(revoked.identity.fingerprint)).toBe(true)
  expect(authority.revoke(revoked.identity.fingerprint)).toBe(false)
  const list = authority.revocations() as string
  expect(trust.addRevocations(list)).toBe(true)
  expect(trust.addRevocations(list)).toBe(false)

  expect(await connection.closed).toMatchObject({ code: 'TRANSPORT_REFUSED_BY_PEER' })
  const error = await errorOf(revoked.transport.dial(address))
  expect(error.code).toBe('TRANSPORT_REFUSED_BY_PEER')
  expect(error.message).toContain('revoked')
  expect(() => authority.renew(revoked.identity.certificatePem)).toThrow(/revoked/)
})

test('a list of revocations that the authority did not sign is refused', () => {
  const trust = clusterTrust()
  const other = ClusterAuthority.create(join(root, 'other'), 'other')
  other.revoke('ab'.repeat(32))
  authority.revoke('cd'.repeat(32))
  const genuine = authority.revocations() as string

  expect(() => trust.addRevocations(other.revocations() as string)).toThrow(TypeError)
  expect(() => trust.addRevocations(genuine.replace('cdcd', 'cdce'))).toThrow(TypeError)
  expect(() => trust.addRevocations('no list')).toThrow(TypeError)
  expect(trust.addRevocations(genuine)).toBe(true)
})

test('a renewed certificate is taken, and the change is an event', async () => {
  const changes: IdentityChange[] = []
  const before = member('renewed')
  await using listener = await openNode({
    identity: member('watcher'),
    trust: clusterTrust(),
    onIdentityChange: (change) => changes.push(change),
  })
  const address = await listener.transport.listen('127.0.0.1:0')
  await using first = await openNode({ identity: before, trust: clusterTrust() })
  await first.transport.dial(address)
  const after = replaceCertificate(join(root, 'renewed'), authority.renew(before.certificatePem))

  await using second = await openNode({ identity: after, trust: clusterTrust() })
  await second.transport.dial(address)

  expect(after.fingerprint).not.toBe(before.fingerprint)
  expect(changes).toEqual([
    expect.objectContaining({
      nodeId: 'renewed',
      before: before.fingerprint,
      after: after.fingerprint,
    }),
  ])
})

test('an expired certificate of the cluster is refused', async () => {
  const longAgo = Date.now() - 400 * 86_400_000
  await using expired = await openNode({
    identity: member('expired', { nowMs: longAgo }),
    trust: clusterTrust(),
  })
  await using listener = await openNode({ identity: member('clock'), trust: clusterTrust() })
  const address = await listener.transport.listen('127.0.0.1:0')

  const error = await errorOf(expired.transport.dial(address))

  expect(error.code).toBe('TRANSPORT_REFUSED_BY_PEER')
  expect(error.message).toContain('expired')
})

test('the authority certifies only who proves the key, and renews only its own', () => {
  const node = openIdentity(join(root, 'prover'), { nodeId: 'prover' })
  const issued = authority.issue(node.certificatePem, { nodeId: 'named', days: 1 })

  expect(() => authority.issue(issued)).toThrow(/self-signed/)
  expect(() => authority.renew(createIdentity().certificatePem)).toThrow(/this authority issued/)
  expect(() => authority.issue('no certificate')).toThrow(TypeError)
  expect(() => authority.issue(node.certificatePem, { days: 0 })).toThrow(RangeError)
})

test('an authority is made once, kept private, and found again', () => {
  const folder = join(root, 'authority')

  const again = ClusterAuthority.open(folder)

  expect(again.fingerprint).toBe(authority.fingerprint)
  expect(statSync(join(folder, 'authority-key.pem')).mode & 0o777).toBe(0o600)
  expect(() => ClusterAuthority.create(folder, 'again')).toThrow(RangeError)
  expect(() => ClusterAuthority.open(join(root, 'nothing'))).toThrow(
    expect.objectContaining({ code: 'TRANSPORT_IDENTITY_INVALID' }),
  )
})

test('authorities, revocations and known nodes are kept with the trust list', () => {
  const folder = join(root, 'kept')
  const trust = TrustList.open(folder)
  trust.addAuthority(authority.certificatePem)
  authority.revoke('ef'.repeat(32))
  trust.addRevocations(authority.revocations() as string)
  trust.notice('someone', 'aa'.repeat(32))
  trust.save()

  const again = TrustList.open(folder)

  expect(again.authorities().map((entry) => entry.fingerprint)).toEqual([authority.fingerprint])
  expect(again.addRevocations(authority.revocations() as string)).toBe(false)
  expect(again.notice('someone', 'bb'.repeat(32))).toBe('aa'.repeat(32))
  expect(() => again.addAuthority(member('leaf').certificatePem)).toThrow(/CA:TRUE/)
  writeFileSync(
    join(folder, 'trust.json'),
    JSON.stringify({ version: 1, entries: [], authorities: [], revocations: ['{}'] }),
  )
  expect(() => TrustList.open(folder)).toThrow(
    expect.objectContaining({ code: 'TRANSPORT_IDENTITY_INVALID' }),
  )
})
