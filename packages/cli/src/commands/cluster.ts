/**
 * `sqlite-vector cluster` and `grant`: membership and permissions.
 *
 * All commands work on the folder `<database>-node/`; a running node picks up changes.
 */
import {
  type Call,
  type Command,
  databaseOf,
  EXIT,
  existingDatabase,
  nameOfFile,
  nodeFolder,
  oneOfWords,
  readText,
  UsageError,
} from '../command.ts'
import { formatTable } from '../terminal.ts'

const ACCESSES = ['read', 'write', 'none'] as const
const HOURS = {
  name: 'hours',
  value: 'COUNT',
  summary: 'validity of the token, in hours',
  default: '24',
}

export const clusterInitCommand: Command = {
  words: ['cluster', 'init'],
  summary: 'Create a cluster with this node as its authority, and print a token for one more node.',
  details:
    'Creates the database when it is missing. Nodes can join while this node runs (`serve`). A token works once; `cluster token` makes more.',
  target: 'file',
  arguments: [{ name: 'name', summary: 'name of the cluster', optional: true }],
  options: [
    {
      name: 'node',
      value: 'NAME',
      summary: 'what this node is called in it',
      default: 'the file name',
    },
    HOURS,
  ],
  async run(call) {
    const path = databaseOf(call)
    const { initCluster, inviteNode } = await transport()
    await makeDatabase(path)
    const nodeId = call.text('node') ?? nameOfFile(path)
    const { name } = initCluster(nodeFolder(path), {
      name: call.optional('name') ?? 'cluster',
      nodeId,
    })
    const { token, notAfterMs } = inviteNode(nodeFolder(path), { hours: call.count('hours', 24) })
    call.print({ cluster: name, nodeId, token, notAfterMs }, () => token)
    call.reporter.line(
      `cluster ${name}, this node is ${nodeId}; the token works once, until ${dateOf(notAfterMs)}`,
    )
    return EXIT.done
  },
}

export const clusterTokenCommand: Command = {
  words: ['cluster', 'token'],
  summary: 'Print a token with which one more node can join.',
  target: 'file',
  arguments: [],
  options: [HOURS],
  async run(call) {
    const { inviteNode } = await transport()
    const { token, notAfterMs } = inviteNode(nodeFolder(existingDatabase(call)), {
      hours: call.count('hours', 24),
    })
    call.print({ token, notAfterMs }, () => token)
    call.reporter.line(`works once, until ${dateOf(notAfterMs)}`)
    return EXIT.done
  },
}

export const clusterJoinCommand: Command = {
  words: ['cluster', 'join'],
  summary: 'Join the cluster that issued a token, and register its first node as a peer.',
  details:
    'Creates the database when it is missing. The private key never leaves this node. Other users of this machine can read a token on the command line; @FILE or - avoids that.',
  target: 'file',
  arguments: [
    { name: 'address', summary: 'sync address of the node that created the cluster' },
    { name: 'token', summary: 'as `cluster init` printed it; @FILE reads a file, - stdin' },
  ],
  options: [
    {
      name: 'node',
      value: 'NAME',
      summary: 'what this node is called in it',
      default: 'the file name',
    },
    {
      name: 'shard',
      value: 'NAME',
      many: true,
      summary: 'sync this shard with the first node at once',
    },
  ],
  async run(call) {
    const path = databaseOf(call)
    const address = call.argument('address')
    const nodeId = call.text('node') ?? nameOfFile(path)
    const { joinCluster } = await transport()
    await makeDatabase(path)
    const membership = await joinCluster(nodeFolder(path), address, tokenOf(call), {
      nodeId,
      signal: call.signal,
    })
    const { name, authority, authorityNode: peer } = membership
    const applied = await meetPeer(call, path, nodeId, peer)
    call.print({ cluster: name, authority, nodeId, peer, applied }, () =>
      [
        `${nodeId} joined ${name}`,
        ...Object.entries(applied).map(([shardId, count]) => `${shardId}: ${count} records`),
        `run it with: sqlite-vector serve -d ${path}`,
      ].join('\n'),
    )
    return EXIT.done
  },
}

export const clusterListCommand: Command = {
  words: ['cluster', 'list'],
  summary: 'List the nodes of the cluster. Run it on the node that created the cluster.',
  target: 'file',
  arguments: [],
  options: [],
  async run(call) {
    const { clusterNodes } = await transport()
    const nodes = clusterNodes(nodeFolder(existingDatabase(call)))
    call.print({ nodes }, () =>
      formatTable([
        ['node', 'state', 'joined', 'certificate until', 'fingerprint'],
        ...nodes.map(({ nodeId, isRevoked, joinedAtMs, notAfterMs, fingerprint }) => [
          nodeId,
          isRevoked ? 'revoked' : 'member',
          dateOf(joinedAtMs),
          dateOf(notAfterMs),
          fingerprint,
        ]),
      ]),
    )
    return EXIT.done
  },
}

