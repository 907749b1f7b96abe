/**
 * Routes that administer a node, for keys that may write everything: grants, trust, cluster,
 * vacuum. Each does what the command of the same name does.
 */
import type { Access } from '@agentic-flow/sqlite-vector/sync'
import type { NodeContext } from '../context.ts'
import type { JsonSchema, Route } from '../route.ts'
import { count, flag, listOf, nullableText, object, text } from '../schemas.ts'

const access: JsonSchema = { enum: ['read', 'write', 'none'] }
const grant = object({ peer: text, shards: text, access })
const trusted = object({ fingerprint: text, nodeId: nullableText })

const member = object({
  nodeId: text,
  fingerprint: text,
  isRevoked: flag,
  joinedAtMs: count,
  notAfterMs: count,
})

export function adminRoutes(context: NodeContext): readonly Route[] {
  return [...grants(context), ...trust(context), ...cluster(context), ...upkeep(context)]
}

function grants({ coordinator }: NodeContext): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/v1/grants',
      id: 'listGrants',
      tag: 'admin',
      summary: 'Lists the grants of this node.',
      access: 'admin',
      answer: {
        status: 200,
        description: 'The grants; without any, every trusted peer may read and write everything.',
        schema: object({ grants: listOf(grant) }),
      },
      run: () => ({ grants: coordinator.sync.permissions.list() }),
    },
    {
      method: 'PUT',
      path: '/v1/grants',
      id: 'putGrant',
      tag: 'admin',
      summary: 'Grants a peer access to the shards of a pattern on this node.',
      access: 'admin',
      body: grant,
      answer: {
        status: 200,
        description: 'The grants.',
        schema: object({ grants: listOf(grant) }),
      },
      run: ({ body }) => {
        const { permissions } = coordinator.sync
        const given = body as { peer: string; shards: string; access: Access }
        permissions.grant(given.peer, given.shards, given.access)
        return { grants: permissions.list() }
      },
    },
    {
      method: 'DELETE',
      path: '/v1/grants',
      id: 'removeGrant',
      tag: 'admin',
      summary: 'Removes the grant of a peer and pattern.',
      access: 'admin',
      query: object({ peer: text, shards: text }),
      answer: {
        status: 200,
        description: 'Number of grants removed.',
        schema: object({ removed: count }),
      },
      run: ({ query }) => {
        const { peer, shards } = query as { peer: string; shards: string }
        return { removed: coordinator.sync.permissions.remove(peer, shards) ? 1 : 0 }
      },
    },
  ]
}

function trust({ coordinator }: NodeContext): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/v1/trust',
      id: 'listTrust',
      tag: 'admin',
      summary: 'Lists the trusted peers and clusters.',
      access: 'admin',
      answer: {
        status: 200,
        description: 'Trusted peers and clusters.',
        schema: object({ peers: listOf(trusted), clusters: listOf(trusted) }),
      },
      run: () => ({
        peers: coordinator.sync.trust.list().map(shown),
        clusters: coordinator.sync.trust.authorities().map(shown),
      }),
    },
    {
      method: 'POST',
      path: '/v1/trust',
      id: 'addTrust',
      tag: 'admin',
      summary: 'Pins the certificate of a peer.',
      access: 'admin',
      body: object({ certificatePem: text, name: text }, ['certificatePem']),
      answer: { status: 200, description: 'The pinned peer.', schema: trusted },
      errors: ['TRANSPORT_IDENTITY_INVALID'],
      run: ({ body }) => {
        const { certificatePem, name } = body as { certificatePem: string; name?: string }
        return shown(coordinator.sync.trust.add(certificatePem, name ?? null))
      },
    },
    {
      method: 'DELETE',
      path: '/v1/trust/{fingerprint}',
      id: 'removeTrust',
      tag: 'admin',
      summary: 'Stops trusting a peer or a cluster; its open connections end.',
      access: 'admin',
      answer: {
        status: 200,
        description: 'Number of entries removed.',
        schema: object({ removed: count }),
      },
      run: ({ params }) => ({
        removed: coordinator.sync.trust.remove(params['fingerprint'] ?? '') ? 1 : 0,
      }),
    },
  ]
}

