/**
 * `sqlite-vector mcp` as a client starts it: a real process, the official client over its stdin and stdout.
 */
import { join } from 'node:path'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { expect, test } from 'vitest'
import { MAIN, temporaryFolder } from './helpers.ts'

async function agent(...args: string[]): Promise<Client> {
  const client = new Client({ name: 'test', version: '1' })
  const command = ['--conditions=source', MAIN, 'mcp', ...args]
  await client.connect(new StdioClientTransport({ command: process.execPath, args: command }))
  return client
}

test('an agent starts with an empty memory, and the next process finds what it left', async () => {
  using folder = temporaryFolder()
  const database = join(folder.path, 'memory.db')
  const first = await agent('-d', database)
  expect(first.getServerVersion()).toMatchObject({ name: 'sqlite-vector' })
  await first.callTool({
    name: 'remember',
    arguments: { text: 'Tea is in the blue tin.', id: 'tea' },
  })
  await first.close()

  const second = await agent('-d', database, '--read-only')
  const found = await second.callTool({ name: 'search', arguments: { query: 'Where is the tea?' } })
  expect(JSON.stringify(found.structuredContent)).toContain('blue tin')
  expect((await second.listTools()).tools.map(({ name }) => name)).not.toContain('forget')
  await second.close()
  using db = await createVectorDB({ path: database })
  expect(db.count('memory.waiting')).toBe(1)
})
