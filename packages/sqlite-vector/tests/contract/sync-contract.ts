/**
 * What `createVectorSync()` must do over any transport. Each transport's test file is one call of this.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { describe, expect, test } from 'vitest'

import { createVectorDB, type SQLiteVectorDB } from '../../src/store/vector-db.ts'
import type { RecordInput } from '../../src/store/types.ts'
import type { SyncEvent, VectorSync, VectorSyncConfig } from '../../src/sync/index.ts'

/** One node of a test. */
export interface SyncNode extends AsyncDisposable {
  readonly db: SQLiteVectorDB
  readonly sync: VectorSync
  /** Where it listens. */
  readonly address: string
  readonly events: SyncEvent[]
}

/** Two nodes that trust each other and listen; the folder is theirs until they are disposed. */
export interface SyncFixture extends AsyncDisposable {
  readonly a: SyncNode
  readonly b: SyncNode
}

/** Makes two nodes' syncs over one transport. */
export type OpenSyncs = (
  databases: readonly [SQLiteVectorDB, SQLiteVectorDB],
  configs: readonly [VectorSyncConfig, VectorSyncConfig],
) => Promise<readonly [VectorSync, VectorSync]>

export const SHARD = 'notes'
const DIMENSION = 4

/** The `index`-th record of a series: its own vector, metadata and text. */
export function recordOf(index: number, dimension = DIMENSION): RecordInput {
  const embedding = Float32Array.from(
    { length: dimension },
    (_, at) => Math.sin(index * 7 + at) + 2,
  )
  return {
    id: `record ${index} é🌍`,
    embedding,
    metadata: { index, tags: ['é'] },
    text: `№ ${index}`,
  }
}

export function recordsOf(count: number, from = 0): RecordInput[] {
  return Array.from({ length: count }, (_, index) => recordOf(from + index))
}

/** Everything that is visible of a shard, in the order of ids. */
export function rowsOf(db: SQLiteVectorDB, shardId = SHARD): unknown[] {
  const rows: unknown[] = []
  let cursor: string | null = null
  do {
    const page = db.list(shardId, {
      limit: 1_000,
      includeVectors: true,
      ...(cursor === null ? {} : { cursor }),
    })
    rows.push(...page.records)
    cursor = page.nextCursor
  } while (cursor !== null)
  return rows
}

export function expectEqual(a: SyncNode, b: SyncNode, shardId = SHARD): void {
  const [ours, theirs] = [a, b].map(({ db }) => db.replica.shardState(shardId))
  expect(ours?.versionVector).toEqual(theirs?.versionVector)
  expect(ours?.digest).toBe(theirs?.digest)
  expect(rowsOf(a.db, shardId)).toEqual(rowsOf(b.db, shardId))
}

export async function openFixture(
  openSyncs: OpenSyncs,
  config: VectorSyncConfig = {},
): Promise<SyncFixture> {
  const folder = mkdtempSync(join(tmpdir(), 'sync-contract-'))
  const open = (name: string): Promise<SQLiteVectorDB> =>
    createVectorDB({ path: join(folder, `${name}.db`), durability: 'normal' })
  const databases = [await open('a'), await open('b')] as const
  const events: [SyncEvent[], SyncEvent[]] = [[], []]
  const syncs = await openSyncs(databases, [
    { ...config, onEvent: (event) => events[0].push(event) },
    { ...config, onEvent: (event) => events[1].push(event) },
  ])
  const nodeOf = async (index: 0 | 1): Promise<SyncNode> => {
    const [db, sync] = [databases[index], syncs[index]]
    const address = await sync.listen()
    const dispose = async (): Promise<void> => {
      await sync.close()
      db.close()
    }
    return { db, sync, address, events: events[index], [Symbol.asyncDispose]: dispose }
  }
  const [a, b] = [await nodeOf(0), await nodeOf(1)]
  return {
    a,
    b,
    async [Symbol.asyncDispose]() {
      await a[Symbol.asyncDispose]()
      await b[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true })
    },
  }
}

function endsOf(node: SyncNode): Extract<SyncEvent, { type: 'session-ended' }>[] {
  return node.events.filter((event) => event.type === 'session-ended')
}

async function codeOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'resolved',
    (error: { code?: string }) => error.code ?? error,
  )
}

