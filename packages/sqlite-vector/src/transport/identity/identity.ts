/**
 * Identity: a node's key pair and certificate, made at first start and kept in a folder.
 *
 *   key.pem          PKCS #8, ECDSA P-256, mode 0600
 *   certificate.pem  self-signed, or issued by a cluster's authority; public
 *
 * Not trust (trust.ts). The private key leaves this object only for the TLS engine; it is no
 * property, so logging or serialising an identity cannot show it. A key that others may read is
 * refused, never repaired in silence: it may have been copied already.
 *
 * Two processes that start at once on one folder end with the same identity: files are published by
 * link(2), which only one can win, and the loser reads the files of the winner.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import {
  createPrivateKey,
  createPublicKey,
  hkdfSync,
  randomBytes,
  X509Certificate,
} from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { join } from 'node:path'
import { systemClock } from '../../clock/system-clock.ts'
import type { Clock } from '../../clock/types.ts'
import { SqliteVectorError } from '../../errors.ts'
import { NODE_CERTIFICATE_DAYS } from '../../limits.ts'
import {
  certificateFingerprint,
  certificateStartMs,
  certificateToPem,
  issueCertificate,
  newPrivateKey,
} from './certificate.ts'
import { signStatement } from './signed-statement.ts'
import { commonName } from './authority.ts'
import { checkPrivateFile, fileExists, publishOnce, writeFileAtomic } from '../../private-files.ts'

const KEY_FILE = 'key.pem'
const CERTIFICATE_FILE = 'certificate.pem'
const DAY_MS = 86_400_000

export interface IdentityOptions {
  /** A label for people, put into the certificate. @defaultValue `'node'` */
  readonly nodeId?: string
  /** Source of the time; another one in tests. @defaultValue the system's clock */
  readonly clock?: Clock
}

/** A node's certificate and, kept from sight, its private key. */
export class NodeIdentity {
  readonly #key: KeyObject
  readonly #listeners = new Set<() => void>()
  #certificate: X509Certificate
  #certificatePem: string

  constructor(key: KeyObject, certificatePem: string) {
    this.#key = key
    this.#certificate = certificateOf(key, certificatePem)
    this.#certificatePem = certificatePem
  }

  /** SHA-256 of the certificate (DER), 64 lowercase hexadecimal digits. */
  get fingerprint(): string {
    return certificateFingerprint(this.#certificate.raw)
  }

  /** The leaf certificate first, then those of authorities that signed it. */
  get certificatePem(): string {
    return this.#certificatePem
  }

  /** Common name in the leaf certificate; null without one. */
  get commonName(): string | null {
    return commonName(this.#certificate)
  }

  /** Start of the leaf certificate, milliseconds since 1970. */
  get notBeforeMs(): number {
    return this.#certificate.validFromDate.getTime()
  }

  /** End of the leaf certificate, milliseconds since 1970. */
  get notAfterMs(): number {
    return this.#certificate.validToDate.getTime()
  }

  /**
   * Goes on with another certificate for the same key, as after a renewal: connections from now on
   * show it.
   * @throws SqliteVectorError `TRANSPORT_IDENTITY_INVALID` when it is for another key
   */
  adopt(certificatePem: string): void {
    this.#certificate = certificateOf(this.#key, certificatePem)
    this.#certificatePem = certificatePem
    for (const listener of this.#listeners) listener()
  }

  /** Calls `listener` after every {@link adopt}; the result ends that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Public facts of the identity. */
  toJSON(): { readonly fingerprint: string; readonly notAfterMs: number } {
    const { fingerprint, notAfterMs } = this
    return { fingerprint, notAfterMs }
  }

  /** PKCS #8 PEM for the TLS engine. Never log it. */
  privateKeyPem(): string {
    return this.#key.export({ type: 'pkcs8', format: 'pem' }) as string
  }

  /**
   * 32 bytes that only the holder of the key can make, the same at every start; another label,
   * others.
   */
  deriveSecret(label: string): Uint8Array {
    const key = this.#key.export({ type: 'pkcs8', format: 'der' })
    return new Uint8Array(hkdfSync('sha256', key, '', label, 32))
  }

  /** Signs a statement that other nodes may pass on: see identity/signed-statement.ts. */
  sign(context: string, statement: Uint8Array): Uint8Array {
    return signStatement(this.#key, context, statement)
  }

  /** The public half, for a certificate request. */
  publicKey(): KeyObject {
    return createPublicKey(this.#key)
  }
}

function certificateOf(key: KeyObject, pem: string): X509Certificate {
  const certificate = new X509Certificate(pem)
  if (certificate.checkPrivateKey(key)) return certificate
  throw new SqliteVectorError(
    'TRANSPORT_IDENTITY_INVALID',
    `the private key does not belong to the certificate ${certificateFingerprint(certificate.raw)}`,
  )
}

/** A new identity that lives in memory only. */
export function createIdentity(options: IdentityOptions = {}): NodeIdentity {
  const key = newPrivateKey()
  return new NodeIdentity(key, selfSigned(key, options))
}

/**
 * The identity kept in `folder`, made at the first call.
 * @throws SqliteVectorError `TRANSPORT_IDENTITY_INVALID` when a file is damaged or the key is
 *   readable by others
 */
export function openIdentity(folder: string, options: IdentityOptions = {}): NodeIdentity {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const keyPath = join(folder, KEY_FILE)
  const certificatePath = join(folder, CERTIFICATE_FILE)
  if (!fileExists(keyPath)) {
    const pem = newPrivateKey().export({ type: 'pkcs8', format: 'pem' }) as string
    publishOnce(keyPath, pem, 0o600)
  }
  const key = readKey(keyPath)
  if (!fileExists(certificatePath)) publishOnce(certificatePath, selfSigned(key, options), 0o644)
  try {
    return new NodeIdentity(key, readFileSync(certificatePath, 'utf8'))
  } catch (error) {
    if (error instanceof SqliteVectorError) throw error
    throw new SqliteVectorError('TRANSPORT_IDENTITY_INVALID', `cannot read ${certificatePath}`, {
      cause: error,
    })
  }
}

/** Replaces the certificate kept in `folder`: after an authority issued or renewed one. */
export function replaceCertificate(folder: string, certificatePem: string): NodeIdentity {
  const key = readKey(join(folder, KEY_FILE))
  const identity = new NodeIdentity(key, certificatePem)
  writeFileAtomic(join(folder, CERTIFICATE_FILE), certificatePem, 0o644)
  return identity
}

function readKey(path: string): KeyObject {
  checkPrivateFile(path)
  try {
    return createPrivateKey(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new SqliteVectorError(
      'TRANSPORT_IDENTITY_INVALID',
      `${path} is not a private key in PEM form`,
      {
        cause: error,
      },
    )
  }
}

function selfSigned(key: KeyObject, options: IdentityOptions): string {
  const nowMs = (options.clock ?? systemClock).nowMs()
  const certificate = issueCertificate({
    name: options.nodeId ?? 'node',
    subjectKey: key,
    privateKey: key,
    authority: true,
    notBeforeMs: certificateStartMs(nowMs, NODE_CERTIFICATE_DAYS),
    notAfterMs: nowMs + NODE_CERTIFICATE_DAYS * DAY_MS,
    serial: randomBytes(16),
  })
  return certificateToPem(certificate)
}
