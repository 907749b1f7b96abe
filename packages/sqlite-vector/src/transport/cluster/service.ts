/**
 * Upkeep of a cluster by a running node. A node that holds the authority answers requests to join,
 * to renew and for revocations. Every node renews its own certificate in time and takes new
 * revocations.
 *
 * Looks at the folder each time, so a cluster that is made or joined while the node runs is taken
 * up. A failure changes nothing, is told, and is tried again at the next turn.
 */
import { createHash, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../clock/types.ts'
import { SqliteVectorError } from '../../errors.ts'
import { CLUSTER_CHECK_MS, NODE_ID_BYTES_MAX } from '../../limits.ts'
import { nameGiven } from '../../options.ts'
import { certificateFingerprint } from '../identity/certificate.ts'
import { ClusterAuthority } from '../identity/authority.ts'
import { authorityFolder, holdsAuthority, readMembership, readNodes, writeNode } from './files.ts'
import {
  type ClusterAnswer,
  type ClusterRequest,
  decodeAnswer,
  decodeRequest,
  encodeMessage,
} from './messages.ts'
import { nodeOf } from './node.ts'
import { type NodeIdentity, replaceCertificate } from '../identity/identity.ts'
import type { QuicTransport } from '../quic/transport.ts'
import type { IncomingMessage } from '../quic/messages.ts'
import type { TrustList } from '../identity/trust.ts'
import type { PeerIdentity } from '../types.ts'

/** A certificate is renewed when less than this share of its time is left. */
const RENEW_SHARE = 1 / 3

export interface ClusterServiceSetup {
  readonly folder: string
  readonly identity: NodeIdentity
  readonly trust: TrustList
  readonly transport: QuicTransport
  readonly clock: Clock
  /** Ends questions under way. */
  readonly signal: AbortSignal
  readonly onError: (error: SqliteVectorError) => void
}

/** Runs until its transport is closed. */
export class ClusterService {
  readonly #setup: ClusterServiceSetup
  readonly #serving: Promise<void>
  #checking: Promise<void> = Promise.resolve()
  #cancel: (() => void) | null = null
  #isEnded = false

  constructor(setup: ClusterServiceSetup) {
    this.#setup = setup
    this.#serving = this.#serve()
    this.#plan(0)
  }

  /**
   * Stops asking; answering ends with the transport, and this resolves when both have. Close that
   * first.
   */
  async close(): Promise<void> {
    this.#isEnded = true
    this.#cancel?.()
    await this.#checking
    await this.#serving
  }

  /** One round of upkeep, as the timer runs it; one at a time. */
  check(): Promise<void> {
    this.#checking = this.#checking.then(() => this.#checkOrTell())
    return this.#checking
  }

  async #checkOrTell(): Promise<void> {
    try {
      await this.#check()
    } catch (error) {
      if (!(error instanceof SqliteVectorError)) throw error
      if (!this.#isEnded) this.#setup.onError(error)
    }
  }

  #plan(delayMs: number): void {
    if (this.#isEnded) return
    this.#cancel = this.#setup.clock.schedule(delayMs, () => {
      void this.check().then(() => this.#plan(CLUSTER_CHECK_MS))
    })
  }

  async #check(): Promise<void> {
    const { folder, identity, trust, clock } = this.#setup
    this.#takeUp()
    const membership = readMembership(folder)
    if (membership === null) return
    const isDue = isRenewalDue(identity, clock.nowMs())
    if (holdsAuthority(folder)) {
      const authority = this.#authority()
      if (isDue) this.#adopt(this.#renewed(authority, identity.certificatePem))
      const list = authority.revocations()
      if (list !== null) trust.addRevocations(list)
      return
    }
    if (membership.address === null) return
    const request: ClusterRequest = isDue
      ? { type: 'renew', certificatePem: identity.certificatePem }
      : { type: 'revocations' }
    const answer = await this.#ask(membership.address, request)
    if (answer.revocations !== undefined) trust.addRevocations(answer.revocations)
    if (isDue && answer.certificatePem !== undefined) this.#adopt(answer.certificatePem)
  }

  /**
   * A command may have put another certificate there: of the cluster that was just made or joined.
   */
  #takeUp(): void {
    const { folder, identity } = this.#setup
    const pem = readFileSync(join(folder, 'certificate.pem'), 'utf8')
    if (pem !== identity.certificatePem) identity.adopt(pem)
  }

  #adopt(certificatePem: string): void {
    const { folder, identity } = this.#setup
    replaceCertificate(folder, certificatePem)
    identity.adopt(certificatePem)
  }

  async #ask(address: string, request: ClusterRequest): Promise<ClusterAnswer & { ok: true }> {
    const { transport, signal } = this.#setup
    const answer = decodeAnswer(
      await transport.request(address, encodeMessage(request), { signal }),
    )
    if (answer?.ok === true) return answer
    const reason = answer?.reason ?? 'the answer cannot be read'
    throw new SqliteVectorError(
      'TRANSPORT_JOIN_REFUSED',
      `the authority at ${address} refused: ${reason}`,
    )
  }

  async #serve(): Promise<void> {
    for (;;) {
      const incoming = await this.#setup.transport.receive()
      if (incoming === null) return
      if (incoming.isRequest) await this.#respond(incoming)
    }
  }

  async #respond(incoming: IncomingMessage): Promise<void> {
    try {
      const answer = this.#answerTo(incoming.peer, decodeRequest(incoming.message))
      await incoming.answer(encodeMessage(answer), { signal: this.#setup.signal })
    } catch (error) {
      // The asker went away, or our disk failed: it asks again, and we are told.
      if (!(error instanceof SqliteVectorError)) throw error
      if (!this.#isEnded) this.#setup.onError(error)
    }
  }

  #answerTo(peer: PeerIdentity, request: ClusterRequest | null): ClusterAnswer {
    if (request === null) return refusal('that is no request')
    if (!holdsAuthority(this.#setup.folder)) return refusal('the authority is at another node')
    try {
      if (request.type === 'join') return this.#take(peer, request.nodeId, request.certificatePem)
      if (peer.invite !== undefined) return refusal('a guest may only join')
      if (request.type === 'renew') return this.#renew(peer, request.certificatePem)
      return this.#withRevocations({ ok: true })
    } catch (error) {
      // The request was malformed; other errors are not for the asker.
      if (error instanceof TypeError || error instanceof RangeError) return refusal(error.message)
      throw error
    }
  }

  #take(peer: PeerIdentity, nodeId: string, requestPem: string): ClusterAnswer {
    const { folder, trust, clock } = this.#setup
    if (peer.invite === undefined) return refusal('only a guest with a token may join')
    nameGiven('nodeId', nodeId, NODE_ID_BYTES_MAX)
    const key = keyHash(requestPem)
    const known = readNodes(folder).find((node) => node.nodeId === nodeId)
    if (known !== undefined && (known.key !== key || known.isRevoked)) {
      return refusal(`there is a node ${JSON.stringify(nodeId)} already`)
    }
    // Before anything is signed: a token admits one key, also when either side is killed in
    // between.
    if (!trust.useInvite(peer.invite, clock.nowMs(), key))
      return refusal('the token was used or has expired')
    const certificatePem = this.#authority().issue(requestPem, { nodeId })
    const node = nodeOf(nodeId, certificateFacts(certificatePem), clock.nowMs())
    const earlier =
      known === undefined ? [] : [...known.earlier, known.fingerprint].slice(-EARLIER_MAX)
    writeNode(folder, { ...node, earlier, key })
    const { name, authorityNode } = readMembership(folder) ?? {
      name: 'cluster',
      authorityNode: 'node',
    }
    return this.#withRevocations({ ok: true, certificatePem, cluster: name, authorityNode })
  }

  /** The connection proved the asker's identity: a node renews its own certificate only. */
  #renew(peer: PeerIdentity, certificatePem: string): ClusterAnswer {
    if (certificateFacts(certificatePem).fingerprint !== peer.fingerprint) {
      return refusal('that is not the certificate that you show')
    }
    const renewed = this.#renewed(this.#authority(), certificatePem)
    return this.#withRevocations({ ok: true, certificatePem: renewed })
  }

  #renewed(authority: ClusterAuthority, certificatePem: string): string {
    const { folder, clock } = this.#setup
    const before = certificateFacts(certificatePem)
    const node = readNodes(folder).find(({ fingerprint, earlier }) =>
      [...earlier, fingerprint].includes(before.fingerprint),
    )
    if (node === undefined || node.isRevoked)
      throw new RangeError('no node with that certificate is in the cluster')
    const renewed = authority.renew(certificatePem, { nodeId: node.nodeId })
    const { fingerprint, notAfterMs } = certificateFacts(renewed)
    const earlier = [...node.earlier, node.fingerprint].slice(-EARLIER_MAX)
    writeNode(folder, {
      ...node,
      ...nodeOf(node.nodeId, { fingerprint, notAfterMs }, clock.nowMs()),
      earlier,
      joinedAtMs: node.joinedAtMs,
    })
    return renewed
  }

  #withRevocations(answer: ClusterAnswer & { ok: true }): ClusterAnswer {
    const revocations = this.#authority().revocations()
    return revocations === null ? answer : { ...answer, revocations }
  }

  #authority(): ClusterAuthority {
    const { folder, clock } = this.#setup
    return ClusterAuthority.open(authorityFolder(folder), { clock })
  }
}

