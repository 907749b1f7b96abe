/**
 * Nodes as processes, with real HTTP and real UDP: two replicate, one is told to end under load, one is killed under
 * load. What was acknowledged is there afterwards, each time.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { TrustList } from '@agentic-flow/sqlite-vector/transport'
import { Client, flagsOf, WRITER } from '../helpers/node.ts'
import { NodeProcess } from '../helpers/process.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-process-'))
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** Pins one node's certificate in the folder of another. */
function trust(nodeId: string, certificatePem: string, name: string): void {
  TrustList.open(join(folder, `${nodeId}.db-node`)).add(certificatePem, name)
}

/** Writes from `writers` connections at once until something fails; the ids that were acknowledged. */
class Load {
  readonly acknowledged: string[] = []
  readonly #done: Promise<unknown>
  #next = 0

  constructor(url: string, writers: number) {
    const api = new Client(url, WRITER)
    this.#done = Promise.all(Array.from({ length: writers }, () => this.#write(api)))
  }

  /** Resolves when every writer has failed. */
  async failed(): Promise<void> {
    await this.#done
  }

  async #write(api: Client): Promise<void> {
    for (;;) {
      const id = `record-${(this.#next += 1)}`
      try {
        const response = await api.raw('/v1/shards/load/records', {
          method: 'POST',
          body: JSON.stringify({ records: [{ id, embedding: [1, 2, 3] }] }),
        })
        await response.arrayBuffer()
        if (response.status !== 200) return
      } catch {
        return
      }
      this.acknowledged.push(id)
    }
  }
}

async function missing(ids: readonly string[]): Promise<readonly string[]> {
  using db = await createVectorDB({ path: join(folder, 'node.db') })
  const records = db.getMany('load', ids)
  return ids.filter((_, index) => records[index] === null)
}

describe('one node under load', () => {
  test('told to end: it ends in order with exit code 0, and what it acknowledged is there', async () => {
    await using node = await NodeProcess.start({ ...flagsOf(folder), shards: ['load:3'] })
    const load = new Load(node.ready.url, 8)
    await expect.poll(() => load.acknowledged.length, { timeout: 50_000 }).toBeGreaterThan(200)

    const code = await node.end()
    await load.failed()

    expect(code).toBe(0)
    expect(await missing(load.acknowledged)).toEqual([])
  })

  test('killed: it starts again, is ready, and what it acknowledged is there', async () => {
    const flags = { ...flagsOf(folder), shards: ['load:3'] }
    const first = await NodeProcess.start(flags)
    const load = new Load(first.ready.url, 8)
    await expect.poll(() => load.acknowledged.length, { timeout: 50_000 }).toBeGreaterThan(200)

    await first.kill()
    await load.failed()
    await using second = await NodeProcess.start(flags)
    const api = new Client(second.ready.url, WRITER)
    const { body } = await api.get('/readyz')
    const { body: counted } = await api.post('/v1/shards/load/count', {})

    expect(body).toEqual({ status: 'ready', checks: { store: 'ok', sync: 'ok' } })
    expect(counted.count).toBeGreaterThanOrEqual(load.acknowledged.length)
    expect(second.ready.fingerprint).toBe(first.ready.fingerprint)
    await second.end()
    expect(await missing(load.acknowledged)).toEqual([])
  })
})

test('two nodes replicate: what one is told by HTTP the other finds, and the other way round', async () => {
  await using a = await NodeProcess.start({ ...flagsOf(folder, 'a'), shards: ['notes:2:l2'] })
  trust('b', a.ready.certificatePem, 'a')
  await using b = await NodeProcess.start({
    ...flagsOf(folder, 'b'),
    peers: [`a=${a.ready.syncAddress}/notes`],
    'sync-retry-ms': '500',
  })
  // While both run, and after the first attempt was refused or not: b tries again.
  trust('a', b.ready.certificatePem, 'b')
  const [atA, atB] = [new Client(a.ready.url, WRITER), new Client(b.ready.url, WRITER)]

  await atA.post('/v1/shards/notes/records', { records: [{ id: 'of-a', embedding: [1, 0] }] })
  await expect
    .poll(async () => (await atB.get('/v1/shards/notes/records/of-a')).status, { timeout: 50_000 })
    .toBe(200)
  await atB.post('/v1/shards/notes/records', { records: [{ id: 'of-b', embedding: [0, 1] }] })
  await expect
    .poll(async () => (await atA.get('/v1/shards/notes/records/of-b')).status, { timeout: 50_000 })
    .toBe(200)
  const found = await atA.post('/v1/shards/notes/query', { vector: [0, 1], k: 1 })

  expect(found.body.results).toMatchObject([{ id: 'of-b' }])
  expect([await b.end(), await a.end()]).toEqual([0, 0])
})

test('an address that is taken ends the start with the reason, and leaves nothing open', async () => {
  await using first = await NodeProcess.start(flagsOf(folder, 'first'))
  const taken = new URL(first.ready.url).host

  const second = NodeProcess.start({ ...flagsOf(folder, 'second'), 'http-listen': taken })

  await expect(second).rejects.toThrow(/TRANSPORT_ADDRESS_IN_USE/)
})
