/**
 * Every rule for what callers give: the message names argument, rule and value, and the file stays as it was.
 */
import { describe, expect, test } from 'vitest'

import {
  DIMENSION_MAX,
  ID_BYTES_MAX,
  K_MAX,
  LIST_LIMIT_MAX,
  METADATA_BYTES_MAX,
  METADATA_DEPTH_MAX,
  MODEL_ID_BYTES_MAX,
  SHARD_ID_BYTES_MAX,
  TEXT_BYTES_MAX,
} from '../../../src/limits.ts'
import type { SQLiteVectorDB } from '../../../src/store/vector-db.ts'
import { createVectorDB } from '../../../src/store/vector-db.ts'
import { open, record, shown } from './fixture.ts'

const GOOD = { id: 'a', embedding: [1, 0, 0] }

/** Calls that must be refused, with what the refusal must say. */
type Refusal = readonly [what: string, call: (db: SQLiteVectorDB) => unknown, message: RegExp]

const insert = (given: unknown) => (db: SQLiteVectorDB) => db.insert('docs', given as never)

function nested(depth: number): unknown {
  let value: unknown = 1
  for (let level = 0; level < depth; level += 1) value = { a: value }
  return value
}

// Its second element was never there.
const holed: unknown[] = [1]
holed[2] = 0

const cycle: Record<string, unknown> = {}
cycle['self'] = cycle

