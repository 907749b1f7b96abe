/**
 * Laws of what replicas merge: registers of any history, registers that no history brings about, version vectors,
 * and stamps.
 */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { compareHlc, type Hlc, receiveHlc, tickHlc } from '../../../src/clock/hlc.ts'
import { CLOCK_DRIFT_MS_MAX } from '../../../src/limits.ts'
import { contextOf, mergeRegister } from '../../../src/model/merge.ts'
import type { RecordState, Sibling, VersionVector } from '../../../src/model/types.ts'
import {
  beyond,
  covers,
  decodeVector,
  dominates,
  EMPTY_VECTOR,
  encodeVector,
  joinVectors,
  meetVectors,
  vectorsEqual,
  withDot,
} from '../../../src/model/version-vector.ts'

const ACTORS = ['a', 'b', 'c'].map((letter) => letter.repeat(32))

const vector: fc.Arbitrary<VersionVector> = fc
  .dictionary(fc.constantFrom(...ACTORS), fc.integer({ min: 1, max: 9 }))
  .map((entries) => new Map(Object.entries(entries)))

/** What happens to one record: somebody writes it, or takes what another holds. */
const history = fc.array(
  fc.record({ at: fc.nat({ max: 2 }), from: fc.nat({ max: 2 }), writes: fc.boolean() }),
  { minLength: 1, maxLength: 40 },
)

function sibling(actor: string, counter: number, ms: number): Sibling {
  return { dot: { actor, counter }, stamp: { ms, logical: 0 }, value: null }
}

/** Every state that any of three replicas had. */
function statesOf(steps: readonly { at: number; from: number; writes: boolean }[]): RecordState[] {
  const states: (RecordState | null)[] = [null, null, null]
  const counters = [0, 0, 0]
  const all: RecordState[] = []
  for (const [index, { at, from, writes }] of steps.entries()) {
    const own = states[at] ?? null
    const other = states[from] ?? null
    if (writes) {
      const counter = (counters[at] ?? 0) + 1
      counters[at] = counter
      const written = sibling(ACTORS[at] ?? '', counter, index)
      const context = withDot(own === null ? EMPTY_VECTOR : contextOf(own), written.dot)
      states[at] = { siblings: [written], context }
    } else if (other !== null) {
      states[at] = own === null ? other : mergeRegister(own, other)
    }
    const now = states[at]
    if (now !== null && now !== undefined) all.push(now)
  }
  return all
}

/** Comparable: siblings by dot, and the context written out. */
function shape(state: RecordState): unknown {
  return {
    siblings: state.siblings.map(({ dot }) => `${dot.actor}:${dot.counter}`),
    context: [...contextOf(state)].sort(([a], [b]) => (a < b ? -1 : 1)),
  }
}

