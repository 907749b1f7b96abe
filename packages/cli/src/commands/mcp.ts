/**
 * `sqlite-vector mcp`: the node as memory for an agent, by the Model Context Protocol over stdin
 * and stdout.
 */
import { existsSync } from 'node:fs'
import { type Call, type Command, databaseOf, EXIT, UsageError } from '../command.ts'
import { embedderOfShard, serviceOf } from '../ingest/shard-embedder.ts'
import { EMBED_OPTIONS } from '../ingest/shard-embedder.ts'
import { openNode } from '../node/open.ts'

export const mcpCommand: Command = {
  words: ['mcp'],
  summary: 'Be memory for an agent: an MCP server over stdin and stdout.',
  details:
    'Started by an MCP client. Works on a file, which a server may keep in sync meanwhile, or on a server (--url). Texts are embedded by the service of --embed, or by the embedder of the shard; without one they are found by their words. Needs the package @agentic-flow/sqlite-vector-mcp.',
  target: 'node',
  arguments: [],
  options: [
    { name: 'shard', value: 'NAME', summary: 'shard of calls that name none', default: 'memory' },
    { name: 'read-only', summary: 'leave out the tools that write' },
    ...EMBED_OPTIONS,
  ],
  run: serve,
}

async function serve(call: Call): Promise<number> {
  const { serveStdio } = await loadMcp()
  const database = databaseOf(call)
  if (call.text('url') === undefined && !existsSync(database) && !call.flag('read-only')) {
    // A memory begins empty; a client that starts this command cannot call init before.
    const { createVectorDB } = await import('@agentic-flow/sqlite-vector')
    ;(await createVectorDB({ path: database })).close()
  }
  const node = await openNode(call)
  try {
    const service = await serviceOf(call, null)
    await serveStdio(
      {
        node,
        shardId: call.text('shard') ?? 'memory',
        readOnly: call.flag('read-only'),
        embedderOf: async (shardId) => {
          if (service !== null) return service
          const shards = await node.shards()
          const isThere = shards.some((shard) => shard.shardId === shardId)
          return isThere ? embedderOfShard(call, node, shardId) : null
        },
      },
      call.signal,
    )
    return EXIT.done
  } finally {
    await node.close()
  }
}

async function loadMcp(): Promise<typeof import('@agentic-flow/sqlite-vector-mcp')> {
  try {
    return await import('@agentic-flow/sqlite-vector-mcp')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new UsageError(
      'mcp needs two packages: npm install @agentic-flow/sqlite-vector-mcp @modelcontextprotocol/sdk',
      { cause: error },
    )
  }
}
