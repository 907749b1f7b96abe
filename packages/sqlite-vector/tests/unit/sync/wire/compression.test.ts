/**
 * Compressed batches: what comes out is the frame that went in, what does not shrink is left alone, and no
 * bytes of a peer make us do more than a frame's worth of work.
 */
import { zstdCompressSync } from 'node:zlib'

import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { SqliteVectorError } from '../../../../src/errors.ts'
import { FRAME_BYTES_MAX } from '../../../../src/limits.ts'
import { CODEC_NUMBERS, codecs } from '../../../../src/sync/wire/codecs.ts'
import {
  type Compression,
  expandFrame,
  FrameCompressor,
  offeredCodecs,
} from '../../../../src/sync/wire/compression.ts'
import { decodeDelta } from '../../../../src/sync/wire/delta-decode.ts'
import { encodeDelta } from '../../../../src/sync/delta.ts'
import { sealFrame } from '../../../../src/sync/wire/frame.ts'
import { delta, DIMENSION } from '../../../property/sync/arbitraries.ts'
import { ACTOR_A, changeOf, dotOf, put } from '../changes.ts'

const COMPONENTS = 64

/** A batch of records whose vectors have length 1 and whose components are normally distributed. */
function batch(records: number, metadata = (index: number): string => `{"page":${index}}`) {
  let seed = 7
  const random = (): number => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed / 2_147_483_647
  }
  const changes = Array.from({ length: records }, (_, index) => {
    const embedding = Float32Array.from({ length: COMPONENTS }, () => {
      const radius = Math.sqrt(-2 * Math.log(random()))
      return (radius * Math.cos(2 * Math.PI * random())) / Math.sqrt(COMPONENTS)
    })
    const dot = dotOf(ACTOR_A, index + 1)
    const sibling = put(dot, { embedding, metadata: metadata(index) })
    return changeOf(`record-${index}`, [sibling])
  })
  return encodeDelta({ through: records, changes }, COMPONENTS)
}

function compressor(compression: Compression, offered = offeredCodecs()): FrameCompressor {
  const made = FrameCompressor.for(compression, offered)
  if (made === null) throw new Error(`no compressor for ${compression}`)
  return made
}

/** A compressed frame with these numbers in its table. */
function lying(over: {
  plain?: number
  embeddingsAt?: number
  codec?: number
  front?: Uint8Array
}) {
  const front = over.front ?? zstdCompressSync(new Uint8Array(100))
  const bytes = new Uint8Array(36 + front.byteLength)
  const view = new DataView(bytes.buffer)
  bytes.set(sealFrame('batch', new Uint8Array(8)))
  bytes[2] = over.codec ?? CODEC_NUMBERS.zstd
  bytes[3] = 1
  view.setUint32(8, over.plain ?? 108, true)
  view.setUint32(12, over.embeddingsAt ?? 108, true)
  view.setUint32(16, front.byteLength, true)
  bytes.set(front, 36)
  return bytes
}

function longMetadata(index: number): string {
  return `{"title":"the ${index}th page of the same book, with the same words as all the others"}`
}

function codeOf(fn: () => unknown): string {
  try {
    fn()
    return 'nothing thrown'
  } catch (error) {
    if (!(error instanceof SqliteVectorError)) throw error
    return error.code
  }
}

describe.each(codecs().map(({ name }) => name))('compressed with %s', (name) => {
  test('a batch comes back byte for byte, and was smaller on the way', () => {
    const plain = batch(200)
    const sent = compressor(name).compress(plain)

    expect(sent.byteLength).toBeLessThan(plain.byteLength)
    expect(expandFrame(sent)).toEqual(plain)
    expect(decodeDelta(expandFrame(sent), COMPONENTS)).toEqual(decodeDelta(plain, COMPONENTS))
  })

  test('any delta comes back byte for byte', () => {
    const sending = compressor(name)
    fc.assert(
      fc.property(delta, (given) => {
        const plain = encodeDelta(given, DIMENSION)
        expect(expandFrame(sending.compress(plain))).toEqual(plain)
      }),
    )
  })

  test('mutated frames give the plain frame or a coded error, and never more than a frame', () => {
    const sent = compressor(name).compress(batch(40))
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(sent.byteLength - 1), fc.nat(255)), {
          minLength: 1,
          maxLength: 6,
        }),
        fc.nat(sent.byteLength),
        (writes, length) => {
          const bytes = sent.slice()
          // The table of lengths is where lies hurt: half of the writes go there.
          for (const [index, [at, value]] of writes.entries()) {
            bytes[index % 2 === 0 ? at % 40 : at] = value
          }
          for (const frame of [bytes, bytes.subarray(0, length)]) {
            try {
              expect(expandFrame(frame).byteLength).toBeLessThanOrEqual(FRAME_BYTES_MAX)
            } catch (error) {
              if (!(error instanceof SqliteVectorError)) throw error
              expect(error.code).toBe('SYNC_FRAME_CORRUPT')
            }
          }
        },
      ),
      { numRuns: 500 },
    )
  })

  test('a flipped bit of the payload is found by the checksum of the plain frame', () => {
    const sent = compressor(name).compress(batch(40))
    // The lowest plane of the floats is noise and travels as it is: no codec would notice.
    const flipped = sent.slice()
    const at = flipped.byteLength - 40 * COMPONENTS - 1
    flipped[at] = (flipped[at] ?? 0) ^ 1

    expect(codeOf(() => decodeDelta(expandFrame(flipped), COMPONENTS))).toBe('SYNC_FRAME_CORRUPT')
  })
})

