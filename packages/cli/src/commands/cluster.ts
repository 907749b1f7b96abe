/**
 * `sqlite-vector cluster` and `grant`: who belongs together, and which peer may do what.
 *
 * All work on the folder `<database>-node/`; a running node takes changes up by itself.
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
  summary: 'how long the token is good for',
  default: '24',
}

export const clusterInitCommand: Command = {
  words: ['cluster', 'init'],
  summary: 'Make a cluster: an authority beside this node, and a token for the first that joins.',
  details:
    'Makes the database, too, when it is missing. The authority answers those who join while this node runs (`serve`). A token works once; `cluster token` makes more.',
  target: 'file',
  arguments: [{ name: 'name', summary: 'what people call the cluster', optional: true }],
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
  summary: 'Make a token with which one more node may join.',
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
  summary: 'Join the cluster that gave out a token, and remember its first node as a peer.',
  details:
    'Makes the database when it is missing. The key of this node does not leave it. A token on the command line can be read by others on this machine: @FILE or - keeps it to yourself.',
  target: 'file',
  arguments: [
    { name: 'address', summary: 'where the node that made the cluster listens for sync' },
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
  summary: 'List the nodes that joined; on the node that made the cluster.',
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
  summary: 'Take a node out of the cluster; on the node that made it.',
  details:
    'This node refuses it at once, the others within a minute of reaching this one. What it has, it keeps. Its name stays taken.',
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
  summary:
    'Let a peer read or write the shards of a pattern, or nothing; without arguments, list the grants.',
  details:
    'As soon as one grant names a peer, it may only what is granted; the newest that matches holds. * as the peer stands for all that no other grant names. Holds from the next batch on, also while a node runs.',
  target: 'file',
  arguments: [
    { name: 'peer', summary: 'name or fingerprint of the peer, or *', optional: true },
    { name: 'shards', summary: 'a shard, or a pattern with *', optional: true },
    { name: 'access', summary: 'what it may', choices: ACCESSES, optional: true },
  ],
  options: [{ name: 'remove', summary: 'take the grant for this peer and pattern out' }],
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
        ? 'no grants: every trusted peer may write everywhere'
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
    call.print({ peer, shards, removed }, () => (removed ? 'removed' : 'there is no such grant'))
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

/** Remembers the first node of the cluster, and takes the shards that were named; how many records of each. */
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
