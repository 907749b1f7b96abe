/**
 * The command as a process: lost pipes, signals, full devices, a second node, wrong calls. Everything
 * here is a real process; none leaves a stack trace.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, openSync, closeSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { expect, test } from 'vitest'
import { MAIN, run, start, temporaryFolder } from './helpers.ts'

const KEY = 'first-key-of-the-tests-01'
const NEXT = 'second-key-of-the-tests-1'

interface Ready {
  readonly url: string
}

/** A configuration file with one key. */
function settings(key: string, level: string): string {
  return (
    `http:\n  listen: 127.0.0.1:0\n  apiKeys: [{ name: a, access: read-write, key: ${key} }]\n` +
    `sync: { listen: 'off' }\nlog: { level: ${level} }\n`
  )
}

test('a node outlives its readers, reloads at SIGHUP, opens no debugger, and is the only one on its file', async () => {
  using folder = temporaryFolder()
  const [path, config] = [join(folder.path, 'a.db'), join(folder.path, 'node.yaml')]
  writeFileSync(config, settings(KEY, 'info'))
  const args = ['serve', '--json', '--config', config, '--database', path]
  await using node = start(args)
  const { url } = JSON.parse(await node.line()) as Ready
  const statusOf = async (key: string): Promise<number> =>
    (await fetch(`${url}/v1/shards`, { headers: { authorization: `Bearer ${key}` } })).status

  const second = run(args)
  expect([second.status, second.stderr]).toEqual([
    1,
    expect.stringContaining('NODE_ALREADY_RUNNING'),
  ])
  expect(second.stderr).toContain(`process ${node.process.pid}`)

  node.process.kill('SIGUSR1')
  writeFileSync(config, 'http: { apiKeys: wrong }')
  node.process.kill('SIGHUP')
  await expect.poll(() => node.stderr(), { timeout: 20_000 }).toContain('reload-failed')
  expect(node.stderr()).not.toMatch(/Debugger listening/)
  expect(await statusOf(KEY)).toBe(200)

  node.process.stderr?.destroy()
  node.process.stdout?.destroy()
  writeFileSync(config, settings(NEXT, 'debug'))
  node.process.kill('SIGHUP')
  await expect.poll(() => statusOf(NEXT), { timeout: 20_000 }).toBe(200)
  expect(await statusOf(KEY)).toBe(401)
  expect(node.process.exitCode).toBe(null)
  expect(await node.stop()).toBe(0)
})

test('an export whose reader does not read ends within a second of Ctrl-C, and leaves nothing', async () => {
  using folder = temporaryFolder()
  const path = join(folder.path, 'a.db')
  {
    using db = await createVectorDB({ path })
    db.createShard('many', { dimension: 64 })
    const embedding = Array.from({ length: 64 }, (_, index) => index + 0.123)
    const records = Array.from({ length: 10_000 }, (_, index) => ({ id: `r${index}`, embedding }))
    await db.insertBatch('many', records)
  }
  const child = spawn(
    process.execPath,
    ['--conditions=source', MAIN, 'export', 'many', '-', '--format', 'jsonl', '-d', path],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  await once(child.stdout, 'readable', { signal: AbortSignal.timeout(30_000) })

  const sentMs = performance.now()
  child.kill('SIGINT')
  const [code] = (await once(child, 'exit')) as [number]

  expect(code).toBe(130)
  expect(performance.now() - sentMs).toBeLessThan(1_500)
})

test.skipIf(!existsSync('/dev/full'))(
  'a full device is a coded error without a stack',
  async () => {
    const full = openSync('/dev/full', 'w')
    const child = spawn(process.execPath, ['--conditions=source', MAIN, '--help'], {
      stdio: ['ignore', full, 'pipe'],
    })
    closeSync(full)
    let errors = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (errors += text))
    const [code] = (await once(child, 'close')) as [number]

    expect([code, errors]).toEqual([
      1,
      expect.stringMatching(/^OUTPUT_FAILED: cannot write to stdout: ENOSPC/),
    ])
    expect(errors).not.toContain('    at ')
  },
)

test('wrong calls are short, suggest, are JSON with --json, and never show a stack', () => {
  using folder = temporaryFolder()
  const cwd = folder.path

  const typo = run(['exprot'], { cwd })
  const json = run(['exprot', '--json'], { cwd })
  const verb = run(['conflicts', 'lst'], { cwd })
  const demo = run(['demo'], { cwd })
  const port = run(
    [
      'serve',
      '--http-listen',
      '192.0.2.1:1',
      '--sync-listen',
      'off',
      '--http-api-keys',
      `a:read-only:${KEY}`,
    ],
    { cwd },
  )
  const file = run(['serve', '--audit-file', '/nowhere/audit.log', '--json'], { cwd })

  expect([typo.status, typo.stderr]).toEqual([
    2,
    'unknown command exprot; did you mean export?\nsqlite-vector --help lists the commands\n',
  ])
  expect(JSON.parse(json.stderr)).toEqual({
    error: { code: 'USAGE', message: 'unknown command exprot; did you mean export?' },
  })
  expect(verb.stderr).toContain('conflicts takes one of: list, show, resolve, undo')
  expect(demo.stderr).toContain('INPUT_INVALID')
  expect(port.stderr).toContain('http.listen')
  expect(JSON.parse(file.stderr.trim().split('\n').at(-1) ?? '')).toMatchObject({
    error: { code: 'SYSTEM' },
  })
  for (const { stderr } of [typo, verb, demo, port, file]) expect(stderr).not.toMatch(/^ {4}at /m)
})

test('options may stand before the command', () => {
  using folder = temporaryFolder()
  const path = join(folder.path, 'a.db')

  const made = run(['--database', path, '--json', 'init', 'notes', '--dimension', '3'])

  expect(JSON.parse(made.stdout)).toMatchObject({ database: path, shards: [{ shardId: 'notes' }] })
})

test('export --force replaces regular files only, and follows no link at FILE.partial', () => {
  using folder = temporaryFolder()
  const at = (name: string): string => join(folder.path, name)
  run(['init', 'notes', '--dimension', '3', '-d', at('a.db')])
  writeFileSync(at('precious'), 'precious')
  symlinkSync(at('precious'), at('link.jsonl'))
  symlinkSync(at('precious'), at('out.jsonl.partial'))

  const link = run(['export', 'notes', at('link.jsonl'), '--force', '-d', at('a.db')])
  const device = run([
    'export',
    'notes',
    '/dev/null',
    '--force',
    '--format',
    'jsonl',
    '-d',
    at('a.db'),
  ])
  const beside = run(['export', 'notes', at('out.jsonl'), '-d', at('a.db')])

  expect([link.status, link.stderr]).toEqual([1, expect.stringContaining('not a regular file')])
  expect([device.status, device.stderr]).toEqual([1, expect.stringContaining('not a regular file')])
  expect(beside.status).toBe(0)
  expect(readFileSync(at('precious'), 'utf8')).toBe('precious')
})

test('a shard gets its conflict strategy and the file its metadata indexes by command', () => {
  using folder = temporaryFolder()
  const on = (...args: readonly string[]) => run([...args, '-d', join(folder.path, 'a.db')])
  on('init', 'notes', '--dimension', '3')

  expect(on('shards', 'strategy', 'notes', 'manual').stdout).toBe(
    'notes shows conflicts by manual\n',
  )
  expect(on('shards', 'strategy', 'notes', 'magic').status).toBe(2)
  expect(on('shards', 'index', 'author.name').stdout).toBe('author.name\n')
  expect(on('shards', 'index', 'author.name', '--remove').stdout).toBe('no indexes\n')
})
