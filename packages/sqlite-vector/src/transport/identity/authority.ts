/**
 * A cluster's authority: a small certificate authority that people operate by hand.
 *
 *   authority-key.pem  0600, needed only to issue, renew and revoke; nodes never see it
 *   authority.pem      what every node trusts
 *   revoked.json       the signed list of certificates that were revoked
 *
 * A node asks with the self-signed certificate it made at first start: that proves that it holds
 * the key. It gets a certificate over the same key, for {@link ISSUED_CERTIFICATE_DAYS} days.
 * Revocation is a list with a rising number, signed by the authority, that every node is given
 * (trust.ts); it is not a service that must be reachable.
 */
import { createPrivateKey, randomBytes, sign, verify, X509Certificate } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../clock/system-clock.ts'
import type { Clock } from '../../clock/types.ts'
import { SqliteVectorError } from '../../errors.ts'
import {
  AUTHORITY_CERTIFICATE_DAYS,
  ISSUED_CERTIFICATE_DAYS,
  NODE_ID_BYTES_MAX,
  REVOCATIONS_MAX,
} from '../../limits.ts'
import { integerIn, nameGiven } from '../../options.ts'
import {
  certificateFingerprint,
  certificateStartMs,
  certificateToPem,
  issueCertificate,
  newPrivateKey,
} from './certificate.ts'
import { checkPrivateFile, fileExists, publishOnce, writeFileAtomic } from '../../private-files.ts'

const KEY_FILE = 'authority-key.pem'
const CERTIFICATE_FILE = 'authority.pem'
const REVOKED_FILE = 'revoked.json'
const DAY_MS = 86_400_000

/** An authority's list of revoked certificates, with its signature. */
export interface Revocations {
  /** Fingerprint of the authority. */
  readonly authority: string
  /** Rises with every list. */
  readonly number: number
  readonly fingerprints: ReadonlySet<string>
  /** The text that was signed and its signature, as it travels. */
  readonly signed: string
}

export interface AuthorityOptions {
  /** Source of the time; another one in tests. @defaultValue the system's clock */
  readonly clock?: Clock
}

export interface IssueOptions {
  /** The name to certify. @defaultValue the one in the request */
  readonly nodeId?: string
  /** Integer, 1 to 3 650. @defaultValue `365` */
  readonly days?: number
}

/** Issues, renews and revokes the certificates of one cluster's nodes. */
export class ClusterAuthority {
  readonly certificatePem: string
  readonly fingerprint: string
  readonly #folder: string
  readonly #key: KeyObject
  readonly #certificate: X509Certificate
  readonly #clock: Clock

