/**
 * The frames of the protocol: round trips, limits and refusals.
 */
import { describe, expect, test } from 'vitest'

import { SqliteVectorError } from '../../../../src/errors.ts'
import { CONTROL_FRAME_BYTES_MAX, SOURCES_MAX } from '../../../../src/limits.ts'
import { FRAME_HEAD_BYTES, sealFrame, type FrameType } from '../../../../src/sync/wire/frame.ts'
import { encodeArray, type HeaderValue } from '../../../../src/sync/wire/messagepack.ts'
import {
  decodeFrame,
  encodeFrame,
  errorToFrame,
  frameToError,
  WIRE_ERROR_NUMBERS,
} from '../../../../src/sync/wire/control-frames.ts'
import { ACTOR_A } from '../changes.ts'

const ACTOR = Buffer.from(ACTOR_A, 'hex')
const EMPTY_VECTOR = Uint8Array.of(0)

function frameOf(type: FrameType, values: readonly HeaderValue[]): Uint8Array {
  const body = encodeArray(values)
  const bytes = new Uint8Array(FRAME_HEAD_BYTES + body.length)
  bytes.set(body, FRAME_HEAD_BYTES)
  return sealFrame(type, bytes)
}

function codeOf(fn: () => unknown): string {
  try {
    fn()
  } catch (error) {
    return error instanceof SqliteVectorError ? `${error.code}: ${error.message}` : String(error)
  }
  return 'nothing was thrown'
}

describe('the descriptor of a shard', () => {
  const shard = { dimension: 3, metric: 'l2', modelId: null } as const
  const welcome = {
    type: 'welcome',
    nodeId: 'n',
    actor: ACTOR_A,
    logId: ACTOR_A,
    cursor: 0,
  } as const

  test('carries its tokenizer, and is what older releases write where that is the default', () => {
    for (const text of ['words:en', 'trigram']) {
      const frame = { ...welcome, shard: { ...shard, text } }
      expect(decodeFrame(encodeFrame(frame))).toEqual(frame)
    }
    const plain = encodeFrame({ ...welcome, shard })
    expect(decodeFrame(plain)).toEqual({ ...welcome, shard })
    expect(plain).toEqual(frameOf('welcome', ['n', ACTOR, ACTOR, [3, 2, null], 0]))
  })

  test('is refused with a tokenizer that this release does not know', () => {
    const bytes = frameOf('welcome', ['n', ACTOR, ACTOR, [3, 2, null, 'words:xx'], 0])
    expect(codeOf(() => decodeFrame(bytes))).toContain('SYNC_FRAME_CORRUPT: ')
  })
})

