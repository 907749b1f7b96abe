/**
 * Sync with an address at which another node answers than the session ticket names: grants, cursors and
 * acknowledgements are those of the node that answers.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createVectorDB, type SQLiteVectorDB } from '../../src/store/vector-db.ts'
import { createVectorSync, type VectorSync } from '../../src/sync/index.ts'
import { SqliteVectorError } from '../../src/errors.ts'

const SHARD = 'notes'

interface Node extends AsyncDisposable {
  readonly db: SQLiteVectorDB
  readonly sync: VectorSync
}

async function openNode(folder: string, name: string): Promise<Node> {
  const db = await createVectorDB({ path: join(folder, `${name}.db`) })
  const sync = createVectorSync(db, name)
  return {
    db,
    sync,
    async [Symbol.asyncDispose]() {
      await sync.close()
      db.close()
    },
  }
}

function introduce(a: Node, b: Node): void {
  a.sync.trust.add(b.sync.certificatePem)
  b.sync.trust.add(a.sync.certificatePem)
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'none'
  } catch (error) {
    if (error instanceof SqliteVectorError) return error.code
    throw error
  }
}

test('a node without a grant that took over an address gets and gives nothing', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'taken-over-'))
  {
    await using a = await openNode(folder, 'a')
    await using b = await openNode(folder, 'b')
    await using c = await openNode(folder, 'c')
    introduce(a, b)
    introduce(a, c)
    a.sync.permissions.grant('*', '*', 'none')
    a.sync.permissions.grant(b.sync.fingerprint, SHARD, 'write')
    a.db.createShard(SHARD, { dimension: 1, metric: 'l2' })
    a.db.insert(SHARD, { id: 'one', embedding: [1] })
    const address = await b.sync.listen('127.0.0.1:0')
    await a.sync.sync(SHARD, address)
    await b.sync.close()
    await c.sync.listen(address)
    a.db.insert(SHARD, { id: 'two', embedding: [2] })

    const code = await codeOf(a.sync.sync(SHARD, address))
    const acknowledged = await codeOf(
      a.sync.waitForPeers(SHARD, { acks: 1, signal: AbortSignal.timeout(300) }),
    )

    expect(code).toBe('SYNC_FORBIDDEN')
    expect(acknowledged).toBe('TRANSPORT_ABORTED')
    expect(c.db.shards()).toEqual([])
  }
  rmSync(folder, { recursive: true })
})

test('a node with a grant that took over an address is synced under its own name', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'taken-over-'))
  {
    await using a = await openNode(folder, 'a')
    await using b = await openNode(folder, 'b')
    await using c = await openNode(folder, 'c')
    introduce(a, b)
    introduce(a, c)
    a.db.createShard(SHARD, { dimension: 1, metric: 'l2' })
    a.db.insert(SHARD, { id: 'one', embedding: [1] })
    const address = await b.sync.listen('127.0.0.1:0')
    await a.sync.sync(SHARD, address)
    await b.sync.close()
    await c.sync.listen(address)

    const result = await a.sync.sync(SHARD, address)

    expect(result.peer).toBe(c.sync.fingerprint)
    expect(c.db.count(SHARD)).toBe(1)
  }
  rmSync(folder, { recursive: true })
})
