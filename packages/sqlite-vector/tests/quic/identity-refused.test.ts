/**
 * Strangers are refused in the TLS handshake, by name, on both sides, over real QUIC.
 */
import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  certificateToPem,
  issueCertificate,
  newPrivateKey,
} from '../../src/transport/identity/certificate.ts'
import { createIdentity, NodeIdentity } from '../../src/transport/identity/identity.ts'
import { TrustList } from '../../src/transport/identity/trust.ts'
import { systemClock } from '../../src/clock/system-clock.ts'
import { next } from '../../src/testing/connection-pair.ts'
import { errorOf, introduce, openNode } from './quic-fixture.ts'

const DAY_MS = 86_400_000

test('a dialler that does not trust the listener is told its fingerprint', async () => {
  await using listener = await openNode()
  await using dialler = await openNode()
  const address = await listener.transport.listen('127.0.0.1:0')
  listener.trust.add(dialler.identity.certificatePem)

  const error = await errorOf(dialler.transport.dial(address))

  expect(error.code).toBe('TRANSPORT_PEER_UNTRUSTED')
  expect(error.message).toContain(listener.identity.fingerprint)
})

test('a dialler that the listener does not trust is told its own, and the listener learns of it', async () => {
  await using listener = await openNode()
  await using dialler = await openNode()
  const address = await listener.transport.listen('127.0.0.1:0')
  dialler.trust.add(listener.identity.certificatePem)

  const error = await errorOf(dialler.transport.dial(address))

  expect(error.code).toBe('TRANSPORT_REFUSED_BY_PEER')
  expect(error.message).toContain(dialler.identity.fingerprint)
  expect(listener.transport.getStats()).toMatchObject({ refused: 1, accepted: 0 })
  expect(listener.refused[0]?.fingerprint).toBe(dialler.identity.fingerprint)
  expect(listener.refused[0]?.certificatePem).toBe(dialler.identity.certificatePem)
  expect(listener.refused[0]?.address).toMatch(/^127\.0\.0\.1:\d+$/)
})

test('with early dialling the refusal reaches the calls on the connection', async () => {
  await using listener = await openNode()
  await using dialler = await openNode()
  const address = await listener.transport.listen('127.0.0.1:0')
  dialler.trust.add(listener.identity.certificatePem)

  const connection = await dialler.transport.dial(address, { early: true })
  const error = await errorOf(connection.openChannel().then((channel) => channel.receive()))

  expect(error.code).toBe('TRANSPORT_REFUSED_BY_PEER')
  expect(await connection.closed).toMatchObject({ by: 'peer', code: 'TRANSPORT_REFUSED_BY_PEER' })
})

test('the refused certificate can be pinned, and then both talk', async () => {
  await using listener = await openNode()
  await using dialler = await openNode()
  const address = await listener.transport.listen('127.0.0.1:0')
  dialler.trust.add(listener.identity.certificatePem)
  await errorOf(dialler.transport.dial(address))

  listener.trust.add(listener.refused[0]?.certificatePem as string)
  const connection = await dialler.transport.dial(address)

  expect(connection.peer.fingerprint).toBe(listener.identity.fingerprint)
})

test('another application protocol is refused by name on both sides', async () => {
  await using listener = await openNode()
  await using dialler = await openNode({ alpn: 'other/1' })
  introduce(listener, dialler)
  const address = await listener.transport.listen('127.0.0.1:0')

  const error = await errorOf(dialler.transport.dial(address))

  expect(error.code).toBe('TRANSPORT_ALPN_MISMATCH')
  expect(listener.transport.getStats().accepted).toBe(0)
})

test('a certificate that a pinned node signed for somebody else is refused', async () => {
  await using listener = await openNode()
  await using pinned = await openNode()
  introduce(listener, pinned)
  const address = await listener.transport.listen('127.0.0.1:0')
  const key = newPrivateKey()
  const signed = issueCertificate({
    name: 'smuggled',
    subjectKey: key,
    issuer: {
      certificate: new X509Certificate(pinned.identity.certificatePem),
      privateKey: createPrivateKey(pinned.identity.privateKeyPem()),
    },
    authority: false,
    notBeforeMs: Date.now() - 60_000,
    notAfterMs: Date.now() + 60_000,
    serial: randomBytes(16),
  })
  const identity = new NodeIdentity(key, certificateToPem(signed) + pinned.identity.certificatePem)
  await using smuggled = await openNode({ identity })
  smuggled.trust.add(listener.identity.certificatePem)

  const error = await errorOf(smuggled.transport.dial(address))

  expect(error.code).toBe('TRANSPORT_REFUSED_BY_PEER')
  expect(listener.refused[0]?.fingerprint).toBe(identity.fingerprint)
  expect(listener.transport.getStats().accepted).toBe(0)
})

test('an expired certificate is refused even where it is pinned', async () => {
  const key = newPrivateKey()
  const expired = issueCertificate({
    name: 'expired',
    subjectKey: key,
    privateKey: key,
    authority: true,
    notBeforeMs: Date.now() - 120_000,
    notAfterMs: Date.now() - 60_000,
    serial: randomBytes(16),
  })
  await using listener = await openNode()
  await using dialler = await openNode({
    identity: new NodeIdentity(key, certificateToPem(expired)),
  })
  introduce(listener, dialler)
  const address = await listener.transport.listen('127.0.0.1:0')

  const error = await errorOf(dialler.transport.dial(address))

  expect(error.code).toBe('TRANSPORT_REFUSED_BY_PEER')
  expect(error.message).toContain('expired')
})

