/**
 * The MCP server, through the official client: every tool, resource and prompt, over an in-memory pipe and over HTTP.
 */
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js'
import { createVectorDB, type SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import { createVectorSync } from '@agentic-flow/sqlite-vector/sync'
import { fitLsaEmbedder } from '@agentic-flow/sqlite-vector-embeddings'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  createMcpServer,
  localMemoryNode,
  McpHttpHandler,
  type McpServerOptions,
} from '../src/index.ts'

const TEXTS = [
  'The customer Acme prefers invoices in euro.',
  'The release of Apollo was moved to the third of May.',
  'Deployments run from the main branch on Tuesdays.',
]

interface Connected extends AsyncDisposable {
  readonly client: Client
  /** The structured answer; fails the test when the tool reports an error. */
  tool<T = Record<string, unknown>>(name: string, args?: object): Promise<T>
  /** The text of a failure; fails the test when the tool succeeds. */
  failure(name: string, args?: object): Promise<string>
}

async function connected(
  db: SQLiteVectorDB,
  options: Partial<McpServerOptions> = {},
): Promise<Connected> {
  const server = createMcpServer({ node: localMemoryNode(db), ...options })
  const [here, there] = InMemoryTransport.createLinkedPair()
  const client = new Client({ name: 'test', version: '1' })
  await Promise.all([server.connect(there), client.connect(here)])
  return connection(client)
}

function connection(client: Client): Connected {
  const call = async (name: string, args: object) => {
    const result = await client.callTool({ name, arguments: { ...args } })
    const [content] = result.content as { text: string }[]
    return {
      isError: result.isError === true,
      text: content?.text ?? '',
      structured: result.structuredContent,
    }
  }
  return {
    client,
    async tool<T>(name: string, args: object = {}) {
      const { isError, text, structured } = await call(name, args)
      expect({ isError, text }).toMatchObject({ isError: false })
      expect(JSON.parse(text)).toEqual(structured)
      return structured as T
    },
    async failure(name, args = {}) {
      const { isError, text } = await call(name, args)
      expect(isError).toBe(true)
      return text
    },
    async [Symbol.asyncDispose]() {
      await client.close()
    },
  }
}

const memory = (): Promise<SQLiteVectorDB> => createVectorDB({ path: ':memory:' })

test('a memory without an embedder is remembered, found by words, updated and forgotten', async () => {
  using db = await memory()
  await using mcp = await connected(db)

  expect(await mcp.tool('search', { query: 'anything' })).toEqual({ results: [] })
  const { id } = await mcp.tool<{ id: string }>('remember', {
    text: TEXTS[0],
    metadata: { customer: 'acme', tmp: 1 },
  })
  await mcp.tool('remember', { text: TEXTS[1], id: 'apollo' })
  const found = await mcp.tool<{ results: { id: string }[] }>('search', {
    query: 'Which currency do invoices have?',
  })
  expect(found.results.map((result) => result.id)).toEqual([id])
  expect(
    await mcp.tool('search', { query: 'Apollo release', filter: { customer: 'acme' } }),
  ).toEqual({ results: [] })

  await mcp.tool('update', {
    id,
    text: 'Acme wants invoices in dollars.',
    metadata: { year: 2026, tmp: null },
  })
  expect(await mcp.tool('get', { id })).toEqual({
    record: {
      id,
      text: 'Acme wants invoices in dollars.',
      metadata: { customer: 'acme', year: 2026 },
    },
  })
  expect(await mcp.tool('list_shards')).toMatchObject({
    defaultShard: 'memory',
    shards: [{ name: 'memory', memories: 2, withoutVector: 2, conflicts: 0 }],
  })
  expect(await mcp.tool('forget', { ids: [id, 'never'] })).toEqual({ forgotten: [id] })
  expect(await mcp.failure('get', { id })).toContain('Call search')
})

