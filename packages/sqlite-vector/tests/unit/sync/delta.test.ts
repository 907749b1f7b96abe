/**
 * The delta codec: what it carries, and what it refuses.
 */
import { crc32 } from 'node:zlib'

import { describe, expect, test } from 'vitest'

import { CHANGES_PER_DELTA_MAX, SIBLINGS_MAX } from '../../../src/limits.ts'
import { decodeDelta } from '../../../src/sync/wire/delta-decode.ts'
import { type Delta, encodeDelta } from '../../../src/sync/delta.ts'
import { FRAME_HEAD_BYTES, sealFrame } from '../../../src/sync/wire/frame.ts'
import { encodeArray } from '../../../src/sync/wire/messagepack.ts'
import { ACTOR_A, ACTOR_B, changeOf, dotOf, put, tombstone } from './changes.ts'

const corrupt = (reason: RegExp): unknown =>
  expect.objectContaining({ code: 'SYNC_FRAME_CORRUPT', message: expect.stringMatching(reason) })

function roundTrip(delta: Delta): Delta {
  return decodeDelta(encodeDelta(delta, 3), 3)
}

/** A BATCH frame of hand-made parts, with a right head and checksum. */
function frameOf(
  headerValues: readonly (number | Uint8Array)[],
  columns: readonly number[],
  rest = '',
): Uint8Array {
  const body = Buffer.concat([encodeArray(headerValues), Buffer.from(columns), Buffer.from(rest)])
  const bytes = (FRAME_HEAD_BYTES + body.length + 7) & ~7
  const frame = new Uint8Array(bytes)
  frame.set(body, FRAME_HEAD_BYTES)
  return sealFrame('batch', frame)
}

const ACTOR = Buffer.from(ACTOR_A, 'hex')

/** through, dimension, changes, siblings, contexts, embeddings, ms, ids, metadata, texts, actors. */
function header(over: Partial<Record<number, number | Uint8Array>> = {}): (number | Uint8Array)[] {
  const values: (number | Uint8Array)[] = [1, 3, 1, 1, 0, 0, 0, 1, 0, 0, ACTOR]
  for (const [index, value] of Object.entries(over)) {
    if (value !== undefined) values[Number(index)] = value
  }
  return values
}

/** base; siblings; context; flags; actor; counter; ms; logical; id: a delete by actor A, counter 1. */
const DELETE = [1, 1, 0, 0, 0, 0, 0, 0, 1]

