/**
 * Codes of an arena as bytes: they come back as they were, and any other bytes are refused with a
 * reason.
 */
import * as fc from 'fast-check'
import { crc32 } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { viewToBytes } from '../../../src/bytes.ts'
import { Arena } from '../../../src/search/arena.ts'
import type { Calibration } from '../../../src/search/calibrate.ts'
import { trainQuantizer } from '../../../src/search/quantizer.ts'
import {
  readSavedCodes,
  type SavedAbout,
  savedBytes,
  type SavedCodes,
} from '../../../src/search/saved-codes.ts'
import { clustered } from './data.ts'
import { type Metric } from '../../../src/model/records.ts'

const DIMENSION = 20
const ROWS = clustered(300, DIMENSION, 5)

const CALIBRATION: Calibration = {
  count: 200,
  queries: 3,
  bits: [
    {
      k: 10,
      depth: 48,
      keyMax: 90,
      recall: 1,
      worstDecile: 0.99,
      depthMean: 60.5,
      int8Share: 0,
      sufficient: true,
    },
  ],
  costs: { bits: 3, int8: 50.25, candidate: 100 },
}

function filled(count: number, rows: { float32: boolean; int8: boolean }, metric: Metric): Arena {
  const arena = new Arena({ dimension: DIMENSION, metric, rows: { ...rows, bits: true } })
  arena.quantize(trainQuantizer(ROWS, DIMENSION, metric))
  for (let i = 0; i < count; i += 1) arena.set(3 * i + 1, viewToBytes(ROWS[i] ?? ROWS[0]!))
  return arena
}

function aboutOf(arena: Arena): SavedAbout {
  const { dimension, metric, rows, count } = arena
  const { int8, bits } = rows
  const state = { logId: 'ab'.repeat(16), shard: 7, cursor: 900, count }
  return { ...state, dimension, metric, int8, bits, calibration: CALIBRATION, changed: 3 }
}

function saved(arena: Arena): Uint8Array {
  return Buffer.concat([...savedBytes(arena, aboutOf(arena))].map((part) => Uint8Array.from(part)))
}

function read(bytes: Uint8Array, fits: (about: SavedAbout) => string | null = small): SavedCodes {
  let at = 0
  return readSavedCodes(
    bytes.length,
    (into) => {
      if (at + into.length > bytes.length) return false
      into.set(bytes.subarray(at, at + into.length))
      at += into.length
      return true
    },
    fits,
  )
}

/** As the store does before it takes memory. */
function small({ dimension, metric }: SavedAbout): string | null {
  return dimension === DIMENSION && ['cosine', 'l2', 'dot'].includes(metric)
    ? null
    : 'another shard'
}

/** Codes by record, whatever the slots. */
function codes(arena: Arena): Map<number, string> {
  const slots = Array.from({ length: arena.count }, (_, slot) => arena.recordAt(slot))
  return new Map(
    slots.map((record) => [record, Buffer.from(arena.codesOf(record)).toString('hex')]),
  )
}

describe('saved codes', () => {
  test.each([
    { metric: 'cosine', float32: true, int8: true },
    { metric: 'l2', float32: false, int8: true },
    { metric: 'dot', float32: false, int8: false },
  ] as const)('of $metric come back as they were (float32 $float32, int8 $int8)', (each) => {
    const arena = filled(200, each, each.metric)
    arena.delete(4)

    const back = read(saved(arena))

    if ('refused' in back) throw new Error(back.refused)
    expect(back.about).toEqual(aboutOf(arena))
    expect(back.arena.rows).toEqual({ float32: false, int8: each.int8, bits: true })
    expect(codes(back.arena)).toEqual(codes(arena))
    expect(back.arena.quantizer).toEqual(arena.quantizer)
  })

  test('of an empty arena come back', () => {
    const back = read(saved(filled(0, { float32: false, int8: true }, 'cosine')))

    expect('arena' in back && back.arena.count).toBe(0)
  })

  test('what is wanted for no arena is refused before memory is taken', () => {
    const bytes = saved(filled(10, { float32: false, int8: true }, 'l2'))

    expect(read(bytes, () => 'not wanted')).toEqual({ refused: 'not wanted' })
  })

  test('of an older or newer version are refused by number', () => {
    const bytes = saved(filled(10, { float32: false, int8: true }, 'l2'))
    bytes[8] = 99

    expect(read(bytes)).toEqual({ refused: 'it has version 99, this release reads 2' })
  })

  test('records that have two slots are refused, though the checksum is right', () => {
    const arena = filled(2, { float32: false, int8: true }, 'l2')
    const bytes = Buffer.from(saved(arena))
    const records = bytes.indexOf(Buffer.from(Float64Array.of(1, 4).buffer))
    expect(records).toBeGreaterThan(0)
    bytes.writeDoubleLE(1, records + 8)
    bytes.writeUInt32LE(crc32(bytes.subarray(0, -4)), bytes.length - 4)

    expect(read(bytes)).toEqual({ refused: 'a record has two slots' })
  })

  test('any change of any byte, and any other length, is refused', () => {
    const bytes = saved(filled(30, { float32: false, int8: true }, 'cosine'))
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const changed = Uint8Array.from(bytes)
        changed[at] = (changed[at] ?? 0) ^ change
        expect(read(changed)).toHaveProperty('refused')
      }),
    )
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), (length) => {
        expect(read(bytes.subarray(0, length))).toHaveProperty('refused')
      }),
    )
    expect(read(Buffer.concat([bytes, Uint8Array.of(0)]))).toHaveProperty('refused')
  })

  test('any bytes are refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, named) => {
        const given = named ? Buffer.concat([Buffer.from('SQLVCODE'), bytes]) : bytes
        expect(read(given)).toHaveProperty('refused')
      }),
    )
  })

  test('updates and inserts meanwhile do no harm, because the feed has them; a delete ends it', () => {
    const arena = filled(300, { float32: false, int8: true }, 'cosine')
    const about = aboutOf(arena)
    const parts: Uint8Array[] = []
    const steps = savedBytes(arena, about)
    for (let i = 0, next = steps.next(); next.done !== true; i += 1, next = steps.next()) {
      parts.push(Uint8Array.from(next.value))
      arena.set(3 * i + 1, viewToBytes(ROWS[200 + i] ?? ROWS[0]!))
      arena.set(10_000 + i, viewToBytes(ROWS[i] ?? ROWS[0]!))
    }

    const back = read(Buffer.concat(parts))

    if ('refused' in back) throw new Error(back.refused)
    for (const [record] of codes(arena)) {
      const changed = record < 3 * parts.length || record >= 10_000
      if (!changed) expect(back.arena.codesOf(record)).toEqual(arena.codesOf(record))
    }
    const other = savedBytes(arena, aboutOf(arena))
    other.next()
    arena.delete(1)
    let last = other.next()
    while (last.done !== true) last = other.next()
    expect(last.value).toBe('moved')
  })
})
