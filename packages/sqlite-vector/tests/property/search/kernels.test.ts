/**
 * Every kernel over rows against its scalar reference, on random rows of random dimensions, through
 * the arena that lays the memory out: runs and lists, several blocks, after deletes.
 */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { CORRECTION_BYTES } from '../../../src/search/kernels/kernels.ts'
import { viewToBytes } from '../../../src/bytes.ts'
import { Arena } from '../../../src/search/arena.ts'
import {
  bitsOf,
  dotKey,
  hammingKey,
  int8Key,
  int8Of,
  squaredKey,
} from '../../unit/search/kernel-reference.ts'
import { norm, quantizeQuery, trainQuantizer } from '../../../src/search/quantizer.ts'
import { type RowKind, type Selection, loadQuery, scanSmallest } from '../../../src/search/scan.ts'
import { clustered } from '../../unit/search/data.ts'
import { type Metric } from '../../../src/model/records.ts'

const scenario = fc.record({
  dimension: fc.integer({ min: 2, max: 520 }),
  count: fc.integer({ min: 1, max: 150 }),
  seed: fc.integer(),
  metric: fc.constantFrom<Metric>('cosine', 'l2', 'dot'),
  listed: fc.boolean(),
})

type Scenario = typeof scenario extends fc.Arbitrary<infer T> ? T : never

function arenaOf({ dimension, count, seed, metric, listed }: Scenario): {
  arena: Arena
  rows: Float32Array[]
  query: Float32Array
  selection: Selection
} {
  const rows = clustered(count + 1, dimension, seed, 5)
  const query = rows.pop() ?? new Float32Array(dimension)
  const arena = new Arena({ dimension, metric, rows: { float32: true, int8: true, bits: true } })
  arena.quantize(trainQuantizer(clustered(40, dimension, seed + 1, 5), dimension, metric))
  for (const [record, row] of rows.entries()) arena.set(record, viewToBytes(row))
  const odd = Uint32Array.from({ length: count >> 1 }, (_, i) => 2 * i + 1).toReversed()
  return { arena, rows, query, selection: listed ? { type: 'list', slots: odd } : { type: 'all' } }
}

/** Keys by record of a scan that keeps everything. */
function keysOf(
  arena: Arena,
  kind: RowKind,
  query: Float32Array,
  selection: Selection,
): Map<number, number> {
  if (selection.type === 'list' && selection.slots.length === 0) return new Map()
  const found = scanSmallest(arena, kind, loadQuery(arena, query), selection, arena.count)
  expect(found.slots.length).toBe(selection.type === 'list' ? selection.slots.length : arena.count)
  return new Map(Array.from(found.slots, (slot, i) => [arena.recordAt(slot), found.keys[i] ?? 0]))
}

test('float32 keys agree with the reference within rounding', () => {
  fc.assert(
    fc.property(scenario, (given) => {
      const { arena, rows, query, selection } = arenaOf(given)
      for (const [record, key] of keysOf(arena, 'float32', query, selection)) {
        const row = rows[record] ?? query
        const length = norm(row) * norm(query)
        const factor = given.metric === 'cosine' ? Math.fround(1 / norm(row)) : 1
        const wanted = given.metric === 'l2' ? squaredKey(row, query) : dotKey(row, query, factor)
        const tolerance = given.metric === 'l2' ? 1e-5 * wanted : 1e-5 * length * factor
        expect(Math.abs(key - wanted)).toBeLessThanOrEqual(tolerance + 1e-30)
      }
    }),
    { numRuns: 60 },
  )
})

test('bit keys are the number of bits that differ', () => {
  fc.assert(
    fc.property(scenario, (given) => {
      const { arena, rows, query, selection } = arenaOf(given)
      const thresholds = arena.quantizer?.thresholds ?? new Float32Array()
      const scaleOf = (row: Float32Array): number =>
        given.metric === 'cosine' ? Math.fround(1 / norm(row)) : 1
      const wanted = bitsOf(query, thresholds, given.metric === 'cosine' ? 1 / norm(query) : 1)
      for (const [record, key] of keysOf(arena, 'bits', query, selection)) {
        const row = rows[record] ?? query
        expect(key).toBe(hammingKey(bitsOf(row, thresholds, scaleOf(row)), wanted))
      }
    }),
    { numRuns: 60 },
  )
})

test('int8 keys are those of the codes, and the codes stand for the row', () => {
  fc.assert(
    fc.property(scenario, (given) => {
      const { arena, rows, query, selection } = arenaOf(given)
      const quantizer = arena.quantizer
      if (quantizer === null) throw new Error('the arena was quantized')
      const scaleOf = (row: Float32Array): number => (given.metric === 'cosine' ? 1 / norm(row) : 1)
      const { codes, gain } = quantizeQuery(quantizer, given.metric, query, scaleOf(query))
      for (const [record, key] of keysOf(arena, 'int8', query, selection)) {
        const slot = arena.slotOf(record)
        const stored = storedCodes(arena, slot)
        const row = rows[record] ?? query
        const wanted = int8Of(row, quantizer.centre, quantizer.step, scaleOf(row))
        // A row at the centre has no direction but rounding's; its codes are noise of no weight.
        if (wanted.scale < 1e-4) continue
        expect(Math.abs(stored.scale - wanted.scale)).toBeLessThanOrEqual(1e-4 * wanted.scale)
        // float32 may round a half the other way than float64 does.
        const off = stored.codes.map((code, d) => Math.abs(code - (wanted.codes[d] ?? 0)))
        expect(Math.max(...off)).toBeLessThanOrEqual(1)
        const squares = given.metric === 'l2' ? wanted.squares : 0
        expect(Math.abs(stored.offset - squares)).toBeLessThanOrEqual(0.02 * squares + 1e-30)
        let apart = 0
        for (let d = 0; d < row.length; d += 1) {
          const stands = (quantizer.step[d] ?? 0) * stored.scale * (stored.codes[d] ?? 0)
          apart += ((row[d] ?? 0) * scaleOf(row) - (quantizer.centre[d] ?? 0) - stands) ** 2
        }
        expect(stored.error).toBeGreaterThanOrEqual(Math.sqrt(apart))
        expect(key).toBe(int8Key(stored.codes, codes, stored.scale, stored.offset, gain))
      }
    }),
    { numRuns: 60 },
  )
})

function storedCodes(
  arena: Arena,
  slot: number,
): { codes: Int8Array; scale: number; offset: number; error: number } {
  const { layout, memory, dimension } = arena
  const codes = new Int8Array(
    memory.buffer,
    arena.address(layout.int8, slot, layout.int8Bytes),
    dimension,
  )
  const at = arena.address(layout.corrections, slot, CORRECTION_BYTES)
  const [scale = 0, offset = 0, error = 0] = new Float32Array(memory.buffer, at, 3)
  return { codes, scale, offset, error }
}
