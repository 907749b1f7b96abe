/**
 * Tokens to join a cluster: whole, in time, and known by the invitation that they were made with.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { X509Certificate } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { INVITES_MAX } from '../../../../src/limits.ts'
import { ClusterAuthority } from '../../../../src/transport/identity/authority.ts'
import { decodeAnswer, decodeRequest } from '../../../../src/transport/cluster/messages.ts'
import { createToken, readToken } from '../../../../src/transport/cluster/token.ts'
import { createIdentity } from '../../../../src/transport/identity/identity.ts'
import { TrustList } from '../../../../src/transport/identity/trust.ts'

const HOUR_MS = 3_600_000
const NOW_MS = Date.now()

let folder: string
let authority: ClusterAuthority

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cluster-token-'))
  authority = ClusterAuthority.create(join(folder, 'authority'), 'test')
})

afterEach(() => rmSync(folder, { recursive: true }))

function leafOf(pem: string): Uint8Array {
  return new X509Certificate(pem).raw
}

test('a token names its cluster, and its guest is let in by the invitation alone', () => {
  const { token, inviteCertificatePem } = createToken(
    authority.certificatePem,
    NOW_MS,
    NOW_MS + HOUR_MS,
  )
  const other = createToken(authority.certificatePem, NOW_MS, NOW_MS + HOUR_MS)
  const trust = TrustList.inMemory()
  const invite = trust.addInvite(inviteCertificatePem, NOW_MS + HOUR_MS, NOW_MS)

  const { authorityPem, guest } = readToken(`${token}\n`, NOW_MS)
  const stranger = readToken(other.token, NOW_MS).guest

  expect(authorityPem).toBe(authority.certificatePem)
  expect(trust.judge(leafOf(guest.certificatePem), NOW_MS)).toMatchObject({ by: 'invite', invite })
  expect(trust.judge(leafOf(stranger.certificatePem), NOW_MS)).toMatchObject({ trusted: false })
  expect(trust.judge(leafOf(createIdentity().certificatePem), NOW_MS)).toMatchObject({
    trusted: false,
  })
})

test('an invitation works once, and not after its time', () => {
  const { token, inviteCertificatePem } = createToken(
    authority.certificatePem,
    NOW_MS,
    NOW_MS + HOUR_MS,
  )
  const trust = TrustList.open(folder)
  const invite = trust.addInvite(inviteCertificatePem, NOW_MS + HOUR_MS, NOW_MS)
  const leaf = leafOf(readToken(token, NOW_MS).guest.certificatePem)

  expect(trust.judge(leaf, NOW_MS + HOUR_MS + 1)).toMatchObject({
    reason: 'its invitation has expired',
  })
  expect(trust.useInvite(invite, NOW_MS + HOUR_MS + 1)).toBe(false)
  expect(trust.useInvite(invite, NOW_MS)).toBe(true)
  expect(trust.useInvite(invite, NOW_MS)).toBe(false)
  expect(TrustList.open(folder).useInvite(invite, NOW_MS)).toBe(false)
  expect(trust.judge(leaf, NOW_MS)).toMatchObject({ reason: 'its invitation was used' })
  expect(() => readToken(token, NOW_MS + HOUR_MS + 1)).toThrow(
    expect.objectContaining({ code: 'TRANSPORT_TOKEN_INVALID' }),
  )
})

test('the node that invites keeps no secret of the token', () => {
  const { token, inviteCertificatePem } = createToken(
    authority.certificatePem,
    NOW_MS,
    NOW_MS + HOUR_MS,
  )
  TrustList.open(folder).addInvite(inviteCertificatePem, NOW_MS + HOUR_MS, NOW_MS)
  const secret = readToken(token, NOW_MS).guest.privateKeyPem()

  const kept = readFileSync(join(folder, 'trust.json'), 'utf8')

  expect(kept).toContain('CERTIFICATE')
  expect(kept).not.toContain('PRIVATE KEY')
  expect(kept).not.toContain(secret.split('\n')[1])
})

test('a token with any character changed is refused, whatever the change', () => {
  const { token } = createToken(authority.certificatePem, NOW_MS, NOW_MS + HOUR_MS)
  const letters = fc.constantFrom('A', 'B', 'Z', 'a', 'b', 'z', '0', '9', '-', '_', '.')

  fc.assert(
    fc.property(fc.nat(token.length - 2), letters, (at, letter) => {
      fc.pre(token[at] !== letter)
      const changed = token.slice(0, at) + letter + token.slice(at + 1)

      expect(() => readToken(changed, NOW_MS)).toThrow(
        expect.objectContaining({ code: 'TRANSPORT_TOKEN_INVALID' }),
      )
    }),
  )
  expect(() => readToken('', NOW_MS)).toThrow('not a whole token')
})

test('a node gives out as many invitations as its limit; used and old ones make room', () => {
  const trust = TrustList.inMemory()
  const add = (notAfterMs: number, nowMs = NOW_MS): string =>
    trust.addInvite(
      createToken(authority.certificatePem, NOW_MS, notAfterMs).inviteCertificatePem,
      notAfterMs,
      nowMs,
    )
  const first = add(NOW_MS + HOUR_MS)
  for (let index = 1; index < INVITES_MAX; index += 1) add(NOW_MS + HOUR_MS)

  expect(() => add(NOW_MS + HOUR_MS)).toThrow(RangeError)
  trust.useInvite(first, NOW_MS)
  expect(add(NOW_MS + HOUR_MS)).toMatch(/^[0-9a-f]{64}$/)
})

test('messages of clusters are decoded from any bytes to a message or nothing', () => {
  const json = fc.jsonValue().map((value) => new TextEncoder().encode(JSON.stringify(value)))

  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), json), (bytes) => {
      expect(decodeRequest(bytes)).toBeNull()
      expect(decodeAnswer(bytes)).toBeNull()
    }),
  )
})