const REFUSALS: readonly Refusal[] = [
  ['no record', insert(null), /^record must be an object, got null/],
  ['a record that is an array', insert([]), /^record must be an object, got an array of 0/],
  ['an unknown key', insert({ ...GOOD, vector: [1] }), /^record: unknown option "vector"/],
  ['no id', insert({ embedding: [1, 0, 0] }), /^record\.id must be a string, got undefined/],
  ['an empty id', insert({ ...GOOD, id: '' }), /^record\.id must not be empty/],
  [
    'an id with NUL',
    insert({ ...GOOD, id: 'a\0b' }),
    /^record\.id must not contain NUL, got "a\\u0000b"/,
  ],
  ['an id with half a pair', insert({ ...GOOD, id: '\ud83d' }), /^record\.id must be well-formed/],
  [
    'an id that is too long',
    insert({ ...GOOD, id: 'ä'.repeat(ID_BYTES_MAX / 2) + 'x' }),
    /^record\.id must be at most 1024 UTF-8 bytes, got 1025/,
  ],
  [
    'no vector',
    insert({ id: 'a' }),
    /^record\.embedding must be a Float32Array or an array of numbers/,
  ],
  [
    'a Float64Array',
    insert({ id: 'a', embedding: Float64Array.of(1, 0, 0) }),
    /got a Float64Array/,
  ],
  [
    'a vector with a text',
    insert({ id: 'a', embedding: [1, '0', 0] }),
    /^record\.embedding\[1\] must be a number, got "0"/,
  ],
  [
    'a vector with a hole',
    insert({ id: 'a', embedding: holed }),
    /^record\.embedding\[1\] must be a number, got undefined/,
  ],
  [
    'too few components',
    insert({ id: 'a', embedding: [1, 0] }),
    /^record\.embedding must have 3 components, as shard "docs" has, got 2/,
  ],
  ['no components', insert({ id: 'a', embedding: [] }), /must have 3 components, .* got 0/],
  [
    'NaN',
    insert({ id: 'a', embedding: [1, NaN, 0] }),
    /^record\.embedding\[1\] must be a finite float32, got NaN/,
  ],
  [
    'Infinity',
    insert({ id: 'a', embedding: Float32Array.of(1, 0, -Infinity) }),
    /^record\.embedding\[2\] must be a finite float32, got -Infinity/,
  ],
  [
    'more than float32 holds',
    insert({ id: 'a', embedding: [1e39, 0, 0] }),
    /^record\.embedding\[0\] must be a finite float32, got 1e\+39/,
  ],
  [
    'all zeros under cosine',
    insert({ id: 'a', embedding: [0, 0, 0] }),
    /^record\.embedding must not be all zeros/,
  ],
  [
    'less than float32 holds under cosine',
    insert({ id: 'a', embedding: [1e-60, 0, 0] }),
    /must not be all zeros/,
  ],
  [
    'metadata that is a text',
    insert({ ...GOOD, metadata: '{}' }),
    /^record\.metadata must be a JSON object, got "{}"/,
  ],
  [
    'metadata that is an array',
    insert({ ...GOOD, metadata: [] }),
    /^record\.metadata must be a JSON object/,
  ],
  [
    'metadata that is null',
    insert({ ...GOOD, metadata: null }),
    /^record\.metadata must be a JSON object, got null/,
  ],
  [
    'metadata that is a Map',
    insert({ ...GOOD, metadata: new Map() }),
    /^record\.metadata must be a JSON object/,
  ],
  [
    'undefined in metadata',
    insert({ ...GOOD, metadata: { a: undefined } }),
    /^record\.metadata\.a must be a JSON value, got undefined/,
  ],
  [
    'a function in metadata',
    insert({ ...GOOD, metadata: { a: [() => 1] } }),
    /^record\.metadata\.a\[0\] must be a JSON value, got a function/,
  ],
  [
    'NaN in metadata',
    insert({ ...GOOD, metadata: { a: { b: NaN } } }),
    /^record\.metadata\.a\.b must be a finite number, got NaN/,
  ],
  [
    'a BigInt in metadata',
    insert({ ...GOOD, metadata: { a: 1n } }),
    /^record\.metadata\.a must be a JSON value, got 1n/,
  ],
  [
    'a Date in metadata',
    insert({ ...GOOD, metadata: { a: new Date(0) } }),
    /^record\.metadata\.a must be a JSON value, got a Date \(use toISOString\(\)\)/,
  ],
  [
    'a hole in metadata',
    insert({ ...GOOD, metadata: { a: holed } }),
    /^record\.metadata\.a\[1\] must be a JSON value, got undefined/,
  ],
  [
    'a cycle in metadata',
    insert({ ...GOOD, metadata: cycle }),
    /must be nested at most 64 deep, got more \(is it a cycle\?\)/,
  ],
  [
    'metadata that is too deep',
    insert({ ...GOOD, metadata: nested(METADATA_DEPTH_MAX + 1) }),
    /nested at most 64 deep/,
  ],
  [
    'metadata that is too large',
    insert({ ...GOOD, metadata: { a: 'x'.repeat(METADATA_BYTES_MAX - 7) } }),
    /^record\.metadata must be at most 65536 UTF-8 bytes, got 65537/,
  ],
  ['a text that is none', insert({ ...GOOD, text: 1 }), /^record\.text must be a string, got 1/],
  [
    'a text with half a pair',
    insert({ ...GOOD, text: 'x\udc1f' }),
    /^record\.text must be well-formed Unicode/,
  ],
  ['a text with NUL', insert({ ...GOOD, text: 'a\0' }), /^record\.text must not contain NUL/],
  [
    'a text that is too large',
    insert({ ...GOOD, text: 'x'.repeat(TEXT_BYTES_MAX + 1) }),
    /^record\.text must be at most 131072 UTF-8 bytes, got 131073/,
  ],
  [
    'an update of nothing',
    (db) => db.update('docs', 'kept', {}),
    /^update must have at least one of/,
  ],
  [
    'an update with an unknown key',
    (db) => db.update('docs', 'kept', { meta: {} } as never),
    /^update: unknown option "meta"/,
  ],
  [
    'an update with a wrong mode',
    (db) => db.update('docs', 'kept', { text: 'x', metadataMode: 'deep' as never }),
    /^update\.metadataMode must be one of merge, replace/,
  ],
  [
    'an update with a bad vector',
    (db) => db.update('docs', 'kept', { embedding: [0, 0, NaN] }),
    /^update\.embedding\[2\] must be a finite float32/,
  ],
  [
    'an update that makes metadata too large',
    (db) => {
      const half = 'x'.repeat(METADATA_BYTES_MAX / 2)
      return db.transaction(() => {
        db.update('docs', 'kept', { metadata: { a: half } })
        db.update('docs', 'kept', { metadata: { b: half } })
      })
    },
    /^the merged metadata must be at most 65536 UTF-8 bytes/,
  ],
  [
    'an upsert of a bad record',
    (db) => db.upsert('docs', { ...GOOD, text: 1 as never }),
    /^record\.text must be a string/,
  ],
  ['delete() of no id', (db) => db.delete('docs', ''), /^id must not be empty/],
  ['get() of no id', (db) => db.get('docs', 7 as never), /^id must be a string, got 7/],
  [
    'getMany() of no array',
    (db) => db.getMany('docs', 'a' as never),
    /^ids must be an array, got "a"/,
  ],
  ['getMany() with a bad id', (db) => db.getMany('docs', ['a', '']), /^ids\[1\] must not be empty/],
  ['a shard id that is none', (db) => db.get(1 as never, 'a'), /^shardId must be a string, got 1/],
  [
    'k of 0',
    (db) => db.search('docs', [1, 0, 0], { k: 0 }),
    /^k must be an integer from 1 to 10000, got 0/,
  ],
  ['k of a half', (db) => db.search('docs', [1, 0, 0], { k: 1.5 }), /^k must be an integer/],
  [
    'k beyond its limit',
    (db) => db.search('docs', [1, 0, 0], { k: K_MAX + 1 }),
    /^k must be an integer .* got 10001/,
  ],
  [
    'a threshold that is NaN',
    (db) => db.search('docs', [1, 0, 0], { threshold: NaN }),
    /threshold/,
  ],
  [
    'an unknown search option',
    (db) => db.search('docs', [1, 0, 0], { topK: 3 } as never),
    /unknown option "topK"/,
  ],
  ['a query of a wrong dimension', (db) => db.search('docs', [1, 0]), /must have 3 components/],
  ['a query of zeros', (db) => db.search('docs', [0, 0, 0]), /must not be all zeros/],
  ['a limit of 0', (db) => db.list('docs', { limit: 0 }), /^limit must be an integer from 1/],
  [
    'a limit beyond its bound',
    (db) => db.list('docs', { limit: LIST_LIMIT_MAX + 1 }),
    /^limit must be an integer/,
  ],
  [
    'a cursor that is none',
    (db) => db.list('docs', { cursor: 1 as never }),
    /^cursor must be a string, got 1/,
  ],
  [
    'an unknown list option',
    (db) => db.list('docs', { offset: 1 } as never),
    /^list: unknown option "offset"/,
  ],
  [
    'an unknown conflict list option',
    (db) => db.listConflicts('docs', { includeVectors: true } as never),
    /^listConflicts: unknown option/,
  ],
  [
    'a shard without a dimension',
    (db) => db.createShard('s', {} as never),
    /^dimension must be a number, got undefined/,
  ],
  [
    'a dimension beyond its limit',
    (db) => db.createShard('s', { dimension: DIMENSION_MAX + 1 }),
    /^dimension must be an integer from 1 to 8192/,
  ],
  [
    'a metric that is none',
    (db) => db.createShard('s', { dimension: 1, metric: 'L2' as never }),
    /^metric must be one of cosine, l2, dot, got "L2"/,
  ],
  [
    'an unknown shard option',
    (db) => db.createShard('s', { dimension: 1, model: 'm' } as never),
    /^createShard: unknown option "model". Did you mean modelId\?/,
  ],
  ['an empty shard id', (db) => db.createShard('', { dimension: 1 }), /^shardId must not be empty/],
  [
    'a shard id that is too long',
    (db) => db.createShard('s'.repeat(SHARD_ID_BYTES_MAX + 1), { dimension: 1 }),
    /^shardId must be at most 256/,
  ],
  [
    'a model id that is too long',
    (db) => db.createShard('s', { dimension: 1, modelId: 'm'.repeat(MODEL_ID_BYTES_MAX + 1) }),
    /^modelId must be at most 256/,
  ],
  [
    'a strategy that is none',
    (db) => db.setConflictStrategy('docs', 'newest' as never),
    /^strategy must be one of last-write-wins, first-write-wins, merge, manual, got "newest"/,
  ],
  [
    'a transaction without a function',
    (db) => db.transaction(1 as never),
    /^fn must be a function, got 1/,
  ],
  [
    'a transaction that waits',
    (db) => db.transaction(async () => db.insert('docs', record('late'))),
    /^transaction: fn must not return a promise/,
  ],
]

