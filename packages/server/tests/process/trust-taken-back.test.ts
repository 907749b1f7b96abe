/**
 * Trust and permissions that another process takes back while two nodes are connected: the running nodes
 * end what rests on them within two seconds, whichever side takes them back.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Permissions } from '@agentic-flow/sqlite-vector/sync'
import {
  initCluster,
  inviteNode,
  joinCluster,
  revokeNode,
  TrustList,
} from '@agentic-flow/sqlite-vector/transport'
import { Client, flagsOf, WRITER } from '../helpers/node.ts'
import { NodeProcess } from '../helpers/process.ts'

/** The promise is two seconds; the rest is for asking a node on a busy machine. */
const WITHIN_MS = 2_500
const PATIENCE = { timeout: 50_000, interval: 50 }
const SHARD = 'notes'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'trust-taken-back-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function nodeFolder(name: string): string {
  return join(folder, `${name}.db-node`)
}

interface LivePair extends AsyncDisposable {
  readonly a: NodeProcess
  readonly b: NodeProcess
  readonly atA: Client
  readonly atB: Client
}

/** `b` dials `a`, and both keep the shard in sync. */
async function livePair(prepare?: (addressOfA: string) => Promise<void>): Promise<LivePair> {
  const a = await NodeProcess.start({ ...flagsOf(folder, 'a'), shards: [`${SHARD}:1:l2`] })
  if (prepare !== undefined) await prepare(a.ready.syncAddress)
  else TrustList.open(nodeFolder('b')).add(a.ready.certificatePem, 'a')
  const b = await NodeProcess.start({
    ...flagsOf(folder, 'b'),
    peers: [`a=${a.ready.syncAddress}/${SHARD}`],
    'sync-retry-ms': '300',
  })
  if (prepare === undefined) TrustList.open(nodeFolder('a')).add(b.ready.certificatePem, 'b')
  const [atA, atB] = [new Client(a.ready.url, WRITER), new Client(b.ready.url, WRITER)]
  await write(atA, 'first')
  await expect.poll(() => has(atB, 'first'), PATIENCE).toBe(true)
  await write(atB, 'second')
  await expect.poll(() => has(atA, 'second'), PATIENCE).toBe(true)
  expect([await connections(atA), await connections(atB)]).not.toContain(0)
  return {
    a,
    b,
    atA,
    atB,
    async [Symbol.asyncDispose]() {
      await Promise.all([a.kill(), b.kill()])
    },
  }
}

async function write(node: Client, id: string): Promise<void> {
  const body = { records: [{ id, embedding: [1] }] }
  expect((await node.post(`/v1/shards/${SHARD}/records`, body)).status).toBe(200)
}

async function has(node: Client, id: string): Promise<boolean> {
  return (await node.get(`/v1/shards/${SHARD}/records/${id}`)).status === 200
}

async function connections(node: Client): Promise<number> {
  const text = await (await node.raw('/metrics')).text()
  return Number(/^sqlite_vector_quic_connections (\d+)$/m.exec(text)?.[1])
}

/** Nothing is connected soon, and a write on either side then stays there. */
async function expectParted({ atA, atB }: LivePair): Promise<void> {
  await expect
    .poll(async () => [await connections(atA), await connections(atB)], {
      timeout: WITHIN_MS,
      interval: 50,
    })
    .toEqual([0, 0])
  await write(atA, 'late-a')
  await write(atB, 'late-b')
  // Refused attempts go on meanwhile: each of them would have brought the writes along.
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  expect([await has(atB, 'late-a'), await has(atA, 'late-b')]).toEqual([false, false])
}

for (const side of ['a', 'b'] as const) {
  test(`trust that ${side === 'a' ? 'the listener' : 'the dialler'} takes back ends an open connection`, async () => {
    await using pair = await livePair()
    const other = side === 'a' ? pair.b : pair.a

    TrustList.open(nodeFolder(side)).remove(other.ready.fingerprint)

    await expectParted(pair)
  })
}

test('a node that its cluster revokes is parted at once', async () => {
  initCluster(nodeFolder('a'), { name: 'test', nodeId: 'a' })
  await using pair = await livePair(async (address) => {
    const { token } = inviteNode(nodeFolder('a'))
    await joinCluster(nodeFolder('b'), address, token, { nodeId: 'b' })
  })

  revokeNode(nodeFolder('a'), 'b')

  await expectParted(pair)
})

test('a grant that is taken back ends what was under way, and one that is given again starts it', async () => {
  await using pair = await livePair()
  const permissions = Permissions.open(nodeFolder('a'))
  permissions.grant(pair.b.ready.fingerprint, '*', 'none')
  await write(pair.atA, 'while-withheld')
  await write(pair.atB, 'written-by-b')
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  const leaked = [await has(pair.atB, 'while-withheld'), await has(pair.atA, 'written-by-b')]

  permissions.grant(pair.b.ready.fingerprint, '*', 'write')

  expect(leaked).toEqual([false, false])
  await expect
    .poll(
      async () => [await has(pair.atB, 'while-withheld'), await has(pair.atA, 'written-by-b')],
      {
        timeout: WITHIN_MS,
        interval: 50,
      },
    )
    .toEqual([true, true])
})
