/**
 * Sessions over real stores without a network: what the simulator found, each as the smallest case.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { createVectorDB, type SQLiteVectorDB } from '../../../src/store/vector-db.ts'
import { type ChannelEffect, SessionDriver } from '../../../src/sync/driver.ts'
import { createPuller } from '../../../src/sync/session-puller.ts'
import { createSender } from '../../../src/sync/session-sender.ts'
import type { PullSession } from '../../../src/sync/session-types.ts'

const SHARD = 'notes'

let folder: string
let open: SQLiteVectorDB[]

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'driver-'))
  open = []
})

afterEach(() => {
  for (const db of open) db.close()
  rmSync(folder, { recursive: true, force: true })
})

async function openNode(name: string): Promise<SQLiteVectorDB> {
  const db = await createVectorDB({ path: join(folder, `${name}.db`), durability: 'normal' })
  db.createShard(SHARD, { dimension: 2, metric: 'l2' })
  open.push(db)
  return db
}

/** Pulls until it ends, or until the channel is torn after so many batches. Batches hold one record. */
function pull(puller: SQLiteVectorDB, sender: SQLiteVectorDB, batchesMax = Infinity): PullSession {
  const setup = { nodeId: 'node', batchSize: 1 }
  const pulling = new SessionDriver(
    createPuller({ peer: peerOf(sender), shardId: SHARD, live: false }),
    { ...setup, store: puller.replica },
  )
  const sending = new SessionDriver(createSender({ peer: peerOf(puller), shardId: SHARD }), {
    ...setup,
    store: sender.replica,
  })
  pulling.start()
  for (;;) {
    if (pulling.session.tally.batches >= batchesMax) return pulling.session
    if (pulling.busy) deliver(pulling.advance(), sending)
    else if (sending.busy) deliver(sending.advance(), pulling)
    else return pulling.session
  }
}

function deliver(effect: ChannelEffect | null, to: SessionDriver): void {
  if (effect?.type === 'send') to.take(effect.bytes)
  if (effect?.type === 'finish') to.tell({ type: 'finished' })
}

function peerOf(db: SQLiteVectorDB): string {
  return Buffer.from(db.path).toString('hex').padStart(64, '0').slice(-64)
}

describe('sessions over real stores', () => {
  test('an interrupted transfer is not taken for divergence', async () => {
    const [source, torn, empty] = [await openNode('a'), await openNode('b'), await openNode('c')]
    source.insert(SHARD, { id: 'one', embedding: [1, 2] })
    source.insert(SHARD, { id: 'two', embedding: [3, 4] })
    pull(torn, source, 1)
    expect(torn.count(SHARD)).toBe(1)
    expect(torn.replica.shardState(SHARD).versionVector.size).toBe(0)

    // Both vectors are empty; the rows are not equal, and nothing is wrong.
    const fromEmpty = pull(torn, empty)
    const fromTorn = pull(await openNode('d'), torn)

    expect(fromEmpty.error).toBeNull()
    expect(fromTorn.error).toBeNull()
    expect(torn.replica.shardState(SHARD).settled).toBe(false)
    expect(pull(torn, source).error).toBeNull()
    expect(torn.replica.shardState(SHARD).settled).toBe(true)
  })
})
