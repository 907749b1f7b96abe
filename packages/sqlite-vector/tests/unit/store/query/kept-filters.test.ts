/**
 * Slots that pass a filter are kept while nothing changes, the least recently used given up first,
 * in bounded memory.
 */
import { expect, test } from 'vitest'
import { viewToBytes } from '../../../../src/bytes.ts'
import { Arena } from '../../../../src/search/arena.ts'
import { type FilteredSlots, ShardIndex } from '../../../../src/store/search-index/shard-index.ts'

function index(count: number): ShardIndex {
  const rows = { float32: true, int8: false, bits: false }
  const arena = new Arena({ dimension: 1, metric: 'l2', rows })
  for (let i = 1; i <= count; i += 1) arena.set(i, viewToBytes(Float32Array.of(i)))
  return new ShardIndex({ shard: 1, logId: 'log' }, arena)
}

function list(bytes: number): FilteredSlots {
  return { selection: { type: 'list', slots: new Uint32Array(bytes / 4) }, selected: bytes / 4 }
}

/** Asks for a filter; whether it had to be found. */
function asks(from: ShardIndex, key: string, bytes: number): boolean {
  let found = false
  const slots = from.filteredBy(key, () => {
    found = true
    return list(bytes)
  })
  expect(slots).toEqual(list(bytes))
  return found
}

test('a filter is evaluated once while nothing changes, and again after any change', () => {
  const kept = index(10)
  expect([asks(kept, 'a', 40), asks(kept, 'b', 40), asks(kept, 'a', 40)]).toEqual([
    true,
    true,
    false,
  ])

  kept.cursor += 1

  expect([asks(kept, 'a', 40), asks(kept, 'b', 40)]).toEqual([true, true])
})

test('filters beyond the bytes that may be kept give way, the least recently used first', () => {
  const kept = index(10)
  for (const key of ['a', 'b', 'c']) asks(kept, key, 20_000)
  asks(kept, 'a', 20_000)

  expect(asks(kept, 'd', 20_000)).toBe(true)

  expect(asks(kept, 'a', 20_000)).toBe(false)
  expect(asks(kept, 'd', 20_000)).toBe(false)
  expect(asks(kept, 'b', 20_000)).toBe(true)
})

test('a filter larger than all that may be kept is answered and not kept', () => {
  const kept = index(10)

  expect(asks(kept, 'all', 1_000_000)).toBe(true)
  expect(asks(kept, 'all', 1_000_000)).toBe(true)
  expect(asks(kept, 'few', 40)).toBe(true)
  expect(asks(kept, 'few', 40)).toBe(false)
})

test('a large shard may keep more', () => {
  const kept = index(20_000)
  for (let i = 0; i < 15; i += 1) asks(kept, `f${i}`, 20_000)

  expect(asks(kept, 'f0', 20_000)).toBe(false)
})
