/**
 * A session ticket is a memory, not a proof: the peer of a connection is the holder of the certificate
 * that completed the handshake, whatever the ticket for that address said before.
 */
import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto'
import { expect, test } from 'vitest'
import { systemClock } from '../../src/clock/system-clock.ts'
import { TicketStore } from '../../src/transport/quic/tickets.ts'
import { TrustList } from '../../src/transport/identity/trust.ts'
import {
  certificateToPem,
  issueCertificate,
  newPrivateKey,
} from '../../src/transport/identity/certificate.ts'
import { createIdentity, NodeIdentity } from '../../src/transport/identity/identity.ts'
import type { Channel, Connection, Transport } from '../../src/transport/types.ts'
import { createToken, readToken } from '../../src/transport/cluster/token.ts'
import { errorOf, introduce, openNode } from './quic-fixture.ts'
import type { TestNode } from './quic-fixture.ts'

const HOUR_MS = 3_600_000

/** Answers every frame with the same bytes, and keeps the frames with the peer that sent them. */
function echo(transport: Transport): { readonly frames: number[] } {
  const frames: number[] = []
  const serve = async (channel: Channel): Promise<void> => {
    for (let frame = await channel.receive(); frame !== null; frame = await channel.receive()) {
      frames.push(frame[0] ?? -1)
      await channel.send(frame)
    }
    await channel.finish()
  }
  const serveAll = async (connection: Connection): Promise<void> => {
    for await (const channel of connection.channels()) serve(channel).catch(() => {})
  }
  const accept = async (): Promise<void> => {
    for await (const connection of transport.accept()) serveAll(connection).catch(() => {})
  }
  accept().catch(() => {})
  return { frames }
}

async function ask(connection: Connection, value: number): Promise<number | undefined> {
  const channel = await connection.openChannel({ early: true })
  await channel.send(Uint8Array.of(value))
  await channel.finish()
  const frame = await channel.receive()
  return frame?.[0]
}

/** Dials, asks once and closes, so that the dialler keeps a ticket. */
async function visit(dialler: TestNode, address: string): Promise<void> {
  const connection = await dialler.transport.dial(address)
  expect(await ask(connection, 1)).toBe(1)
  await connection.close()
}

/** Another node listens at the address where the first one was visited. */
async function takeOver(
  first: TestNode,
  next: TestNode,
  address: string,
): Promise<readonly number[]> {
  await first.transport.close()
  await next.transport.listen(address)
  return echo(next.transport).frames
}

test('a trusted node that took over an address is not taken for the node of the ticket', async () => {
  await using b = await openNode()
  await using c = await openNode()
  const tickets = TicketStore.inMemory()
  await using a = await openNode({ tickets })
  introduce(a, b)
  introduce(a, c)
  const address = await b.transport.listen('127.0.0.1:0')
  echo(b.transport)
  await visit(a, address)
  const seen = await takeOver(b, c, address)

  const assumed = await a.transport.dial(address, { early: true })
  const error = await errorOf(ask(assumed, 42))
  const end = await assumed.closed
  const proven = await a.transport.dial(address)

  expect(error.code).toBe('TRANSPORT_PEER_CHANGED')
  expect(error.retryable).toBe(true)
  expect(end.reason).toContain(b.identity.fingerprint)
  expect(end.reason).toContain(c.identity.fingerprint)
  expect(seen).not.toContain(42)
  expect(proven.peer.fingerprint).toBe(c.identity.fingerprint)
  expect(tickets.get(address)?.fingerprint ?? c.identity.fingerprint).toBe(c.identity.fingerprint)
})

test('a dial that waits for acceptance goes on with the node that really answers', async () => {
  await using b = await openNode()
  await using c = await openNode()
  await using a = await openNode()
  introduce(a, b)
  introduce(a, c)
  const address = await b.transport.listen('127.0.0.1:0')
  echo(b.transport)
  await visit(a, address)
  await takeOver(b, c, address)

  const connection = await a.transport.dial(address)

  expect(connection.peer.fingerprint).toBe(c.identity.fingerprint)
  expect(await ask(connection, 5)).toBe(5)
})

test('a stranger at the address of a ticket is refused by its fingerprint', async () => {
  await using b = await openNode()
  await using stranger = await openNode()
  await using a = await openNode()
  introduce(a, b)
  stranger.trust.add(a.identity.certificatePem)
  const address = await b.transport.listen('127.0.0.1:0')
  echo(b.transport)
  await visit(a, address)
  const seen = await takeOver(b, stranger, address)

  const assumed = await a.transport.dial(address, { early: true })
  const early = await errorOf(ask(assumed, 42))
  const plain = await errorOf(a.transport.dial(address))

  for (const error of [early, plain]) {
    expect(error.code).toBe('TRANSPORT_PEER_UNTRUSTED')
    expect(error.message).toContain(stranger.identity.fingerprint)
    expect(error.message).not.toContain('TlsFail')
  }
  expect(seen).toEqual([])
})

