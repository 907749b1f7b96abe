/**
 * One line for one cause: repeated failures are counted, and what they have in common is told once.
 */
import { expect, test } from 'vitest'
import { Repeats } from '../../src/repeats.ts'
import { logSyncEvent } from '../../src/log-events.ts'

type Line = readonly [string, string, Readonly<Record<string, unknown>> | undefined]

test('a dead peer with 100 shards is one line, and one more with the count when the window is over', () => {
  const lines: Line[] = []
  const log = (...line: Line): void => void lines.push(line)
  const repeats = new Repeats(log, 0)
  const error = Object.assign(new Error('no answer'), { code: 'TRANSPORT_DIAL_FAILED' })

  for (let round = 0; round < 25; round += 1) {
    for (let shard = 0; shard < 100; shard += 1) {
      const event = {
        type: 'error',
        shardId: `s${shard}`,
        address: '192.0.2.1:1',
        error,
        willRetry: true,
      } as const
      logSyncEvent(log, repeats, event)
    }
  }
  repeats.flush()

  expect(lines).toHaveLength(2)
  expect(lines[0]).toMatchObject(['warn', 'sync-error', { address: '192.0.2.1:1' }])
  expect(lines[1]).toMatchObject(['warn', 'sync-error', { repeated: 2_499 }])
})

test('other causes keep their own lines, and a cause that stopped is forgotten', () => {
  const lines: Line[] = []
  const repeats = new Repeats((...line: Line) => void lines.push(line), 0)

  repeats.log('a', 'warn', 'x', {})
  repeats.log('b', 'warn', 'x', {})
  repeats.log('a', 'warn', 'x', {})
  repeats.flush()
  repeats.flush()
  repeats.log('a', 'warn', 'x', {})

  expect(lines.map(([, event, fields]) => [event, fields?.['repeated'] ?? 0])).toEqual([
    ['x', 0],
    ['x', 0],
    ['x', 1],
    ['x', 0],
  ])
})