describe('decodeFrame()', () => {
  test('ignores values that a later release appended', () => {
    const frame = decodeFrame(frameOf('hello', ['node', ACTOR, 2, 'a new field', [1, 2]]))

    expect(frame).toEqual({ type: 'hello', nodeId: 'node', actor: ACTOR_A, codecs: 2 })
  })

  const subscribe: HeaderValue[] = ['shard', null, null, 0, EMPTY_VECTOR, false]
  const welcome: HeaderValue[] = ['node', ACTOR, ACTOR, [3, 1, null], 0]
  test.each<[string, RegExp, FrameType, readonly HeaderValue[]]>([
    ['a value that is missing', /fewer than 2/, 'hello', ['node']],
    ['an empty node id', /node id is empty/, 'hello', ['', ACTOR]],
    ['a node id with NUL', /node id/, 'hello', ['a\0b', ACTOR]],
    ['a node id above its limit', /at most 256/, 'hello', ['x'.repeat(257), ACTOR]],
    ['a node id that is no text', /node id/, 'hello', [1, ACTOR]],
    ['an actor of 15 bytes', /actor/, 'hello', ['node', ACTOR.subarray(1)]],
    ['a shard id above its limit', /shard id/, 'subscribe', subscribe.with(0, 'é'.repeat(129))],
    ['a descriptor that is no array', /descriptor/, 'subscribe', subscribe.with(1, 'x')],
    ['a descriptor that is too short', /descriptor/, 'subscribe', subscribe.with(1, [3, 1])],
    ['a dimension of 0', /dimension/, 'subscribe', subscribe.with(1, [0, 1, null])],
    ['a dimension above its limit', /dimension/, 'subscribe', subscribe.with(1, [8_193, 1, null])],
    ['an unknown metric', /metric/, 'subscribe', subscribe.with(1, [3, 4, null])],
    ['an empty model id', /model id/, 'subscribe', subscribe.with(1, [3, 1, ''])],
    ['a log id of one byte', /log id/, 'subscribe', subscribe.with(2, Uint8Array.of(1))],
    ['a negative cursor', /cursor/, 'subscribe', subscribe.with(3, -1)],
    ['a cursor with a fraction', /cursor/, 'subscribe', subscribe.with(3, 0.5)],
    ['a cursor beyond 2^53', /cursor/, 'subscribe', subscribe.with(3, 2 ** 54)],
    [
      'a vector that is not canonical',
      /version vector/,
      'subscribe',
      subscribe.with(4, Uint8Array.of(1)),
    ],
    ['a flag that is no boolean', /live/, 'subscribe', subscribe.with(5, 1)],
    ['a log id that is missing', /log id/, 'welcome', welcome.with(2, null)],
    ['a digest of 7 bytes', /digest/, 'caughtUp', [1, EMPTY_VECTOR, new Uint8Array(7), 0]],
    ['an error number beyond 16 bits', /number of the error/, 'error', [65_536, 'x']],
    ['a nonce that is no integer', /nonce/, 'ping', ['x']],
    ['half an actor', /list of actors/, 'holds', [EMPTY_VECTOR, ACTOR.subarray(8)]],
    [
      'an actor named twice',
      /list of actors/,
      'holds',
      [EMPTY_VECTOR, Buffer.concat([ACTOR, ACTOR])],
    ],
    [
      'more actors than are named',
      /list of actors/,
      'holds',
      [EMPTY_VECTOR, new Uint8Array((SOURCES_MAX + 1) * 16)],
    ],
  ])('refuses %s', (_, reason, type, values) => {
    expect(codeOf(() => decodeFrame(frameOf(type, values)))).toMatch(
      new RegExp(`^SYNC_FRAME_CORRUPT: .*${reason.source}`),
    )
  })

  test('refuses bytes after the body', () => {
    const frame = frameOf('done', [])
    const longer = new Uint8Array(frame.length + 1)
    longer.set(frame)

    expect(codeOf(() => decodeFrame(sealFrame('done', longer)))).toMatch(/bytes after the body/)
  })

  test('refuses what MessagePack can say and the protocol does not use', () => {
    for (const token of [0xc1, 0xc7, 0xc8, 0xc9, 0xca, 0xd4, 0xd8, 0x80, 0xde, 0xdf]) {
      const bytes = new Uint8Array(FRAME_HEAD_BYTES + 2)
      bytes.set([0x91, token], FRAME_HEAD_BYTES)

      expect(codeOf(() => decodeFrame(sealFrame('invite', bytes)))).toMatch(/^SYNC_FRAME_CORRUPT/)
    }
  })

  test('refuses arrays nested too deep', () => {
    const bytes = new Uint8Array(FRAME_HEAD_BYTES + 10)
    bytes.fill(0x91, FRAME_HEAD_BYTES)

    expect(codeOf(() => decodeFrame(sealFrame('invite', bytes)))).toMatch(/nested too deep/)
  })

  test('refuses a BATCH, which carries records', () => {
    expect(codeOf(() => decodeFrame(frameOf('batch', [])))).toMatch(/^SYNC_FRAME_CORRUPT: .*BATCH/)
  })

  test('refuses a frame above its limit by name', () => {
    const bytes = new Uint8Array(CONTROL_FRAME_BYTES_MAX + 1)

    expect(codeOf(() => decodeFrame(sealFrame('hello', bytes)))).toMatch(/^SYNC_FRAME_TOO_LARGE/)
  })

  test('takes a frame at its limit', () => {
    const bytes = new Uint8Array(CONTROL_FRAME_BYTES_MAX)

    expect(codeOf(() => decodeFrame(sealFrame('hello', bytes)))).toMatch(/^SYNC_FRAME_CORRUPT/)
  })

  test('names another protocol version before it looks at anything else', () => {
    const bytes = encodeFrame({ type: 'done' })
    bytes[1] = 2

    expect(codeOf(() => decodeFrame(bytes))).toMatch(/^SYNC_PROTOCOL_VERSION: .*version 2/)
  })

  test('refuses an unknown type and reserved bytes', () => {
    const unknown = encodeFrame({ type: 'done' })
    unknown[0] = 200
    const reserved = encodeFrame({ type: 'done' })
    reserved[2] = 1

    expect(codeOf(() => decodeFrame(unknown))).toMatch(/^SYNC_FRAME_CORRUPT/)
    expect(codeOf(() => decodeFrame(reserved))).toMatch(/reserved/)
  })
})

describe('errors on the wire', () => {
  test('every code has a number of its own and comes back as itself, but for the one that speaks of the peer', () => {
    const numbers = Object.values(WIRE_ERROR_NUMBERS)

    expect(new Set(numbers).size).toBe(numbers.length)
    for (const code of Object.keys(WIRE_ERROR_NUMBERS) as (keyof typeof WIRE_ERROR_NUMBERS)[]) {
      const frame = errorToFrame(new SqliteVectorError(code, 'what happened'))
      const back = frameToError(decodeFrame(encodeFrame(frame)) as typeof frame)

      // A peer that closes may come back; it is not we who were closed.
      expect(back.code).toBe(code === 'SYNC_CLOSED' ? 'SYNC_REMOTE_FAILED' : code)
      expect(back.message).toContain('what happened')
    }
  })

  test('a failure of the store travels by its code, without its message', () => {
    const frame = errorToFrame(new SqliteVectorError('STORE_IO', 'cannot read /home/secret.db'))

    expect(frame).toEqual({
      type: 'error',
      code: 'SYNC_REMOTE_FAILED',
      message: 'failed with STORE_IO',
    })
  })

  test('a bug travels as a failure, without its message', () => {
    expect(errorToFrame(new TypeError('x is undefined')).message).toBe('failed unexpectedly')
  })

  test('a number of a later release is a failure of the peer', () => {
    const frame = decodeFrame(frameOf('error', [999, 'something new']))

    expect(frame).toEqual({ type: 'error', code: 'SYNC_REMOTE_FAILED', message: 'something new' })
  })

  test('a long message is cut, never within a character', () => {
    const message = `${'x'.repeat(499)}🌍`
    const frame = decodeFrame(encodeFrame({ type: 'error', code: 'SYNC_CLOSED', message }))

    expect(frame).toMatchObject({ message: `${'x'.repeat(499)}\u{fffd}` })
  })
})