test('a stranger that dials with a ticket is refused by its fingerprint', async () => {
  await using listener = await openNode()
  await using dialler = await openNode()
  introduce(listener, dialler)
  const address = await listener.transport.listen('127.0.0.1:0')
  echo(listener.transport)
  await visit(dialler, address)
  listener.trust.remove(dialler.identity.fingerprint)

  const early = await dialler.transport.dial(address, { early: true })
  const error = await errorOf(ask(early, 42))
  const plain = await errorOf(dialler.transport.dial(address))

  for (const { code, message } of [error, plain]) {
    expect(code).toBe('TRANSPORT_REFUSED_BY_PEER')
    expect(message).toContain(dialler.identity.fingerprint)
  }
  expect(listener.refused.at(-1)?.fingerprint).toBe(dialler.identity.fingerprint)
})

test('a leaf that a pinned node issued is refused at the address of a ticket', async () => {
  await using b = await openNode()
  await using a = await openNode()
  introduce(a, b)
  const key = newPrivateKey()
  const leaf = issueCertificate({
    name: 'leaf',
    subjectKey: key,
    issuer: {
      certificate: new X509Certificate(b.identity.certificatePem),
      privateKey: createPrivateKey(b.identity.privateKeyPem()),
    },
    authority: false,
    notBeforeMs: Date.now() - 1_000,
    notAfterMs: Date.now() + 1e9,
    serial: randomBytes(16),
  })
  const identity = new NodeIdentity(key, certificateToPem(leaf) + b.identity.certificatePem)
  await using issued = await openNode({ identity })
  issued.trust.add(a.identity.certificatePem)
  const address = await b.transport.listen('127.0.0.1:0')
  echo(b.transport)
  await visit(a, address)
  const seen = await takeOver(b, issued, address)

  const assumed = await a.transport.dial(address, { early: true })
  const error = await errorOf(ask(assumed, 42))

  expect(error.message).toContain(identity.fingerprint)
  expect((await assumed.closed).code).toBe('TRANSPORT_PEER_UNTRUSTED')
  expect(seen).not.toContain(42)
})

test('a certificate that expired since the ticket was given is refused on the resumed connection', async () => {
  let shiftMs = 0
  const clock = { ...systemClock, nowMs: () => Date.now() + shiftMs }
  const key = newPrivateKey()
  const soon = issueCertificate({
    name: 'soon',
    subjectKey: key,
    privateKey: key,
    authority: true,
    notBeforeMs: Date.now() - 120_000,
    notAfterMs: Date.now() + HOUR_MS,
    serial: randomBytes(16),
  })
  const identity = new NodeIdentity(key, certificateToPem(soon))
  await using listener = await openNode({ clock })
  await using dialler = await openNode({ identity })
  introduce(listener, dialler)
  const address = await listener.transport.listen('127.0.0.1:0')
  const { frames } = echo(listener.transport)
  await visit(dialler, address)

  shiftMs = 2 * HOUR_MS
  const early = await dialler.transport.dial(address, { early: true })
  await errorOf(ask(early, 42))
  const end = await early.closed

  expect(end.code).toBe('TRANSPORT_REFUSED_BY_PEER')
  expect(end.reason).toContain(identity.fingerprint)
  expect(end.reason).toContain('expired')
  expect(frames).not.toContain(42)
})

test('a guest whose invitation is used cannot come back with its ticket as a guest of another kind', async () => {
  const authority = createIdentity({ nodeId: 'authority' })
  const nowMs = Date.now()
  const { token, inviteCertificatePem } = createToken(authority.certificatePem, nowMs, nowMs + 1e7)
  const { guest } = readToken(token, nowMs)
  await using host = await openNode()
  const invite = host.trust.addInvite(inviteCertificatePem, nowMs + 1e7, nowMs)
  const trust = TrustList.inMemory()
  trust.add(host.identity.certificatePem)
  await using dialler = await openNode({ identity: guest, trust })
  const address = await host.transport.listen('127.0.0.1:0')
  const accepted = host.transport.accept()[Symbol.asyncIterator]()
  const first = await dialler.transport.dial(address)
  const there = (await accepted.next()).value as Connection
  expect(there.peer.invite).toBe(invite)
  await first.close()
  host.trust.useInvite(invite, nowMs)

  const early = await dialler.transport.dial(address, { early: true }).catch(() => null)
  const end = await early?.closed

  expect(end?.code).toBe('TRANSPORT_REFUSED_BY_PEER')
  expect(end?.reason).toContain(guest.fingerprint)
})
