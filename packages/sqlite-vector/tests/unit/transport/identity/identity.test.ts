/**
 * Identities: made once, kept private, refused when somebody else could have read them.
 */
import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  createIdentity,
  openIdentity,
  replaceCertificate,
} from '../../../../src/transport/identity/identity.ts'

let root: string
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'identity-'))
})
afterAll(() => rmSync(root, { recursive: true }))

describe('openIdentity()', () => {
  test('makes a key for the owner only and a certificate, and finds them again', () => {
    const folder = join(root, 'first', 'node')

    const made = openIdentity(folder, { nodeId: 'laptop' })
    const found = openIdentity(folder)

    expect(found.fingerprint).toBe(made.fingerprint)
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    expect(statSync(join(folder, 'key.pem')).mode & 0o777).toBe(0o600)
    expect(readdirSync(folder).toSorted()).toEqual(['certificate.pem', 'key.pem'])
    const certificate = new X509Certificate(made.certificatePem)
    expect(certificate.ca).toBe(true)
    expect(certificate.subject).toContain('CN=laptop')
    expect(certificate.verify(certificate.publicKey)).toBe(true)
    expect(certificate.fingerprint256.replaceAll(':', '').toLowerCase()).toBe(made.fingerprint)
  })

  test('refuses a key that others may read, and says how to go on', () => {
    const folder = join(root, 'open')
    openIdentity(folder)
    chmodSync(join(folder, 'key.pem'), 0o640)

    expect(() => openIdentity(folder)).toThrow(
      expect.objectContaining({
        code: 'TRANSPORT_IDENTITY_INVALID',
        message: expect.stringMatching(/mode 0640, want 0600.*chmod 600/),
      }),
    )
  })

  test('refuses a damaged key, a damaged certificate and a key of another certificate', () => {
    const folder = join(root, 'damaged')
    const other = createIdentity()
    openIdentity(folder)
    const certificate = readFileSync(join(folder, 'certificate.pem'))

    for (const damage of [other.certificatePem, 'no certificate', '']) {
      writeFileSync(join(folder, 'certificate.pem'), damage)
      expect(() => openIdentity(folder)).toThrow(
        expect.objectContaining({ code: 'TRANSPORT_IDENTITY_INVALID' }),
      )
    }
    writeFileSync(join(folder, 'certificate.pem'), certificate)
    writeFileSync(join(folder, 'key.pem'), 'no key')
    expect(() => openIdentity(folder)).toThrow(
      expect.objectContaining({ code: 'TRANSPORT_IDENTITY_INVALID' }),
    )
  })

  test('makes the certificate anew from the key where a crash left the key alone', () => {
    const folder = join(root, 'half')
    openIdentity(folder)
    const key = readFileSync(join(folder, 'key.pem'), 'utf8')
    rmSync(join(folder, 'certificate.pem'))

    const healed = openIdentity(folder)

    expect(healed.privateKeyPem()).toBe(key)
    expect(existsSync(join(folder, 'certificate.pem'))).toBe(true)
  })

  test('gives one identity to all who open the folder at once', () => {
    const folder = join(root, 'race')
    const script = join(import.meta.dirname, 'open-identity.ts')

    const fingerprints = execFileSync(
      process.execPath,
      ['--conditions=source', script, folder, '4'],
      { encoding: 'utf8' },
    )
      .trim()
      .split('\n')

    expect(fingerprints.length).toBe(4)
    expect(new Set(fingerprints).size).toBe(1)
  })
})

test('an identity shows no private key when it is printed or serialised', () => {
  const identity = createIdentity()
  const secret = identity.privateKeyPem().split('\n')[1] as string

  const shown = inspect(identity, { depth: 10, showHidden: true }) + JSON.stringify(identity)

  expect(shown).toContain(identity.fingerprint)
  expect(shown).not.toContain(secret)
})

test('replaceCertificate() takes a certificate of the same key only', () => {
  const folder = join(root, 'replace')
  const before = openIdentity(folder)

  const same = replaceCertificate(folder, before.certificatePem)

  expect(same.fingerprint).toBe(before.fingerprint)
  expect(() => replaceCertificate(folder, createIdentity().certificatePem)).toThrow(
    expect.objectContaining({ code: 'TRANSPORT_IDENTITY_INVALID' }),
  )
})
