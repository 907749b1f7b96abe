/**
 * A token to join a cluster: the cluster, and a key that may ask to join, once, until it expires.
 *
 * | bytes | field    | encoding                                                      |
 * | ----- | -------- | ------------------------------------------------------------- |
 * | 1     | version  | u8, 1                                                         |
 * | 8     | expiry   | u64 big-endian, milliseconds since 1970                       |
 * | 32    | secret   | private scalar of a P-256 key                                 |
 * | …     | cluster  | certificate of the authority, DER                             |
 * | 4     | checksum | first bytes of the SHA-256 of all before: for mistyped tokens |
 *
 * as `svj1.` and base64url. The inviting node keeps the public half alone, as the certificate of a
 * tiny authority (trust.ts, `addInvite`); the holder shows a leaf of it in the TLS handshake. So
 * the secret never travels, nothing is compared, and the joining node knows the cluster before it
 * says anything.
 */
import {
  createECDH,
  createHash,
  createPrivateKey,
  type KeyObject,
  randomBytes,
  X509Certificate,
} from 'node:crypto'
import { SqliteVectorError } from '../../errors.ts'
import { CERTIFICATE_BACKDATE_DAYS } from '../../limits.ts'
import {
  certificateStartMs,
  certificateToPem,
  issueCertificate,
  newPrivateKey,
} from '../identity/certificate.ts'
import { NodeIdentity } from '../identity/identity.ts'

const PREFIX = 'svj1.'
const VERSION = 1
const SECRET_BYTES = 32
const CHECKSUM_BYTES = 4
const HEAD_BYTES = 1 + 8 + SECRET_BYTES
const DAY_MS = 86_400_000
const INVITE_NAME = 'invitation'
const GUEST_NAME = 'guest'

/** Content of a token. */
export interface ClusterToken {
  readonly authorityPem: string
  /** Milliseconds since 1970. */
  readonly notAfterMs: number
  /** Identity that its holder shows in the handshake. */
  readonly guest: NodeIdentity
}

/** A new token, and the certificate that identifies its holder. */
export function createToken(
  authorityPem: string,
  nowMs: number,
  notAfterMs: number,
): { readonly token: string; readonly inviteCertificatePem: string } {
  const key = newPrivateKey()
  const { d } = key.export({ format: 'jwk' })
  const head = Buffer.alloc(1 + 8)
  head.writeUInt8(VERSION)
  head.writeBigUInt64BE(BigInt(notAfterMs), 1)
  const secret = Buffer.from(d ?? '', 'base64url')
  const body = Buffer.concat([head, secret, new X509Certificate(authorityPem).raw])
  const token = PREFIX + Buffer.concat([body, checksumOf(body)]).toString('base64url')
  return {
    token,
    inviteCertificatePem: certificateToPem(inviteCertificate(key, nowMs, notAfterMs)),
  }
}

/**
 * Reads a token.
 * @throws SqliteVectorError `TRANSPORT_TOKEN_INVALID` when it is malformed or has expired
 */
export function readToken(token: string, nowMs: number): ClusterToken {
  const text = token.trim()
  const bytes = Buffer.from(text.slice(PREFIX.length), 'base64url')
  const body = bytes.subarray(0, -CHECKSUM_BYTES)
  const isWhole =
    text.startsWith(PREFIX) &&
    bytes.byteLength > HEAD_BYTES + CHECKSUM_BYTES &&
    bytes.subarray(-CHECKSUM_BYTES).equals(checksumOf(body))
  if (!isWhole || body[0] !== VERSION) throw invalid('it is not a whole token')
  const notAfterMs = Number(body.readBigUInt64BE(1))
  if (notAfterMs < nowMs) throw invalid(`it expired at ${new Date(notAfterMs).toISOString()}`)
  try {
    const key = keyOf(body.subarray(9, HEAD_BYTES))
    const authority = new X509Certificate(body.subarray(HEAD_BYTES))
    return {
      authorityPem: certificateToPem(authority.raw),
      notAfterMs,
      guest: guestOf(key, nowMs, notAfterMs),
    }
  } catch (error) {
    throw invalid('its contents cannot be read', error)
  }
}

function checksumOf(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest().subarray(0, CHECKSUM_BYTES)
}

function keyOf(secret: Uint8Array): KeyObject {
  const pair = createECDH('prime256v1')
  pair.setPrivateKey(secret)
  const point = pair.getPublicKey()
  const jwk = {
    kty: 'EC',
    crv: 'P-256',
    d: Buffer.from(secret).toString('base64url'),
    x: point.subarray(1, 33).toString('base64url'),
    y: point.subarray(33, 65).toString('base64url'),
  }
  return createPrivateKey({ format: 'jwk', key: jwk })
}

/**
 * The same subject and key on both sides, so that a leaf made here is found to be one of the anchor
 * there.
 */
function inviteCertificate(key: KeyObject, nowMs: number, notAfterMs: number): Uint8Array {
  return issueCertificate({
    name: INVITE_NAME,
    subjectKey: key,
    privateKey: key,
    authority: true,
    notBeforeMs: certificateStartMs(nowMs, CERTIFICATE_BACKDATE_DAYS),
    notAfterMs: notAfterMs + DAY_MS,
    serial: randomBytes(16),
  })
}

function guestOf(key: KeyObject, nowMs: number, notAfterMs: number): NodeIdentity {
  const invite = new X509Certificate(inviteCertificate(key, nowMs, notAfterMs))
  const leaf = issueCertificate({
    name: GUEST_NAME,
    subjectKey: key,
    issuer: { certificate: invite, privateKey: key },
    authority: false,
    notBeforeMs: certificateStartMs(nowMs, CERTIFICATE_BACKDATE_DAYS),
    notAfterMs: notAfterMs + DAY_MS,
    serial: randomBytes(16),
  })
  return new NodeIdentity(key, certificateToPem(leaf))
}

function invalid(reason: string, cause?: unknown): SqliteVectorError {
  return new SqliteVectorError('TRANSPORT_TOKEN_INVALID', `the token cannot be used: ${reason}`, {
    cause,
  })
}
