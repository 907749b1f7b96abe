/**
 * Framing: any cut of the stream gives the same frames, and a lie about a length costs nothing.
 */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { AHEAD_BYTES, END_MARK, FrameReader, framePrefix } from '../../../src/transport/framing.ts'
import type { ByteSource } from '../../../src/transport/framing.ts'

/** Gives `bytes` in pieces of the lengths of `cuts`, nothing between them, then the end. */
class PiecewiseSource implements ByteSource {
  readonly #bytes: Uint8Array
  readonly #cuts: number[]
  #position = 0
  #piece = 0
  largestAsked = 0

  constructor(bytes: Uint8Array, cuts: readonly number[]) {
    this.#bytes = bytes
    this.#cuts = [...cuts]
  }

  readInto(into: Uint8Array): number {
    this.largestAsked = Math.max(this.largestAsked, into.length)
    if (this.#position === this.#bytes.length) return -1
    if (this.#piece === 0) {
      this.#piece = this.#cuts.shift() ?? this.#bytes.length
      return 0
    }
    const count = Math.min(into.length, this.#piece, this.#bytes.length - this.#position)
    into.set(this.#bytes.subarray(this.#position, this.#position + count))
    this.#position += count
    this.#piece -= count
    return count
  }
}

function encoded(frames: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat([...frames.flatMap((frame) => [framePrefix(frame.length), frame]), END_MARK])
}

function readFrames(reader: FrameReader, source: ByteSource): Uint8Array[] {
  const frames: Uint8Array[] = []
  for (let idle = 0; idle < 10_000; idle += 1) {
    for (;;) {
      const frame = reader.next(source)
      if (frame === null) return frames
      if (frame === undefined) break
      frames.push(frame)
    }
  }
  throw new Error('the reader never came to the end')
}

test('frames come out as they went in, however the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 10 }),
      fc.array(fc.integer({ min: 1, max: 50 })),
      (frames, cuts) => {
        const reader = new FrameReader(1_000)

        const read = readFrames(reader, new PiecewiseSource(encoded(frames), cuts))

        expect(read.length).toBe(frames.length)
        read.forEach((frame, index) => {
          expect(frame.byteOffset % 8).toBe(0)
          expect(Buffer.compare(frame, frames[index] as Uint8Array)).toBe(0)
        })
      },
    ),
  )
})

test('a frame larger than the first memory taken for it is whole', () => {
  const frame = Uint8Array.from({ length: 1_000_003 }, (_, index) => index % 251)

  const [read] = readFrames(
    new FrameReader(2_000_000),
    new PiecewiseSource(encoded([frame]), [70_000]),
  )

  expect(Buffer.compare(read as Uint8Array, frame)).toBe(0)
})

test('a length at the limit is read, one above is refused before memory is taken', () => {
  const atLimit = new PiecewiseSource(encoded([new Uint8Array(1_000)]), [])
  const above = new PiecewiseSource(framePrefix(1_001), [])
  const far = new PiecewiseSource(framePrefix(0xffff_fffe), [])

  expect(readFrames(new FrameReader(1_000), atLimit)[0]?.length).toBe(1_000)
  for (const source of [above, far]) {
    expect(() => readFrames(new FrameReader(1_000), source)).toThrow(
      expect.objectContaining({ code: 'TRANSPORT_FRAME_TOO_LARGE' }),
    )
    expect(source.largestAsked).toBe(AHEAD_BYTES)
  }
})

test('announcing a large frame takes little memory until it arrives', () => {
  const reader = new FrameReader(8_388_608)
  const source = new PiecewiseSource(Buffer.concat([framePrefix(8_388_608), Uint8Array.of(1)]), [4])

  expect(reader.next(source)).toBeUndefined()
  expect(reader.next(source)).toBeUndefined()

  expect(source.largestAsked).toBeLessThanOrEqual(65_536)
})

test('a stream that ends inside a prefix or a frame is no end', () => {
  for (const length of [1, 3, 4, 7]) {
    const torn = encoded([Uint8Array.of(1, 2, 3, 4)]).subarray(0, length)
    expect(() => readFrames(new FrameReader(100), new PiecewiseSource(torn, []))).toThrow(
      expect.objectContaining({ code: 'TRANSPORT_ABORTED' }),
    )
  }
})

test('any bytes give frames or a coded error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        readFrames(new FrameReader(1_000), new PiecewiseSource(bytes, [7]))
      } catch (error) {
        expect(error).toMatchObject({ code: expect.stringMatching(/^TRANSPORT_/) })
      }
    }),
  )
})
