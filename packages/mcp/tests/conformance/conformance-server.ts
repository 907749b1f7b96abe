/**
 * A server for the MCP conformance suite: our HTTP handler, and our server with the tools, resources and prompts that
 * the suite asks for by name. Prints its address.
 *
 *   node --conditions=source packages/mcp/tests/conformance/conformance-server.ts
 *   npx @modelcontextprotocol/conformance@0.1.16 server --url ADDRESS
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { createMcpServer, localMemoryNode, McpHttpHandler } from '../../src/index.ts'
import { addFixtures } from './fixtures.ts'

const db = await createVectorDB({ path: ':memory:' })
const handler = new McpHttpHandler({
  createServer: () => addFixtures(createMcpServer({ node: localMemoryNode(db) })),
})
const server = createServer((request, response) => {
  const headers = new Headers()
  for (const [name, value] of Object.entries(request.headers)) {
    if (typeof value === 'string') headers.set(name, value)
  }
  const { method = 'GET' } = request
  const body = method === 'POST' ? { body: Readable.toWeb(request), duplex: 'half' as const } : {}
  const asked = new Request(new URL(request.url ?? '/', 'http://localhost'), {
    method,
    headers,
    ...body,
  })
  const respond = async (): Promise<void> => {
    const answer = await handler.handle(asked)
    response.writeHead(answer.status, Object.fromEntries(answer.headers))
    if (answer.body === null) response.end()
    else Readable.fromWeb(answer.body).pipe(response)
  }
  respond().catch((error: unknown) => response.destroy(error as Error))
})
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp\n`)
})
