/**
 * Turns of streams: who wants much does not keep the others waiting, and many small ones starve nobody.
 */
import { expect, test } from 'vitest'
import { StreamTurns } from '../../../../src/transport/quic/turns.ts'

/** One round in which `credit` streams get something; those in `greedy` always want more. */
function round(turns: StreamTurns<string>, credit: number, greedy: readonly string[]): string[] {
  const served: string[] = []
  turns.round((stream) => {
    const gets = served.length < credit
    if (gets) served.push(stream)
    if (!gets || greedy.includes(stream)) turns.wait(stream)
    return gets
  })
  return served
}

const LARGE = ['a', 'b', 'c']

function withLarge(): StreamTurns<string> {
  const turns = new StreamTurns<string>()
  for (const stream of LARGE) turns.wait(stream)
  return turns
}

test('streams that always want more take turns', () => {
  const turns = withLarge()

  expect(round(turns, 2, LARGE)).toEqual(['a', 'b'])
  expect(round(turns, 2, LARGE)).toEqual(['c', 'a'])
  expect(round(turns, 2, LARGE)).toEqual(['b', 'c'])
})

test('a stream that was not waiting comes first, and keeps its place when there is no credit', () => {
  const turns = withLarge()
  turns.arrive('small')

  expect(round(turns, 0, LARGE)).toEqual([])
  expect(round(turns, 1, LARGE)).toEqual(['small'])
  expect(round(turns, 3, LARGE)).toEqual(LARGE)
})

test('a stream that keeps arriving does not come first every time', () => {
  const turns = withLarge()

  const served: string[] = []
  for (let count = 0; count < 8; count += 1) {
    turns.arrive('busy')
    served.push(...round(turns, 1, LARGE))
  }

  for (const stream of LARGE) expect(served).toContain(stream)
})

test('a stream that left has no turn', () => {
  const turns = withLarge()
  turns.arrive('small')
  turns.leave('small')
  turns.leave('b')

  expect(round(turns, 9, [])).toEqual(['a', 'c'])
  expect(turns.isEmpty).toBe(true)
})
