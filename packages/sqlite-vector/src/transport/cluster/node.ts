/**
 * A node and its cluster, as its operator meets them: make one, invite, join, list and revoke
 * nodes. The work that goes on without an operator (answering those who join, renewing
 * certificates) is cluster/service.ts.
 *
 * The authority lies beside the key of the node that made the cluster, and never leaves it. A
 * node's key never leaves the node: joining sends the self-signed certificate that proves it.
 */
import { X509Certificate } from 'node:crypto'
import { systemClock } from '../../clock/system-clock.ts'
import type { Clock } from '../../clock/types.ts'
import { SqliteVectorError } from '../../errors.ts'
import { INVITE_HOURS, NODE_ID_BYTES_MAX } from '../../limits.ts'
import { integerIn, nameGiven } from '../../options.ts'
import { certificateFingerprint } from '../identity/certificate.ts'
import { ClusterAuthority } from '../identity/authority.ts'
import {
  authorityFolder,
  type ClusterMembership,
  type ClusterNode,
  holdsAuthority,
  readMembership,
  readNodes,
  writeMembership,
  writeNode,
} from './files.ts'
import { decodeAnswer, encodeMessage } from './messages.ts'
import { createToken, readToken } from './token.ts'
import { type NodeIdentity, openIdentity, replaceCertificate } from '../identity/identity.ts'
import { QuicTransport } from '../quic/transport.ts'
import { TrustList } from '../identity/trust.ts'

const HOUR_MS = 3_600_000
const INVITE_HOURS_MAX = 24 * 365

export interface InitOptions {
  /** Name of the cluster. */
  readonly name: string
  /** Name of this node in it. */
  readonly nodeId: string
  /** Source of the time; another one in tests. @defaultValue the system's clock */
  readonly clock?: Clock
}

/**
 * Makes a cluster whose authority lies in `folder`, and its first node.
 * @throws RangeError when there is one
 */
export function initCluster(folder: string, options: InitOptions): ClusterMembership {
  const { name, nodeId, clock = systemClock } = options
  nameGiven('nodeId', nodeId, NODE_ID_BYTES_MAX)
  refuseMembership(folder)
  const identity = openIdentity(folder, { nodeId, clock })
  const authority = ClusterAuthority.create(authorityFolder(folder), name, { clock })
  const certificatePem = authority.issue(identity.certificatePem, { nodeId })
  const issued = replaceCertificate(folder, certificatePem)
  TrustList.open(folder).addAuthority(authority.certificatePem, name)
  writeNode(folder, nodeOf(nodeId, issued, clock.nowMs()))
  const membership = {
    name,
    authority: authority.fingerprint,
    authorityNode: nodeId,
    address: null,
  }
  writeMembership(folder, membership)
  return membership
}

export interface InviteOptions {
  /** How long the token is good for. Integer, 1 to 8,760. @defaultValue `24` */
  readonly hours?: number
  /** Source of the time; another one in tests. @defaultValue the system's clock */
  readonly clock?: Clock
}

/**
 * A token with which one node may join.
 * @throws SqliteVectorError `TRANSPORT_IDENTITY_INVALID` without an authority there
 */
export function inviteNode(
  folder: string,
  options: InviteOptions = {},
): { readonly token: string; readonly notAfterMs: number } {
  const { hours = INVITE_HOURS, clock = systemClock } = options
  integerIn('hours', hours, 1, INVITE_HOURS_MAX)
  const authority = ClusterAuthority.open(authorityFolder(folder), { clock })
  const nowMs = clock.nowMs()
  const notAfterMs = nowMs + hours * HOUR_MS
  const { token, inviteCertificatePem } = createToken(authority.certificatePem, nowMs, notAfterMs)
  TrustList.open(folder).addInvite(inviteCertificatePem, notAfterMs, nowMs)
  return { token, notAfterMs }
}

export interface JoinOptions {
  /** Name of this node in the cluster; no other node may have it. */
  readonly nodeId: string
  /** Ends the call. */
  readonly signal?: AbortSignal
  /** Source of the time; another one in tests. @defaultValue the system's clock */
  readonly clock?: Clock
}

/**
 * Joins the cluster that gave out the token, by asking its authority at `address`.
 * @throws SqliteVectorError `TRANSPORT_TOKEN_INVALID`, `TRANSPORT_JOIN_REFUSED`, and what hinders
 *   the connection
 */
