/**
 * Tools that find and read memories. The texts are read by models: each says when to use it, and
 * its limits.
 */
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { z } from 'zod'
import { answer, ARGUMENTS, cut, READS, RESULTS_MAX, SHOWN_CHARACTERS_MAX } from './answers.ts'
import { MemoryError, type MemoryStore } from './memory.ts'

const { shard, id, metadata } = ARGUMENTS

/** `search`, `get` and `list_shards`. */
export function addReadTools(server: McpServer, memory: MemoryStore): void {
  server.registerTool(
    'search',
    {
      title: 'Search memory',
      description:
        'Finds the memories that fit a question or topic best, by meaning and by words. Ask in whole sentences. ' +
        `Texts above ${SHOWN_CHARACTERS_MAX} characters are cut; get gives the whole. ` +
        'Example: {"query": "What did we decide about the release date?", "filter": {"project": "apollo"}}',
      inputSchema: {
        query: z.string().min(1).max(4_000).describe('A question or topic.'),
        shard,
        k: z.number().int().min(1).max(RESULTS_MAX).default(8).describe('Most results.'),
        filter: metadata
          .optional()
          .describe(
            'Metadata that must match: {"key": "value"}, or operators such as {"year": {"$gte": 2024}}.',
          ),
      },
      annotations: READS,
    },
    ({ query, shard: name, k, filter }) =>
      answer(async () => {
        const found = await memory.search({
          shard: name,
          query,
          k,
          filter: filter,
        })
        return { results: found.map((record) => ({ ...record, text: cut(record.text) })) }
      }),
  )
  server.registerTool(
    'get',
    {
      title: 'Get a memory',
      description: 'Gives one memory whole, by its id. Use an id that search or remember returned.',
      inputSchema: { id, shard },
      annotations: READS,
    },
    ({ id: key, shard: name }) =>
      answer(async () => {
        const record = await memory.get(name, key)
        if (record === null)
          throw new MemoryError(
            `There is no memory ${JSON.stringify(key)}. Call search to find its id.`,
          )
        return { record }
      }),
  )
  addListTool(server, memory)
}

function addListTool(server: McpServer, memory: MemoryStore): void {
  server.registerTool(
    'list_shards',
    {
      title: 'List shards',
      description:
        'Names the shards of this node, with the number of memories and of open conflicts of each.',
      inputSchema: {},
      annotations: READS,
    },
    () =>
      answer(async () => ({
        defaultShard: memory.defaultShard,
        shards: (await memory.shards()).map(
          ({ shardId, recordCount, conflictCount, modelId, waiting }) => ({
            name: shardId,
            memories: recordCount + waiting,
            withoutVector: waiting,
            conflicts: conflictCount,
            model: modelId,
          }),
        ),
      })),
  )
}
