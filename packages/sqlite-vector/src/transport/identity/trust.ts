/**
 * Trust: the certificates that may talk to this node. Pinned certificates, each named by its
 * fingerprint, and the authorities of clusters, kept in a folder as `trust.json`.
 *
 * An entry holds the whole certificate because TLS itself must refuse strangers (it serves as the
 * trust anchor). That alone would let a pinned node vouch for others, so every connection's leaf is
 * judged here as well: it is pinned itself, or an authority issued it and has not revoked it, and
 * it is within its time. No peer is trusted by default.
 *
 * Other processes change the file too (a command that pins a peer while a server runs), so
 * {@link TrustList.refresh} rereads it when it changed; every change is announced, so that the
 * transport can end connections of a peer that was removed.
 */
import { X509Certificate } from 'node:crypto'
import { mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { SqliteVectorError } from '../../errors.ts'
import {
  AUTHORITIES_MAX,
  INVITES_MAX,
  KNOWN_NODES_MAX,
  NODE_ID_BYTES_MAX,
  TRUST_ENTRIES_MAX,
} from '../../limits.ts'
import { nameGiven } from '../../options.ts'
import { certificateFingerprint, certificateToPem } from './certificate.ts'
import { commonName, verifyRevocations } from './authority.ts'
import type { Revocations } from './authority.ts'
import { writeFileAtomic } from '../../private-files.ts'

const TRUST_FILE = 'trust.json'
const TRUST_VERSION = 1

/** One certificate that is trusted: a peer's own, or an authority's. */
export interface TrustEntry {
  /** SHA-256 of the certificate (DER), 64 lowercase hexadecimal digits. */
  readonly fingerprint: string
  readonly certificatePem: string
  /** Label of the peer or cluster for people; it proves nothing. */
  readonly nodeId: string | null
}

/** Judgement of a leaf certificate. */
export type Verdict =
  | {
      readonly trusted: true
      readonly fingerprint: string
      /** The label of its pin, or the name that the authority certified. */
      readonly nodeId: string | null
      readonly by: 'pin' | 'authority'
      /** End of the certificate, milliseconds since 1970. */
      readonly notAfterMs: number
    }
  | {
      readonly trusted: true
      readonly fingerprint: string
      readonly nodeId: null
      /** It may ask to join, and nothing else. */
      readonly by: 'invite'
      /** Names the invitation: fingerprint of its certificate. */
      readonly invite: string
      /** End of certificate or invitation, milliseconds since 1970. */
      readonly notAfterMs: number
    }
  | { readonly trusted: false; readonly fingerprint: string; readonly reason: string }

interface TrustFile {
  readonly version: number
  readonly entries: readonly TrustEntry[]
  readonly authorities: readonly TrustEntry[]
  /** Signed lists, the newest of each authority. */
  readonly revocations: readonly string[]
  /** The certificate that a node of that name showed last. */
  readonly known: Readonly<Record<string, string>>
  readonly invites?: readonly Invite[]
}

/** Lets the holder of its key ask to join, once. */
export interface Invite {
  /** Certificate of the key that guests show leaves of. */
  readonly certificatePem: string
  /** Milliseconds since 1970. */
  readonly notAfterMs: number
  readonly isUsed: boolean
  /**
   * The key that it admitted, by its hash: that one may ask again, should the answer have been
   * lost.
   */
  readonly usedBy?: string
}

interface State {
  readonly pins: Map<string, TrustEntry>
  readonly authorities: Map<string, TrustEntry>
  readonly revocations: Map<string, Revocations>
  readonly known: Map<string, string>
  readonly invites: Map<string, Invite>
}

/** The peers that one node trusts. */
export class TrustList {
  readonly #path: string | null
  #state: State = emptyState()
  #stamp: string | null = null
  #isUnsaved = false
  readonly #listeners = new Set<() => void>()

  private constructor(path: string | null) {
    this.#path = path
  }

  /**
   * The list kept in `folder`; empty where there is none.
   * @throws SqliteVectorError `TRANSPORT_IDENTITY_INVALID`
   */
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
   * @throws TypeError when it is not a certificate; RangeError when the list is full
   */
  add(certificatePem: string, nodeId: string | null = null): TrustEntry {
    const entry = trustEntry(certificatePem, nodeId)
    if (!new X509Certificate(entry.certificatePem).ca) {
      throw new TypeError(
        'certificatePem must be a self-signed certificate: one that a cluster issued is trusted with the ' +
          `cluster's authority, got ${entry.fingerprint}`,
      )
    }
    this.#put((state) => state.pins, entry, TRUST_ENTRIES_MAX, 'peers')
    return entry
  }

  /**
   * Trusts every certificate that this authority issued and has not revoked.
   * @throws TypeError when it is not an authority's certificate; RangeError when there are too many
   */
  addAuthority(certificatePem: string, clusterName: string | null = null): TrustEntry {
    const entry = trustEntry(certificatePem, clusterName)
    if (!new X509Certificate(entry.certificatePem).ca) {
      throw new TypeError('certificatePem must be the certificate of an authority (CA:TRUE)')
    }
    this.#put((state) => state.authorities, entry, AUTHORITIES_MAX, 'authorities')
    return entry
  }

  /**
   * Takes an authority's signed list of revoked certificates; an older one than we have changes
   * nothing. True when it was new. @throws TypeError when no authority that we trust signed it
   */
  addRevocations(signed: string): boolean {
    this.refresh()
    const list = this.#verified(signed, this.#state)
    const ours = [...this.#state.revocations.values()].filter(
      ({ authority }) => authority === list.authority,
    )
    if (ours.some(({ number }) => number >= list.number)) return false
    putRevocations(this.#state.revocations, list)
    this.#changed()
    return true
  }

  /**
   * Admits a guest that shows a leaf of this certificate, until the invitation is used or expires.
   */
  addInvite(certificatePem: string, notAfterMs: number, nowMs: number): string {
    const { fingerprint } = trustEntry(certificatePem, null)
    this.refresh()
    const { invites } = this.#state
    for (const [old, invite] of invites) if (invite.notAfterMs < nowMs) invites.delete(old)
    for (const [old, { isUsed }] of invites) {
      if (invites.size < INVITES_MAX) break
      if (isUsed) invites.delete(old)
    }
    if (invites.size >= INVITES_MAX) {
      throw new RangeError(`a node gives out at most ${INVITES_MAX} invitations at a time`)
    }
    invites.set(fingerprint, { certificatePem, notAfterMs, isUsed: false })
    this.#changed()
    return fingerprint
  }

  /**
   * Uses an invitation up, durably, for the key with the hash `usedBy`; false when it is expired,
   * unknown or used by another. The key that used it may do so again: the answer to it may have
   * been lost.
   */
  useInvite(fingerprint: string, nowMs: number, usedBy?: string): boolean {
    this.refresh()
    const invite = this.#state.invites.get(fingerprint)
    if (invite === undefined || invite.notAfterMs < nowMs) return false
    if (invite.isUsed) return usedBy !== undefined && invite.usedBy === usedBy
    const used = { ...invite, isUsed: true, ...(usedBy === undefined ? {} : { usedBy }) }
    this.#state.invites.set(fingerprint, used)
    // Listeners are not told: the guest must still get its certificate over its open connection.
    this.#write()
    return true
  }

  /**
   * Forgets a peer or an authority; open connections that rest on it end. True when there was one.
   */
  remove(fingerprint: string): boolean {
    this.refresh()
    const { pins, authorities } = this.#state
    const isPin = pins.delete(fingerprint)
    const isAuthority = authorities.delete(fingerprint)
    if (isPin || isAuthority) this.#changed()
    return isPin || isAuthority
  }

  list(): readonly TrustEntry[] {
    return [...this.#state.pins.values()]
  }

  authorities(): readonly TrustEntry[] {
    return [...this.#state.authorities.values()]
  }

  get(fingerprint: string): TrustEntry | undefined {
    return this.#state.pins.get(fingerprint)
  }

  /** True when a node with this certificate may still be trusted; its connection decides. */
  mayTrust(fingerprint: string): boolean {
    if (this.#isRevoked(fingerprint)) return false
    return this.#state.pins.has(fingerprint) || this.#state.authorities.size > 0
  }

  /** Judges a connection's leaf certificate (DER) at `nowMs`. */
  judge(leaf: Uint8Array, nowMs: number): Verdict {
    const fingerprint = certificateFingerprint(leaf)
    const refused = (reason: string): Verdict => ({ trusted: false, fingerprint, reason })
    let certificate: X509Certificate
    try {
      certificate = new X509Certificate(leaf)
    } catch {
      return refused('it cannot be read')
    }
    if (this.#isRevoked(fingerprint)) return refused('it is revoked')
    const time = timeFault(certificate, nowMs)
    if (time !== null) return refused(`it ${time}`)
    const endMs = certificate.validToDate.getTime()
    const pin = this.#state.pins.get(fingerprint)
    if (pin !== undefined) {
      return { trusted: true, fingerprint, nodeId: pin.nodeId, by: 'pin', notAfterMs: endMs }
    }
    for (const { certificatePem } of this.#state.authorities.values()) {
      if (!isIssuedBy(certificate, certificatePem)) continue
      const nodeId = commonName(certificate)
      return { trusted: true, fingerprint, nodeId, by: 'authority', notAfterMs: endMs }
    }
    for (const [invite, { certificatePem, notAfterMs, isUsed, usedBy }] of this.#state.invites) {
      if (!isIssuedBy(certificate, certificatePem)) continue
      if (isUsed && usedBy === undefined) return refused('its invitation was used')
      if (notAfterMs < nowMs) return refused('its invitation has expired')
      const end = Math.min(endMs, notAfterMs)
      return { trusted: true, fingerprint, nodeId: null, by: 'invite', invite, notAfterMs: end }
    }
    return refused('it is neither pinned nor issued by a trusted authority')
  }

  /** The trust anchors for TLS: pins and authorities, concatenated. Empty refuses every peer. */
  anchorsPem(): string {
    const anchors = [...this.list(), ...this.authorities(), ...this.#state.invites.values()]
    return anchors.map((anchor) => anchor.certificatePem).join('')
  }

  /**
   * Notes the certificate that a node of this name showed; {@link save} keeps it. Returns the one
   * it showed before, when that was another; null when it is the same or the first.
   */
  notice(nodeId: string, fingerprint: string): string | null {
    const { known } = this.#state
    const before = known.get(nodeId) ?? null
    if (before === fingerprint) return null
    if (before === null && known.size >= KNOWN_NODES_MAX) {
      // The name seen first goes: a node that comes back after so many others counts as new.
      for (const oldest of known.keys()) {
        known.delete(oldest)
        break
      }
    }
    known.set(nodeId, fingerprint)
    this.#isUnsaved = true
    return before
  }

  /**
   * Calls `listener` after every change of trust, made by any process; the returned function ends
   * that.
   */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Rereads the file when another process changed it. */
  refresh(): void {
    if (this.#path === null) return
    const stamp = fileStamp(this.#path)
    if (stamp === this.#stamp) return
    const isFirst = this.#stamp === null
    const before = fingerprintOfTrust(this.#state)
    // A file that cannot be read changes nothing, and is tried again the next time.
    this.#state = stamp === '' ? emptyState() : this.#read(this.#path)
    this.#stamp = stamp
    if (!isFirst && fingerprintOfTrust(this.#state) !== before) this.#announce()
  }

  #isRevoked(fingerprint: string): boolean {
    for (const list of this.#state.revocations.values()) {
      if (list.fingerprints.has(fingerprint)) return true
    }
    return false
  }

  #put(
    select: (state: State) => Map<string, TrustEntry>,
    entry: TrustEntry,
    most: number,
    what: string,
  ): void {
    this.refresh()
    const entries = select(this.#state)
    if (!entries.has(entry.fingerprint) && entries.size >= most) {
      throw new RangeError(`a trust list holds at most ${most} ${what}`)
    }
    entries.set(entry.fingerprint, entry)
    this.#changed()
  }

  /** Writes noticed names; all other changes are written at once. */
  save(): void {
    if (this.#isUnsaved) this.#write()
  }

  #changed(): void {
    this.#write()
    this.#announce()
  }

  #write(): void {
    this.#isUnsaved = false
    if (this.#path === null) return
    const file: TrustFile = {
      version: TRUST_VERSION,
      entries: this.list(),
      authorities: this.authorities(),
      revocations: [...this.#state.revocations.values()].map((list) => list.signed),
      known: Object.fromEntries(this.#state.known),
      invites: [...this.#state.invites.values()],
    }
    writeFileAtomic(this.#path, `${JSON.stringify(file, null, 2)}\n`, 0o600)
    this.#stamp = fileStamp(this.#path)
  }

  #announce(): void {
    for (const listener of this.#listeners) listener()
  }

  #verified(signed: string, state: State): Revocations {
    for (const { certificatePem } of state.authorities.values()) {
      const list = verifyRevocations(signed, certificatePem)
      if (list !== null) return list
    }
    throw new TypeError('no trusted authority signed this list of revocations')
  }

  #read(path: string): State {
    try {
      const file = JSON.parse(readFileSync(path, 'utf8')) as Partial<TrustFile>
      if (file.version !== TRUST_VERSION || !Array.isArray(file.entries)) {
        throw new TypeError(`expected version ${TRUST_VERSION} and a list of entries`)
      }
      const state = emptyState()
      fillEntries(state.pins, file.entries)
      fillEntries(state.authorities, file.authorities ?? [])
      for (const signed of file.revocations ?? []) {
        const list = this.#verified(signed, state)
        putRevocations(state.revocations, list)
      }
      for (const [nodeId, fingerprint] of Object.entries(file.known ?? {})) {
        if (typeof fingerprint === 'string') state.known.set(nodeId, fingerprint)
      }
      for (const { certificatePem, notAfterMs, isUsed, usedBy } of file.invites ?? []) {
        if (typeof notAfterMs !== 'number' || typeof isUsed !== 'boolean')
          throw new TypeError('an invitation without an end')
        const { fingerprint } = trustEntry(certificatePem, null)
        const by = typeof usedBy === 'string' ? { usedBy } : {}
        state.invites.set(fingerprint, { certificatePem, notAfterMs, isUsed, ...by })
      }
      return state
    } catch (error) {
      throw new SqliteVectorError(
        'TRANSPORT_IDENTITY_INVALID',
        `${path} is not a readable trust list`,
        {
          cause: error,
        },
      )
    }
  }
}

/** Says by which clock a certificate has expired or is not valid yet; null while it is valid. */
export function timeFault(certificate: X509Certificate, nowMs: number): string | null {
  const [from, to] = [certificate.validFromDate, certificate.validToDate]
  const ours = `our clock says ${new Date(nowMs).toISOString()}`
  if (to.getTime() < nowMs) {
    return `has expired: ${ours}, the certificate is valid until ${to.toISOString()}`
  }
  if (from.getTime() > nowMs) {
    return `is not valid yet: ${ours}, the certificate is valid from ${from.toISOString()}`
  }
  return null
}

/**
 * Adds a list. What an older list of that authority revoked stays revoked, so one that lacks some
 * of it (an authority that was restored from a backup) does not take its place.
 */
function putRevocations(into: Map<string, Revocations>, list: Revocations): void {
  for (const [key, older] of into) {
    if (older.authority !== list.authority) continue
    const isKept = [...older.fingerprints].some((revoked) => !list.fingerprints.has(revoked))
    if (!isKept) into.delete(key)
  }
  into.set(`${list.authority} ${list.number}`, list)
}

function isIssuedBy(certificate: X509Certificate, issuerPem: string): boolean {
  const issuer = new X509Certificate(issuerPem)
  return !certificate.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
}

function emptyState(): State {
  return {
    pins: new Map(),
    authorities: new Map(),
    revocations: new Map(),
    known: new Map(),
    invites: new Map(),
  }
}

/** The certificate is the truth; a fingerprint written beside it is for people. */
function fillEntries(into: Map<string, TrustEntry>, entries: readonly TrustEntry[]): void {
  for (const { certificatePem, nodeId } of entries) {
    const entry = trustEntry(certificatePem, typeof nodeId === 'string' ? nodeId : null)
    into.set(entry.fingerprint, entry)
  }
}

function trustEntry(certificatePem: string, nodeId: string | null): TrustEntry {
  if (nodeId !== null) nameGiven('nodeId', nodeId, NODE_ID_BYTES_MAX)
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

/** Differs between two states that trust differently; noticed names do not count. */
function fingerprintOfTrust({ pins, authorities, revocations, invites }: State): string {
  const lists = [...revocations.values()].map((list) => list.signed)
  return JSON.stringify([[...pins.values()], [...authorities.values()], lists, [...invites.keys()]])
}

/** Changes whenever the file is replaced; empty when there is none. */
function fileStamp(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false })
  return stat === undefined ? '' : `${stat.ino}:${stat.mtimeNs}:${stat.size}`
}
