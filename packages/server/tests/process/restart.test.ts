/**
 * A node that is killed and started again at once: the first writes after the restart are at the other node
 * within two seconds, whichever of the two dials. `RESTART_ROUNDS` and `RESTART_WITHIN_MS` set the number of
 * rounds and the bound.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { TrustList } from '@agentic-flow/sqlite-vector/transport'
import { Client, flagsOf, WRITER } from '../helpers/node.ts'
import { NodeProcess } from '../helpers/process.ts'

const ROUNDS = Number(process.env['RESTART_ROUNDS'] ?? 1)
/** By default far below the idle timeout of ten seconds, and far above the promise: machines are busy. */
const WITHIN_MS = Number(process.env['RESTART_WITHIN_MS'] ?? 9_000)
const PATIENCE = { timeout: 50_000, interval: 50 }
const SHARD = 'notes'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'restart-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

async function write(node: Client, id: string): Promise<void> {
  const body = { records: [{ id, embedding: [1] }] }
  expect((await node.post(`/v1/shards/${SHARD}/records`, body)).status).toBe(200)
}

async function has(node: Client, id: string): Promise<boolean> {
  return (await node.get(`/v1/shards/${SHARD}/records/${id}`)).status === 200
}

for (const dialler of ['the killed node', 'its peer'] as const) {
  test(`a node that is killed and started again is live at once where ${dialler} dials`, async () => {
    const isOurs = dialler === 'the killed node'
    // Both listen where they listened before: the peer's address is configured.
    const flags = { ...flagsOf(folder, 'b'), shards: [`${SHARD}:1:l2`], 'sync-retry-ms': '500' }
    let b = await NodeProcess.start(flags)
    const fixed = { ...flags, 'sync-listen': b.ready.syncAddress }
    TrustList.open(join(folder, 'a.db-node')).add(b.ready.certificatePem, 'b')
    await using a = await NodeProcess.start({
      ...flagsOf(folder, 'a'),
      shards: [`${SHARD}:1:l2`],
      ...(isOurs ? {} : { peers: [`b=${b.ready.syncAddress}/${SHARD}`], 'sync-retry-ms': '500' }),
    })
    TrustList.open(join(folder, 'b.db-node')).add(a.ready.certificatePem, 'a')
    const again = isOurs ? { ...fixed, peers: [`a=${a.ready.syncAddress}/${SHARD}`] } : fixed
    await b.end()
    b = await NodeProcess.start(again)
    const atA = new Client(a.ready.url, WRITER)
    await write(atA, 'first')
    await expect.poll(() => has(new Client(b.ready.url, WRITER), 'first'), PATIENCE).toBe(true)
    const tookMs: number[] = []

    for (let round = 0; round < ROUNDS; round += 1) {
      await b.kill()
      b = await NodeProcess.start(again)
      const atB = new Client(b.ready.url, WRITER)
      const startedMs = performance.now()
      await write(atB, `of-b-${round}`)
      await write(atA, `of-a-${round}`)
      await expect
        .poll(
          async () => [await has(atA, `of-b-${round}`), await has(atB, `of-a-${round}`)],
          PATIENCE,
        )
        .toEqual([true, true])
      tookMs.push(Math.round(performance.now() - startedMs))
    }
    await b.kill()
    if (ROUNDS > 2) console.log(tookMs.toSorted((x, y) => x - y).join(' '))

    expect(Math.max(...tookMs)).toBeLessThan(WITHIN_MS)
  }, 1_200_000)
}
