/**
 * The delta codec: time to encode and decode 100 changes of 384 dimensions, and what a change takes on
 * the wire beyond its payload. One thread, in memory. See README.md.
 */
import { deepStrictEqual } from 'node:assert'

import { encodeDelta, type Delta } from '../../packages/sqlite-vector/src/sync/delta.ts'
import { decodeDelta } from '../../packages/sqlite-vector/src/sync/wire/delta-decode.ts'
import type { Change } from '../../packages/sqlite-vector/src/model/types.ts'

import { bar, median, type Bar, type BenchOptions } from '../bar.ts'

export const title = 'delta: encoding and decoding 100 changes of 384 dimensions'

const DIMENSION = 384
const CHANGES = 100
const ACTOR = '0123456789abcdef'.repeat(2)

export async function bars({ quick, log }: BenchOptions): Promise<readonly Bar[]> {
  const rounds = quick ? 200 : 4_000
  const delta = makeDelta()
  const frame = encodeDelta(delta, DIMENSION)
  // A wrong result is never fast.
  deepStrictEqual(decodeDelta(frame, DIMENSION), delta)
  log(`${rounds} rounds of each, in turns`)
  const encodeMs: number[] = []
  const decodeMs: number[] = []
  // The first quarter warms the code and does not count.
  for (let round = 0; round < rounds * 1.25; round += 1) {
    const started = performance.now()
    const encoded = encodeDelta(delta, DIMENSION)
    const between = performance.now()
    const decoded = decodeDelta(encoded, DIMENSION)
    const ended = performance.now()
    if (decoded.changes.length !== CHANGES) throw new Error('changes were lost')
    if (round < rounds / 4) continue
    encodeMs.push(between - started)
    decodeMs.push(ended - between)
  }
  return [
    bar('encode 100 changes of 384-d, median', median(encodeMs), '<= 0.2', 'ms'),
    bar('decode 100 changes of 384-d, median', median(decodeMs), '<= 0.2', 'ms'),
    bar('encode, 99th percentile', percentile(encodeMs, 0.99), 'none', 'ms'),
    bar('decode, 99th percentile', percentile(decodeMs, 0.99), 'none', 'ms'),
    bar(
      'frame / payload (id, embedding, metadata)',
      frame.length / rawBytes(delta),
      '<= 1.05',
      'ratio',
    ),
    bar('bytes beyond the payload', (frame.length - rawBytes(delta)) / CHANGES, 'none', 'B/change'),
  ]
}

function makeDelta(): Delta {
  let seed = 42
  const random = (): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    return seed / 2 ** 32 - 0.5
  }
  const changes = Array.from({ length: CHANGES }, (_, index): Change => {
    const dot = { actor: ACTOR, counter: 5_000 + index }
    return {
      id: `record-${5_000 + index}`,
      context: null,
      siblings: [
        {
          dot,
          stamp: { ms: 1_700_000_000_000 + (index >> 4), logical: index & 15 },
          value: {
            embedding: Float32Array.from({ length: DIMENSION }, random),
            embeddingDot: dot,
            metadata: JSON.stringify({ source: `doc-${index}`, page: index, lang: 'en' }),
            text: null,
          },
        },
      ],
    }
  })
  return { through: 5_100, changes }
}

function rawBytes({ changes }: Delta): number {
  return changes.reduce((sum, { id, siblings }) => {
    const metadata = siblings[0]?.value?.metadata ?? ''
    return sum + Buffer.byteLength(id) + Buffer.byteLength(metadata) + DIMENSION * 4
  }, 0)
}

function percentile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN
}
