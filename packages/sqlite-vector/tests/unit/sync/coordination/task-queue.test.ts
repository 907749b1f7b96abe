/**
 * The queue of sync tasks: order, limits, one task per shard and peer.
 */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { type SyncTask, TaskQueue } from '../../../../src/sync/coordination/task-queue.ts'

function task(shardId: string, peer: string, priority = 0): SyncTask {
  return { shardId, peer, priority }
}

const key = ({ shardId, peer }: SyncTask): string => `${peer}/${shardId}`

/** Starts what may start now. */
function start(queue: TaskQueue, nowMs = 0): SyncTask[] {
  const started: SyncTask[] = []
  for (let one = queue.next(nowMs); one !== null; one = queue.next(nowMs)) started.push(one)
  return started
}

/** A queue whose peers have answered before. */
function provenQueue(concurrencyMax: number, peers: readonly string[]): TaskQueue {
  const queue = new TaskQueue(concurrencyMax)
  for (const peer of peers) {
    queue.schedule(task('first', peer))
    for (const one of start(queue)) queue.ended(one, true)
  }
  return queue
}

describe('order', () => {
  test('larger priorities first, equal ones as they were scheduled', () => {
    const queue = provenQueue(10, ['p'])
    for (const [shard, priority] of [
      ['a', 0],
      ['b', 5],
      ['c', 0],
      ['d', -1],
      ['e', 5],
    ] as const) {
      queue.schedule(task(shard, 'p', priority))
    }
    expect(start(queue).map(({ shardId }) => shardId)).toEqual(['b', 'e', 'a', 'c', 'd'])
  })

  test('scheduling again raises the priority and adds nothing', () => {
    const queue = provenQueue(10, ['p'])
    queue.schedule(task('a', 'p'))
    queue.schedule(task('b', 'p'))
    expect(queue.schedule(task('b', 'p', 9))).toBe(false)
    expect(queue.pendingCount).toBe(2)
    expect(start(queue).map(({ shardId }) => shardId)).toEqual(['b', 'a'])
  })
})

describe('limits', () => {
  test('runs as many at once as it may, not one more', () => {
    const queue = provenQueue(3, ['p'])
    for (let index = 0; index < 10; index += 1) queue.schedule(task(`s${index}`, 'p'))
    const first = start(queue)
    expect(first.length).toBe(3)
    queue.ended(first[0] as SyncTask, true)
    expect(start(queue).length).toBe(1)
  })

  test('never runs a shard twice with one peer at the same time', () => {
    const queue = provenQueue(10, ['p'])
    queue.schedule(task('a', 'p'))
    const [running] = start(queue)
    queue.schedule(task('a', 'p'))
    expect(start(queue)).toEqual([])
    queue.ended(running as SyncTask, true)
    expect(start(queue).length).toBe(1)
  })

  test('a peer that was never reached gets one place', () => {
    const queue = new TaskQueue(10)
    for (let index = 0; index < 5; index += 1) queue.schedule(task(`s${index}`, 'unknown'))
    const first = start(queue)
    expect(first.length).toBe(1)
    queue.ended(first[0] as SyncTask, true)
    expect(start(queue).length).toBe(4)
  })

  test('a slow peer leaves half of the places to others that wait', () => {
    const queue = provenQueue(4, ['slow', 'other'])
    for (let index = 0; index < 9; index += 1) queue.schedule(task(`s${index}`, 'slow', 1))
    for (let index = 0; index < 9; index += 1) queue.schedule(task(`s${index}`, 'other'))
    const peers = start(queue).map(({ peer }) => peer)
    expect(peers.toSorted()).toEqual(['other', 'other', 'slow', 'slow'])
  })

  test('a resting peer stops nobody else', () => {
    const queue = provenQueue(4, ['resting', 'other'])
    queue.schedule(task('a', 'resting'))
    queue.schedule(task('a', 'other'))
    queue.rest('resting', 100)
    expect(start(queue, 50).map(({ peer }) => peer)).toEqual(['other'])
    expect(queue.wakesAtMs(50)).toBe(100)
    expect(start(queue, 100).map(({ peer }) => peer)).toEqual(['resting'])
  })

  test('whatever happens: within the limit, no task lost, none started twice', () => {
    const action = fc.oneof(
      fc.record({
        kind: fc.constant('schedule' as const),
        shard: fc.integer({ min: 0, max: 3 }),
        peer: fc.integer({ min: 0, max: 3 }),
        priority: fc.integer({ min: 0, max: 2 }),
      }),
      fc.record({ kind: fc.constant('start' as const) }),
      fc.record({
        kind: fc.constant('end' as const),
        which: fc.nat(5),
        isProven: fc.boolean(),
      }),
    )
    fc.assert(
      fc.property(
        fc.array(action, { maxLength: 60 }),
        fc.integer({ min: 1, max: 4 }),
        (actions, max) => {
          const queue = new TaskQueue(max)
          const active: SyncTask[] = []
          const wanted = new Set<string>()
          const done = new Set<string>()
          const take = (): void => {
            const next = queue.next(0)
            if (next === null) return
            expect(active.map(key)).not.toContain(key(next))
            active.push(next)
            expect(active.length).toBeLessThanOrEqual(max)
          }
          for (const one of actions) {
            if (one.kind === 'schedule') {
              const added = task(`s${one.shard}`, `p${one.peer}`, one.priority)
              wanted.add(key(added))
              queue.schedule(added)
            } else if (one.kind === 'start') {
              take()
            } else {
              const [ended] = active.splice(one.which % Math.max(1, active.length), 1)
              if (ended === undefined) continue
              done.add(key(ended))
              queue.ended(ended, one.isProven)
            }
          }
          for (let left = 0; left < 200 && queue.pendingCount + active.length > 0; left += 1) {
            take()
            const ended = active.shift()
            if (ended === undefined) continue
            done.add(key(ended))
            queue.ended(ended, true)
          }
          expect([...done].toSorted()).toEqual([...wanted].toSorted())
        },
      ),
      { numRuns: 200 },
    )
  })
})
