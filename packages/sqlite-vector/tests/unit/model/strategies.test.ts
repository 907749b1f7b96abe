/**
 * Strategies as pure views of siblings, and the merge of a replica that knows what it once held.
 */
import { describe, expect, test } from 'vitest'

import { mergeKnown } from '../../../src/model/merge.ts'
import { CONFLICT_STRATEGIES, mergeMetadata, viewOf } from '../../../src/model/strategies.ts'
import type { RecordState, Sibling } from '../../../src/model/types.ts'
import { ACTOR_A, ACTOR_B, dotOf, put, tombstone } from '../sync/changes.ts'

const ACTOR_C = 'c3'.repeat(16)

function at(sibling: Sibling, ms: number, logical = 0): Sibling {
  return { ...sibling, stamp: { ms, logical } }
}

function state(...siblings: readonly Sibling[]): RecordState {
  return { siblings, context: null }
}

const first = at(put(dotOf(ACTOR_A, 9), { metadata: '{"k":"a","a":1}', text: 'of a' }), 1_000)
const second = at(put(dotOf(ACTOR_B, 1), { metadata: '{"k":"b","b":2}', text: 'of b' }), 2_000)
const deleted = at(tombstone(dotOf(ACTOR_C, 5)), 3_000)

describe('last-write-wins, first-write-wins, manual', () => {
  test('go by the stamp', () => {
    expect(viewOf('last-write-wins', [first, second], false)).toBe(second.value)
    expect(viewOf('manual', [first, second], false)).toBe(second.value)
    expect(viewOf('first-write-wins', [first, second], false)).toBe(first.value)
  })

  test('go by the logical part, then by the actor, where stamps are alike', () => {
    const later = at(first, 2_000, 1)
    expect(viewOf('last-write-wins', [later, second], false)).toBe(later.value)
    const equal = at(first, 2_000)
    expect(viewOf('last-write-wins', [equal, second], false)).toBe(second.value)
    expect(viewOf('first-write-wins', [equal, second], false)).toBe(equal.value)
  })

  test('show a delete where it is the pick', () => {
    expect(viewOf('last-write-wins', [first, second, deleted], false)).toBeNull()
    expect(viewOf('first-write-wins', [at(first, 9_000), deleted], false)).toBeNull()
  })
})

describe('merge', () => {
  test('takes the later value of a key, and every key', () => {
    const view = viewOf('merge', [first, second], false)

    expect(view?.metadata).toBe('{"k":"b","a":1,"b":2}')
    expect(view?.text).toBe('of b')
  })

  test('takes the mean of the embeddings', () => {
    const left = at(put(dotOf(ACTOR_A, 1), { embedding: Float32Array.of(1, 0, 3) }), 1)
    const right = at(put(dotOf(ACTOR_B, 1), { embedding: Float32Array.of(0, 2, 1) }), 2)

    expect(viewOf('merge', [left, right], false)?.embedding).toEqual(Float32Array.of(0.5, 1, 2))
  })

  test('gives the mean the mean length of its sources under cosine', () => {
    const left = at(put(dotOf(ACTOR_A, 1), { embedding: Float32Array.of(3, 0, 0) }), 1)
    const right = at(put(dotOf(ACTOR_B, 1), { embedding: Float32Array.of(0, 5, 0) }), 2)

    const embedding = viewOf('merge', [left, right], true)?.embedding ?? new Float32Array()

    expect(Math.hypot(...embedding)).toBeCloseTo(4, 5)
    expect((embedding[1] ?? 0) / (embedding[0] ?? 1)).toBeCloseTo(5 / 3, 5)
  })

  test('shows the later embedding where opposite ones cancel out under cosine', () => {
    const left = at(put(dotOf(ACTOR_A, 1), { embedding: Float32Array.of(0.3, -0.7, 0) }), 1)
    const right = at(put(dotOf(ACTOR_B, 1), { embedding: Float32Array.of(-0.3, 0.7, 0) }), 2)

    expect(viewOf('merge', [left, right], true)?.embedding).toEqual(right.value?.embedding)
  })

  test('lets a put survive a later delete, unchanged', () => {
    expect(viewOf('merge', [first, deleted], false)).toBe(first.value)
    expect(viewOf('merge', [at(tombstone(dotOf(ACTOR_A, 1)), 1), deleted], false)).toBeNull()
  })

  test('keeps a key named __proto__ a key', () => {
    const merged = mergeMetadata(['{"__proto__":{"x":1},"a":1}', '{"a":2}'])

    expect(merged).toBe('{"__proto__":{"x":1},"a":2}')
  })

  test('of four writes is the mean of the four, in whatever order they came', () => {
    const siblings = [1, 2, 4, 9].map((component, index) => {
      const dot = dotOf(`${index}${index}`.repeat(16), 1)
      return at(put(dot, { embedding: Float32Array.of(component, 0, 1) }), 100 - index)
    })

    expect(viewOf('merge', siblings, false)?.embedding).toEqual(Float32Array.of(4, 0, 1))
  })
})

test.each(CONFLICT_STRATEGIES)('%s changes no sibling', (strategy) => {
  const siblings = [first, second, deleted]
  const before = structuredClone(siblings)

  viewOf(strategy, siblings, true)

  expect(siblings).toEqual(before)
})

describe('mergeKnown()', () => {
  const known = new Map([[ACTOR_A, 9]])

  test('takes news whole where the replica has no such record', () => {
    const remote = state(second)

    expect(mergeKnown(null, remote, known)).toBe(remote)
  })

  test('finds nothing in writes that are covered and not held: they were superseded and forgotten', () => {
    expect(mergeKnown(null, state(first), known)).toBeNull()
    const local = state(second)
    expect(mergeKnown(local, state(first), known)?.siblings).toEqual([second])
  })

  test('keeps what both hold, covered or not', () => {
    const local = state(first)

    expect(mergeKnown(local, state(first), known)).toBe(local)
    expect(mergeKnown(local, state(first, second), known)?.siblings).toEqual([first, second])
  })

  test('keeps a covered delete beside a write that has not met it', () => {
    const forgotten = at(tombstone(dotOf(ACTOR_A, 3)), 5)

    expect(mergeKnown(null, state(forgotten, second), known)?.siblings).toEqual([forgotten, second])
    expect(mergeKnown(null, state(forgotten), known)).toBeNull()
  })

  test('remembers in its context what it left out, so that the sender drops it, too', () => {
    const merged = mergeKnown(null, state(first, second), known)

    expect(merged?.siblings).toEqual([second])
    expect(merged?.context).toEqual(
      new Map([
        [ACTOR_A, 9],
        [ACTOR_B, 1],
      ]),
    )
  })
})
