/**
 * Three commands from a clone: an embedding service, `ingest`, `ask`. Then a second machine joins, takes the shard,
 * and asks the same offline, from its own file, while the first node is gone.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { run, start, temporaryFolder } from '../packages/cli/tests/helpers.ts'

const ROOT = join(import.meta.dirname, '..')
const SERVICE = join(ROOT, 'packages/embeddings/tests/helpers/embedding-service.ts')
const QUESTION = 'When may the tombstone of a deleted record be removed?'

interface Answer {
  readonly ranking: string
  readonly results: readonly { readonly id: string; readonly text: string }[]
}

/** A process of its own, as a person starts it. */
async function embeddingService() {
  const child = spawn(process.execPath, ['--conditions=source', SERVICE], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const { value } = (await lines.next()) as { value: string }
  const [url = '', model = ''] = value.split(' ')
  return {
    url,
    model,
    async [Symbol.asyncDispose]() {
      child.kill()
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    },
  }
}

function ask(database: string, ...more: readonly string[]): Answer {
  const { status, stdout, stderr } = run([
    'ask',
    'docs',
    QUESTION,
    '-d',
    database,
    '--json',
    ...more,
  ])
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return JSON.parse(stdout) as Answer
}

test('three commands answer a question; a second machine answers it from its replica, offline', async () => {
  using folder = temporaryFolder()
  const a = join(folder.path, 'a.db')
  const b = join(folder.path, 'b.db')
  const decisions = join(ROOT, 'docs', 'decisions')

  await using service = await embeddingService()
  const options = ['--embed', service.url, '--model', service.model, '--concurrency', '4']
  const ingested = run(['ingest', 'docs', decisions, '-d', a, ...options, '--json'])
  expect(ingested.status, ingested.stderr).toBe(0)
  const here = ask(a)
  expect(here.ranking).toBe('hybrid')
  expect(here.results.map(({ id }) => id).join(' ')).toMatch(/0016|0051/)

  {
    const addresses = ['--http-listen', '127.0.0.1:0', '--sync-listen', '127.0.0.1:0']
    await using node = start(['serve', '-d', a, '--invite', ...addresses])
    const said = new Map<string, string>()
    while (!said.has('token') || !said.has('sync')) {
      const line = await node.line()
      const token = /token.*: (svj1\.\S+)/.exec(line)?.[1]
      const address = /(?:sync|QUIC)\D*(127\.0\.0\.1:\d+)/i.exec(line)?.[1]
      if (token !== undefined) said.set('token', token)
      if (address !== undefined) said.set('sync', address)
    }
    const address = said.get('sync') ?? ''
    const joined = run([
      'cluster',
      'join',
      address,
      said.get('token') ?? '',
      '-d',
      b,
      '--shard',
      'docs',
    ])
    expect(joined.status, joined.stderr).toBe(0)
    const synced = run(['sync', 'docs', address, '-d', b, '--json'])
    expect(synced.status, synced.stderr).toBe(0)
  }

  const there = ask(b, '--embed', service.url)
  expect(there).toEqual(here)
}, 120_000)
