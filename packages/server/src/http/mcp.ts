/**
 * `/mcp`: the node as memory for agents, by the Model Context Protocol over streamable HTTP. Off
 * unless the setting `mcp` says otherwise; the package that speaks the protocol is loaded then.
 *
 * The gate has checked origin, host, key and rate. A key that may only read gets no tool that
 * writes, and a key that is limited to shards sees those alone.
 */
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ApiKeyConfig } from '../config/types.ts'
import { mayUseShard } from './auth.ts'
import type { NodeContext } from './context.ts'

type McpPackage = typeof import('@agentic-flow/sqlite-vector-mcp')

/** Adds the path, when the configuration wants it. */
export async function useMcp(app: FastifyInstance, context: NodeContext): Promise<void> {
  const { mcp } = context.config
  if (mcp === 'off') return
  const { McpHttpHandler, ...parts } = await loadPackage()
  const handler = new McpHttpHandler({
    hosts: null,
    createServer: (owner) => serverFor(parts, context, owner),
  })
  const end = (): void => void handler.close()
  context.stopping.addEventListener('abort', end, { once: true })
  app.route({
    method: ['GET', 'POST', 'DELETE'],
    url: '/mcp',
    config: { access: 'read', id: 'mcp', tag: 'mcp' },
    handler: async (request, reply) => {
      const response = await handler.handle(requestOf(request), ownerOf(request.apiKey))
      void reply.code(response.status)
      for (const [name, value] of response.headers) void reply.header(name, value)
      if (response.body === null) return reply.send()
      return reply.send(Readable.fromWeb(response.body))
    },
  })
}

async function loadPackage(): Promise<McpPackage> {
  try {
    return await import('@agentic-flow/sqlite-vector-mcp')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new Error(
      'the setting mcp needs two packages: npm install @agentic-flow/sqlite-vector-mcp @modelcontextprotocol/sdk',
      { cause: error },
    )
  }
}

/** The request as the web has it; its body was parsed by the framework. */
function requestOf({ method, headers, body, url }: FastifyRequest): Request {
  const copied = new Headers()
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value === 'string' && !['content-length', 'transfer-encoding'].includes(name))
      copied.set(name, value)
  }
  return new Request(new URL(url, 'http://localhost'), {
    method,
    headers: copied,
    ...(method === 'POST' ? { body: JSON.stringify(body ?? null) } : {}),
  })
}

/** A session belongs to a key and its rights: one that changed opens a new session. */
function ownerOf(key: ApiKeyConfig | null): string {
  if (key === null) return ''
  return JSON.stringify([key.name, key.access, key.shards])
}

function serverFor(
  { createMcpServer, localMemoryNode }: Omit<McpPackage, 'McpHttpHandler'>,
  context: NodeContext,
  owner: string,
): ReturnType<McpPackage['createMcpServer']> {
  const key = context.apiKeys().find((candidate) => ownerOf(candidate) === owner) ?? null
  const peers = (): ReturnType<Parameters<typeof localMemoryNode>[1] & object> =>
    context.coordinator.getSession().registered.map(({ nodeId, address, status, lastSeenMs }) => ({
      nodeId,
      address,
      status,
      lastSeenMs,
    }))
  return createMcpServer({
    // The peers are the whole node's, which a key of some shards may not see.
    node: localMemoryNode(context.db, (key?.shards ?? null) === null ? peers : () => []),
    readOnly: context.config.mcp === 'read-only' || key?.access === 'read-only',
    mayUse: (shardId) => mayUseShard(key, shardId),
    embedderOf: async (shardId) => lsaOf(context, shardId),
  })
}

/** The offline embedder that the shard carries; without one, memories are found by their words. */
async function lsaOf({ db }: NodeContext, shardId: string) {
  const info = db.shards().find((shard) => shard.shardId === shardId)
  if (info?.modelId?.startsWith('lsa-') !== true) return null
  const { loadLsaEmbedder } = await import('@agentic-flow/sqlite-vector-embeddings')
  const embedder = loadLsaEmbedder(db, shardId)
  return embedder?.modelId === info.modelId ? embedder : null
}
