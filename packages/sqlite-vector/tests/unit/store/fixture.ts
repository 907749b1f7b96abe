/**
 * What the store's tests share: databases in memory or in a folder that goes away, a clock that stands
 * still until it is told to move, and one step of sync between two stores without any network.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { utf8ToBytes } from '../../../src/bytes.ts'
import type { Clock } from '../../../src/clock/types.ts'
import type { Machine } from '../../../src/store/replica/machine.ts'
import type { RecordInput, StoreEvent } from '../../../src/store/types.ts'
import { createVectorDB, type SQLiteVectorDB } from '../../../src/store/vector-db.ts'
import { type ApplyResult } from '../../../src/store/replica/types.ts'
import { type DeltaQuery } from '../../../src/store/feed/types.ts'

/** Physical time that a test moves. */
export class TestClock implements Clock {
  ms = 1_700_000_000_000

  nowMs(): number {
    return this.ms
  }

  monotonicMs(): number {
    return this.ms
  }

  schedule(): () => void {
    throw new Error('the store sets no timers')
  }
}

/** A database with the shard `docs` (three dimensions, cosine), and what it reported. */
export interface Fixture extends Disposable {
  readonly db: SQLiteVectorDB
  readonly clock: TestClock
  readonly events: StoreEvent[]
}

export interface FixtureOptions {
  readonly path?: string
  readonly clock?: TestClock
  readonly machine?: Machine
  readonly shard?: boolean
  /** Rows that are summed in one slice. */
  readonly sliceRows?: number
}

/** Opens a database; in memory unless a path is given. */
export async function open(options: FixtureOptions = {}): Promise<Fixture> {
  const { path = ':memory:', clock = new TestClock(), machine, shard = true } = options
  const events: StoreEvent[] = []
  const onEvent = (event: StoreEvent): void => void events.push(event)
  const { sliceRows } = options
  const environment = {
    clock,
    ...(machine === undefined ? {} : { machine }),
    ...(sliceRows === undefined ? {} : { sliceRows }),
  }
  const db = await createVectorDB({ path, durability: 'normal', onEvent }, environment)
  if (shard) db.createShard('docs', { dimension: 3 })
  return { db, clock, events, [Symbol.dispose]: () => db.close() }
}

/** A folder that goes away at the end of the test. */
export function folder(): Disposable & { readonly file: (name: string) => string } {
  const path = mkdtempSync(join(tmpdir(), 'sqlite-vector-store-'))
  return {
    file: (name) => join(path, name),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  }
}

/** A record whose vector is a function of its id. */
export function record(id: string, metadata: RecordInput['metadata'] = {}): RecordInput {
  const sum = utf8ToBytes(id).reduce((total, byte) => total + byte, 0)
  return { id, embedding: [Math.cos(sum), Math.sin(sum), 1], metadata }
}

export const EVERYTHING: DeltaQuery = {
  after: 0,
  countMax: 100_000,
  bytesMax: Infinity,
  known: new Map(),
}

/** Brings to `to` everything that `from` has, as a sync to CAUGHT_UP would. */
export function pull(from: Fixture, to: Fixture, peer = 'from'): ApplyResult {
  const known = to.db.replica.shardState('docs').versionVector
  const read = from.db.replica.readDelta('docs', { ...EVERYTHING, known })
  const source = { peer, logId: read.state.logId, cursor: read.through }
  const result = to.db.replica.applyDelta('docs', read.changes, source)
  to.db.replica.joinVector('docs', source, read.state.versionVector)
  return result
}

/** Everything that a reader of the shard can see, for comparing two files. */
export function shown(db: SQLiteVectorDB): unknown {
  return db.list('docs', { limit: 10_000, includeVectors: true }).records
}