function cluster({ db }: NodeContext): readonly Route[] {
  const folder = (): string => `${db.stats().path}-node`
  return [
    {
      method: 'GET',
      path: '/v1/cluster/nodes',
      id: 'listClusterNodes',
      tag: 'admin',
      summary: 'Lists the nodes of the cluster; on the node that created it.',
      access: 'admin',
      answer: {
        status: 200,
        description: 'The nodes, revoked ones included.',
        schema: object({ nodes: listOf(member) }),
      },
      errors: ['TRANSPORT_IDENTITY_INVALID'],
      run: async () => {
        const { clusterNodes } = await import('@agentic-flow/sqlite-vector/transport')
        return { nodes: clusterNodes(folder()).map(memberOf) }
      },
    },
    {
      method: 'POST',
      path: '/v1/cluster/token',
      id: 'makeClusterToken',
      tag: 'admin',
      summary:
        'Makes a token with which one more node can join; on the node that created the cluster.',
      access: 'admin',
      body: object({ hours: { type: 'integer', minimum: 1, maximum: 8_760, default: 24 } }, []),
      answer: {
        status: 200,
        description: 'The token, which works once, and the end of its validity.',
        schema: object({ token: text, notAfterMs: count }),
      },
      errors: ['TRANSPORT_IDENTITY_INVALID'],
      run: async ({ body }) => {
        const { hours } = body as { readonly hours: number }
        const { inviteNode } = await import('@agentic-flow/sqlite-vector/transport')
        const { token, notAfterMs } = inviteNode(folder(), { hours })
        return { token, notAfterMs }
      },
    },
    {
      method: 'POST',
      path: '/v1/cluster/nodes/{node}/revoke',
      id: 'revokeClusterNode',
      tag: 'admin',
      summary: 'Revokes the membership of a node; on the node that created the cluster.',
      access: 'admin',
      answer: { status: 200, description: 'The revoked node.', schema: member },
      errors: ['TRANSPORT_IDENTITY_INVALID'],
      run: async ({ params }) => {
        const { revokeNode } = await import('@agentic-flow/sqlite-vector/transport')
        return memberOf(revokeNode(folder(), params['node'] ?? ''))
      },
    },
  ]
}

function upkeep({ db }: NodeContext): readonly Route[] {
  return [
    {
      method: 'POST',
      path: '/v1/vacuum',
      id: 'vacuum',
      tag: 'admin',
      isUnbounded: true,
      summary:
        'Collects tombstones that every known peer holds, and returns free pages. Holds up other requests meanwhile.',
      access: 'admin',
      answer: {
        status: 200,
        description: 'Tombstones collected and bytes freed.',
        schema: object({ tombstones: count, bytes: count }),
      },
      errors: ['STORE_FULL', 'STORE_BUSY'],
      run: () => {
        let tombstones = 0
        for (const { shardId } of db.shards()) tombstones += db.collectTombstones(shardId)
        return { tombstones, bytes: db.vacuum() }
      },
    },
  ]
}

function shown({ fingerprint, nodeId }: { fingerprint: string; nodeId: string | null }): unknown {
  return { fingerprint, nodeId }
}

interface ClusterMember {
  readonly nodeId: string
  readonly fingerprint: string
  readonly isRevoked: boolean
  readonly joinedAtMs: number
  readonly notAfterMs: number
}

function memberOf({
  nodeId,
  fingerprint,
  isRevoked,
  joinedAtMs,
  notAfterMs,
}: ClusterMember): unknown {
  return { nodeId, fingerprint, isRevoked, joinedAtMs, notAfterMs }
}