test('unpinning a peer ends its connection and refuses the next', async () => {
  await using listener = await openNode()
  await using dialler = await openNode()
  introduce(listener, dialler)
  const address = await listener.transport.listen('127.0.0.1:0')
  const connection = await dialler.transport.dial(address)
  const accepted = await next(listener.transport.accept()[Symbol.asyncIterator]())

  listener.trust.remove(dialler.identity.fingerprint)

  expect(await connection.closed).toMatchObject({ code: 'TRANSPORT_REFUSED_BY_PEER' })
  expect(await accepted.closed).toMatchObject({ by: 'us' })
  const error = await errorOf(dialler.transport.dial(address))
  expect(error.code).toBe('TRANSPORT_REFUSED_BY_PEER')
})

test('a port where nobody answers is a handshake timeout, a name that does not resolve a failed dial', async () => {
  await using dialler = await openNode({ handshakeTimeoutMs: 100 })

  const silent = await errorOf(dialler.transport.dial('127.0.0.1:9'))
  const nameless = await errorOf(dialler.transport.dial('no-such-host.invalid:9'))

  expect(silent.code).toBe('TRANSPORT_HANDSHAKE_TIMEOUT')
  expect(nameless.code).toBe('TRANSPORT_DIAL_FAILED')
})

test('nodes find each other over IPv6', async () => {
  await using listener = await openNode()
  await using dialler = await openNode()
  introduce(listener, dialler)
  const address = await listener.transport.listen('[::1]:0')

  const connection = await dialler.transport.dial(address)

  expect(address).toMatch(/^\[::1\]:\d+$/)
  expect(connection.peer.fingerprint).toBe(listener.identity.fingerprint)
})

test('a trust list damaged while a node runs is reported, and the node goes on with the one it has', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'damaged-trust-'))
  const errors: unknown[] = []
  const trust = TrustList.open(folder)
  await using listener = await openNode({ trust, onError: (error) => errors.push(error) })
  await using dialler = await openNode()
  introduce(listener, dialler)
  const address = await listener.transport.listen('127.0.0.1:0')

  writeFileSync(join(folder, 'trust.json'), '{"version":')
  const connection = await dialler.transport.dial(address)
  rmSync(folder, { recursive: true })

  expect(connection.peer.fingerprint).toBe(listener.identity.fingerprint)
  expect(errors[0]).toMatchObject({ code: 'TRANSPORT_IDENTITY_INVALID' })
})

test('nodes whose clocks are a day apart trust each other fresh certificates', async () => {
  const early = { ...systemClock, nowMs: () => Date.now() - 2 * DAY_MS }
  await using made = await openNode({ identity: createIdentity({ nodeId: 'made-now' }) })
  await using behind = await openNode({
    clock: early,
    identity: createIdentity({ nodeId: 'behind', clock: early }),
  })
  introduce(made, behind)
  const address = await made.transport.listen('127.0.0.1:0')

  const connection = await behind.transport.dial(address)

  expect(connection.peer.fingerprint).toBe(made.identity.fingerprint)
})

test('a certificate that is not valid yet is named so, with both times, and taken once the clock is right', async () => {
  let shiftMs = -400 * DAY_MS
  const clock = { ...systemClock, nowMs: () => Date.now() + shiftMs }
  await using listener = await openNode()
  await using dialler = await openNode({ clock })
  introduce(listener, dialler)
  const address = await listener.transport.listen('127.0.0.1:0')

  const error = await errorOf(dialler.transport.dial(address))
  shiftMs = 0
  const connection = await dialler.transport.dial(address)

  expect(error.code).toBe('TRANSPORT_PEER_UNTRUSTED')
  expect(error.message).toMatch(/not valid yet: our clock says 20\d\d-.* valid from 20\d\d-/)
  expect(error.message).not.toMatch(/expired/)
  expect(connection.peer.fingerprint).toBe(listener.identity.fingerprint)
})

test('a certificate that starts later than the real time is not called expired', async () => {
  const key = newPrivateKey()
  const future = issueCertificate({
    name: 'future',
    subjectKey: key,
    privateKey: key,
    authority: true,
    notBeforeMs: Date.now() + DAY_MS,
    notAfterMs: Date.now() + 2 * DAY_MS,
    serial: randomBytes(16),
  })
  await using listener = await openNode()
  await using dialler = await openNode({
    identity: new NodeIdentity(key, certificateToPem(future)),
  })
  introduce(listener, dialler)
  const address = await listener.transport.listen('127.0.0.1:0')

  const error = await errorOf(dialler.transport.dial(address))

  expect(error.code).toBe('TRANSPORT_REFUSED_BY_PEER')
  expect(error.message).toMatch(/our certificate is not valid yet: our clock says/)
  expect(listener.refused[0]?.reason).toMatch(/not valid yet: our clock says/)
})

test('an IPv6 address without a route fails at once and says so', async () => {
  await using dialler = await openNode({ handshakeTimeoutMs: 1_000 })

  // Addresses for documentation (RFC 3849): no network routes them; without IPv6 no packet even leaves.
  const error = await errorOf(dialler.transport.dial('[2001:db8::1]:9'))

  expect(['TRANSPORT_DIAL_FAILED', 'TRANSPORT_HANDSHAKE_TIMEOUT']).toContain(error.code)
  if (error.code === 'TRANSPORT_DIAL_FAILED') expect(error.message).toContain('no route')
})
