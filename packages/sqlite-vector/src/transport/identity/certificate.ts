/**
 * Certificates of nodes: made here (X.509 v3, ECDSA P-256), read by `node:crypto`.
 *
 * Not an authority with policies: it knows a self-signed certificate, which peers pin, and one
 * issued by a cluster's authority. A self-signed one says CA:TRUE because TLS libraries take only
 * that as a trust anchor; a pinned node cannot vouch for others because the leaf's fingerprint is
 * compared on every connection (trust.ts).
 *
 * Every subject is unique (it holds the hash of the key), so that a store of many pinned
 * certificates is never searched in vain. All carry one DNS name: peers are known by fingerprint,
 * never by host name.
 *
 * Reference: RFC 5280; signatures RFC 5758 §3.2.
 */
import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  sign,
  X509Certificate,
} from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { CERTIFICATE_BACKDATE_DAYS } from '../../limits.ts'
import {
  derBitString,
  derBoolean,
  derExplicit,
  derImplicit,
  derOctetString,
  derOid,
  derPrintableString,
  derSequence,
  derSetOfOne,
  derTime,
  derUnsigned,
  derUtf8String,
} from './der.ts'

/** The DNS name in every node certificate and the server name that dialers ask for. */
export const NODE_SERVER_NAME = 'node.sqlite-vector.internal'

const DAY_MS = 86_400_000

const OID = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  serialNumber: '2.5.4.5',
  organization: '2.5.4.10',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const

/** Common names are at most 64 characters (RFC 5280, ub-common-name). */
const COMMON_NAME_CHARACTERS_MAX = 64

export interface CertificateRequest {
  /** Label of the holder for people; it proves nothing. */
  readonly name: string
  readonly subjectKey: KeyObject
  /** Signer of the certificate; the subject itself when absent. */
  readonly issuer?: { readonly certificate: X509Certificate; readonly privateKey: KeyObject }
  readonly privateKey?: KeyObject
  /** True for a trust anchor: a pinned node or a cluster's authority. */
  readonly authority: boolean
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** 16 random bytes. */
  readonly serial: Uint8Array
}

/**
 * Start of a certificate that is issued now for `days` days: well before, as clocks of peers
 * differ.
 */
export function certificateStartMs(nowMs: number, days: number): number {
  return nowMs - Math.min(CERTIFICATE_BACKDATE_DAYS, Math.max(1, days)) * DAY_MS
}

/** A fresh ECDSA P-256 private key. */
export function newPrivateKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey
}

/** SHA-256 of a certificate's DER, 64 lowercase hexadecimal digits: a node's name for trust. */
export function certificateFingerprint(der: Uint8Array): string {
  return createHash('sha256').update(der).digest('hex')
}

/** The certificate as PEM text. */
export function certificateToPem(der: Uint8Array): string {
  const lines = Buffer.from(der)
    .toString('base64')
    .replaceAll(/.{1,64}/g, '$&\n')
  return `-----BEGIN CERTIFICATE-----\n${lines}-----END CERTIFICATE-----\n`
}

/** Makes and signs a certificate; the result is DER. */
export function issueCertificate(request: CertificateRequest): Uint8Array {
  const signingKey = request.issuer?.privateKey ?? request.privateKey
  if (signingKey === undefined) throw new TypeError('issueCertificate: a signing key is missing')
  const { subjectKey } = request
  const publicKey = subjectKey.type === 'private' ? createPublicKey(subjectKey) : subjectKey
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const keyId = keyIdentifier(spki)
  const subject = distinguishedName(request.name, keyId)
  const issuerRaw = request.issuer?.certificate.raw
  const issuerSpki = request.issuer?.certificate.publicKey.export({ type: 'spki', format: 'der' })
  const algorithm = derSequence(derOid(OID.ecdsaWithSha256))
  const serial = Uint8Array.from(request.serial)
  // RFC 5280 §4.1.2.2: positive, and not zero.
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40
  const body = derSequence(
    derExplicit(0, derUnsigned(Uint8Array.of(2))),
    derUnsigned(serial),
    algorithm,
    issuerRaw === undefined ? subject : subjectOf(issuerRaw),
    derSequence(derTime(request.notBeforeMs), derTime(request.notAfterMs)),
    subject,
    spki,
    derExplicit(
      3,
      extensions(request.authority, keyId, issuerSpki ? keyIdentifier(issuerSpki) : keyId),
    ),
  )
  const signature = sign('sha256', body, signingKey)
  return derSequence(body, algorithm, derBitString(signature))
}

