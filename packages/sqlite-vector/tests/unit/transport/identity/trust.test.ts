/**
 * The trust list: pinned certificates, kept in a file that other processes change as well.
 */
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { TRUST_ENTRIES_MAX } from '../../../../src/limits.ts'
import { certificateToPem } from '../../../../src/transport/identity/certificate.ts'
import { createIdentity } from '../../../../src/transport/identity/identity.ts'
import { TrustList } from '../../../../src/transport/identity/trust.ts'

const peer = createIdentity({ nodeId: 'peer' })
const other = createIdentity({ nodeId: 'other' })
let root: string
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'trust-'))
})
afterAll(() => rmSync(root, { recursive: true }))

test('nobody is trusted by default', () => {
  const list = TrustList.inMemory()

  expect(list.get(peer.fingerprint)).toBeUndefined()
  expect(list.list()).toEqual([])
  expect(list.anchorsPem()).toBe('')
})

test('a pinned peer is trusted, listed and found again after a restart', () => {
  const folder = join(root, 'kept')
  const list = TrustList.open(folder)

  const entry = list.add(peer.certificatePem, 'desk')
  const again = TrustList.open(folder)

  expect(entry).toEqual({
    fingerprint: peer.fingerprint,
    certificatePem: peer.certificatePem,
    nodeId: 'desk',
  })
  expect(again.list()).toEqual([entry])
  expect(again.get(peer.fingerprint)).toBeDefined()
  expect(again.get(other.fingerprint)).toBeUndefined()
  expect(statSync(join(folder, 'trust.json')).mode & 0o777).toBe(0o600)
})

test('a removed peer is not trusted any more, and removing it twice says so', () => {
  const folder = join(root, 'removed')
  const list = TrustList.open(folder)
  list.add(peer.certificatePem)
  list.add(other.certificatePem)

  expect(list.remove(peer.fingerprint)).toBe(true)
  expect(list.remove(peer.fingerprint)).toBe(false)

  expect(
    TrustList.open(folder)
      .list()
      .map((entry) => entry.fingerprint),
  ).toEqual([other.fingerprint])
})

test('what another process pinned is seen after refresh(), and announced', () => {
  const folder = join(root, 'shared')
  const mine = TrustList.open(folder)
  const theirs = TrustList.open(folder)
  let changes = 0
  const stop = mine.onChange(() => {
    changes += 1
  })

  theirs.add(peer.certificatePem)
  mine.refresh()
  mine.refresh()
  expect(mine.get(peer.fingerprint)).toBeDefined()
  expect(changes).toBe(1)
  mine.add(other.certificatePem)
  expect(changes).toBe(2)
  stop()
  mine.remove(other.fingerprint)

  expect(changes).toBe(2)
  theirs.refresh()
  expect(theirs.list().map((entry) => entry.fingerprint)).toEqual([peer.fingerprint])
})

test('text that is no certificate is refused and changes nothing', () => {
  const list = TrustList.inMemory()

  expect(() => list.add('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n')).toThrow(
    TypeError,
  )
  expect(() => list.add(peer.certificatePem, '')).toThrow(/nodeId/)

  expect(list.list()).toEqual([])
})

test('a damaged file is refused, never taken for an empty list', () => {
  const folder = join(root, 'damaged')
  TrustList.open(folder).add(peer.certificatePem)

  for (const text of ['', '{', '{"version":2,"entries":[]}', '{"version":1,"entries":[{}]}']) {
    writeFileSync(join(folder, 'trust.json'), text)
    expect(() => TrustList.open(folder)).toThrow(
      expect.objectContaining({ code: 'TRANSPORT_IDENTITY_INVALID' }),
    )
  }
})

test('a fingerprint written into the file does not make another certificate trusted', () => {
  const folder = join(root, 'forged')
  TrustList.open(folder)
  const entry = {
    fingerprint: other.fingerprint,
    certificatePem: peer.certificatePem,
    nodeId: null,
  }

  writeFileSync(join(folder, 'trust.json'), JSON.stringify({ version: 1, entries: [entry] }))
  const list = TrustList.open(folder)

  expect(list.get(other.fingerprint)).toBeUndefined()
  expect(list.get(peer.fingerprint)).toBeDefined()
})

test('the number of pinned peers is bounded', () => {
  const list = TrustList.inMemory()
  const der = new X509Certificate(peer.certificatePem).raw
  const variant = (index: number): string => {
    // Another signature makes another fingerprint; whether it is right is for TLS to say.
    const copy = Buffer.from(der)
    copy.writeUInt32BE(index, copy.length - 4)
    return certificateToPem(copy)
  }

  for (let index = 0; index < TRUST_ENTRIES_MAX; index += 1) list.add(variant(index))

  expect(() => list.add(variant(TRUST_ENTRIES_MAX))).toThrow(RangeError)
  expect(() => list.add(variant(0), 'a new label')).not.toThrow()
  expect(list.list().length).toBe(TRUST_ENTRIES_MAX)
})
