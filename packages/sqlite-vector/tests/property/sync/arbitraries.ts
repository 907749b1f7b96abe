/**
 * Random replicated data: changes, vectors and frames of every kind. No tests here.
 */
import * as fc from 'fast-check'

import { HLC_LOGICAL_MAX, HLC_MS_MAX } from '../../../src/clock/hlc.ts'
import { COUNTER_MAX, DIMENSION_MAX } from '../../../src/limits.ts'
import type { Delta } from '../../../src/sync/delta.ts'
import type { ControlFrame } from '../../../src/sync/wire/control-frames.ts'
import type {
  ActorId,
  Change,
  Dot,
  RecordValue,
  Sibling,
  VersionVector,
} from '../../../src/model/types.ts'
import { compareDots } from '../../../src/model/version-vector.ts'
import { type RangeAnswer } from '../../../src/store/replica/types.ts'

export const DIMENSION = 3

const ACTORS: readonly ActorId[] = ['00', '7f', 'a1', 'ff'].map((byte) => byte.repeat(16))

export const actor: fc.Arbitrary<ActorId> = fc.oneof(
  fc.constantFrom(...ACTORS),
  fc
    .uint8Array({ minLength: 16, maxLength: 16 })
    .map((bytes) => Buffer.from(bytes).toString('hex')),
)

/** Mostly small, as counters are; now and then at the far end. */
const counter = fc.oneof(
  { weight: 9, arbitrary: fc.integer({ min: 1, max: 300 }) },
  { weight: 1, arbitrary: fc.maxSafeNat().map((value) => Math.max(1, value)) },
  { weight: 1, arbitrary: fc.constant(COUNTER_MAX) },
)

export const dot: fc.Arbitrary<Dot> = fc.record({ actor, counter })

export const vector: fc.Arbitrary<VersionVector> = fc
  .array(fc.tuple(actor, counter), { maxLength: 5 })
  .map((entries) => new Map(entries))

/** Well-formed text of any script. */
export const text: fc.Arbitrary<string> = fc.string({ unit: 'binary', maxLength: 40 })

const metadata: fc.Arbitrary<string> = fc
  .dictionary(fc.string({ maxLength: 8 }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 })
  .map((value) => JSON.stringify(value).toWellFormed())

const embedding = fc.float32Array({ minLength: DIMENSION, maxLength: DIMENSION })

function valueOf(own: Dot): fc.Arbitrary<RecordValue> {
  const whole = fc.record({
    embedding,
    embeddingDot: fc.constant(own),
    metadata,
    text: fc.option(text),
  })
  const metadataOnly = fc.record({
    embedding: fc.option(embedding),
    embeddingDot: dot.filter((other) => compareDots(other, own) !== 0),
    metadata,
    text: fc.option(text),
  })
  return fc.oneof({ weight: 3, arbitrary: whole }, { weight: 1, arbitrary: metadataOnly })
}

const sibling: fc.Arbitrary<Sibling> = dot.chain((own) =>
  fc.record({
    dot: fc.constant(own),
    stamp: fc.record({
      ms: fc.oneof(fc.integer({ min: 0, max: HLC_MS_MAX }), fc.constantFrom(0, HLC_MS_MAX)),
      logical: fc.integer({ min: 0, max: HLC_LOGICAL_MAX }),
    }),
    value: fc.option(valueOf(own)),
  }),
)

const id: fc.Arbitrary<string> = fc.string({ unit: 'binary', minLength: 1, maxLength: 20 })

export const change: fc.Arbitrary<Change> = fc
  .record({
    id,
    siblings: fc.uniqueArray(sibling, {
      minLength: 1,
      maxLength: 4,
      selector: (one) => one.dot.actor,
    }),
    superseded: fc.option(vector),
  })
  .map(({ id: name, siblings, superseded }) => ({
    id: name,
    siblings: siblings.toSorted((a, b) => compareDots(a.dot, b.dot)),
    context: superseded === null ? null : contextOver(superseded, siblings),
  }))

export const delta: fc.Arbitrary<Delta> = fc.record({
  through: fc.maxSafeNat(),
  changes: fc.array(change, { maxLength: 6 }),
})

