/**
 * Routes for this node, its peers, and sync.
 */
import type { TaskResult } from '@agentic-flow/sqlite-vector/sync'
import type { NodeContext } from '../context.ts'
import { HttpError } from '../errors.ts'
import { errorJson, plain } from '../json.ts'
import type { Call, JsonSchema, Route } from '../route.ts'
import { count, flag, listOf, nullableText, object, text } from '../schemas.ts'

const peer: JsonSchema = {
  type: 'object',
  required: ['nodeId', 'address', 'shards', 'status'],
  properties: {
    nodeId: text,
    address: text,
    shards: { type: ['array', 'null'], items: text },
    status: text,
    source: { enum: ['registered', 'introduced'] },
    peer: nullableText,
    lastSeenMs: { type: ['integer', 'null'] },
    rttMs: { type: ['number', 'null'] },
  },
}

const anything: JsonSchema = { type: 'object' }

export function peerRoutes(context: NodeContext): readonly Route[] {
  return [...about(context), ...peers(context), ...syncing(context)]
}

function about({ db, coordinator }: NodeContext): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/v1/node',
      id: 'getNode',
      tag: 'node',
      summary: 'Describes this node: name, fingerprint, certificate, addresses, file.',
      access: 'read',
      answer: {
        status: 200,
        description: 'The node.',
        schema: {
          type: 'object',
          required: ['nodeId', 'fingerprint', 'certificatePem', 'listening', 'stats'],
        },
      },
      run: () => {
        const { nodeId, sync } = coordinator
        const { fingerprint, certificatePem } = sync
        const { listening } = sync.getSession()
        return { nodeId, fingerprint, certificatePem, listening, stats: plain(db.stats()) }
      },
    },
  ]
}

function peers({ coordinator, keepInSync }: NodeContext): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/v1/peers',
      id: 'listPeers',
      tag: 'peers',
      summary: 'Lists the known peers and their state.',
      access: 'read',
      answer: { status: 200, description: 'The peers.', schema: object({ peers: listOf(peer) }) },
      run: () => ({ peers: plain(coordinator.getPeers()) }),
    },
    {
      method: 'PUT',
      path: '/v1/peers/{node}',
      id: 'putPeer',
      tag: 'peers',
      summary:
        'Adds a peer or changes its address, and keeps in sync with it. Trust is configured separately.',
      access: 'write',
      body: object({ address: text, shards: listOf(text) }, ['address']),
      answer: { status: 200, description: 'The peers.', schema: object({ peers: listOf(peer) }) },
      run: ({ params, body }) => {
        const given = body as { readonly address: string; readonly shards?: readonly string[] }
        coordinator.registerPeer({ nodeId: params['node'] ?? '', ...given })
        keepInSync()
        return { peers: plain(coordinator.getPeers()) }
      },
    },
    {
      method: 'DELETE',
      path: '/v1/peers/{node}',
      id: 'forgetPeer',
      tag: 'peers',
      summary:
        'Forgets a peer and stops syncing with it, until it introduces itself as a trusted peer.',
      access: 'write',
      answer: {
        status: 200,
        description: 'How many there were.',
        schema: object({ forgotten: count }),
      },
      run: ({ params }) => ({
        forgotten: coordinator.unregisterPeer(params['node'] ?? '') ? 1 : 0,
      }),
    },
    {
      method: 'POST',
      path: '/v1/peers/check',
      id: 'checkPeers',
      isUnbounded: true,
      tag: 'peers',
      summary: 'Contacts every peer now.',
      access: 'write',
      answer: {
        status: 200,
        description: 'The result for each peer.',
        schema: object({ healthy: flag, peers: listOf(anything) }),
      },
      run: async () => plain(await coordinator.healthCheck()),
    },
  ]
}

function syncing(context: NodeContext): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/v1/sync',
      id: 'getSync',
      tag: 'sync',
      summary: 'State of sync: connections, live shards, queue, peers.',
      access: 'read',
      answer: { status: 200, description: 'The current state.', schema: anything },
      run: () => plain(context.coordinator.getSession()),
    },
    {
      method: 'POST',
      path: '/v1/sync',
      id: 'sync',
      isUnbounded: true,
      tag: 'sync',
      summary: 'Syncs both ways now and answers when done: everything, one shard, or one peer.',
      access: 'write',
      body: object({ shard: text, peer: text }, []),
      answer: {
        status: 200,
        description: 'The result for each shard and peer; ok is false when one failed.',
        schema: object({ ok: flag, results: listOf(anything) }),
      },
      errors: ['HTTP_PEER_UNKNOWN'],
      run: (call) => syncNow(context, call),
    },
    {
      method: 'POST',
      path: '/v1/shards/{shard}/verify',
      id: 'verify',
      isUnbounded: true,
      tag: 'sync',
      summary:
        'Recounts the rows of a shard. With a peer, compares rows and fetches missing ones; with payloads, names the records that differ.',
      access: 'write',
      body: object({ peer: text, payloads: flag }, []),
      answer: {
        status: 200,
        description: 'The findings.',
        schema: { type: 'object', required: ['correct'], properties: { correct: flag } },
      },
      errors: ['HTTP_PEER_UNKNOWN', 'SYNC_DIVERGED'],
      run: async ({ params, body, signal }) => {
        const { peer: nodeId, payloads = false } = body as {
          readonly peer?: string
          readonly payloads?: boolean
        }
        const shard = params['shard'] ?? ''
        if (nodeId === undefined && payloads)
          throw new TypeError('payloads are compared with a peer')
        if (nodeId === undefined) return context.db.replica.recountInTurns(shard, signal)
        const address = addressOf(context, nodeId)
        return plain(await context.coordinator.sync.verify(shard, address, { signal, payloads }))
      },
    },
  ]
}

async function syncNow(context: NodeContext, { body }: Call): Promise<unknown> {
  const { coordinator, db } = context
  const { shard, peer: nodeId } = body as { readonly shard?: string; readonly peer?: string }
  if (nodeId !== undefined) addressOf(context, nodeId)
  if (shard !== undefined) db.replica.shardState(shard)
  const done = await run()
  const results = done.filter(
    ({ task }) =>
      (shard === undefined || task.shardId === shard) &&
      (nodeId === undefined || task.peer === nodeId),
  )
  return { ok: results.every(({ ok }) => ok), results: results.map(resultJson) }

  function run(): Promise<readonly TaskResult[]> {
    if (shard !== undefined && nodeId !== undefined) {
      coordinator.scheduleSyncTask(shard, nodeId)
      return coordinator.executeTasks()
    }
    if (shard !== undefined) return coordinator.syncShard(shard)
    return nodeId === undefined ? coordinator.syncAll() : coordinator.syncWithPeer(nodeId)
  }
}

function resultJson(result: TaskResult): unknown {
  const { shardId, peer: nodeId } = result.task
  if (!result.ok) return { shardId, peer: nodeId, ok: false, error: errorJson(result.error) }
  const { applied, received, sent, conflicts, quarantined, bytes, durationMs } = result.result
  const counts = { applied, received, sent, conflicts, quarantined, bytes, durationMs }
  return { shardId, peer: nodeId, ok: true, ...counts }
}

/** @throws HttpError `HTTP_PEER_UNKNOWN` */
function addressOf({ coordinator }: NodeContext, nodeId: string): string {
  const known = coordinator.getPeers().find((candidate) => candidate.nodeId === nodeId)
  if (known !== undefined) return known.address
  throw new HttpError('HTTP_PEER_UNKNOWN', `no peer ${JSON.stringify(nodeId)} is registered`)
}
