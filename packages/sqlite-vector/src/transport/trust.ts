/**
 * Trust: which certificates may talk to us. A list of pinned certificates, each named by its
 * fingerprint, kept in a folder as `trust.json`.
 *
 * An entry holds the whole certificate because TLS itself must refuse strangers (it serves as the
 * trust anchor); the fingerprint is compared as well, on every connection, because an anchor could
 * sign others. Nobody is trusted by default.
 *
 * Other processes change the file too (a command that pins a peer while a server runs), so
 * {@link TrustList.refresh} rereads it when it changed; every change is announced, so that the
 * transport can end connections of a peer that was removed.
 */
import { X509Certificate } from 'node:crypto'
import { mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { SqliteVectorError } from '../errors.ts'
import { TRUST_ENTRIES_MAX } from '../limits.ts'
import { nameGiven } from '../options.ts'
import { certificateFingerprint, certificateToPem } from './certificate.ts'
import { writeFileAtomic } from './identity.ts'

const TRUST_FILE = 'trust.json'
const TRUST_VERSION = 1

/** One peer that may talk to us. */
export interface TrustEntry {
  /** SHA-256 of the certificate (DER), 64 lowercase hexadecimal digits. */
  readonly fingerprint: string
  readonly certificatePem: string
  /** What people call the peer; a label, no proof. */
  readonly nodeId: string | null
}

interface TrustFile {
  readonly version: number
  readonly entries: readonly TrustEntry[]
}

/** The pinned peers of one node. */
export class TrustList {
  readonly #path: string | null
  #entries = new Map<string, TrustEntry>()
  #stamp: string | null = null
  readonly #listeners = new Set<() => void>()

  private constructor(path: string | null) {
    this.#path = path
  }

  /** The list kept in `folder`; empty where there is none. @throws SqliteVectorError `TRANSPORT_IDENTITY_INVALID` */
  static open(folder: string): TrustList {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const list = new TrustList(join(folder, TRUST_FILE))
    list.refresh()
    return list
  }

  /** A list that lives in memory only. */
  static inMemory(): TrustList {
    return new TrustList(null)
  }

  /**
   * Pins a peer's certificate (PEM; the first one counts). Pinning it again changes its label.
   * @throws TypeError when it is no certificate; RangeError when the list is full
   */
  add(certificatePem: string, nodeId: string | null = null): TrustEntry {
    if (nodeId !== null) nameGiven('nodeId', nodeId, 256)
    this.refresh()
    const entry = trustEntry(certificatePem, nodeId)
    if (!this.#entries.has(entry.fingerprint) && this.#entries.size >= TRUST_ENTRIES_MAX) {
      throw new RangeError(`a trust list holds at most ${TRUST_ENTRIES_MAX} peers`)
    }
    this.#entries.set(entry.fingerprint, entry)
    this.#changed()
    return entry
  }

  /** Unpins a peer; its open connections end. True when it was pinned. */
  remove(fingerprint: string): boolean {
    this.refresh()
    const removed = this.#entries.delete(fingerprint)
    if (removed) this.#changed()
    return removed
  }

  list(): readonly TrustEntry[] {
    return [...this.#entries.values()]
  }

  get(fingerprint: string): TrustEntry | undefined {
    return this.#entries.get(fingerprint)
  }

  /** Whether a peer with this leaf certificate may talk to us. */
  allows(fingerprint: string): boolean {
    return this.#entries.has(fingerprint)
  }

  /** The trust anchors for TLS: every pinned certificate, concatenated. Empty refuses everybody. */
  anchorsPem(): string {
    return this.list()
      .map((entry) => entry.certificatePem)
      .join('')
  }

  /** Calls `listener` after every change, whoever made it; the result ends that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Rereads the file when another process changed it. */
  refresh(): void {
    if (this.#path === null) return
    const stamp = fileStamp(this.#path)
    if (stamp === this.#stamp) return
    const first = this.#stamp === null
    this.#entries = stamp === '' ? new Map() : readEntries(this.#path)
    this.#stamp = stamp
    if (!first) this.#announce()
  }

  #changed(): void {
    if (this.#path !== null) {
      const file: TrustFile = { version: TRUST_VERSION, entries: this.list() }
      writeFileAtomic(this.#path, `${JSON.stringify(file, null, 2)}\n`, 0o600)
      this.#stamp = fileStamp(this.#path)
    }
    this.#announce()
  }

  #announce(): void {
    for (const listener of this.#listeners) listener()
  }
}

function trustEntry(certificatePem: string, nodeId: string | null): TrustEntry {
  let der: Uint8Array
  try {
    der = new X509Certificate(certificatePem).raw
  } catch (error) {
    throw new TypeError('certificatePem must be a certificate in PEM form', { cause: error })
  }
  return Object.freeze({
    fingerprint: certificateFingerprint(der),
    certificatePem: certificateToPem(der),
    nodeId,
  })
}

/** Changes whenever the file is replaced; empty when there is none. */
function fileStamp(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false })
  return stat === undefined ? '' : `${stat.ino}:${stat.mtimeNs}:${stat.size}`
}

function readEntries(path: string): Map<string, TrustEntry> {
  const entries = new Map<string, TrustEntry>()
  try {
    const file = JSON.parse(readFileSync(path, 'utf8')) as Partial<TrustFile>
    if (file.version !== TRUST_VERSION || !Array.isArray(file.entries)) {
      throw new TypeError(`expected version ${TRUST_VERSION} and a list of entries`)
    }
    for (const { certificatePem, nodeId } of file.entries as readonly TrustEntry[]) {
      // The certificate is the truth; a fingerprint written beside it is for people.
      const entry = trustEntry(certificatePem, typeof nodeId === 'string' ? nodeId : null)
      entries.set(entry.fingerprint, entry)
    }
  } catch (error) {
    throw new SqliteVectorError('TRANSPORT_IDENTITY_INVALID', `${path} is no trust list`, {
      cause: error,
    })
  }
  return entries
}