function extensions(authority: boolean, keyId: Buffer, issuerKeyId: Buffer): Uint8Array {
  // digitalSignature, and keyCertSign for an anchor.
  const usage = authority
    ? derBitString(Uint8Array.of(0x84), 2)
    : derBitString(Uint8Array.of(0x80), 7)
  return derSequence(
    extension(
      OID.basicConstraints,
      true,
      authority ? derSequence(derBoolean(true)) : derSequence(),
    ),
    extension(OID.keyUsage, true, usage),
    extension(
      OID.extendedKeyUsage,
      false,
      derSequence(derOid(OID.serverAuth), derOid(OID.clientAuth)),
    ),
    extension(
      OID.subjectAltName,
      false,
      derSequence(derImplicit(2, Buffer.from(NODE_SERVER_NAME, 'latin1'))),
    ),
    extension(OID.subjectKeyIdentifier, false, derOctetString(keyId)),
    extension(OID.authorityKeyIdentifier, false, derSequence(derImplicit(0, issuerKeyId))),
  )
}

function extension(oid: string, critical: boolean, value: Uint8Array): Uint8Array {
  const flag = critical ? [derBoolean(true)] : []
  return derSequence(derOid(oid), ...flag, derOctetString(value))
}

/** First 20 bytes of the SHA-256 of the public key (RFC 7093 §2, method 1). */
function keyIdentifier(spki: Uint8Array): Buffer {
  return createHash('sha256').update(spki).digest().subarray(0, 20)
}

function distinguishedName(name: string, keyId: Buffer): Uint8Array {
  const common = Array.from(name).slice(0, COMMON_NAME_CHARACTERS_MAX).join('')
  return derSequence(
    attribute(OID.organization, derUtf8String('sqlite-vector')),
    attribute(OID.serialNumber, derPrintableString(keyId.toString('hex'))),
    attribute(OID.commonName, derUtf8String(common)),
  )
}

function attribute(oid: string, value: Uint8Array): Uint8Array {
  return derSetOfOne(derSequence(derOid(oid), value))
}

/**
 * The subject field of one of our own authority's certificates, byte for byte: an issuer's name
 * must equal it exactly. The certificate was parsed by node:crypto before, so its structure is
 * sound.
 */
function subjectOf(certificate: Uint8Array): Uint8Array {
  const body = content(certificate, content(certificate, { start: 0, end: certificate.length }))
  let position = body.start
  // version, serialNumber, signature, issuer, validity: the subject is the sixth field.
  for (let field = 0; field < 5; field += 1) {
    position = content(certificate, { start: position, end: body.end }).end
  }
  return certificate.subarray(
    position,
    content(certificate, { start: position, end: body.end }).end,
  )
}

interface Range {
  readonly start: number
  readonly end: number
}

/** Position of the content of the value at `range.start`. */
function content(bytes: Uint8Array, range: Range): Range {
  const first = bytes[range.start + 1] ?? 0
  if (first < 0x80) return { start: range.start + 2, end: range.start + 2 + first }
  let length = 0
  const digits = first & 0x7f
  for (let index = 0; index < digits; index += 1) {
    length = length * 256 + (bytes[range.start + 2 + index] ?? 0)
  }
  const start = range.start + 2 + digits
  return { start, end: start + length }
}