describe('encodeDelta() and decodeDelta()', () => {
  test('carry puts, deletes, conflicts, contexts, texts and embeddings that were left out', () => {
    const changes = [
      changeOf('a put', [put(dotOf(ACTOR_A, 1))]),
      changeOf(
        'a delete',
        [tombstone(dotOf(ACTOR_A, 2))],
        new Map([
          [ACTOR_A, 2],
          [ACTOR_B, 9],
        ]),
      ),
      changeOf('ein Konflikt: 衝突 🌍', [
        put(dotOf(ACTOR_A, 3), { text: 'Grüße, мир, 🌍' }),
        tombstone(dotOf(ACTOR_B, 70_000)),
      ]),
      changeOf(
        'metadata only',
        [
          put(dotOf(ACTOR_B, 5), {
            embedding: null,
            embeddingDot: dotOf(ACTOR_A, 4),
            metadata: '{}',
          }),
        ],
        new Map([
          [ACTOR_A, 4],
          [ACTOR_B, 5],
        ]),
      ),
    ]

    expect(roundTrip({ through: 2 ** 40, changes })).toEqual({ through: 2 ** 40, changes })
  })

  test('carry a delta without changes, which moves a cursor', () => {
    expect(roundTrip({ through: 7, changes: [] })).toEqual({ through: 7, changes: [] })
  })

  test('shorten a context that says no more than the siblings', () => {
    const change = changeOf('x', [put(dotOf(ACTOR_A, 4))], new Map([[ACTOR_A, 4]]))

    expect(roundTrip({ through: 1, changes: [change] }).changes[0]?.context).toBeNull()
  })

  test('keep text that begins with a byte order mark', () => {
    const change = changeOf('\u{feff}id', [put(dotOf(ACTOR_A, 1), { text: '\u{feff}text' })])

    expect(roundTrip({ through: 1, changes: [change] }).changes).toEqual([change])
  })

  test('give embeddings as aligned views of the frame, without a copy', () => {
    const frame = encodeDelta({ through: 1, changes: [changeOf('x', [put(dotOf(ACTOR_A, 1))])] }, 3)

    const embedding = decodeDelta(frame, 3).changes[0]?.siblings[0]?.value?.embedding

    expect(embedding?.buffer).toBe(frame.buffer)
    expect((embedding?.byteOffset ?? 1) % 8).toBe(0)
  })

  test('read a frame that lies at an odd offset', () => {
    const delta = { through: 1, changes: [changeOf('x', [put(dotOf(ACTOR_A, 1))])] }
    const frame = encodeDelta(delta, 3)
    const odd = new Uint8Array(frame.length + 1)
    odd.set(frame, 1)

    expect(decodeDelta(odd.subarray(1), 3)).toEqual(delta)
  })

  test('take little more than the payload', () => {
    const changes = Array.from({ length: 100 }, (_, index) =>
      changeOf(`record-${index}`, [
        put(dotOf(ACTOR_A, 1_000 + index), { embedding: new Float32Array(384).fill(0.5) }),
      ]),
    )
    const raw = changes.reduce((sum, { id }) => sum + id.length + '{"page":1}'.length + 384 * 4, 0)

    const frame = encodeDelta({ through: 1, changes }, 384)

    expect(frame.length / raw).toBeLessThan(1.02)
  })
})