export function syncContract(name: string, openSyncs: OpenSyncs): void {
  describe(`sync contract: ${name}`, () => {
    test('a node that has nothing gets the shard with every record', async () => {
      await using nodes = await openFixture(openSyncs)
      const { a, b } = nodes
      a.db.createShard(SHARD, { dimension: DIMENSION, metric: 'l2', modelId: 'some-model' })
      await a.db.insertBatch(SHARD, recordsOf(1_000))

      const result = await b.sync.sync(SHARD, a.address)

      expect(result).toMatchObject({ applied: 1_000, received: 1_000, sent: 0, conflicts: 0 })
      expect(result).toMatchObject({ peer: a.sync.fingerprint, peerNodeId: a.sync.nodeId })
      expect(result.state).toMatchObject({
        metric: 'l2',
        modelId: 'some-model',
        recordCount: 1_000,
      })
      expectEqual(a, b)
    })

    test('the shard that only the caller has is created at the peer', async () => {
      await using nodes = await openFixture(openSyncs)
      const { a, b } = nodes
      a.db.createShard(SHARD, { dimension: DIMENSION })
      await a.db.insertBatch(SHARD, recordsOf(10))

      const result = await a.sync.sync(SHARD, b.address)

      expect(result).toMatchObject({ applied: 0, sent: 10 })
      expectEqual(a, b)
    })

    test('one call brings both sides together: inserts, updates, deletes', async () => {
      await using nodes = await openFixture(openSyncs)
      const { a, b } = nodes
      a.db.createShard(SHARD, { dimension: DIMENSION })
      await a.db.insertBatch(SHARD, recordsOf(20))
      await b.sync.sync(SHARD, a.address)
      a.db.insert(SHARD, recordOf(100))
      a.db.delete(SHARD, recordOf(1).id)
      b.db.insert(SHARD, recordOf(200))
      b.db.update(SHARD, recordOf(2).id, { metadata: { by: 'b' } })
      b.db.update(SHARD, recordOf(3).id, { embedding: [9, 9, 9, 9], text: null })

      const result = await b.sync.sync(SHARD, a.address)

      expect(result).toMatchObject({ applied: 2, sent: 3, conflicts: 0 })
      expect(a.db.get(SHARD, recordOf(2).id)?.metadata).toEqual({ index: 2, tags: ['é'], by: 'b' })
      expect(b.db.get(SHARD, recordOf(1).id)).toBeNull()
      expectEqual(a, b)
    })

    test('nothing moves between nodes that agree', async () => {
      await using nodes = await openFixture(openSyncs)
      const { a, b } = nodes
      a.db.createShard(SHARD, { dimension: DIMENSION })
      await a.db.insertBatch(SHARD, recordsOf(50))
      await b.sync.sync(SHARD, a.address)

      const result = await b.sync.sync(SHARD, a.address)

      expect(result).toMatchObject({ applied: 0, received: 0, sent: 0, batches: 0 })
      expect(result.bytes).toBeLessThan(700)
    })

    test('writes of both nodes to one record are a conflict that both show alike', async () => {
      await using nodes = await openFixture(openSyncs)
      const { a, b } = nodes
      a.db.createShard(SHARD, { dimension: DIMENSION })
      a.db.insert(SHARD, recordOf(1))
      await b.sync.sync(SHARD, a.address)
      a.db.update(SHARD, recordOf(1).id, { metadata: { by: 'a' } })
      b.db.update(SHARD, recordOf(1).id, { metadata: { by: 'b' } })

      const result = await b.sync.sync(SHARD, a.address)

      expect(result).toMatchObject({ applied: 1, sent: 1, conflicts: 1 })
      expect(a.db.replica.shardState(SHARD).conflictCount).toBe(1)
      expectEqual(a, b)
    })

    test('a shard that neither side has is an error by name', async () => {
      await using nodes = await openFixture(openSyncs)

      const code = await codeOf(nodes.b.sync.sync('nowhere', nodes.a.address))

      expect(code).toBe('SYNC_SHARD_UNKNOWN')
      expect(nodes.b.db.shards()).toEqual([])
    })

    test('a shard of another dimension is refused by name on both sides, and nothing is written', async () => {
      await using nodes = await openFixture(openSyncs)
      const { a, b } = nodes
      a.db.createShard(SHARD, { dimension: DIMENSION })
      a.db.insert(SHARD, recordOf(1))
      b.db.createShard(SHARD, { dimension: DIMENSION + 1 })

      const code = await codeOf(b.sync.sync(SHARD, a.address))
      await expect.poll(() => endsOf(a).length).toBe(1)

      expect(code).toBe('SYNC_SHARD_MISMATCH')
      expect(endsOf(a)).toContainEqual(
        expect.objectContaining({
          error: expect.objectContaining({ code: 'SYNC_SHARD_MISMATCH' }),
        }),
      )
      expect(b.db.count(SHARD)).toBe(0)
    })

    test('calls for one shard and peer at the same time share one run', async () => {
      await using nodes = await openFixture(openSyncs)
      const { a, b } = nodes
      a.db.createShard(SHARD, { dimension: DIMENSION })
      await a.db.insertBatch(SHARD, recordsOf(100))

      const results = await Promise.all([1, 2, 3].map(() => b.sync.sync(SHARD, a.address)))

      expect(new Set(results).size).toBe(1)
      expect(results[0]?.applied).toBe(100)
    })

    test('shards sync side by side over one connection', async () => {
      await using nodes = await openFixture(openSyncs)
      const { a, b } = nodes
      const names = Array.from({ length: 8 }, (_, index) => `shard ${index}`)
      for (const shardId of names) {
        a.db.createShard(shardId, { dimension: DIMENSION })
        await a.db.insertBatch(shardId, recordsOf(50))
      }

      const results = await Promise.all(names.map((shardId) => b.sync.sync(shardId, a.address)))

      expect(results.map(({ applied }) => applied)).toEqual(names.map(() => 50))
      expect(b.sync.getSession().connections).toHaveLength(1)
      for (const shardId of names) expectEqual(a, b, shardId)
    })

    test('batches hold as many records as the options say', async () => {
      await using nodes = await openFixture(openSyncs, { batchSize: 30 })
      const { a, b } = nodes
      a.db.createShard(SHARD, { dimension: DIMENSION })
      await a.db.insertBatch(SHARD, recordsOf(100))

      const result = await b.sync.sync(SHARD, a.address)

      expect(result.batches).toBe(4)
      const progress = b.events.filter((event) => event.type === 'progress')
      expect(progress.map(({ changes }) => changes)).toEqual([30, 60, 90, 100])
    })

    test('many batches pass the window of unacknowledged ones', async () => {
      await using nodes = await openFixture(openSyncs, { batchSize: 5 })
      const { a, b } = nodes
      a.db.createShard(SHARD, { dimension: DIMENSION })
      await a.db.insertBatch(SHARD, recordsOf(400))

      const result = await b.sync.sync(SHARD, a.address)

      expect(result).toMatchObject({ applied: 400, batches: 80 })
      expectEqual(a, b)
    })

    test('an aborted call keeps what was committed, and the next one goes on from there', async () => {
      await using nodes = await openFixture(openSyncs, { batchSize: 10 })
      const { a, b } = nodes
      a.db.createShard(SHARD, { dimension: DIMENSION })
      await a.db.insertBatch(SHARD, recordsOf(1_000))
      const abort = new AbortController()
      const stop = b.db.replica.onCommit(() => {
        if (b.db.count(SHARD) >= 100) abort.abort()
      })

      const code = await codeOf(b.sync.sync(SHARD, a.address, { signal: abort.signal }))
      stop()
      await expect.poll(() => endsOf(b).length).toBe(1)
      const committed = b.db.count(SHARD)
      const result = await b.sync.sync(SHARD, a.address)

      expect(code).toBe('TRANSPORT_ABORTED')
      expect(committed).toBeGreaterThanOrEqual(100)
      expect(committed).toBeLessThan(1_000)
      expect(result.received).toBe(1_000 - committed)
      expectEqual(a, b)
    })

    test('a node that closes in the middle costs the other an error it can retry', async () => {
      await using nodes = await openFixture(openSyncs, { batchSize: 10 })
      const { a, b } = nodes
      a.db.createShard(SHARD, { dimension: DIMENSION })
      await a.db.insertBatch(SHARD, recordsOf(1_000))
      const stop = b.db.replica.onCommit(() => void a.sync.close())

      const error = await b.sync.sync(SHARD, a.address).catch((failure: unknown) => failure)
      stop()

      expect(error).toMatchObject({ retryable: true })
      expect(await codeOf(a.sync.sync(SHARD, b.address))).toBe('SYNC_CLOSED')
      expect(b.db.count(SHARD)).toBeLessThan(1_000)
    })

    test('a peer answers a sign of life', async () => {
      await using nodes = await openFixture(openSyncs)

      expect(await nodes.b.sync.ping(nodes.a.address)).toBeGreaterThanOrEqual(0)
    })

    test('the session tells who we are, what is open and how far peers are', async () => {
      await using nodes = await openFixture(openSyncs)
      const { a, b } = nodes
      a.db.createShard(SHARD, { dimension: DIMENSION })
      a.db.insert(SHARD, recordOf(1))
      await b.sync.sync(SHARD, a.address)

      const session = b.sync.getSession()

      expect(session).toMatchObject({
        nodeId: b.sync.nodeId,
        fingerprint: b.sync.fingerprint,
        listening: b.address,
        sessionsActive: 0,
        connections: [{ peer: a.sync.fingerprint, dialled: true }],
      })
      expect(session.peers).toMatchObject([{ shardId: SHARD, peer: a.sync.fingerprint }])
      expect(b.sync.getShardState(SHARD).recordCount).toBe(1)
    })
  })
}