test('with an embedder memories are embedded, texts that waited move over when they are written again', async () => {
  using db = await memory()
  const embedder = await fitLsaEmbedder(TEXTS)
  {
    await using plain = await connected(db)
    await plain.tool('remember', { text: TEXTS[2], id: 'deploy' })
  }
  await using mcp = await connected(db, { embedderOf: () => Promise.resolve(embedder) })
  for (const [index, text] of TEXTS.slice(0, 2).entries())
    await mcp.tool('remember', { text, id: `m${index}` })

  const found = await mcp.tool<{ results: { id: string }[] }>('search', {
    query: 'When is the release of Apollo?',
    k: 1,
  })
  expect(found.results[0]?.id).toBe('m1')
  expect(
    (await mcp.tool<{ results: { id: string }[] }>('search', { query: 'deployments' })).results.map(
      ({ id }) => id,
    ),
  ).toContain('deploy')
  await mcp.tool('update', { id: 'deploy', text: 'Deployments run on Wednesdays.' })
  expect(db.count('memory.waiting')).toBe(0)
  const before = db.get('memory', 'm0')?.embedding
  await mcp.tool('update', { id: 'm0', metadata: { seen: true } })
  expect(db.get('memory', 'm0')).toMatchObject({ text: TEXTS[0], metadata: { seen: true } })
  expect(db.get('memory', 'm0')?.embedding).toEqual(before)
})

test('arguments that are wrong are told so that a model can correct them', async () => {
  using db = await memory()
  await using mcp = await connected(db)

  expect(await mcp.failure('search', { query: '' })).toContain('query')
  expect(await mcp.failure('search', { query: 'x', k: 51 })).toContain('k')
  expect(await mcp.failure('search', { query: 'x', shard: 'nothing' })).toContain('list_shards')
  await mcp.tool('remember', { text: 'x y z' })
  expect(await mcp.failure('search', { query: 'x', filter: { a: { $near: 1 } } })).toContain(
    '$near',
  )
  expect(await mcp.failure('update', { id: 'a' })).toContain('text, metadata or both')
  expect(await mcp.failure('update', { id: 'a', text: 'b' })).toContain('There is no memory "a"')
  expect(await mcp.failure('remember', { text: 'a'.repeat(32_001) })).toContain('32000')
  expect(await mcp.failure('resolve_conflict', { id: 'a', version: 'nonsense' })).toContain(
    'list_conflicts',
  )
})

test('a read-only server has no tool that writes, and a hidden shard is not there', async () => {
  using db = await memory()
  db.createShard('secret', { dimension: 2 })
  db.createShard('memory', { dimension: 2 })
  await using mcp = await connected(db, {
    readOnly: true,
    mayUse: (shardId) => shardId !== 'secret',
  })

  const { tools } = await mcp.client.listTools()
  expect(tools.map(({ name }) => name).toSorted()).toEqual([
    'get',
    'list_conflicts',
    'list_shards',
    'search',
    'sync_status',
  ])
  expect(tools.every(({ annotations }) => annotations?.readOnlyHint === true)).toBe(true)
  expect(await mcp.failure('search', { query: 'x', shard: 'secret' })).toBe(
    await mcp.failure('search', { query: 'x', shard: 'secret' }),
  )
  expect(await mcp.failure('get', { id: 'x', shard: 'secret' })).toContain('There is no shard')
  expect(JSON.stringify(await mcp.tool('list_shards'))).not.toContain('secret')
  expect((await mcp.client.listPrompts()).prompts.map(({ name }) => name)).toEqual(['recall'])
})

test('resources give shards and memories, and prompts carry their arguments', async () => {
  using db = await memory()
  await using mcp = await connected(db)
  await mcp.tool('remember', { text: 'a fact', id: 'with space/slash' })

  const shards = await mcp.client.readResource({ uri: 'memory://shards' })
  expect(JSON.stringify(shards)).toContain('memory')
  const uri = `memory://memory/${encodeURIComponent('with space/slash')}`
  const [content] = (await mcp.client.readResource({ uri })).contents as { text: string }[]
  expect(JSON.parse(content?.text ?? '')).toMatchObject({ text: 'a fact' })
  await expect(mcp.client.readResource({ uri: 'memory://memory/nothing' })).rejects.toThrow(
    'There is no memory',
  )
  const prompt = await mcp.client.getPrompt({ name: 'recall', arguments: { question: 'Why?' } })
  expect(JSON.stringify(prompt.messages)).toContain('Question: Why?')
})