describe('merging registers', () => {
  test('commutes, associates and repeats without effect, whatever the history', () => {
    fc.assert(
      fc.property(history, fc.nat(), fc.nat(), fc.nat(), (steps, i, j, k) => {
        const all = statesOf(steps)
        fc.pre(all.length > 0)
        const [a, b, c] = [i, j, k].map((index) => all[index % all.length]) as [
          RecordState,
          RecordState,
          RecordState,
        ]

        const ab = mergeRegister(a, b)
        expect(shape(ab)).toEqual(shape(mergeRegister(b, a)))
        expect(shape(mergeRegister(ab, c))).toEqual(shape(mergeRegister(a, mergeRegister(b, c))))
        expect(shape(mergeRegister(ab, b))).toEqual(shape(ab))
        expect(mergeRegister(a, a)).toBe(a)
      }),
      { numRuns: 500 },
    )
  })

  test('keeps what nobody superseded, and nothing that somebody did', () => {
    fc.assert(
      fc.property(history, fc.nat(), fc.nat(), (steps, i, j) => {
        const all = statesOf(steps)
        fc.pre(all.length > 0)
        const a = all[i % all.length] as RecordState
        const b = all[j % all.length] as RecordState

        const merged = mergeRegister(a, b).siblings.map(({ dot }) => dot)
        for (const { dot } of [...a.siblings, ...b.siblings]) {
          const holds = ({ siblings }: RecordState): boolean =>
            siblings.some(
              (other) => other.dot.actor === dot.actor && other.dot.counter === dot.counter,
            )
          const isSuperseded = [a, b].some(
            (state) => !holds(state) && covers(contextOf(state), dot),
          )
          const isKept = merged.some(
            (other) => other.actor === dot.actor && other.counter === dot.counter,
          )
          expect(isKept).toBe(!isSuperseded)
        }
      }),
      { numRuns: 500 },
    )
  })

  test('leaves a write, commutes and repeats without effect, also of states that no history brings about', () => {
    const dots = fc.uniqueArray(
      fc.record({ actor: fc.constantFrom(...ACTORS), counter: fc.integer({ min: 1, max: 4 }) }),
      { minLength: 1, maxLength: 3, selector: ({ actor, counter }) => `${actor}${counter}` },
    )
    const anything = fc
      .record({ dots, wider: vector })
      .map(({ dots: held, wider }): RecordState => {
        const siblings = held
          .map(({ actor, counter }) => sibling(actor, counter, counter))
          .toSorted((a, b) => (a.dot.actor + a.dot.counter < b.dot.actor + b.dot.counter ? -1 : 1))
        const context = siblings.reduce<VersionVector>((sum, { dot }) => withDot(sum, dot), wider)
        return { siblings, context }
      })
    fc.assert(
      fc.property(anything, anything, (a, b) => {
        const merged = mergeRegister(a, b)

        expect(merged.siblings.length).toBeGreaterThan(0)
        expect(shape(merged)).toEqual(shape(mergeRegister(b, a)))
        expect(shape(mergeRegister(merged, merged))).toEqual(shape(merged))
      }),
      { numRuns: 1_000 },
    )
  })
})

test('version vectors are a lattice, and their bytes are canonical', () => {
  fc.assert(
    fc.property(vector, vector, vector, (a, b, c) => {
      const joined = joinVectors(a, b)
      expect(dominates(joined, a) && dominates(joined, b)).toBe(true)
      expect(vectorsEqual(joined, joinVectors(b, a))).toBe(true)
      expect(vectorsEqual(joinVectors(joined, c), joinVectors(a, joinVectors(b, c)))).toBe(true)
      const met = meetVectors(a, b)
      expect(dominates(a, met) && dominates(b, met)).toBe(true)
      expect(vectorsEqual(joinVectors(a, met), a)).toBe(true)
      expect(vectorsEqual(meetVectors(a, joined), a)).toBe(true)
      expect(vectorsEqual(joinVectors(met, beyond(a, b)), a)).toBe(true)
      expect(beyond(a, b).size === 0).toBe(dominates(b, a))
      expect(encodeVector(joined)).toEqual(encodeVector(joinVectors(b, a)))
      expect(decodeVector(encodeVector(a))).toEqual(
        new Map([...a].sort(([x], [y]) => (x < y ? -1 : 1))),
      )
    }),
    { numRuns: 500 },
  )
})

test('local stamps rise, whatever clocks and peers do, and none is drawn beyond the drift bound', () => {
  const time = fc.integer({ min: 1_000_000, max: 2_000_000 })
  const event = fc.oneof(
    fc.record({ type: fc.constant('tick' as const), nowMs: time, ms: fc.constant(0) }),
    fc.record({
      type: fc.constant('receive' as const),
      nowMs: time,
      ms: fc.integer({ min: 0, max: 9_000_000 }),
    }),
  )
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      let clock: Hlc = { ms: 0, logical: 0 }
      let last: Hlc | null = null
      let nowMax = 0
      for (const { type, nowMs, ms } of events) {
        nowMax = Math.max(nowMax, nowMs)
        if (type === 'receive') {
          clock = receiveHlc(clock, { ms, logical: 7 }, nowMs, CLOCK_DRIFT_MS_MAX)
        } else {
          clock = tickHlc(clock, nowMs)
          if (last !== null) expect(compareHlc(clock, last)).toBeGreaterThan(0)
          last = clock
        }
        expect(clock.ms).toBeLessThanOrEqual(nowMax + CLOCK_DRIFT_MS_MAX)
      }
    }),
    { numRuns: 500 },
  )
})