/** `vector`, extended to cover the siblings; null where that says no more than their dots. */
function contextOver(base: VersionVector, siblings: readonly Sibling[]): VersionVector | null {
  const own = new Map(siblings.map((one) => [one.dot.actor, one.dot.counter]))
  const context = new Map(base)
  for (const [name, count] of own) context.set(name, Math.max(count, context.get(name) ?? 0))
  const adds = [...context].some(([name, count]) => own.get(name) !== count)
  return adds ? context : null
}

const name = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 20 })
  .filter((value) => !value.includes('\0'))

const hex = (bytes: number): fc.Arbitrary<string> =>
  fc
    .uint8Array({ minLength: bytes, maxLength: bytes })
    .map((value) => Buffer.from(value).toString('hex'))

const descriptor = fc.record({
  dimension: fc.integer({ min: 1, max: DIMENSION_MAX }),
  metric: fc.constantFrom('cosine' as const, 'l2' as const, 'dot' as const),
  modelId: fc.option(name),
})

const answer: fc.Arbitrary<RangeAnswer> = fc.oneof(
  fc.record({
    type: fc.constant('list' as const),
    records: fc.array(fc.record({ id: name, hash: hex(8) }), { maxLength: 16 }),
  }),
  fc.record({
    type: fc.constant('parts' as const),
    parts: fc.array(fc.record({ to: fc.option(name), count: fc.maxSafeNat(), digest: hex(8) }), {
      maxLength: 16,
    }),
  }),
)

export const controlFrame: fc.Arbitrary<ControlFrame> = fc.oneof(
  fc.record({ type: fc.constant('hello' as const), nodeId: name, actor }),
  fc.record({
    type: fc.constant('subscribe' as const),
    shardId: name,
    shard: fc.option(descriptor),
    logId: fc.option(hex(16)),
    cursor: fc.maxSafeNat(),
    versionVector: vector,
    live: fc.boolean(),
    uncovered: vector,
  }),
  fc.record({
    type: fc.constant('welcome' as const),
    nodeId: name,
    actor,
    logId: hex(16),
    shard: fc.option(descriptor),
    cursor: fc.maxSafeNat(),
  }),
  fc.record({
    type: fc.constant('caughtUp' as const),
    head: fc.maxSafeNat(),
    versionVector: vector,
    digest: hex(8),
    recordCount: fc.maxSafeNat(),
    gcFloor: vector,
    uncovered: vector,
  }),
  fc.record({ type: fc.constant('need' as const), ids: fc.array(name, { maxLength: 5 }) }),
  fc.record({
    type: fc.constant('compare' as const),
    ranges: fc.array(fc.record({ from: fc.oneof(name, fc.constant('')), to: fc.option(name) }), {
      maxLength: 16,
    }),
  }),
  fc.record({
    type: fc.constant('compare' as const),
    ranges: fc.constant([{ from: '', to: null }]),
    payloads: fc.boolean(),
  }),
  fc.record({ type: fc.constant('ranges' as const), answers: fc.array(answer, { maxLength: 16 }) }),
  fc.record({
    type: fc.constant('ack' as const),
    cursor: fc.maxSafeNat(),
    versionVector: fc.option(vector),
  }),
  fc.record({
    type: fc.constant('error' as const),
    code: fc.constantFrom(
      'SYNC_FRAME_CORRUPT' as const,
      'SYNC_SHARD_MISMATCH' as const,
      'SYNC_REMOTE_FAILED' as const,
    ),
    message: name,
  }),
  fc.constant({ type: 'done' as const }),
  fc.record({ type: fc.constant('invite' as const), shardId: name, live: fc.boolean() }),
  fc.record({ type: fc.constant('push' as const), versionVector: vector }),
  fc
    .record({ versionVector: vector, sources: fc.option(vector) })
    .map(({ versionVector, sources }) => ({
      type: 'holds' as const,
      versionVector,
      ...(sources === null ? {} : { sources: [...sources.keys()].toSorted() }),
    })),
  fc.record({ type: fc.constantFrom('ping' as const, 'pong' as const), nonce: fc.maxSafeNat() }),
)
