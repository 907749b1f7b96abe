/**
 * `sqlite-vector peers` and `sync`: whom this node knows, and one exchange of changes.
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
  summary: 'what the peer calls this node',
  default: 'the file name',
}

export const peersCommand: Command = {
  words: ['peers'],
  summary: 'List the peers that this node knows.',
  target: 'node',
  arguments: [],
  options: [{ name: 'check', summary: 'ask each for a sign of life first' }],
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
  summary: 'Remember a peer in the database, or change its address.',
  target: 'file',
  arguments: [
    { name: 'name', summary: 'what you call it' },
    { name: 'address', summary: 'where it listens, such as 192.0.2.7:4433' },
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
  summary: 'Forget a peer. It stays trusted until `trust remove`.',
  target: 'file',
  arguments: [{ name: 'name', summary: 'what you call it' }],
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
  details: 'An interrupted sync keeps what was committed; the next one goes on from there.',
  target: 'node',
  arguments: [
    { name: 'shard', summary: 'the shard; one that only one side has is made on the other' },
    { name: 'address', summary: 'where the peer listens; with --url its name' },
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
  summary: 'Take connections of trusted peers, and nothing else, until Ctrl-C.',
  details: '`serve` does this, dials peers, and has an HTTP API besides.',
  target: 'file',
  arguments: [{ name: 'address', summary: 'such as 0.0.0.0:4433; port 0 takes a free one' }],
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
    (pushed === false ? '\nnothing was sent: the peer lets us read this shard, not write it' : '') +
    (pulled === false ? '\nnothing was taken: the peer may only read this shard here' : '')
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
