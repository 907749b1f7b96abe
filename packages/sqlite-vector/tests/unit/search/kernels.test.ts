/**
 * The kernels that select: heap, limit and mask; and the module that is checked in is what the
 * compiler makes of the sources. Kernels over rows are compared in tests/property/search.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { buildKernels, kernelsModule, KERNELS_MODULE_PATH } from '../../../scripts/build-kernels.ts'
import {
  HEAP_HEADER_BYTES,
  createMemory,
  instantiateKernels,
} from '../../../src/search/kernels/kernels.ts'
import { maskSlots, smallestKeys } from './kernel-reference.ts'
import { seededRandom } from './data.ts'

test('the checked-in module is what the compiler makes of the sources', async () => {
  const bytes = await buildKernels()

  expect(readFileSync(KERNELS_MODULE_PATH, 'utf8')).toBe(kernelsModule(bytes))
})

describe('selecting', () => {
  const memory = createMemory(4, 4)
  const kernels = instantiateKernels(memory)
  const keys = 0
  const list = 65_536
  const out = 131_072
  const heap = 196_608

  test('the heap keeps the smallest keys of several runs, with their slots', () => {
    const random = seededRandom(1)
    const all = Array.from({ length: 1_003 }, () => Math.fround(Math.floor(random() * 500)))
    kernels.heapReset(heap, 37)
    for (let first = 0; first < all.length; first += 250) {
      const part = all.slice(first, first + 250)
      new Float32Array(memory.buffer, keys, part.length).set(part)
      kernels.selectRun(keys, part.length, first, heap)
    }

    const entries = heapEntries(memory.buffer, heap)

    expect(entries.map(({ key }) => key).toSorted((a, b) => a - b)).toEqual(smallestKeys(all, 37))
    for (const { key, slot } of entries) expect(all[slot]).toBe(key)
    expect(new Set(entries.map(({ slot }) => slot)).size).toBe(37)
  })

  test('a heap with more room than keys holds them all', () => {
    new Float32Array(memory.buffer, keys, 3).set([3, 1, 2])
    kernels.heapReset(heap, 10)
    kernels.selectRun(keys, 3, 100, heap)

    const entries = heapEntries(memory.buffer, heap)

    expect(entries.toSorted((a, b) => a.key - b.key)).toEqual([
      { key: 1, slot: 101 },
      { key: 2, slot: 102 },
      { key: 3, slot: 100 },
    ])
  })

  test('a key that is not a number never enters', () => {
    new Float32Array(memory.buffer, keys, 5).set([Number.NaN, 1, Number.NaN, Number.NaN, 0])
    kernels.heapReset(heap, 2)
    kernels.selectRun(keys, 5, 0, heap)

    expect(
      heapEntries(memory.buffer, heap)
        .map(({ slot }) => slot)
        .toSorted((a, b) => a - b),
    ).toEqual([1, 4])
  })

  test('slots of a list keep their own numbers', () => {
    new Float32Array(memory.buffer, keys, 4).set([4, 3, 2, 1])
    new Uint32Array(memory.buffer, list, 4).set([40, 30, 20, 10])
    kernels.heapReset(heap, 2)
    kernels.selectList(keys, list, 4, heap)

    expect(
      heapEntries(memory.buffer, heap)
        .map(({ slot }) => slot)
        .toSorted((a, b) => a - b),
    ).toEqual([10, 20])
  })

  test('within a limit are the keys at it and below', () => {
    new Float32Array(memory.buffer, keys, 5).set([5, 1, 3, 3.5, 2])
    new Uint32Array(memory.buffer, list, 5).set([50, 10, 30, 35, 20])

    const run = kernels.withinRun(keys, 5, 7, 3, out)
    const runSlots = [...new Uint32Array(memory.buffer, out, run)]
    const listed = kernels.withinList(keys, list, 5, 3, out)
    const listSlots = [...new Uint32Array(memory.buffer, out, listed)]

    expect(runSlots).toEqual([8, 9, 11])
    expect(listSlots).toEqual([10, 30, 20])
  })

  test('a mask becomes the slots of its set bits, ascending', () => {
    const random = seededRandom(2)
    const mask = Uint8Array.from(
      { length: 64 },
      () => Math.floor(random() * 256) & Math.floor(random() * 256),
    )
    mask.set([0, 0, 0, 0, 0, 0, 0, 0], 8)
    mask.set([255, 255, 255, 255, 255, 255, 255, 255], 16)
    new Uint8Array(memory.buffer, keys, 64).set(mask)

    const count = kernels.maskToList(keys, 8, 1_000, out)

    expect([...new Uint32Array(memory.buffer, out, count)]).toEqual(maskSlots(mask, 1_000))
  })
})

function heapEntries(buffer: ArrayBuffer, heap: number): { key: number; slot: number }[] {
  const count = new Uint32Array(buffer, heap, 1)[0] ?? 0
  const view = new DataView(buffer, heap + HEAP_HEADER_BYTES)
  return Array.from({ length: count }, (_, i) => ({
    key: view.getFloat32(i * 8, true),
    slot: view.getUint32(i * 8 + 4, true),
  }))
}