test('two agents on two nodes share a memory; what both change is a conflict that one resolves', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-mcp-'))
  try {
    using here = await createVectorDB({ path: join(folder, 'here.db') })
    using there = await createVectorDB({ path: join(folder, 'there.db') })
    await using a = createVectorSync(here, 'a')
    await using b = createVectorSync(there, 'b')
    a.trust.add(b.certificatePem, 'b')
    b.trust.add(a.certificatePem, 'a')
    const address = await a.listen('127.0.0.1:0')
    await using first = await connected(here)
    await using second = await connected(there)

    await first.tool('remember', { text: 'The key lies under the mat.', id: 'key' })
    await b.sync('memory.waiting', address)
    const found = await second.tool<{ results: { text: string }[] }>('search', {
      query: 'Where does the key lie?',
    })
    expect(found.results[0]?.text).toBe('The key lies under the mat.')

    await first.tool('remember', { text: 'The key lies in the pot.', id: 'key' })
    await second.tool('remember', { text: 'The key lies with Ann.', id: 'key' })
    await b.sync('memory.waiting', address)
    const { conflicts } = await second.tool<{
      conflicts: { id: string; versions: { version: string; text: string }[] }[]
    }>('list_conflicts')
    expect(conflicts[0]?.versions.map(({ text }) => text).toSorted()).toEqual([
      'The key lies in the pot.',
      'The key lies with Ann.',
    ])
    const kept = conflicts[0]?.versions.find(({ text }) => text.includes('Ann'))
    await second.tool('resolve_conflict', { id: 'key', version: kept?.version })
    await b.sync('memory.waiting', address)
    expect(await first.tool('get', { id: 'key' })).toMatchObject({
      record: { text: 'The key lies with Ann.' },
    })
    expect(await first.tool('list_conflicts')).toEqual({ conflicts: [] })
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('over HTTP sessions belong to their caller and are bounded; other hosts and origins are refused', async () => {
  using db = await memory()
  const handler = new McpHttpHandler({
    createServer: () => createMcpServer({ node: localMemoryNode(db) }),
  })
  let owner = 'ann'
  const client = async (): Promise<Client> => {
    const transport = new StreamableHTTPClientTransport(new URL('http://localhost/mcp'), {
      fetch: (url, init) => {
        const request = new Request(url, init)
        request.headers.set('host', 'localhost')
        return handler.handle(request, owner)
      },
    })
    const opened = new Client({ name: 'test', version: '1' })
    await opened.connect(transport)
    return opened
  }
  const ann = await client()
  const mcp = connection(ann)
  await mcp.tool('remember', { text: 'over http', id: 'h' })
  expect(await mcp.tool('get', { id: 'h' })).toMatchObject({ record: { text: 'over http' } })
  expect(handler.sessionCount).toBe(1)
  owner = 'bob'
  await expect(ann.ping()).rejects.toThrow('no such session')
  owner = 'ann'
  for (let index = 0; index < 66; index += 1) await client()
  expect(handler.sessionCount).toBe(64)

  const status = async (headers: Record<string, string>): Promise<number> => {
    const response = await handler.handle(
      new Request('http://localhost/mcp', { method: 'POST', body: '{}', headers }),
    )
    return response.status
  }
  expect(await status({ host: 'evil.example' })).toBe(403)
  expect(await status({})).toBe(403)
  expect(await status({ host: 'localhost:8080', origin: 'https://evil.example' })).toBe(403)
  expect(await status({ host: 'localhost:8080', origin: 'http://localhost:3000' })).not.toBe(403)
  await handler.close()
  expect(handler.sessionCount).toBe(0)
})
