/**
 * `/mcp` on a running node, through the official client: keys, shards, origins, and the end of the node.
 */
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { expect, test } from 'vitest'
import { type ApiKeyConfig, hashApiKey } from '../../src/index.ts'
import { READER, testNode, WRITER } from '../helpers/node.ts'

async function agent(url: string, key: string): Promise<Client> {
  const client = new Client({ name: 'test', version: '1' })
  const requestInit = { headers: { authorization: `Bearer ${key}` } }
  const transport = new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { requestInit })
  await client.connect(transport)
  return client
}

test('an agent remembers and searches by /mcp; one that may only read has no tool that writes', async () => {
  await using fixture = await testNode({ mcp: 'read-write' })
  const { url } = fixture.node
  const writer = await agent(url, WRITER)
  const reader = await agent(url, READER)

  await writer.callTool({
    name: 'remember',
    arguments: { text: 'The valve is behind the door.', id: 'valve' },
  })
  const found = await reader.callTool({
    name: 'search',
    arguments: { query: 'Where is the valve?' },
  })
  expect(JSON.stringify(found.structuredContent)).toContain('behind the door')
  const names = (await reader.listTools()).tools.map(({ name }) => name)
  expect(names).not.toContain('remember')
  expect((await writer.listTools()).tools.map(({ name }) => name)).toContain('remember')

  const post = (headers: Record<string, string>): Promise<Response> =>
    fetch(`${url}/mcp`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: '{}',
    })
  expect((await post({})).status).toBe(401)
  const bearer = `Bearer ${WRITER}`
  expect((await post({ authorization: bearer, origin: 'https://evil.example' })).status).toBe(403)
  await writer.close()
  await reader.close()
})

test('a key limited to shards finds the others not there, and /mcp is not there unless it is set', async () => {
  const limited = 'limited-key-of-the-tests-1'
  await using fixture = await testNode({ mcp: 'read-only', shards: ['closed:2', 'open:2'] })
  const { config } = fixture.node
  const key: ApiKeyConfig = {
    name: 'limited',
    access: 'read-write',
    sha256: hashApiKey(limited),
    shards: ['open*'],
    operations: null,
    requestsPerMinuteMax: null,
  }
  const apiKeys = [...config.http.apiKeys, key]
  fixture.node.reload({ ...config, http: { ...config.http, apiKeys } })
  const client = await agent(fixture.node.url, limited)
  const denied = await client.callTool({
    name: 'search',
    arguments: { query: 'x', shard: 'closed' },
  })
  expect(denied).toMatchObject({ isError: true })
  expect(JSON.stringify(denied.content)).toContain('There is no shard')
  const listed = await client.callTool({ name: 'list_shards', arguments: {} })
  expect(JSON.stringify(listed.structuredContent)).toContain('open')
  expect(JSON.stringify(listed.structuredContent)).not.toContain('closed')
  expect((await client.listTools()).tools.map(({ name }) => name)).not.toContain('remember')
  await client.close()

  await using plain = await testNode()
  const answer = await fetch(`${plain.node.url}/mcp`, {
    headers: { authorization: `Bearer ${WRITER}` },
  })
  expect(answer.status).toBe(404)
})
