/**
 * Events for readers that iterate: buffers, what a slow reader misses, and how reading ends.
 */
import { expect, test } from 'vitest'

import { EventHub } from '../../../../src/sync/node/event-stream.ts'

test('a reader sees what is emitted from its beginning on, in order, waiting or not', async () => {
  const hub = new EventHub<number>()
  hub.emit(0)
  const reader = hub.read(10)
  const first = reader.next()
  hub.emit(1)
  hub.emit(2)

  expect(await first).toEqual({ done: false, value: 1 })
  expect(await reader.next()).toEqual({ done: false, value: 2 })
})

test('several calls that wait are served in their order', async () => {
  const hub = new EventHub<number>()
  const reader = hub.read(10)
  const waiting = [reader.next(), reader.next()]
  hub.emit(1)
  hub.emit(2)

  expect(await Promise.all(waiting)).toEqual([
    { done: false, value: 1 },
    { done: false, value: 2 },
  ])
})

test('a slow reader is told how many it missed, and gets the newest; others miss nothing', async () => {
  const hub = new EventHub<number>()
  const [slow, ready] = [hub.read(2), hub.read(10)]
  for (let event = 1; event <= 5; event += 1) hub.emit(event)

  expect((await slow.next()).value).toEqual({ type: 'dropped', count: 3 })
  expect([(await slow.next()).value, (await slow.next()).value]).toEqual([4, 5])
  expect((await ready.next()).value).toBe(1)
})

test('the end of the hub comes after what is buffered', async () => {
  const hub = new EventHub<number>()
  const reader = hub.read(10)
  hub.emit(1)
  hub.end()

  expect(await reader.next()).toEqual({ done: false, value: 1 })
  expect(await reader.next()).toEqual({ done: true, value: undefined })
  expect(hub.readerCount).toBe(0)
})

test('leaving the loop, and the signal, let go of the reader', async () => {
  const hub = new EventHub<number>()
  const ending = new AbortController()
  const [left, aborted, late] = [hub.read(10), hub.read(10, ending.signal), hub.read(10)]
  hub.emit(1)
  for await (const event of left) {
    expect(event).toBe(1)
    break
  }
  expect(hub.readerCount).toBe(2)

  await aborted.next()
  const waiting = aborted.next()
  ending.abort()

  expect(await waiting).toEqual({ done: true, value: undefined })
  expect(hub.readerCount).toBe(1)
  expect((await late.next()).value).toBe(1)
  expect(await hub.read(10, ending.signal).next()).toEqual({ done: true, value: undefined })
})