describe('input', () => {
  test.each(REFUSALS)(
    '%s is refused and leaves the file as it was',
    async (_what, call, message) => {
      using fixture = await open()
      fixture.db.insert('docs', record('kept', { n: 1 }))
      const before = [shown(fixture.db), fixture.db.replica.shardState('docs'), fixture.db.shards()]

      expect(() => call(fixture.db)).toThrow(message)

      expect([
        shown(fixture.db),
        fixture.db.replica.shardState('docs'),
        fixture.db.shards(),
      ]).toEqual(before)
    },
  )

  test('everything at its limit is taken', async () => {
    using fixture = await open()
    const { db } = fixture
    const long = {
      id: 'ä'.repeat(ID_BYTES_MAX / 2),
      embedding: [3.4e38, -3.4e38, 1e-40],
      metadata: { a: 'x'.repeat(METADATA_BYTES_MAX - 8) },
      text: 'x'.repeat(TEXT_BYTES_MAX),
    }

    db.insert('docs', long)
    db.insert('docs', { ...GOOD, id: 'deep', metadata: nested(METADATA_DEPTH_MAX) as never })
    db.createShard('s'.repeat(SHARD_ID_BYTES_MAX), {
      dimension: DIMENSION_MAX,
      modelId: 'm'.repeat(MODEL_ID_BYTES_MAX),
    })

    expect(db.get('docs', long.id)).toMatchObject({ metadata: long.metadata, text: long.text })
    expect(db.get('docs', 'deep')?.metadata).toEqual(nested(METADATA_DEPTH_MAX))
    expect(db.search('docs', [1, 0, 0], { k: K_MAX })).toHaveLength(2)
  })

  test('a vector of another dimension is an operating error with a code', async () => {
    using fixture = await open()

    for (const call of [
      () => fixture.db.insert('docs', { id: 'a', embedding: [1, 2, 3, 4] }),
      () => fixture.db.search('docs', [1, 2]),
    ]) {
      expect(call).toThrow(expect.objectContaining({ code: 'STORE_DIMENSION_MISMATCH' }))
    }
  })

  test('a vector of zeros is taken where the metric can place it', async () => {
    using fixture = await open()
    fixture.db.createShard('l2', { dimension: 2, metric: 'l2' })
    fixture.db.createShard('dot', { dimension: 2, metric: 'dot' })

    for (const shard of ['l2', 'dot']) fixture.db.insert(shard, { id: 'zero', embedding: [0, 0] })

    expect(fixture.db.search('l2', [0, 0])[0]).toMatchObject({ distance: 0, score: 1 })
    expect(fixture.db.search('dot', [1, 1])[0]).toMatchObject({ score: 0 })
  })

  test.each([
    [{}, /^path must be a string, got undefined/],
    [{ path: '' }, /^path must not be empty/],
    [{ path: 'a\0b' }, /^path must not contain NUL/],
    [{ path: ':memory:', durability: 'off' }, /^durability must be one of full, normal, got "off"/],
    [
      { path: ':memory:', busyTimeoutMs: -1 },
      /^busyTimeoutMs must be an integer from 0 to 60000, got -1/,
    ],
    [
      { path: ':memory:', busyTimeout: 1 },
      /^createVectorDB: unknown option "busyTimeout". Did you mean busyTimeoutMs\?/,
    ],
    [{ path: ':memory:', onEvent: 1 }, /^onEvent must be a function, got 1/],
    [null, /^createVectorDB: options must be an object, got null/],
  ])('createVectorDB(%o) is refused', async (options, message) => {
    await expect(createVectorDB(options as never)).rejects.toThrow(message)
  })
})
