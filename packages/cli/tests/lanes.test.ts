/**
 * Batches under way at once: counted in order, never two with one id, never forgotten after an error.
 */
import { expect, test } from 'vitest'
import { Lanes } from '../src/node/lanes.ts'

function ids(...names: readonly string[]): ReadonlySet<string> {
  return new Set(names)
}

test('the count is that of the first batches, whichever ends first', async () => {
  const progress = { done: 0 }
  const lanes = new Lanes(4, progress)
  const first = Promise.withResolvers<void>()

  await lanes.send(ids('a'), async (own) => {
    await first.promise
    own.done = 10
  })
  await lanes.send(ids('b'), async (own) => {
    own.done = 5
  })
  expect(progress.done).toBe(0)
  first.resolve()
  await lanes.drain()

  expect(progress.done).toBe(15)
})

test('a batch that repeats an id waits for the earlier one, so that the later record wins', async () => {
  const order: string[] = []
  const lanes = new Lanes(4, { done: 0 })
  const first = Promise.withResolvers<void>()

  await lanes.send(ids('a', 'x'), async () => {
    await first.promise
    order.push('first')
  })
  const second = lanes.send(ids('x', 'b'), async () => {
    order.push('second')
  })
  first.resolve()
  await second
  await lanes.drain()

  expect(order).toEqual(['first', 'second'])
})

test('an error counts what its batch committed and nothing of later ones', async () => {
  const progress = { done: 0 }
  const lanes = new Lanes(4, progress)
  await lanes.send(ids('a'), async (own) => {
    own.done = 3
    throw new Error('bad record')
  })
  await lanes.send(ids('b'), async (own) => {
    own.done = 7
  })

  await expect(lanes.drain()).rejects.toThrow('bad record')
  await lanes.drain()

  expect(progress.done).toBe(3)
})