describe('decodeDelta() refuses', () => {
  test('a frame of which any one byte was changed', () => {
    const frame = encodeDelta({ through: 1, changes: [changeOf('x', [put(dotOf(ACTOR_A, 1))])] }, 3)
    for (let at = 0; at < frame.length; at += 1) {
      const bad = frame.slice()
      bad[at] = (bad[at] ?? 0) ^ 0x10

      expect(() => decodeDelta(bad, 3), `byte ${at}`).toThrow(
        expect.objectContaining({
          code: at === 1 ? 'SYNC_PROTOCOL_VERSION' : 'SYNC_FRAME_CORRUPT',
        }),
      )
    }
  })

  test('a frame that was cut off at any byte', () => {
    const frame = encodeDelta({ through: 1, changes: [changeOf('x', [put(dotOf(ACTOR_A, 1))])] }, 3)
    for (let end = 0; end < frame.length; end += 1) {
      expect(() => decodeDelta(frame.slice(0, end), 3), `${end} bytes`).toThrow(
        corrupt(/malformed/),
      )
    }
  })

  test('nothing of the frame that the following cases spoil', () => {
    const decoded = decodeDelta(frameOf(header(), DELETE, 'x'), 3)

    expect(decoded.changes).toEqual([
      {
        id: 'x',
        context: null,
        siblings: [{ dot: dotOf(ACTOR_A, 1), stamp: { ms: 0, logical: 0 }, value: null }],
      },
    ])
  })

  const at = (index: number, value: number): number[] => DELETE.with(index, value)
  test.each<[string, RegExp, Uint8Array]>([
    ['another dimension', /4 components in a shard of 3/, frameOf(header({ 1: 4 }), DELETE, 'x')],
    [
      'too many changes',
      /number of changes/,
      frameOf(header({ 2: CHANGES_PER_DELTA_MAX + 1 }), DELETE, 'x'),
    ],
    [
      'more siblings than bytes',
      /number of siblings/,
      frameOf(header({ 3: 4_000_000_000 }), DELETE, 'x'),
    ],
    [
      'more context entries than bytes',
      /context entries/,
      frameOf(header({ 4: 4_000_000_000 }), DELETE, 'x'),
    ],
    [
      'more embeddings than bytes',
      /number of embeddings/,
      frameOf(header({ 5: 4_000_000_000 }), DELETE, 'x'),
    ],
    ['more text than bytes', /bytes of texts/, frameOf(header({ 9: 4_000_000_000 }), DELETE, 'x')],
    [
      'ids that are longer than the frame has room',
      /do not fit/,
      frameOf(header({ 7: 10 }), DELETE, 'x'),
    ],
    ['a stamp beyond 48 bits', /ms base/, frameOf(header({ 6: 2 ** 48 }), DELETE, 'x')],
    ['half an actor', /multiple of 16/, frameOf(header({ 10: ACTOR.subarray(8) }), DELETE, 'x')],
    [
      'a dot without actors',
      /without an actor/,
      frameOf(header({ 10: new Uint8Array(0) }), DELETE.slice(1), 'x'),
    ],
    ['a change without siblings', /without siblings/, frameOf(header(), at(1, 0), 'x')],
    ['too many siblings', /number of siblings/, frameOf(header(), at(1, SIBLINGS_MAX + 1), 'x')],
    ['siblings that the header does not count', /disagree/, frameOf(header(), at(1, 2), 'x')],
    [
      'context entries that the header does not count',
      /disagree/,
      frameOf(header(), at(2, 1), 'x'),
    ],
    ['unknown flags', /flags/, frameOf(header(), at(3, 16), 'x')],
    ['a delete with a text', /delete with a value/, frameOf(header(), at(3, 8), 'x')],
    ['an embedding that is not there', /numbers of embeddings/, frameOf(header(), at(3, 3), 'x')],
    ['an unknown actor', /index of an actor/, frameOf(header(), at(4, 1), 'x')],
    ['an id longer than the ids', /lengths of strings/, frameOf(header(), at(8, 2), 'x')],
    ['text that is no UTF-8', /no UTF-8/, frameOf(header(), [...DELETE, 0xff])],
    ['padding that is not zero', /padding/, frameOf(header(), DELETE, 'xy')],
  ])('%s', (_, reason, frame) => {
    expect(() => decodeDelta(frame, 3)).toThrow(corrupt(reason))
  })

  test('a counter that no integer of JavaScript holds', () => {
    const columns = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 0, 0, 0, 1, 0, 0, 1]

    expect(() => decodeDelta(frameOf(header(), columns, 'x'), 3)).toThrow(corrupt(/counter/))
  })

  test('a varint padded with a zero group', () => {
    expect(() => decodeDelta(frameOf(header(), [0x81, 0x00, ...DELETE.slice(1)], 'x'), 3)).toThrow(
      corrupt(/padded/),
    )
  })

  test('a string that is cut within a character', () => {
    const two = header({ 2: 2, 3: 2, 7: 4 })
    // Two changes, whose ids are the halves of one surrogate pair.
    const frame = frameOf(two, [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1], '🌍')

    expect(() => decodeDelta(frame, 3)).toThrow(corrupt(/cut in a character/))
  })

  test('a header that declares four thousand million values, without allocating for them', () => {
    const frame = new Uint8Array(16)
    frame.set([0xdd, 0xff, 0xff, 0xff, 0xff], FRAME_HEAD_BYTES)

    expect(() => decodeDelta(sealFrame('batch', frame), 3)).toThrow(
      corrupt(/longer than the frame/),
    )
  })

  test('a frame of another type', () => {
    const frame = frameOf(header(), DELETE, 'x')

    expect(() => decodeDelta(sealFrame('ack', frame), 3)).toThrow(corrupt(/no frame with records/))
  })
})

test('the checksum is the CRC-32 that other tools compute', () => {
  const frame = encodeDelta({ through: 1, changes: [] }, 3)
  const given = Buffer.from(frame).readUInt32LE(4)

  expect(given).toBe(crc32(Buffer.concat([frame.subarray(0, 4), frame.subarray(8)])))
})
