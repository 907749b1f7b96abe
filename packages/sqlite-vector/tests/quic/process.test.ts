/**
 * Nodes as processes: one that is killed is noticed and replaced, one that closes leaves nothing open,
 * many connections and channels leave no memory behind.
 */
import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openIdentity } from '../../src/transport/identity/identity.ts'
import { TrustList } from '../../src/transport/identity/trust.ts'
import type { Connection } from '../../src/transport/types.ts'
import { readAll } from '../../src/testing/connection-pair.ts'
import { openNode } from './quic-fixture.ts'
import type { TestNode } from './quic-fixture.ts'

let root: string
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'process-'))
})
afterAll(() => rmSync(root, { recursive: true }))

interface Peer {
  readonly program: ChildProcessWithoutNullStreams
  readonly address: string
  rssBytes(): Promise<number>
  kill(): Promise<void>
}

/** Starts a listening node in a process of its own that trusts `node`, and makes `node` trust it. */
async function startPeer(name: string, node: TestNode, address = '127.0.0.1:0'): Promise<Peer> {
  const folder = join(root, name)
  TrustList.open(folder).add(node.identity.certificatePem)
  node.trust.add(openIdentity(folder).certificatePem)
  const script = join(import.meta.dirname, 'listen-node.ts')
  const program = spawn(process.execPath, [
    '--conditions=source',
    '--expose-gc',
    script,
    folder,
    address,
  ])
  program.stderr.pipe(process.stderr)
  const lines = createInterface({ input: program.stdout })[Symbol.asyncIterator]()
  const line = async (): Promise<string> => String((await lines.next()).value)
  return {
    program,
    address: await line(),
    async rssBytes() {
      program.stdin.write('memory\n')
      return Number(await line())
    },
    async kill() {
      program.kill('SIGKILL')
      await once(program, 'exit')
    },
  }
}

async function ask(connection: Connection, value: number): Promise<number | undefined> {
  const channel = await connection.openChannel()
  await channel.send(Uint8Array.of(value))
  await channel.finish()
  return (await readAll(channel))[0]?.[0]
}

test('a peer killed and started again is reached at the next use, not after the idle timeout', async () => {
  await using node = await openNode({ keepAliveMs: 9_000 })
  const first = await startPeer('killed', node)
  const before = await node.transport.dial(first.address)
  expect(await ask(before, 1)).toBe(1)
  await first.kill()
  const second = await startPeer('killed', node, first.address)
  await new Promise((resolve) => setTimeout(resolve, 600))

  const startedMs = performance.now()
  const after = await node.transport.dial(second.address)
  expect(await before.closed).toMatchObject({
    by: 'peer',
    reason: expect.stringContaining('it was restarted'),
  })
  const answer = await ask(after, 2)
  const tookMs = performance.now() - startedMs
  await second.kill()

  expect(answer).toBe(2)
  expect(after).not.toBe(before)
  // It takes milliseconds; without the reset it would take the idle timeout of 10 s.
  expect(tookMs).toBeLessThan(9_000)
  expect(node.transport.getStats()).toMatchObject({ replaced: 1, dialled: 2 })
})

test('a peer killed for good is noticed at the next use, and its connection within the idle timeout', async () => {
  await using node = await openNode({ maxIdleTimeoutMs: 1_000, handshakeTimeoutMs: 300 })
  const peer = await startPeer('gone', node)
  const connection = await node.transport.dial(peer.address)
  await peer.kill()
  const killedMs = performance.now()
  await new Promise((resolve) => setTimeout(resolve, 510))

  await expect(node.transport.dial(peer.address)).rejects.toMatchObject({
    code: 'TRANSPORT_HANDSHAKE_TIMEOUT',
  })
  const dialMs = performance.now() - killedMs
  expect(await connection.closed).toMatchObject({ code: 'TRANSPORT_CLOSED' })

  // Below the default timeouts of 5 and 10 s, far above what a busy machine adds.
  expect(dialMs).toBeLessThan(5_000)
  expect(performance.now() - killedMs).toBeLessThan(9_500)
})

test('a process that closes its transport ends by itself, at once', async () => {
  const script = join(root, 'ends.ts')
  const source = join(import.meta.dirname, '../../src/transport/index.ts')
  writeFileSync(
    script,
    `import { QuicTransport, TrustList, createIdentity } from ${JSON.stringify(source)}
     const [a, b] = [createIdentity(), createIdentity()]
     const node = (identity: typeof a, other: typeof a) => {
       const trust = TrustList.inMemory()
       trust.add(other.certificatePem)
       return QuicTransport.create({ identity, trust })
     }
     const [here, there] = [await node(a, b), await node(b, a)]
     const connection = await here.dial(await there.listen('127.0.0.1:0'))
     const channel = await connection.openChannel()
     await channel.send(new Uint8Array(100_000))
     void channel.receive().catch(() => {})
     await Promise.all([here.close(), there.close()])
     process.stdout.write('closed')
     process.on('exit', () => process.stdout.write(' ' + process.getActiveResourcesInfo().filter((kind) => kind !== 'PipeWrap').join()))`,
  )
  const program = spawn(process.execPath, ['--conditions=source', script])
  let said = ''
  let closedMs = 0
  program.stdout.on('data', (data: Buffer) => {
    if (said === '') closedMs = performance.now()
    said += data.toString()
  })
  program.stderr.pipe(process.stderr)

  const [code] = (await once(program, 'exit')) as [number]

  expect(code).toBe(0)
  expect(said).toBe('closed ')
  // A timer or socket left behind would hold it for an idle timeout.
  expect(performance.now() - closedMs).toBeLessThan(9_000)
})

test('hundreds of connections and their channels leave no memory behind', async () => {
  await using node = await openNode()
  const peer = await startPeer('memory', node)
  const round = async (connections: number, channels: number): Promise<void> => {
    for (let index = 0; index < connections; index += 1) {
      const connection = await node.transport.dial(peer.address)
      for (let channel = 0; channel < channels; channel += 1) await ask(connection, 1)
      await connection.close()
    }
  }
  await round(200, 4)
  const before = await peer.rssBytes()

  await round(150, 4)
  const after = await peer.rssBytes()
  await peer.kill()

  // Pages of the first rounds are used again; what grows is what leaks.
  expect((after - before) / 150).toBeLessThan(50_000)
})
