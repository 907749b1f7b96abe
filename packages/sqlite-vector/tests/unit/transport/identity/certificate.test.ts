/**
 * Certificates: what OpenSSL reads out of what we encode, and our DER against known bytes.
 */
import { randomBytes, X509Certificate } from 'node:crypto'
import { expect, test } from 'vitest'
import { bytesToHex } from '../../../../src/bytes.ts'
import {
  certificateFingerprint,
  certificateToPem,
  issueCertificate,
  newPrivateKey,
  NODE_SERVER_NAME,
} from '../../../../src/transport/identity/certificate.ts'
import {
  derBitString,
  derOid,
  derSequence,
  derTime,
  derUnsigned,
  derUtf8String,
} from '../../../../src/transport/identity/der.ts'

const notBeforeMs = Date.UTC(2026, 0, 2, 3, 4, 5)
const notAfterMs = Date.UTC(2051, 5, 7, 8, 9, 10)

function selfSigned(name: string, serial: Uint8Array = randomBytes(16)): Uint8Array {
  const key = newPrivateKey()
  return issueCertificate({
    name,
    subjectKey: key,
    privateKey: key,
    authority: true,
    notBeforeMs,
    notAfterMs,
    serial,
  })
}

test('DER values equal known encodings', () => {
  expect(bytesToHex(derOid('1.2.840.10045.4.3.2'))).toBe('06082a8648ce3d040302')
  expect(bytesToHex(derUnsigned(Uint8Array.of(0, 0, 0x7f)))).toBe('02017f')
  expect(bytesToHex(derUnsigned(Uint8Array.of(0x80)))).toBe('02020080')
  expect(bytesToHex(derUnsigned(Uint8Array.of(0)))).toBe('020100')
  expect(bytesToHex(derBitString(Uint8Array.of(0x84), 2))).toBe('03020284')
  expect(bytesToHex(derUtf8String('ä'))).toBe('0c02c3a4')
  expect(bytesToHex(derSequence(new Uint8Array(127)).subarray(0, 2))).toBe('307f')
  expect(bytesToHex(derSequence(new Uint8Array(128)).subarray(0, 3))).toBe('308180')
  expect(bytesToHex(derSequence(new Uint8Array(300)).subarray(0, 4))).toBe('3082012c')
  expect(Buffer.from(derTime(Date.UTC(2049, 11, 31, 23, 59, 59))).toString('latin1')).toBe(
    '\x17\x0d491231235959Z',
  )
  expect(Buffer.from(derTime(Date.UTC(2050, 0, 1))).toString('latin1')).toBe(
    '\x18\x0f20500101000000Z',
  )
})

test('a self-signed certificate says what a trust anchor must say', () => {
  const der = selfSigned('näme')
  const certificate = new X509Certificate(certificateToPem(der))

  expect(certificate.verify(certificate.publicKey)).toBe(true)
  expect(certificate.checkIssued(certificate)).toBe(true)
  expect(certificate.ca).toBe(true)
  expect(certificate.checkHost(NODE_SERVER_NAME)).toBe(NODE_SERVER_NAME)
  expect(certificate.validFromDate.getTime()).toBe(notBeforeMs)
  expect(certificate.validToDate.getTime()).toBe(notAfterMs)
  expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'])
  expect(certificateFingerprint(der)).toBe(
    certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
  )
})

test('an issued certificate chains to its authority and is none itself', () => {
  const authorityKey = newPrivateKey()
  const authorityDer = issueCertificate({
    name: 'authority',
    subjectKey: authorityKey,
    privateKey: authorityKey,
    authority: true,
    notBeforeMs,
    notAfterMs,
    serial: randomBytes(16),
  })
  const authority = new X509Certificate(authorityDer)

  const issued = new X509Certificate(
    issueCertificate({
      name: 'node',
      subjectKey: newPrivateKey(),
      issuer: { certificate: authority, privateKey: authorityKey },
      authority: false,
      notBeforeMs,
      notAfterMs,
      serial: randomBytes(16),
    }),
  )

  expect(issued.checkIssued(authority)).toBe(true)
  expect(issued.verify(authority.publicKey)).toBe(true)
  expect(issued.verify(issued.publicKey)).toBe(false)
  expect(issued.ca).toBe(false)
  expect(issued.issuer).toBe(authority.subject)
})

test('every subject is unique, serials are positive, and a long name is cut', () => {
  const first = new X509Certificate(selfSigned('x'.repeat(200), new Uint8Array(16).fill(0xff)))
  const second = new X509Certificate(selfSigned('x'.repeat(200), new Uint8Array(16)))

  expect(first.subject).not.toBe(second.subject)
  expect(first.subject).toContain(`CN=${'x'.repeat(64)}`)
  expect(first.serialNumber).toBe('7F'.padEnd(32, 'F'))
  expect(second.serialNumber).toBe('40'.padEnd(32, '0'))
})
