/**
 * Sessions over real stores without a network: what the simulator found, each as the smallest case.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { createVectorDB, type SQLiteVectorDB } from '../../../../src/store/vector-db.ts'
import { type ChannelEffect, SessionDriver } from '../../../../src/sync/session/driver.ts'
import { createPuller } from '../../../../src/sync/session/puller.ts'
import { createSender } from '../../../../src/sync/session/sender.ts'
import type { PullSession, SendSession } from '../../../../src/sync/session/types.ts'

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
  const db = await createVectorDB({
    path: join(folder, `${name}.db`),
    durability: 'normal',
    busyTimeoutMs: 0,
  })
  db.createShard(SHARD, { dimension: 2, metric: 'l2' })
  open.push(db)
  return db
}

function connect(
  puller: SQLiteVectorDB,
  sender: SQLiteVectorDB,
): { readonly pulling: SessionDriver<PullSession>; readonly sending: SessionDriver<SendSession> } {
  const setup = { nodeId: 'node', batchSize: 1 }
  const request = { peer: peerOf(sender), shardId: SHARD, live: false }
  return {
    pulling: new SessionDriver(createPuller(request), { ...setup, store: puller.replica }),
    sending: new SessionDriver(createSender({ peer: peerOf(puller), shardId: SHARD }), {
      ...setup,
      store: sender.replica,
    }),
  }
}

/** Pulls until it ends, or until the channel is torn after so many batches. Batches hold one record. */
function pull(puller: SQLiteVectorDB, sender: SQLiteVectorDB, batchesMax = Infinity): PullSession {
  const { pulling, sending } = connect(puller, sender)
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
  test('a sender whose file is busy at the end still says that it is done', async () => {
    const [puller, sender] = [await openNode('a'), await openNode('b')]
    sender.insert(SHARD, { id: 'one', embedding: [1, 2] })
    const { pulling, sending } = connect(puller, sender)
    pulling.start()
    while (sending.session.phase !== 'closed') {
      if (pulling.busy) deliver(pulling.advance(), sending)
      // The ACK is taken, but not recorded before DONE is taken, too.
      else if (sending.busy && pulling.session.phase !== 'leaving') {
        deliver(sending.advance(), pulling)
      }
    }

    using other = new DatabaseSync(sender.path)
    other.exec('BEGIN IMMEDIATE')
    while (sending.busy) deliver(sending.advance(), pulling)

    expect(pulling.session.phase).toBe('closed')
    expect(pulling.session.error).toBeNull()
    expect(sender.replica.peerCursor(SHARD, peerOf(puller))?.versionVector ?? null).toBeNull()
  })

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
