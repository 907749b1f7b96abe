/**
 * The MCP server of a node: tools, resources and prompts by the official SDK.
 *
 * Not here: the tools (read-tools.ts, write-tools.ts, sync-tools.ts), what they do (memory.ts), and
 * the transports (stdio.ts, http.ts).
 */
import { McpServer, ResourceTemplate } from '@modelcontextprotocol/sdk/server/mcp.js'
import { z } from 'zod'
import { plain } from './answers.ts'
import { MemoryError, MemoryStore } from './memory.ts'
import { addReadTools } from './read-tools.ts'
import { addResolveTool, addSyncTools } from './sync-tools.ts'
import type { McpServerOptions } from './types.ts'
import { addWriteTools } from './write-tools.ts'

const INSTRUCTIONS =
  'Long-term memory that several agents share, also on other machines: what one remembers, the others find after their ' +
  'next sync. Search before you answer from memory, and remember facts, decisions and preferences that will matter later.'

/** A server for one client. Connect it to a transport. */
export function createMcpServer(options: McpServerOptions): McpServer {
  const server = new McpServer(
    { name: 'sqlite-vector', version: options.version ?? '0.1.0' },
    { instructions: INSTRUCTIONS, capabilities: { logging: {} } },
  )
  const memory = new MemoryStore(options)
  addReadTools(server, memory)
  addSyncTools(server, memory)
  if (options.readOnly !== true) {
    addWriteTools(server, memory)
    addResolveTool(server, memory)
  }
  addResources(server, memory)
  addPrompts(server, options.readOnly === true)
  return server
}

const json = (uri: URL, value: unknown) => ({
  contents: [
    { uri: uri.href, mimeType: 'application/json', text: JSON.stringify(value, plain, 2) },
  ],
})

const message = (text: string) => ({
  messages: [{ role: 'user' as const, content: { type: 'text' as const, text } }],
})

function addResources(server: McpServer, memory: MemoryStore): void {
  server.registerResource(
    'shards',
    'memory://shards',
    {
      title: 'Shards',
      description: 'Shards of this node, and their sizes.',
      mimeType: 'application/json',
    },
    async (uri) => json(uri, await memory.shards()),
  )
  server.registerResource(
    'memory',
    new ResourceTemplate('memory://{shard}/{id}', { list: undefined }),
    {
      title: 'A memory',
      description: 'One memory, by shard and id.',
      mimeType: 'application/json',
    },
    async (uri, { shard: name, id: key }) => {
      const record = await memory.get(
        decodeURIComponent(String(name)),
        decodeURIComponent(String(key)),
      )
      if (record === null) throw new MemoryError(`There is no memory at ${uri.href}.`)
      return json(uri, record)
    },
  )
}

function addPrompts(server: McpServer, readOnly: boolean): void {
  server.registerPrompt(
    'recall',
    {
      title: 'Recall',
      description: 'Answer a question from memory, naming the memories used.',
      argsSchema: { question: z.string() },
    },
    ({ question }) =>
      message(
        `Call search with this question, then answer it from the results alone and name the id of each memory you use. ` +
          `Say so when the memories do not answer it.\n\nQuestion: ${question}`,
      ),
  )
  if (readOnly) return
  server.registerPrompt(
    'remember_conversation',
    {
      title: 'Remember this conversation',
      description: 'Store what of this conversation will matter later.',
    },
    () =>
      message(
        'Choose the facts, decisions and preferences of this conversation that will matter later. Call search for each, ' +
          'so that nothing is stored twice: update the memory that is there, or remember a new one.',
      ),
  )
}
