/**
 * Deletes are forgotten from time to time, as the options say.
 */
import { expect, test } from 'vitest'

import { SqliteVectorError } from '../../../../src/errors.ts'
import { COLLECT_FIRST_MS } from '../../../../src/limits.ts'
import { TombstoneCollector } from '../../../../src/sync/node/tombstone-collector.ts'
import type { SyncEvent } from '../../../../src/sync/types.ts'
import { VirtualClock, VirtualTime } from '../../../simulation/virtual-clock.ts'
import { type Fixture, open, record } from '../../store/fixture.ts'

const HOUR_MS = 3_600_000
const RETENTION_MS = 30 * 86_400_000

function deleted(fixture: Fixture, id: string): void {
  fixture.db.insert('docs', record(id))
  fixture.db.delete('docs', id)
}

function never(event: SyncEvent): never {
  throw new Error(event.type)
}

function tombstones({ db }: Fixture): number {
  return db.replica.shardState('docs').tombstoneCount
}

test('the first collection comes soon after the start, the others at the interval', async () => {
  using fixture = await open()
  const time = new VirtualTime()
  const events: SyncEvent[] = []
  const options = { collectIntervalMs: HOUR_MS, replicaRetentionMs: RETENTION_MS }
  const collector = new TombstoneCollector(
    fixture.db.replica,
    new VirtualClock(time),
    options,
    (event) => void events.push(event),
  )
  deleted(fixture, 'a')
  deleted(fixture, 'b')

  time.advance(COLLECT_FIRST_MS - 1)
  expect(tombstones(fixture)).toBe(2)
  time.advance(1)
  expect(tombstones(fixture)).toBe(0)
  deleted(fixture, 'c')
  time.advance(HOUR_MS - 1)
  expect(tombstones(fixture)).toBe(1)
  time.advance(1)

  expect(tombstones(fixture)).toBe(0)
  expect(events).toEqual([
    { type: 'collected', shardId: 'docs', count: 2 },
    { type: 'collected', shardId: 'docs', count: 1 },
  ])
  collector.close()
})

test('an interval of 0 collects nothing, and nothing is collected after the close', async () => {
  using fixture = await open()
  const time = new VirtualTime()
  const options = { collectIntervalMs: 0, replicaRetentionMs: RETENTION_MS }
  const off = new TombstoneCollector(fixture.db.replica, new VirtualClock(time), options, never)
  const on = { ...options, collectIntervalMs: 1_000 }
  const closed = new TombstoneCollector(fixture.db.replica, new VirtualClock(time), on, never)
  deleted(fixture, 'a')
  closed.close()

  time.advance(2 * HOUR_MS)

  expect(tombstones(fixture)).toBe(1)
  off.close()
})

test('a store that fails is told of and tried again', () => {
  const time = new VirtualTime()
  const events: SyncEvent[] = []
  let calls = 0
  const error = new SqliteVectorError('STORE_BUSY', 'by the test')
  const store = {
    shardStates: () => {
      calls += 1
      throw error
    },
    collectTombstones: () => 0,
  }
  const options = { collectIntervalMs: 1_000, replicaRetentionMs: RETENTION_MS }
  const collector = new TombstoneCollector(store, new VirtualClock(time), options, (event) => {
    events.push(event)
  })

  time.advance(1_000)
  time.advance(1_000)

  expect(calls).toBe(2)
  expect(events[0]).toEqual({ type: 'error', shardId: null, address: null, error, willRetry: true })
  collector.close()
})
