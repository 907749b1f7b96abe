/**
 * The index is a function of the rows: whatever is written, by whom and in what order, search gives
 * what a scan of a fresh connection gives; two peers that converged answer alike, byte for byte.
 *
 * Writers: the searching connection, a second connection to the same file (as another process has),
 * and deltas of a peer with conflicts. In between: rollbacks, restarts with codes kept on disk,
 * processes that go away without a close, searches that leave the index half-way behind. (Kills:
 * other-process.test.ts, index-files.test.ts.)
 */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RecordInput } from '../../../src/store/types.ts'
import type { SQLiteVectorDB } from '../../../src/store/vector-db.ts'
import { isotropic } from '../../unit/search/data.ts'
import { temporaryDb } from '../../unit/search/fixture.ts'
import { type Metric } from '../../../src/model/records.ts'
import { type ReplicaStore } from '../../../src/store/replica/types.ts'

const SHARD = 's'
const DIMENSION = 6
const VECTORS = isotropic(24, DIMENSION, 1)

const writer = fc.constantFrom('own', 'second', 'peer')
const id = fc.integer({ min: 0, max: 11 }).map((n) => `r${n}`)
const vector = fc.integer({ min: 0, max: VECTORS.length - 1 })
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ type: fc.constant('put' as const), writer, id, vector }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('label' as const), writer, id, vector }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('delete' as const), writer, id }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('sync' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('rollback' as const), id, vector }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('restart' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('abandon' as const) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('warm' as const) }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('search' as const) }) },
)

/** Pulls all of `from` into `to`, as a sync would. */
function pull(from: ReplicaStore, to: ReplicaStore, peer: string): void {
  const known = to.shardState(SHARD).versionVector
  const read = from.readDelta(SHARD, { after: 0, countMax: 10_000, bytesMax: 1e9, known })
  expect(read.atHead).toBe(true)
  const source = { peer, logId: read.state.logId, cursor: read.through }
  const { lacking } = to.applyDelta(SHARD, read.changes, source)
  if (lacking.length > 0) {
    const whole = from.readRecords(SHARD, lacking, 1e9).changes
    expect(to.applyDelta(SHARD, whole, source).lacking).toEqual([])
  }
  to.joinVector(SHARD, source, read.state.versionVector)
}

function recordOf(name: string, index: number): RecordInput {
  return { id: name, embedding: VECTORS[index] ?? [], metadata: { label: index } }
}

/** Everything a search can say, for some queries, filters and depths. */
function answers(db: SQLiteVectorDB): unknown {
  const filter = { label: { $gte: 12 } }
  return VECTORS.slice(0, 4).map((query) => [
    db.search(SHARD, query, { k: 20, includeVectors: true }),
    db.search(SHARD, query, { k: 3, filter }),
    db.count(SHARD, filter),
  ])
}

async function check(
  steps: readonly (typeof step extends fc.Arbitrary<infer T> ? T : never)[],
  metric: Metric,
  options: { readonly searchMemoryBytes?: number },
): Promise<void> {
  await using here = await temporaryDb(options)
  await using there = await temporaryDb()
  let db = here.db
  const second = await here.open(options)
  const peer = there.db
  db.createShard(SHARD, { dimension: DIMENSION, metric })
  peer.createShard(SHARD, { dimension: DIMENSION, metric })
  const writers = (name: string): SQLiteVectorDB =>
    name === 'own' ? db : name === 'second' ? second : peer
  for (const each of steps) {
    if (each.type === 'put') writers(each.writer).upsert(SHARD, recordOf(each.id, each.vector))
    if (each.type === 'delete') writers(each.writer).delete(SHARD, each.id)
    if (each.type === 'label') {
      writers(each.writer).update(
        SHARD,
        { filter: { label: each.vector } },
        { metadata: { label: each.vector + 1 } },
      )
    }
    if (each.type === 'sync') {
      pull(peer.replica, db.replica, 'peer')
      pull(db.replica, peer.replica, 'here')
    }
    if (each.type === 'rollback') {
      const open = db
      expect(() =>
        open.transaction(() => {
          open.upsert(SHARD, recordOf(each.id, each.vector))
          open.search(SHARD, VECTORS[0] ?? [])
          throw new Error('undo')
        }),
      ).toThrow('undo')
    }
    if (each.type === 'restart') {
      db.close()
      db = await here.open(options)
    }
    // The connection left open goes on like a process that is stopped, and closes at the very end.
    if (each.type === 'abandon') db = await here.open(options)
    if (each.type === 'warm') await db.warmIndex(SHARD)
    if (each.type === 'search') answers(db)
  }
  await expectRows(here, db, second)
  pull(peer.replica, db.replica, 'peer')
  pull(db.replica, peer.replica, 'here')
  await expectRows(here, db, second)
  expect(answers(peer)).toEqual(answers(db))
}

/** The index answers as a scan without one does, on both connections. */
async function expectRows(
  fixture: { open: (options: object) => Promise<SQLiteVectorDB> },
  ...connections: readonly SQLiteVectorDB[]
): Promise<void> {
  const scanning = await fixture.open({ searchMemoryBytes: 0 })
  const wanted = answers(scanning)
  for (const db of connections) {
    expect(db.explain(SHARD).index.rows).not.toBeNull()
    expect(answers(db)).toEqual(wanted)
  }
  scanning.close()
}

/** Room for float32 rows of seven records, or for codes of fifteen. */
const LITTLE = { searchMemoryBytes: 500 }

describe('index = f(rows)', () => {
  test.each([
    { metric: 'cosine', options: {}, memory: 'enough' },
    { metric: 'l2', options: {}, memory: 'enough' },
    { metric: 'dot', options: {}, memory: 'enough' },
    { metric: 'cosine', options: LITTLE, memory: 'little' },
    { metric: 'l2', options: LITTLE, memory: 'little' },
    { metric: 'dot', options: LITTLE, memory: 'little' },
  ] as const)('$metric, $memory memory', async ({ metric, options }) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }), (steps) =>
        check(steps, metric, options),
      ),
      { numRuns: Number(process.env['INDEX_ROWS_RUNS'] ?? 6) },
    )
  })
})