export const clusterRevokeCommand: Command = {
  words: ['cluster', 'revoke'],
  summary: "Revoke a node's membership. Run it on the node that created the cluster.",
  details:
    'This node refuses it at once, the others within a minute of reaching this one. The revoked node keeps its copies. Its name stays reserved.',
  target: 'file',
  arguments: [{ name: 'node', summary: 'its name, as `cluster list` prints it' }],
  options: [],
  async run(call) {
    const { revokeNode } = await transport()
    const { nodeId, fingerprint } = revokeNode(
      nodeFolder(existingDatabase(call)),
      call.argument('node'),
    )
    call.print({ nodeId, fingerprint, isRevoked: true }, () => `revoked ${nodeId} ${fingerprint}`)
    return EXIT.done
  },
}

export const grantCommand: Command = {
  words: ['grant'],
  summary: 'Grant a peer access to the shards of a pattern; without arguments, list the grants.',
  details:
    'A peer named by any grant has only the access granted; the newest matching grant applies. * as the peer means every peer that no other grant names. Grants are kept by this node, for this node. They apply from the next batch on, also in a running node.',
  target: 'file',
  arguments: [
    { name: 'peer', summary: 'name or fingerprint of the peer, or *', optional: true },
    { name: 'shards', summary: 'a shard, or a pattern with *', optional: true },
    { name: 'access', summary: 'access of the peer', choices: ACCESSES, optional: true },
  ],
  options: [{ name: 'remove', summary: 'remove the grant of this peer and pattern' }],
  run: grant,
}

async function grant(call: Call): Promise<number> {
  const { Permissions } = await import('@agentic-flow/sqlite-vector/sync')
  const permissions = Permissions.open(nodeFolder(existingDatabase(call)))
  const [peer, shards, access] = ['peer', 'shards', 'access'].map((name) => call.optional(name))
  if (peer === undefined) {
    const grants = permissions.list()
    call.print({ grants }, () =>
      grants.length === 0
        ? 'no grants: every trusted peer may read and write every shard'
        : formatTable([
            ['peer', 'shards', 'access'],
            ...grants.map((one) => [one.peer, one.shards, one.access]),
          ]),
    )
    return EXIT.done
  }
  if (shards === undefined) throw new UsageError('SHARDS is missing')
  if (call.flag('remove')) {
    const removed = permissions.remove(peer, shards)
    call.print({ peer, shards, removed }, () => (removed ? 'removed' : 'no such grant'))
    return removed ? EXIT.done : EXIT.failed
  }
  if (access === undefined) throw new UsageError('ACCESS is missing: read, write or none')
  const allowed = oneOfWords('ACCESS', access, ACCESSES)
  permissions.grant(peer, shards, allowed)
  call.print(
    { peer, shards, access: allowed },
    () => `${peer} may ${allowed === 'none' ? 'nothing' : allowed} in ${shards}`,
  )
  return EXIT.done
}

function transport() {
  return import('@agentic-flow/sqlite-vector/transport')
}

async function makeDatabase(path: string): Promise<void> {
  const { createVectorDB } = await import('@agentic-flow/sqlite-vector')
  using _ = await createVectorDB({ path })
}

/**
 * Registers the first node of the cluster and syncs the named shards; returns the records applied
 * for each.
 */
async function meetPeer(
  call: Call,
  path: string,
  nodeId: string,
  peer: string,
): Promise<Readonly<Record<string, number>>> {
  const address = call.argument('address')
  const { createVectorDB } = await import('@agentic-flow/sqlite-vector')
  const { createShardCoordinator } = await import('@agentic-flow/sqlite-vector/sync')
  using db = await createVectorDB({ path })
  await using coordinator = createShardCoordinator(db, nodeId)
  coordinator.registerPeer({ nodeId: peer, address })
  const applied: Record<string, number> = {}
  for (const shardId of call.texts('shard')) {
    const result = await coordinator.sync.sync(shardId, address, { signal: call.signal })
    applied[shardId] = result.applied
  }
  return applied
}

function tokenOf(call: Call): string {
  const given = call.argument('token')
  if (given === '-') return readText('-')
  return given.startsWith('@') ? readText(given.slice(1)) : given
}

function dateOf(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ').slice(0, 16)
}