  private constructor(folder: string, clock: Clock) {
    const keyPath = join(folder, KEY_FILE)
    checkPrivateFile(keyPath)
    this.#folder = folder
    this.#clock = clock
    this.#key = createPrivateKey(readFileSync(keyPath, 'utf8'))
    this.certificatePem = readFileSync(join(folder, CERTIFICATE_FILE), 'utf8')
    this.#certificate = new X509Certificate(this.certificatePem)
    this.fingerprint = certificateFingerprint(this.#certificate.raw)
    if (!this.#certificate.checkPrivateKey(this.#key)) {
      throw new SqliteVectorError(
        'TRANSPORT_IDENTITY_INVALID',
        `${keyPath} does not belong to the authority's certificate`,
      )
    }
  }

  /** Makes an authority in `folder`. @throws RangeError when there is one */
  static create(folder: string, name: string, options: AuthorityOptions = {}): ClusterAuthority {
    nameGiven('name', name, NODE_ID_BYTES_MAX)
    const clock = options.clock ?? systemClock
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const keyPath = join(folder, KEY_FILE)
    const certificatePath = join(folder, CERTIFICATE_FILE)
    if (fileExists(certificatePath)) throw new RangeError(`${folder} holds an authority already`)
    // A key without a certificate is what a crash left: go on with it.
    publishOnce(keyPath, newPrivateKey().export({ type: 'pkcs8', format: 'pem' }) as string, 0o600)
    checkPrivateFile(keyPath)
    const key = createPrivateKey(readFileSync(keyPath, 'utf8'))
    const certificate = issueCertificate({
      name,
      subjectKey: key,
      privateKey: key,
      authority: true,
      notBeforeMs: certificateStartMs(clock.nowMs(), AUTHORITY_CERTIFICATE_DAYS),
      notAfterMs: clock.nowMs() + AUTHORITY_CERTIFICATE_DAYS * DAY_MS,
      serial: randomBytes(16),
    })
    publishOnce(certificatePath, certificateToPem(certificate), 0o644)
    return new ClusterAuthority(folder, clock)
  }

  /** The authority kept in `folder`. @throws SqliteVectorError `TRANSPORT_IDENTITY_INVALID` */
  static open(folder: string, options: AuthorityOptions = {}): ClusterAuthority {
    try {
      return new ClusterAuthority(folder, options.clock ?? systemClock)
    } catch (error) {
      if (error instanceof SqliteVectorError) throw error
      const message = `${folder} is not a readable authority folder`
      throw new SqliteVectorError('TRANSPORT_IDENTITY_INVALID', message, { cause: error })
    }
  }

  /**
   * A certificate for a node over the key of its self-signed one: PEM, the authority's behind it.
   * @throws TypeError when the request is not signed by its own key
   */
  issue(requestPem: string, options: IssueOptions = {}): string {
    const request = readCertificate('requestPem', requestPem)
    if (request.subject !== request.issuer || !request.verify(request.publicKey)) {
      throw new TypeError('requestPem must be a self-signed certificate, which proves its key')
    }
    return this.#sign(request, options)
  }

  /**
   * A new certificate over the same key and name as one of ours. The old one stays valid until it
   * ends.
   * @throws TypeError when this authority did not issue it, or revoked it
   */
  renew(certificatePem: string, options: IssueOptions = {}): string {
    const current = readCertificate('certificatePem', certificatePem)
    if (!current.checkIssued(this.#certificate) || !current.verify(this.#certificate.publicKey)) {
      throw new TypeError('certificatePem must be a certificate that this authority issued')
    }
    if (this.#revoked().fingerprints.has(certificateFingerprint(current.raw))) {
      throw new TypeError('certificatePem was revoked: issue a new one over a new key')
    }
    return this.#sign(current, options)
  }

  /**
   * Revokes a certificate; give {@link revocations} to every node. False when it was revoked
   * already.
   */
  revoke(fingerprint: string): boolean {
    if (!/^[0-9a-f]{64}$/.test(fingerprint)) {
      throw new TypeError('fingerprint must be 64 lowercase hexadecimal digits')
    }
    const current = this.#revoked()
    if (current.fingerprints.has(fingerprint)) return false
    if (current.fingerprints.size >= REVOCATIONS_MAX) {
      throw new RangeError(`an authority revokes at most ${REVOCATIONS_MAX} certificates`)
    }
    const body = JSON.stringify({
      authority: this.fingerprint,
      // By time: an authority restored from a backup must not give a number again.
      number: Math.max(current.number + 1, this.#clock.nowMs()),
      fingerprints: [...current.fingerprints, fingerprint],
    })
    const signature = sign('sha256', Buffer.from(body), this.#key).toString('base64')
    const signed = `${JSON.stringify({ body, signature })}\n`
    writeFileAtomic(join(this.#folder, REVOKED_FILE), signed, 0o644)
    return true
  }

  /** The signed list for the nodes; null while nothing was revoked. */
  revocations(): string | null {
    const { signed } = this.#revoked()
    return signed === '' ? null : signed
  }

  #revoked(): Revocations {
    const path = join(this.#folder, REVOKED_FILE)
    if (!fileExists(path)) {
      return { authority: this.fingerprint, number: 0, fingerprints: new Set(), signed: '' }
    }
    const list = verifyRevocations(readFileSync(path, 'utf8'), this.certificatePem)
    if (list !== null) return list
    throw new SqliteVectorError('TRANSPORT_IDENTITY_INVALID', `${path} is not signed by us`)
  }

  #sign(subject: X509Certificate, options: IssueOptions): string {
    const nodeId = options.nodeId ?? commonName(subject) ?? 'node'
    const days = options.days ?? ISSUED_CERTIFICATE_DAYS
    nameGiven('nodeId', nodeId, NODE_ID_BYTES_MAX)
    integerIn('days', days, 1, AUTHORITY_CERTIFICATE_DAYS)
    const nowMs = this.#clock.nowMs()
    const issued = issueCertificate({
      name: nodeId,
      subjectKey: subject.publicKey,
      issuer: { certificate: this.#certificate, privateKey: this.#key },
      authority: false,
      notBeforeMs: certificateStartMs(nowMs, days),
      notAfterMs: nowMs + days * DAY_MS,
      serial: randomBytes(16),
    })
    return certificateToPem(issued) + this.certificatePem
  }
}

/** The list in `signed` if that authority signed it; otherwise null. */
export function verifyRevocations(signed: string, authorityPem: string): Revocations | null {
  const authority = new X509Certificate(authorityPem)
  try {
    const { body, signature } = JSON.parse(signed) as { body: string; signature: string }
    const isGenuine = verify(
      'sha256',
      Buffer.from(body),
      authority.publicKey,
      Buffer.from(signature, 'base64'),
    )
    if (!isGenuine) return null
    const list = JSON.parse(body) as Omit<Revocations, 'fingerprints'> & { fingerprints: string[] }
    if (list.authority !== certificateFingerprint(authority.raw)) return null
    return { ...list, fingerprints: new Set(list.fingerprints), signed }
  } catch {
    // Any text may be passed in; text that is not a list has no signer.
    return null
  }
}

/** The name in a certificate's subject. */
export function commonName(certificate: X509Certificate): string | null {
  const name: unknown = certificate.toLegacyObject().subject.CN
  return typeof name === 'string' && name !== '' ? name : null
}

function readCertificate(name: string, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (error) {
    throw new TypeError(`${name} must be a certificate in PEM form`, { cause: error })
  }
}
