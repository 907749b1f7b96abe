/**
 * Codecs under random data: what is encoded comes back, and any bytes give a value or a coded error.
 */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { SqliteVectorError } from '../../../src/errors.ts'
import { decodeDelta } from '../../../src/sync/wire/delta-decode.ts'
import { encodeDelta } from '../../../src/sync/delta.ts'
import { FRAME_TYPES, sealFrame, type FrameType } from '../../../src/sync/wire/frame.ts'
import { decodeFrame, encodeFrame } from '../../../src/sync/wire/control-frames.ts'
import { controlFrame, delta, DIMENSION } from './arbitraries.ts'

const NAMES = Object.keys(FRAME_TYPES) as FrameType[]

/** Runs `decode`, which may throw coded errors of a frame and nothing else. */
function total<T>(decode: () => T): T | null {
  try {
    return decode()
  } catch (error) {
    if (!(error instanceof SqliteVectorError)) throw error
    expect(error.code).toMatch(/^SYNC_(FRAME_CORRUPT|FRAME_TOO_LARGE|PROTOCOL_VERSION)$/)
    return null
  }
}

/** Edits of a frame: bytes overwritten, cut off, or put in. */
const edits = fc.array(
  fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    kind: fc.constantFrom('set', 'cut', 'insert'),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 9 }),
  }),
  { minLength: 1, maxLength: 4 },
)

function edited(
  frame: Uint8Array,
  list: readonly { at: number; kind: string; bytes: Uint8Array }[],
): Uint8Array {
  let result = Buffer.from(frame)
  for (const { at, kind, bytes } of list) {
    const offset = Math.floor(at * result.length)
    if (kind === 'set') result.set(bytes.subarray(0, result.length - offset), offset)
    else if (kind === 'cut') result = result.subarray(0, offset)
    else result = Buffer.concat([result.subarray(0, offset), bytes, result.subarray(offset)])
  }
  return new Uint8Array(result)
}

describe('delta codec', () => {
  test('gives back the changes it was given', () => {
    fc.assert(
      fc.property(delta, (given) => {
        expect(decodeDelta(encodeDelta(given, DIMENSION), DIMENSION)).toEqual(given)
      }),
    )
  })

  test('decodes any bytes to changes or a coded error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        total(() => decodeDelta(bytes, DIMENSION))
        // With head and checksum right, the body is looked at as well.
        const body = new Uint8Array([...new Uint8Array(8), ...bytes])
        total(() => decodeDelta(sealFrame('batch', body), DIMENSION))
      }),
      { numRuns: 500 },
    )
  })

  test('decodes a mutated frame with a right checksum to encodable changes or a coded error', () => {
    fc.assert(
      fc.property(delta, edits, (given, list) => {
        const frame = edited(encodeDelta(given, DIMENSION), list)
        if (frame.length < 8) return
        const decoded = total(() => decodeDelta(sealFrame('batch', frame), DIMENSION))
        if (decoded !== null) {
          expect(decodeDelta(encodeDelta(decoded, DIMENSION), DIMENSION).changes).toHaveLength(
            decoded.changes.length,
          )
        }
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('control frames', () => {
  test('come back as they were', () => {
    fc.assert(
      fc.property(controlFrame, (frame) => {
        expect(decodeFrame(encodeFrame(frame))).toEqual(frame)
      }),
      { numRuns: 500 },
    )
  })

  test('decode from any bytes to a frame or a coded error', () => {
    fc.assert(
      fc.property(fc.constantFrom(...NAMES), fc.uint8Array({ maxLength: 120 }), (type, bytes) => {
        total(() => decodeFrame(bytes))
        total(() => decodeFrame(sealFrame(type, new Uint8Array([...new Uint8Array(8), ...bytes]))))
      }),
      { numRuns: 500 },
    )
  })

  test('decode from mutated bytes to a frame that encodes, or a coded error', () => {
    fc.assert(
      fc.property(controlFrame, edits, (given, list) => {
        const frame = edited(encodeFrame(given), list)
        if (frame.length < 8) return
        const decoded = total(() => decodeFrame(sealFrame(given.type, frame)))
        if (decoded !== null) expect(decodeFrame(encodeFrame(decoded))).toEqual(decoded)
      }),
      { numRuns: 1_000 },
    )
  })
})