export async function joinCluster(
  folder: string,
  address: string,
  token: string,
  options: JoinOptions,
): Promise<ClusterMembership> {
  const { nodeId, signal, clock = systemClock } = options
  nameGiven('nodeId', nodeId, NODE_ID_BYTES_MAX)
  refuseMembership(folder)
  const { authorityPem, guest } = readToken(token, clock.nowMs())
  const identity = openIdentity(folder, { nodeId, clock })
  const asked = await ask(address, guest, authorityPem, identity, nodeId, signal)
  const authority = certificateFingerprint(new X509Certificate(authorityPem).raw)
  checkIssued(asked.certificatePem, authorityPem)
  replaceCertificate(folder, asked.certificatePem)
  const trust = TrustList.open(folder)
  trust.addAuthority(authorityPem, asked.cluster)
  if (asked.revocations !== undefined) trust.addRevocations(asked.revocations)
  const { cluster: name, authorityNode } = asked
  const membership = { name, authority, authorityNode, address }
  writeMembership(folder, membership)
  return membership
}

/**
 * Nodes that the authority in `folder` took in.
 * @throws SqliteVectorError `TRANSPORT_IDENTITY_INVALID` without one
 */
export function clusterNodes(folder: string): readonly ClusterNode[] {
  if (holdsAuthority(folder)) return readNodes(folder)
  const message = `${folder} holds no authority: ask on the node that made the cluster`
  throw new SqliteVectorError('TRANSPORT_IDENTITY_INVALID', message)
}

/**
 * Revokes every certificate of a node. This node refuses it at once, the others when they next ask.
 * @throws RangeError when the authority took in no such node
 */
export function revokeNode(
  folder: string,
  nodeId: string,
  clock: Clock = systemClock,
): ClusterNode {
  const authority = ClusterAuthority.open(authorityFolder(folder), { clock })
  const node = readNodes(folder).find((candidate) => candidate.nodeId === nodeId)
  if (node === undefined)
    throw new RangeError(`no node ${JSON.stringify(nodeId)} joined this cluster`)
  if (readMembership(folder)?.authorityNode === nodeId) {
    throw new RangeError(
      `nodeId must be another node: ${JSON.stringify(nodeId)} holds the authority of the cluster`,
    )
  }
  for (const fingerprint of [...node.earlier, node.fingerprint]) authority.revoke(fingerprint)
  const revoked = { ...node, isRevoked: true }
  writeNode(folder, revoked)
  const list = authority.revocations()
  if (list !== null) TrustList.open(folder).addRevocations(list)
  return revoked
}

/** The register's entry for a certificate that was just issued. */
export function nodeOf(
  nodeId: string,
  { fingerprint, notAfterMs }: Pick<NodeIdentity, 'fingerprint' | 'notAfterMs'>,
  nowMs: number,
): ClusterNode {
  return { nodeId, fingerprint, earlier: [], joinedAtMs: nowMs, notAfterMs, isRevoked: false }
}

/** Answer of the authority. */
interface Joined {
  readonly certificatePem: string
  readonly cluster: string
  readonly authorityNode: string
  readonly revocations?: string
}

async function ask(
  address: string,
  guest: NodeIdentity,
  authorityPem: string,
  identity: NodeIdentity,
  nodeId: string,
  signal: AbortSignal | undefined,
): Promise<Joined> {
  const trust = TrustList.inMemory()
  trust.addAuthority(authorityPem)
  await using transport = await QuicTransport.create({ identity: guest, trust })
  const request = encodeMessage({ type: 'join', nodeId, certificatePem: identity.certificatePem })
  let bytes: Uint8Array
  try {
    bytes = await transport.request(address, request, signal === undefined ? {} : { signal })
  } catch (error) {
    const isRefused =
      error instanceof SqliteVectorError && error.code === 'TRANSPORT_REFUSED_BY_PEER'
    throw isRefused ? refused(error.message, error) : error
  }
  const answer = decodeAnswer(bytes)
  if (answer?.ok !== true) throw refused(answer?.reason ?? 'the answer cannot be read')
  const { certificatePem, cluster, authorityNode, revocations } = answer
  if (certificatePem === undefined || cluster === undefined || authorityNode === undefined)
    throw refused('the answer is not whole')
  return {
    certificatePem,
    cluster,
    authorityNode,
    ...(revocations === undefined ? {} : { revocations }),
  }
}

/** The answering node proved to be of the cluster; its signature shows that it is the authority. */
function checkIssued(certificatePem: string, authorityPem: string): void {
  const leaf = new X509Certificate(certificatePem)
  const authority = new X509Certificate(authorityPem)
  if (leaf.checkIssued(authority) && leaf.verify(authority.publicKey)) return
  throw refused('the answer holds no certificate of the cluster')
}

function refuseMembership(folder: string): void {
  const membership = readMembership(folder)
  if (membership === null) return
  throw new SqliteVectorError(
    'TRANSPORT_JOIN_REFUSED',
    `this node belongs to the cluster ${JSON.stringify(membership.name)} already`,
  )
}

function refused(reason: string, cause?: unknown): SqliteVectorError {
  return new SqliteVectorError(
    'TRANSPORT_JOIN_REFUSED',
    `the cluster did not admit this node: ${reason}`,
    { cause },
  )
}
