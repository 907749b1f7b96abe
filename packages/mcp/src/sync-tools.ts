/**
 * Tools about the other nodes: who is there, and what two of them changed at once.
 */
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { z } from 'zod'
import { answer, ARGUMENTS, cut, READS, RESULTS_MAX, WRITES } from './answers.ts'
import type { MemoryStore } from './memory.ts'

const { shard, id } = ARGUMENTS

/** `sync_status` and `list_conflicts`. */
export function addSyncTools(server: McpServer, memory: MemoryStore): void {
  server.registerTool(
    'sync_status',
    {
      title: 'Sync status',
      description:
        'Names the other nodes that this one exchanges memories with, and when each was last seen. Use it when a ' +
        'memory of another agent is missing.',
      inputSchema: {},
      annotations: READS,
    },
    () =>
      answer(async () => ({
        peers: (await memory.node.peers(false)).map(({ nodeId, address, status, lastSeenMs }) => ({
          nodeId,
          address,
          status,
          lastSeen: lastSeenMs === null ? null : new Date(lastSeenMs).toISOString(),
        })),
      })),
  )
  server.registerTool(
    'list_conflicts',
    {
      title: 'List conflicts',
      description:
        'Lists memories that several agents changed at the same time, with every version. Both versions are kept ' +
        'until one is chosen with resolve_conflict.',
      inputSchema: { shard, limit: z.number().int().min(1).max(RESULTS_MAX).default(10) },
      annotations: READS,
    },
    ({ shard: name, limit }) =>
      answer(async () => {
        const shardId = await memory.shardOf(name)
        const { conflicts } = await memory.node.conflicts(shardId, { cursor: null, limit })
        const details = []
        for (const conflict of conflicts) {
          const found = await memory.node.conflict(shardId, conflict.id)
          if (found === null) continue
          details.push({
            id: conflict.id,
            versions: found.siblings.map(({ dot, nodeId, atMs, value }) => ({
              version: dot,
              node: nodeId,
              at: new Date(atMs).toISOString(),
              text: value === null ? null : cut(value.text),
              metadata: value?.metadata ?? {},
              deleted: value === null,
            })),
          })
        }
        return { conflicts: details }
      }),
  )
}

/** `resolve_conflict`. */
export function addResolveTool(server: McpServer, memory: MemoryStore): void {
  server.registerTool(
    'resolve_conflict',
    {
      title: 'Resolve a conflict',
      description:
        'Chooses the version of a memory that stays, on every node. Read the versions with list_conflicts first.',
      inputSchema: {
        id,
        shard,
        version: z
          .string()
          .describe('`version` of the one to keep, or "delete" to delete the memory.'),
      },
      annotations: { ...WRITES, destructiveHint: true },
    },
    ({ id: key, shard: name, version }) =>
      answer(async () => {
        const shardId = await memory.shardOf(name)
        const decision = version === 'delete' ? ({ delete: true } as const) : { choose: version }
        await memory.node.resolveConflict(shardId, key, decision)
        return { resolved: key, kept: version }
      }),
  )
}
