/**
 * One key in two places: a copy of a node's file and key runs beside the original. Sync goes on with one of
 * them, both are named, and the other has its turn when the first has gone.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createVectorDB, type SQLiteVectorDB } from '../../src/store/vector-db.ts'
import { createVectorSync, type SyncEvent, type VectorSync } from '../../src/sync/index.ts'
import { SqliteVectorError } from '../../src/errors.ts'

const SHARD = 'notes'
const PATIENCE = { timeout: 20_000, interval: 20 }

interface Node extends AsyncDisposable {
  readonly db: SQLiteVectorDB
  readonly sync: VectorSync
  readonly events: SyncEvent[]
}

async function openNode(folder: string, name: string): Promise<Node> {
  const db = await createVectorDB({ path: join(folder, `${name}.db`) })
  const events: SyncEvent[] = []
  const sync = createVectorSync(db, name, { onEvent: (event) => events.push(event) })
  return {
    db,
    sync,
    events,
    async [Symbol.asyncDispose]() {
      await sync.close()
      db.close()
    },
  }
}

function errorsOf({ events }: Node): string[] {
  const codes: string[] = []
  for (const event of events) {
    if (event.type === 'error' && event.error instanceof SqliteVectorError)
      codes.push(event.error.code)
  }
  return codes
}

test('a copy of a node beside the original stalls neither, and is named on both sides', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'shared-key-'))
  {
    await using a = await openNode(folder, 'a')
    {
      await using b = await openNode(folder, 'b')
      a.sync.trust.add(b.sync.certificatePem)
      b.sync.trust.add(a.sync.certificatePem)
    }
    cpSync(join(folder, 'b.db'), join(folder, 'c.db'))
    cpSync(join(folder, 'b.db-node'), join(folder, 'c.db-node'), { recursive: true })
    await using b = await openNode(folder, 'b')
    await using c = await openNode(folder, 'c')
    a.db.createShard(SHARD, { dimension: 1, metric: 'l2' })
    const address = await a.sync.listen('127.0.0.1:0')
    b.sync.startAutoSync(SHARD, address)
    a.db.insert(SHARD, { id: 'first', embedding: [1] })
    await expect.poll(() => b.db.shards().length > 0 && b.db.count(SHARD), PATIENCE).toBe(1)

    c.sync.startAutoSync(SHARD, address)
    await expect
      .poll(() => a.events.filter(({ type }) => type === 'key-shared'), PATIENCE)
      .toHaveLength(1)
    await expect.poll(() => errorsOf(c), PATIENCE).toContain('SYNC_ALREADY_LIVE')
    a.db.insert(SHARD, { id: 'of-a', embedding: [2] })
    b.db.insert(SHARD, { id: 'of-b', embedding: [3] })
    await expect.poll(() => [a.db.count(SHARD), b.db.count(SHARD)], PATIENCE).toEqual([3, 3])
    const shared = a.events.find((event) => event.type === 'key-shared')

    await b.sync.close()
    a.db.insert(SHARD, { id: 'later', embedding: [4] })

    expect(shared).toMatchObject({ peer: b.sync.fingerprint })
    await expect.poll(() => c.db.shards().length > 0 && c.db.count(SHARD), PATIENCE).toBe(4)
  }
  rmSync(folder, { recursive: true })
})
