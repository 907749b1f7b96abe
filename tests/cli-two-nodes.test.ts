/**
 * README's "Two nodes in a minute", run as a new user would: its commands and no others, in two shells, and then a
 * record that is written on each side appears on the other.
 *
 * `npm install` alone is not run again: the clone is this one. Ports are replaced by free ones, TOKEN by what was printed.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..')
const README = readFileSync(join(ROOT, 'README.md'), 'utf8')
const PATIENCE = { timeout: 90_000, interval: 250 }

let folder: string
const running: ChildProcess[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'two-nodes-'))
})

afterEach(async () => {
  for (const child of running.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) continue
    const exited = once(child, 'exit')
    // The group: npm and a shell stand between us and the node.
    process.kill(-child.pid, 'SIGTERM')
    await exited
  }
  rmSync(folder, { recursive: true, force: true })
})

/** The commands of a fenced block, comments left out. */
function commandsAfter(heading: string, fence: string): readonly string[] {
  const section = README.slice(README.indexOf(heading))
  const [, block = ''] = new RegExp(`\`\`\`${fence}\\n([\\s\\S]*?)\`\`\``).exec(section) ?? []
  return block.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
}

interface Shell {
  readonly child: ChildProcess
  readonly output: () => string
}

function shell(command: string): Shell {
  const child = spawn(command, {
    shell: true,
    detached: true,
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.push(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text))
  }
  return { child, output: () => output }
}

async function finished({ child, output }: Shell): Promise<string> {
  const [code] = (await once(child, 'exit')) as [number | null]
  expect(code, output()).toBe(0)
  return output()
}

async function freePort(kind: 'tcp' | 'udp'): Promise<number> {
  if (kind === 'tcp') {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    server.close()
    return port
  }
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  return port
}

test('four commands lead from a clone to two nodes that replicate', async () => {
  const [install, serveA = '', joinB = '', serveB = '', ...more] = commandsAfter(
    '## Two nodes in a minute',
    'sh two-nodes',
  )
  const [writeA = '', readB = ''] = commandsAfter('a moment later', 'sh')
  const ports = {
    '127.0.0.1:8080': await freePort('tcp'),
    '127.0.0.1:8081': await freePort('tcp'),
    '127.0.0.1:4433': await freePort('udp'),
    '127.0.0.1:4434': await freePort('udp'),
  }
  const local = (command: string): string => {
    let text = command.replaceAll(/(?<= )([ab]\.db)/g, join(folder, '$1'))
    for (const [address, port] of Object.entries(ports)) {
      text = text.replaceAll(address, `127.0.0.1:${port}`)
    }
    return text
  }
  // The first node of the README takes the default ports; here they may be taken.
  const defaults = ` --http-listen 127.0.0.1:${ports['127.0.0.1:8080']} --sync-listen 127.0.0.1:${ports['127.0.0.1:4433']}`

  const a = shell(local(serveA) + defaults)
  await expect.poll(a.output, PATIENCE).toMatch(/token.*: svj1\./)
  const [, token = ''] = /token.*: (svj1\.\S+)/.exec(a.output()) ?? []
  const joined = await finished(shell(local(joinB).replace('TOKEN', token)))
  const b = shell(local(serveB))
  await expect.poll(b.output, PATIENCE).toContain('is ready')
  await finished(shell(local(writeA)))
  const seen = async (command: string): Promise<string> => {
    const reading = shell(`${local(command)} || true`)
    return finished(reading)
  }
  await expect.poll(() => seen(readB), PATIENCE).toContain('"id":"hello"')
  await finished(shell(local(writeA).replace('hello', 'back').replace('a.db', 'b.db')))
  await expect
    .poll(() => seen(readB.replace('hello', 'back').replace('b.db', 'a.db')), PATIENCE)
    .toContain('"id":"back"')

  expect(install).toBe('npm install')
  expect(more).toEqual([])
  expect(joined).toContain('b joined cluster')
}, 240_000)
