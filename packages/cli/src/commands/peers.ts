/**
 * `sqlite-vector peers` and `sync`: the known peers, and one exchange of changes.
 *
 * Peers are kept in the database; `serve` keeps every shard in sync with them.
 */
import { once } from 'node:events'
import { type Call, type Command, EXIT, existingDatabase, nameOfFile } from '../command.ts'
import { withNode } from '../node/open.ts'
import type { SyncSummary } from '../node/types.ts'
import { formatBytes, formatCount, formatMs, formatTable } from '../terminal.ts'

const NODE_OPTION = {
  name: 'node',
  value: 'NAME',
  summary: 'name of this node for the peer',
  default: 'the file name',
}

export const peersCommand: Command = {
  words: ['peers'],
  summary: 'List the known peers and their state.',
  target: 'node',
  arguments: [],
  options: [{ name: 'check', summary: 'contact each peer first' }],
  run: (call) =>
    withNode(call, async (node) => {
      const peers = await node.peers(call.flag('check'))
      call.print({ peers }, () =>
        peers.length === 0
          ? 'no peers; add one with: sqlite-vector peers add NAME ADDRESS'
          : formatTable([
              ['peer', 'address', 'status', 'last seen', 'round trip', 'fingerprint'],
              ...peers.map((peer) => [
                peer.nodeId,
                peer.address,
                peer.status,
                peer.lastSeenMs === null ? '–' : new Date(peer.lastSeenMs).toISOString(),
                peer.rttMs === null ? '–' : formatMs(peer.rttMs),
                peer.peer ?? '–',
              ]),
            ]),
      )
      const isReached = peers.every(({ status }) => status === 'online' || status === 'set-aside')
      return call.flag('check') && !isReached ? EXIT.found : EXIT.done
    }),
}

export const peersAddCommand: Command = {
  words: ['peers', 'add'],
  summary: 'Register a peer in the database, or change its address.',
  target: 'file',
  arguments: [
    { name: 'name', summary: 'name of the peer' },
    { name: 'address', summary: 'its sync address, such as 192.0.2.7:4433' },
  ],
  options: [{ name: 'shard', value: 'NAME', many: true, summary: 'sync only this shard with it' }],
  run: (call) =>
    withCoordinator(call, async (coordinator) => {
      const nodeId = call.argument('name')
      const address = call.argument('address')
      const shards = call.texts('shard')
      coordinator.registerPeer({ nodeId, address, ...(shards.length === 0 ? {} : { shards }) })
      call.print({ nodeId, address }, () => `${nodeId} is at ${address}`)
      return EXIT.done
    }),
}

export const peersRemoveCommand: Command = {
  words: ['peers', 'remove'],
  summary: 'Forget a peer. It remains trusted until `trust remove`.',
  target: 'file',
  arguments: [{ name: 'name', summary: 'name of the peer' }],
  options: [],
  run: (call) =>
    withCoordinator(call, async (coordinator) => {
      const nodeId = call.argument('name')
      const removed = coordinator.unregisterPeer(nodeId)
      call.print({ nodeId, removed }, () => (removed ? `forgot ${nodeId}` : `no peer ${nodeId}`))
      return removed ? EXIT.done : EXIT.failed
    }),
}

export const syncCommand: Command = {
  words: ['sync'],
  summary: 'Exchange the changes of a shard with a trusted peer, both ways, once.',
  details: 'An interrupted sync keeps committed batches; the next one continues from there.',
  target: 'node',
  arguments: [
    { name: 'shard', summary: 'the shard; created on the side that lacks it' },
    { name: 'address', summary: 'address of the peer; with --url its name' },
  ],
  options: [NODE_OPTION],
  run: (call) =>
    withNode(call, async (node) => {
      const result = await node.sync(call.argument('shard'), call.argument('address'), call.signal)
      call.print(result, () => syncLine(result))
      return EXIT.done
    }),
}

export const listenCommand: Command = {
  words: ['listen'],
  summary: 'Accept connections from trusted peers until Ctrl-C.',
  details: '`serve` also dials peers and serves the HTTP API.',
  target: 'file',
  arguments: [
    {
      name: 'address',
      summary: 'address to listen on, such as 0.0.0.0:4433; port 0 selects a free port',
    },
  ],
  options: [NODE_OPTION],
  async run(call) {
    const { createVectorDB } = await import('@agentic-flow/sqlite-vector')
    const { createVectorSync } = await import('@agentic-flow/sqlite-vector/sync')
    const path = existingDatabase(call)
    using db = await createVectorDB({ path })
    await using sync = createVectorSync(db, call.text('node') ?? nameOfFile(path))
    const address = await sync.listen(call.argument('address'))
    const { fingerprint } = sync
    call.print({ fingerprint, address }, () => `${fingerprint} listens at ${address}`)
    if (!call.signal.aborted) await once(call.signal, 'abort')
    return EXIT.done
  },
}

function syncLine({
  pulled,
  pushed,
  applied,
  sent,
  conflicts,
  quarantined,
  wireBytes,
  durationMs,
}: SyncSummary): string {
  const aside = quarantined === 0 ? '' : `, quarantined ${formatCount(quarantined)}`
  return (
    `applied ${formatCount(applied)}, sent ${formatCount(sent)}, conflicts ${formatCount(conflicts)}` +
    `${aside}, ${formatBytes(wireBytes)}, ${formatMs(durationMs)}` +
    (pushed === false ? '\nnothing was sent: the peer grants this node read access only' : '') +
    (pulled === false ? '\nnothing was received: this node grants the peer read access only' : '')
  )
}

async function withCoordinator(
  call: Call,
  work: (
    coordinator: import('@agentic-flow/sqlite-vector/sync').ShardCoordinator,
  ) => Promise<number>,
): Promise<number> {
  const path = existingDatabase(call)
  const { createVectorDB } = await import('@agentic-flow/sqlite-vector')
  const { createShardCoordinator } = await import('@agentic-flow/sqlite-vector/sync')
  using db = await createVectorDB({ path })
  await using coordinator = createShardCoordinator(db, nameOfFile(path))
  return await work(coordinator)
}
