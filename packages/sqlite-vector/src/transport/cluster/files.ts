/**
 * Files of a node about its cluster, in the folder of its key. `cluster.json` names the cluster and
 * the address of its authority. The node that made the cluster also has `authority/`, the authority
 * itself (identity/authority.ts), with `nodes.json`, the nodes that it admitted.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SqliteVectorError } from '../../errors.ts'
import { fileExists, writeFileAtomic } from '../../private-files.ts'

const CLUSTER_FILE = 'cluster.json'
const NODES_FILE = 'nodes.json'
const AUTHORITY_FOLDER = 'authority'

/** The cluster that a node belongs to. */
export interface ClusterMembership {
  readonly name: string
  /** Fingerprint of its authority. */
  readonly authority: string
  /** The node that holds the authority. */
  readonly authorityNode: string
  /** Address of the authority; null on the node that holds it. */
  readonly address: string | null
}

/** A node that an authority admitted. */
export interface ClusterNode {
  readonly nodeId: string
  /** Of its newest certificate. */
  readonly fingerprint: string
  /** Of those before that may still be valid. */
  readonly earlier: readonly string[]
  readonly joinedAtMs: number
  readonly notAfterMs: number
  readonly isRevoked: boolean
  /** Hash of its public key; absent for nodes that joined with an older release. */
  readonly key?: string
}

/** The folder of the authority beside a node's key. */
export function authorityFolder(folder: string): string {
  return join(folder, AUTHORITY_FOLDER)
}

export function holdsAuthority(folder: string): boolean {
  return fileExists(join(authorityFolder(folder), 'authority.pem'))
}

/**
 * Null when the node belongs to no cluster.
 * @throws SqliteVectorError `TRANSPORT_IDENTITY_INVALID`
 */
export function readMembership(folder: string): ClusterMembership | null {
  return readJson(join(folder, CLUSTER_FILE), (value) => {
    const { name, authority, authorityNode, address } = value as Partial<ClusterMembership>
    if (typeof name !== 'string' || typeof authority !== 'string') throw new TypeError('no cluster')
    if (typeof authorityNode !== 'string') throw new TypeError('no node of the authority')
    return { name, authority, authorityNode, address: typeof address === 'string' ? address : null }
  })
}

export function writeMembership(folder: string, membership: ClusterMembership): void {
  writeJson(join(folder, CLUSTER_FILE), membership)
}

/** Nodes that the authority admitted, in that order. */
export function readNodes(folder: string): readonly ClusterNode[] {
  const path = join(authorityFolder(folder), NODES_FILE)
  return (
    readJson(path, (value) => {
      if (!Array.isArray(value)) throw new TypeError('no list of nodes')
      return value as readonly ClusterNode[]
    }) ?? []
  )
}

/** Adds a node, or puts a newer entry in the place of the one of that name. */
export function writeNode(folder: string, node: ClusterNode): void {
  const nodes = [...readNodes(folder)]
  const index = nodes.findIndex(({ nodeId }) => nodeId === node.nodeId)
  if (index === -1) nodes.push(node)
  else nodes[index] = node
  writeJson(join(authorityFolder(folder), NODES_FILE), nodes)
}

function readJson<T>(path: string, check: (value: unknown) => T): T | null {
  if (!fileExists(path)) return null
  try {
    return check(JSON.parse(readFileSync(path, 'utf8')))
  } catch (error) {
    const message = `${path} cannot be read`
    throw new SqliteVectorError('TRANSPORT_IDENTITY_INVALID', message, { cause: error })
  }
}

function writeJson(path: string, value: unknown): void {
  writeFileAtomic(path, `${JSON.stringify(value, null, 2)}\n`, 0o600)
}