describe('what is compressed', () => {
  test('metadata shrinks most, and of vectors only the upper bytes', () => {
    const plain = batch(200, longMetadata)
    const sent = compressor('adaptive').compress(plain)
    const vectorBytes = 200 * COMPONENTS * 4

    // Vectors keep 80 to 90 % of their bytes; what is not vectors keeps less than a third.
    expect(sent.byteLength).toBeLessThan(vectorBytes * 0.9 + (plain.byteLength - vectorBytes) / 3)
    expect(sent.byteLength).toBeGreaterThan(vectorBytes * 0.8)
  })

  test('vectors that do not shrink travel as they are', () => {
    let state = 3
    const changes = Array.from({ length: 100 }, (_, index) => {
      const words = Uint32Array.from({ length: COMPONENTS }, () => {
        // xorshift32 (Marsaglia 2003), but for the bit that would make infinities and NaN.
        state ^= state << 13
        state ^= state >>> 17
        state ^= state << 5
        return (state & 0x7f80_0000) === 0x7f80_0000 ? state & 0xbfff_ffff : state
      })
      const embedding = new Float32Array(words.buffer)
      return changeOf(`${index}`, [put(dotOf(ACTOR_A, index + 1), { embedding })])
    })
    const plain = encodeDelta({ through: 1, changes }, COMPONENTS)
    const sent = compressor('adaptive').compress(plain)

    expect((sent[3] ?? 0) & 32).toBe(0)
    expect(expandFrame(sent)).toEqual(plain)
  })

  test('a small frame is left alone', () => {
    const plain = batch(2)
    expect(compressor('zstd').compress(plain)).toBe(plain)
  })

  test('nothing, unless it is wanted and the reader offers the codec', () => {
    expect(FrameCompressor.for('none', offeredCodecs())).toBeNull()
    expect(FrameCompressor.for('adaptive', 0)).toBeNull()
    expect(FrameCompressor.for('zstd', CODEC_NUMBERS.lz4)).toBeNull()
    expect(FrameCompressor.for('lz4', CODEC_NUMBERS.zstd)).toBeNull()
  })
})

describe('hostile compressed frames', () => {
  test('the frame they are made from is read', () => {
    expect(expandFrame(lying({})).byteLength).toBe(108)
  })

  test('a frame that claims to be larger than any frame is refused before memory is taken', () => {
    expect(
      codeOf(() => expandFrame(lying({ plain: 0xffff_fff0, embeddingsAt: 0xffff_fff0 }))),
    ).toBe('SYNC_FRAME_CORRUPT')
  })

  test('a block that expands beyond its length is refused', () => {
    const bomb = zstdCompressSync(new Uint8Array(50_000_000))
    expect(codeOf(() => expandFrame(lying({ front: bomb })))).toBe('SYNC_FRAME_CORRUPT')
  })

  test('a codec that we did not offer, lengths that disagree and a cut table are refused', () => {
    expect(codeOf(() => expandFrame(lying({ codec: 64 })))).toBe('SYNC_FRAME_CORRUPT')
    expect(codeOf(() => expandFrame(lying({ embeddingsAt: 200 })))).toBe('SYNC_FRAME_CORRUPT')
    expect(codeOf(() => expandFrame(lying({}).subarray(0, 20)))).toBe('SYNC_FRAME_CORRUPT')
  })
})
