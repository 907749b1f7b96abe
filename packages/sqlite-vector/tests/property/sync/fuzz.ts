/**
 * `npm run fuzz`: random and mutated bytes against everything that decodes what peers send, in numbers that a test run
 * has no time for. Each input must give a value or a coded error, and memory must stay where it is.
 *
 *   npm run fuzz -- --inputs 1000000 --seed 1
 *
 * Half of the mutated frames get their checksum put right, so that what is behind it is reached. Exit code 1 for any
 * other error, whose input is printed, and when the process grew beyond the bound.
 */
import { setImmediate } from 'node:timers/promises'
import { parseArgs } from 'node:util'

import * as fc from 'fast-check'

import { SqliteVectorError } from '../../../src/errors.ts'
import type { Change } from '../../../src/model/types.ts'
import { expandFrame, FrameCompressor, offeredCodecs } from '../../../src/sync/wire/compression.ts'
import { decodeDelta } from '../../../src/sync/wire/delta-decode.ts'
import { encodeDelta } from '../../../src/sync/delta.ts'
import { FRAME_TYPES, type FrameType, sealFrame } from '../../../src/sync/wire/frame.ts'
import { decodeMembers, encodeMembers } from '../../../src/sync/wire/members-frame.ts'
import { decodeFrame, encodeFrame } from '../../../src/sync/wire/control-frames.ts'
import { decodeVector, encodeVector } from '../../../src/model/version-vector.ts'
import { Random } from '../../simulation/random.ts'
import { controlFrame, delta, DIMENSION, vector } from './arbitraries.ts'

/** What the process may grow by while it decodes, in bytes: some frames of the largest size, and garbage. */
const GROWTH_BYTES_MAX = 256 * 1_048_576

const CORPUS = 400
const NAMES = Object.keys(FRAME_TYPES) as FrameType[]

const { values } = parseArgs({
  options: {
    inputs: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
  },
})

type Decoder = (bytes: Uint8Array) => unknown

/** What the shell does with what came over a channel. */
const DECODERS: readonly (readonly [string, Decoder])[] = [
  ['control frame', decodeFrame],
  ['delta', (bytes) => decodeDelta(bytes, DIMENSION)],
  ['compressed delta', (bytes) => decodeDelta(expandFrame(bytes), DIMENSION)],
  ['members', decodeMembers],
  ['version vector', decodeVector],
]

function corpusOf(seed: number): readonly (readonly Uint8Array[])[] {
  const sample = <T>(arbitrary: fc.Arbitrary<T>): T[] =>
    fc.sample(arbitrary, { numRuns: CORPUS, seed })
  const deltas = sample(delta)
  const members = sample(
    fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 6 }),
  ).flatMap((records) => encodeMembers(records, records.length % 2 === 0))
  return [
    sample(controlFrame).map(encodeFrame),
    deltas.map((given) => encodeDelta(given, DIMENSION)),
    deltas.map((given) => compressed(given.changes)),
    members,
    sample(vector).map(encodeVector),
  ]
}

/** The changes often enough that compressing gains. */
function compressed(changes: readonly Change[]): Uint8Array {
  const many = Array.from({ length: 40 }, () => changes)
    .flat()
    .slice(0, 400)
  const compressor = FrameCompressor.for('zstd', offeredCodecs())
  const frame = encodeDelta({ changes: many, through: 1 }, DIMENSION)
  return compressor === null ? frame : compressor.compress(frame)
}

function mutated(random: Random, frame: Uint8Array): Uint8Array {
  let result = Buffer.from(frame)
  for (let edits = random.between(1, 4); edits > 0; edits -= 1) {
    const at = random.below(result.length + 1)
    const bytes = random.bytes(random.between(1, 9))
    switch (random.below(4)) {
      case 0:
        result.set(bytes.subarray(0, result.length - at), at)
        break
      case 1:
        result = result.subarray(0, at)
        break
      case 2:
        result = Buffer.concat([result.subarray(0, at), bytes, result.subarray(at)])
        break
      default:
        if (at < result.length) result[at] = (result[at] ?? 0) ^ (1 << random.below(8))
    }
  }
  return new Uint8Array(result)
}

/** The next input for the decoder of this number. */
function inputFor(random: Random, kind: number, corpus: readonly Uint8Array[]): Uint8Array {
  if (random.chance(0.2)) {
    const bytes = random.bytes(random.below(200))
    return bytes.length >= 8 && random.chance(0.7) ? sealFrame(random.pick(NAMES), bytes) : bytes
  }
  const base = random.pick(corpus)
  const input = mutated(random, base)
  // A compressed frame has its checksum inside; a vector has none.
  if (kind === 2 || kind === 4 || input.length < 8 || random.chance(0.5)) return input
  const type = NAMES.find((name) => FRAME_TYPES[name] === base[0])
  return type === undefined ? input : sealFrame(type, input)
}

function isCoded(error: unknown): boolean {
  return (
    error instanceof SqliteVectorError &&
    /^SYNC_(FRAME_CORRUPT|FRAME_TOO_LARGE|PROTOCOL_VERSION)$/.test(error.code)
  )
}

const inputs = Number(values.inputs)
const random = new Random(Number(values.seed))
const corpora = corpusOf(Number(values.seed))
const decoded = DECODERS.map(() => 0)
const refused = DECODERS.map(() => 0)
const before = process.memoryUsage().rss
let peak = before
const startedMs = performance.now()
for (let index = 0; index < inputs; index += 1) {
  const kind = index % DECODERS.length
  const [name, decode] = DECODERS[kind] as readonly [string, Decoder]
  const input = inputFor(random, kind, corpora[kind] ?? [])
  const copy = Buffer.from(input)
  try {
    if (decode(input) === null) refused[kind] = (refused[kind] ?? 0) + 1
    else decoded[kind] = (decoded[kind] ?? 0) + 1
  } catch (error) {
    if (!isCoded(error)) {
      console.log(`input ${index} of seed ${values.seed}, ${name}: ${copy.toString('hex')}`)
      throw error
    }
    refused[kind] = (refused[kind] ?? 0) + 1
  }
  if (index % 1_000 === 0) {
    peak = Math.max(peak, process.memoryUsage().rss)
    // As between frames of a channel: what was allocated outside the heap is given back in turns of the loop.
    await setImmediate()
  }
}
const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1)
const grown = Math.max(0, peak - before)
for (const [kind, [name]] of DECODERS.entries()) {
  console.log(`${name}: ${decoded[kind]} decoded, ${refused[kind]} refused`)
}
console.log(
  `${inputs} inputs of seed ${values.seed} in ${seconds} s; ` +
    `${(before / 1_048_576).toFixed(0)} MiB before, ${(peak / 1_048_576).toFixed(0)} MiB at most`,
)
if (grown > GROWTH_BYTES_MAX) {
  console.log(`grew by ${grown} bytes, more than ${GROWTH_BYTES_MAX}`)
  process.exitCode = 1
}
