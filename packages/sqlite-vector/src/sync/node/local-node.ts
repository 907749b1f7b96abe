/**
 * The folder `<path>-node/` beside a database file: the node's key and certificate, its trusted
 * peers, their may, its session tickets and its cluster. Opened here, kept by their own files; a
 * database in memory has none of it on disk.
 */
import { paths } from '#platform'

import { ClusterService, type ClusterServiceSetup } from '../../transport/cluster/service.ts'
import {
  createIdentity,
  type NodeIdentity,
  openIdentity,
} from '../../transport/identity/identity.ts'
import { TicketStore } from '../../transport/quic/tickets.ts'
import { TrustList } from '../../transport/identity/trust.ts'
import { Permissions } from '../access/permissions.ts'

/**
 * Key pair, certificate and trust list of a node, and what lets it resume its sessions with peers.
 */
export interface LocalNode {
  readonly identity: NodeIdentity
  readonly trust: TrustList
  readonly tickets: TicketStore
}

/** A database in memory has no folder: its identity and trust live as long as it does. */
export function openNode(path: string, nodeId: string): LocalNode {
  if (path === ':memory:') {
    const identity = createIdentity({ nodeId })
    return { identity, trust: TrustList.inMemory(), tickets: TicketStore.inMemory() }
  }
  const folder = folderOf(path)
  return {
    identity: openIdentity(folder, { nodeId }),
    trust: TrustList.open(folder),
    tickets: TicketStore.open(folder),
  }
}

/** Grants are kept beside the key; a given transport keeps both itself. */
export function openPermissions(node: LocalNode | null, path: string): Permissions {
  return node === null || path === ':memory:'
    ? Permissions.inMemory()
    : Permissions.open(folderOf(path))
}

function folderOf(path: string): string {
  return paths.join(paths.dirname(path), `${paths.basename(path)}-node`)
}

/** The upkeep of the node's cluster; null without a folder to note one in. */
export function openClusterService(
  path: string,
  setup: Omit<ClusterServiceSetup, 'folder'>,
): ClusterService | null {
  return path === ':memory:' ? null : new ClusterService({ ...setup, folder: folderOf(path) })
}
