/**
 * The runbooks of docs/how-to/runbooks.md, run as they are written: every command of every block, in order, against nodes that
 * run, with the address replaced by the one that the first node took. Each must end with the exit code 0.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { afterEach, beforeEach, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..')
const MAIN = join(ROOT, 'packages', 'cli', 'src', 'main.ts')
const PAGE = readFileSync(join(ROOT, 'docs', 'how-to', 'runbooks.md'), 'utf8')
const ADDRESS_OF_PAGE = '192.0.2.1:4433'

let folder: string
let environment: NodeJS.ProcessEnv
const nodes = new Map<string, ChildProcess>()

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'runbooks-'))
  mkdirSync(join(folder, 'bin'))
  const command = join(folder, 'bin', 'sqlite-vector')
  writeFileSync(
    command,
    `#!/bin/sh\nexec "${process.execPath}" --conditions=source "${MAIN}" "$@"\n`,
  )
  chmodSync(command, 0o755)
  environment = {
    ...process.env,
    PATH: [join(folder, 'bin'), process.env['PATH']].join(delimiter),
    NODE_COMPILE_CACHE: join(ROOT, 'node_modules', '.cache', 'compile'),
  }
})

afterEach(async () => {
  for (const name of Array.from(nodes.keys())) await stop(name)
  rmSync(folder, { recursive: true, force: true })
})

/** Runs a line by a shell, with `sqlite-vector` being the command of this clone. */
async function run(line: string, cwd: string): Promise<string> {
  const child = spawn('sh', ['-c', line], {
    cwd,
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text))
  }
  const [code] = (await once(child, 'close')) as [number | null]
  expect(code, `${line}\n${output}`).toBe(0)
  return output
}

/** Starts a node as a service would; resolves with its address once it is ready. */
async function start(database: string, cwd: string, listen: string): Promise<string> {
  const child = spawn(
    join(folder, 'bin', 'sqlite-vector'),
    ['serve', '--json', '-d', database, '--http-listen', '127.0.0.1:0', '--sync-listen', listen],
    { cwd, env: environment, stdio: ['ignore', 'pipe', 'ignore'] },
  )
  nodes.set(database, child)
  for await (const line of createInterface({ input: child.stdout })) {
    return (JSON.parse(line) as { syncAddress: string }).syncAddress
  }
  throw new Error(`${database} did not start`)
}

async function stop(database: string): Promise<void> {
  const child = nodes.get(database)
  if (child === undefined) return
  nodes.delete(database)
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
}

function runbooks(): readonly { readonly title: string; readonly lines: readonly string[] }[] {
  return [...PAGE.matchAll(/^## ([^\n]+)\n(?:(?!^## )[\s\S])*?```sh runbook\n([\s\S]*?)```/gm)].map(
    ([, title = '', block = '']) => ({
      title,
      lines: block.split('\n').filter((line) => line !== ''),
    }),
  )
}

test('every command of every runbook does what it is there for', async () => {
  const cwd = join(folder, 'work')
  await run(`mkdir "${cwd}"`, folder)
  await run('sqlite-vector cluster init -d notes.db > token', cwd)
  {
    using db = await createVectorDB({ path: join(cwd, 'notes.db') })
    db.createShard('notes', { dimension: 2 })
    db.insert('notes', { id: 'kept', embedding: [1, 2] })
    db.insert('notes', { id: 'old', embedding: [2, 1], metadata: { stale: true } })
  }
  const address = await start('notes.db', cwd, '127.0.0.1:0')
  await run(`sqlite-vector cluster join ${address} @token -d b.db --shard notes`, cwd)
  await start('b.db', cwd, '127.0.0.1:0')

  const done: string[] = []
  for (const { title, lines } of runbooks()) {
    for (const line of lines) {
      const [, action, database = ''] = /^# (stop|start) (\S+)$/.exec(line) ?? []
      if (action === 'stop') await stop(database)
      else if (action === 'start') await start(database, cwd, address)
      else if (!line.startsWith('#')) await run(line.replaceAll(ADDRESS_OF_PAGE, address), cwd)
    }
    done.push(title)
  }

  expect(done).toEqual([
    'Back up',
    'Restore',
    'Replace a node',
    'Rotate keys',
    'Upgrade',
    'A stuck peer',
    'A full disk',
  ])
  using moved = await createVectorDB({ path: join(cwd, 'elsewhere.db') })
  expect(moved.get('notes', 'kept')?.text).toBeNull()
  expect(moved.get('notes', 'old')).toBeNull()
  const listed = await run('sqlite-vector cluster list -d notes.db --json', cwd)
  expect(JSON.parse(listed)).toMatchObject({
    nodes: [
      { nodeId: 'notes', isRevoked: false },
      { nodeId: 'b', isRevoked: true },
      { nodeId: 'c', isRevoked: true },
      { nodeId: 'c-2', isRevoked: false },
    ],
  })
}, 240_000)