/**
 * Certificates before the newest that a node may still hold: two thirds of their time have passed
 * when it renews.
 */
const EARLIER_MAX = 8

/** True when it is time to ask for a new certificate; a self-signed one is never renewed. */
export function isRenewalDue(
  { notBeforeMs, notAfterMs, certificatePem }: NodeIdentity,
  nowMs: number,
): boolean {
  const certificate = new X509Certificate(certificatePem)
  if (certificate.verify(certificate.publicKey)) return false
  return notAfterMs - nowMs < (notAfterMs - notBeforeMs) * RENEW_SHARE
}

/** Names the key of a certificate, whatever certificate it is in. */
function keyHash(pem: string): string {
  try {
    const spki = new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' })
    return createHash('sha256').update(spki).digest('hex')
  } catch (error) {
    throw new TypeError('that is not a certificate', { cause: error })
  }
}

function certificateFacts(pem: string): { fingerprint: string; notAfterMs: number } {
  let certificate: X509Certificate
  try {
    certificate = new X509Certificate(pem)
  } catch (error) {
    throw new TypeError('that is no certificate', { cause: error })
  }
  return {
    fingerprint: certificateFingerprint(certificate.raw),
    notAfterMs: certificate.validToDate.getTime(),
  }
}

function refusal(reason: string): ClusterAnswer {
  return { ok: false, reason }
}
