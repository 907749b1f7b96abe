/**
 * Records and slots stay a bijection over dense slots, whatever is added and removed.
 */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { SlotMap } from '../../../src/search/slot-map.ts'

test('a removed record is replaced by the last slot', () => {
  const map = new SlotMap()
  for (const record of [5, 9, 1_000_000]) map.add(record)

  const move = map.remove(5)

  expect(move).toEqual({ from: 2, to: 0 })
  expect(map.recordAt(0)).toBe(1_000_000)
  expect([map.slotOf(5), map.slotOf(9), map.slotOf(1_000_000)]).toEqual([-1, 1, 0])
})

test('removing the last slot moves nothing', () => {
  const map = new SlotMap()
  map.add(1)
  map.add(2)

  expect(map.remove(2)).toEqual({ from: 1, to: 1 })
  expect(map.remove(2)).toBeNull()
  expect(map.count).toBe(1)
})

test('records beyond 2^32 keep their own slots', () => {
  const map = new SlotMap()
  const far = 2 ** 40 + 3
  map.add(3)
  map.add(far)

  expect([map.slotOf(3), map.slotOf(far), map.slotOf(far + 1)]).toEqual([0, 1, -1])
  expect(map.recordAt(1)).toBe(far)
})

test('any sequence of adds and removes leaves what a Map of records would hold', () => {
  const step = fc.record({ record: fc.nat({ max: 9_000 }), add: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
      const map = new SlotMap()
      const held = new Set<number>()
      for (const { record, add } of steps) {
        if (add && !held.has(record)) {
          expect(map.add(record)).toBe(held.size)
          held.add(record)
        } else if (!add) {
          expect(map.remove(record) !== null).toBe(held.delete(record))
        }
      }
      expect(map.count).toBe(held.size)
      const bySlot = Array.from({ length: map.count }, (_, slot) => map.recordAt(slot))
      expect(new Set(bySlot)).toEqual(held)
      for (const [slot, record] of bySlot.entries()) expect(map.slotOf(record)).toBe(slot)
    }),
  )
})
