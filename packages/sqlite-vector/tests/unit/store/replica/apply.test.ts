/**
 * Applying what peers sent: merges, cursors, version vectors, quarantine.
 */
import { describe, expect, test } from 'vitest'

import { CLOCK_DRIFT_MS_MAX, SIBLINGS_MAX } from '../../../../src/limits.ts'
import type { Change, Sibling } from '../../../../src/model/types.ts'
import { EVERYTHING, type Fixture, open, pull, record, shown } from '../fixture.ts'

const ACTOR = 'a1'.repeat(16)
const OTHER = 'b2'.repeat(16)
const SOURCE = { peer: 'p', logId: '0f'.repeat(16), cursor: 7 }

function put(actor: string, counter: number, value: Partial<Sibling['value']> = {}): Sibling {
  const dot = { actor, counter }
  const embedding = Float32Array.of(counter, 1, 0)
  return {
    dot,
    stamp: { ms: 1_700_000_000_000 + counter, logical: 0 },
    value: { embedding, embeddingDot: dot, metadata: `{"n":${counter}}`, text: null, ...value },
  }
}

function tombstone(actor: string, counter: number): Sibling {
  return { ...put(actor, counter), value: null }
}

function change(id: string, ...siblings: readonly Sibling[]): Change {
  return { id, siblings, context: null }
}

function apply(fixture: Fixture, ...changes: readonly Change[]): unknown {
  return fixture.db.replica.applyDelta('docs', changes, SOURCE)
}

describe('applyDelta()', () => {
  test('stores what a peer sent, and the cursor with it', async () => {
    using fixture = await open()

    const result = apply(fixture, change('a', put(ACTOR, 1)), change('b', tombstone(ACTOR, 2)))

    expect(result).toMatchObject({ applied: 2, redundant: 0, conflicts: 0, quarantined: 0 })
    expect(fixture.db.get('docs', 'a')).toMatchObject({ metadata: { n: 1 } })
    expect(fixture.db.replica.peerCursor('docs', 'p')).toMatchObject({
      pulled: { logId: SOURCE.logId, cursor: 7 },
    })
    expect(fixture.db.replica.shardState('docs')).toMatchObject({
      recordCount: 1,
      tombstoneCount: 1,
      head: 2,
    })
  })

  test('does not join the version vector; joinVector() does, and tells', async () => {
    using fixture = await open()
    const { replica } = fixture.db
    apply(fixture, change('a', put(ACTOR, 5)))
    expect(replica.shardState('docs').versionVector).toEqual(new Map())
    const heads: number[] = []
    replica.onCommit(({ head }) => void heads.push(head))

    const state = replica.joinVector('docs', { ...SOURCE, cursor: 9 }, new Map([[ACTOR, 5]]))
    replica.joinVector('docs', { ...SOURCE, cursor: 9 }, new Map([[ACTOR, 5]]))

    expect(state.versionVector).toEqual(new Map([[ACTOR, 5]]))
    expect(replica.peerCursor('docs', 'p')?.pulled?.cursor).toBe(9)
    expect(heads).toEqual([1])
  })

  test('twice changes nothing the second time', async () => {
    using fixture = await open()
    const changes = [
      change('a', put(ACTOR, 1)),
      change('b', put(ACTOR, 2), put(OTHER, 1)),
      change('c', tombstone(OTHER, 2)),
    ]
    apply(fixture, ...changes)
    const before = [fixture.db.replica.readDelta('docs', EVERYTHING), shown(fixture.db)]

    expect(apply(fixture, ...changes)).toMatchObject({ applied: 0, redundant: 3, conflicts: 0 })

    expect([fixture.db.replica.readDelta('docs', EVERYTHING), shown(fixture.db)]).toEqual(before)
  })

  test('a newer write of the same actor replaces, an older one that comes late is redundant', async () => {
    using fixture = await open()

    expect(apply(fixture, change('a', put(ACTOR, 2)))).toMatchObject({ applied: 1 })
    expect(apply(fixture, change('a', put(ACTOR, 1)))).toMatchObject({ applied: 0, redundant: 1 })
    expect(apply(fixture, change('a', put(ACTOR, 3)))).toMatchObject({ applied: 1 })

    expect(fixture.db.get('docs', 'a')?.metadata).toEqual({ n: 3 })
    expect(fixture.db.replica.shardState('docs').conflictCount).toBe(0)
  })

  test('concurrent writes are a conflict, counted once, shown by the last write', async () => {
    using fixture = await open()

    expect(apply(fixture, change('a', put(ACTOR, 1)))).toMatchObject({ conflicts: 0 })
    expect(apply(fixture, change('a', put(OTHER, 9)))).toMatchObject({ applied: 1, conflicts: 1 })
    expect(apply(fixture, change('a', put('c3'.repeat(16), 4)))).toMatchObject({ conflicts: 0 })

    expect(fixture.db.get('docs', 'a')?.metadata).toEqual({ n: 9 })
    expect(fixture.db.listConflicts('docs').conflicts).toEqual([
      { id: 'a', siblingCount: 3, visible: true },
    ])
  })

  test('a write that has seen all siblings ends the conflict', async () => {
    using fixture = await open()
    apply(fixture, change('a', put(ACTOR, 1), tombstone(OTHER, 9)))
    expect(fixture.db.get('docs', 'a')).toBeNull()
    expect(fixture.db.replica.shardState('docs')).toMatchObject({
      conflictCount: 1,
      tombstoneCount: 1,
    })

    const context = new Map([
      [ACTOR, 2],
      [OTHER, 9],
    ])
    apply(fixture, { id: 'a', siblings: [put(ACTOR, 2)], context })

    expect(fixture.db.get('docs', 'a')?.metadata).toEqual({ n: 2 })
    expect(fixture.db.conflictSiblings('docs', 'a')).toHaveLength(1)
    expect(fixture.db.replica.shardState('docs')).toMatchObject({
      conflictCount: 0,
      tombstoneCount: 0,
      recordCount: 1,
    })
  })

  test('a put that the version vector covers and the shard lacks was deleted: it does not come back', async () => {
    using fixture = await open()
    const { replica } = fixture.db
    replica.joinVector('docs', SOURCE, new Map([[ACTOR, 5]]))

    expect(apply(fixture, change('a', put(ACTOR, 5)))).toMatchObject({ applied: 0, redundant: 1 })
    expect(apply(fixture, change('b', tombstone(ACTOR, 4)))).toMatchObject({ redundant: 1 })
    expect(replica.shardState('docs')).toMatchObject({ head: 0, recordCount: 0, tombstoneCount: 0 })

    // Beside a write that the vector does not cover, a covered tombstone counts and a covered put does not.
    apply(fixture, change('c', put(ACTOR, 3), put(OTHER, 1)))
    apply(fixture, change('d', tombstone(ACTOR, 2), put(OTHER, 2)))

    expect(fixture.db.conflictSiblings('docs', 'c').map(({ dot }) => dot.actor)).toEqual([OTHER])
    expect(fixture.db.conflictSiblings('docs', 'd')).toHaveLength(2)
  })

  test('a covered put does not come back beside a newer record either', async () => {
    using fixture = await open()
    const { db } = fixture
    db.replica.joinVector('docs', SOURCE, new Map([[ACTOR, 5]]))
    db.insert('docs', record('a', { mine: true }))

    expect(apply(fixture, change('a', put(ACTOR, 5)))).toMatchObject({ applied: 0, redundant: 1 })

    expect(db.get('docs', 'a')?.metadata).toEqual({ mine: true })
    expect(db.conflictSiblings('docs', 'a')).toHaveLength(1)
  })

  test('a stamp beyond the drift bound is stored, reported, and not absorbed', async () => {
    using fixture = await open()
    const { db, clock } = fixture
    const ahead = { ms: clock.ms + CLOCK_DRIFT_MS_MAX + 1, logical: 3 }

    const result = apply(fixture, change('a', { ...put(ACTOR, 1), stamp: ahead }))
    db.insert('docs', record('b'))

    expect(result).toMatchObject({ applied: 1, skewMsMax: CLOCK_DRIFT_MS_MAX + 1 })
    expect(fixture.events).toContainEqual(
      expect.objectContaining({ type: 'clock-skew', peer: 'p', skewMs: CLOCK_DRIFT_MS_MAX + 1 }),
    )
    expect(db.conflictSiblings('docs', 'a')[0]?.stamp).toEqual(ahead)
    expect(db.conflictSiblings('docs', 'b')[0]?.stamp).toEqual({ ms: clock.ms, logical: 0 })
    // It loses to the next write that has seen it, whatever the clocks say.
    db.upsert('docs', record('a', { later: true }))
    expect(db.get('docs', 'a')?.metadata).toEqual({ later: true })
  })

  test('a stamp within the drift bound is absorbed: the next local stamp is after it', async () => {
    using fixture = await open()
    const { db, clock } = fixture
    const ahead = { ms: clock.ms + CLOCK_DRIFT_MS_MAX, logical: 3 }

    apply(fixture, change('a', { ...put(ACTOR, 1), stamp: ahead }))
    db.insert('docs', record('b'))

    expect(db.conflictSiblings('docs', 'b')[0]?.stamp).toEqual({ ms: ahead.ms, logical: 4 })
    expect(fixture.events).toEqual([])
  })

  test('local stamps strictly rise under a clock that stands still and runs backwards', async () => {
    using fixture = await open()
    const { db, clock } = fixture
    const stamps: bigint[] = []
    for (const step of [0, 0, -5_000, 1, 0]) {
      clock.ms += step
      db.upsert('docs', record('a', { step }))
      const stamp = db.conflictSiblings('docs', 'a')[0]?.stamp
      stamps.push(BigInt(stamp?.ms ?? 0) * 65_536n + BigInt(stamp?.logical ?? 0))
    }

    for (const [index, stamp] of stamps.entries()) {
      expect(stamp).toBeGreaterThan(stamps[index - 1] ?? 0n)
    }
  })

  test('the largest stamp survives the file', async () => {
    using fixture = await open()
    const stamp = { ms: 2 ** 48 - 1, logical: 65_535 }

    apply(
      fixture,
      change('a', { ...put(ACTOR, 1), stamp }),
      change('b', { ...put(ACTOR, 2), stamp }),
    )

    const read = fixture.db.replica.readDelta('docs', EVERYTHING)
    expect(read.changes.map(({ siblings }) => siblings[0]?.stamp)).toEqual([stamp, stamp])
  })

  test('a metadata-only change takes the embedding from the write that brought it', async () => {
    using fixture = await open()
    apply(fixture, change('a', put(ACTOR, 1)))

    const update = put(ACTOR, 2, { embedding: null, embeddingDot: { actor: ACTOR, counter: 1 } })
    expect(apply(fixture, change('a', update))).toMatchObject({ applied: 1, quarantined: 0 })
    const concurrent = put(OTHER, 1, {
      embedding: null,
      embeddingDot: { actor: ACTOR, counter: 1 },
    })
    expect(apply(fixture, change('a', concurrent))).toMatchObject({ applied: 1, conflicts: 1 })

    expect(fixture.db.get('docs', 'a')?.embedding).toEqual(Float32Array.of(1, 1, 0))
    for (const { value } of fixture.db.conflictSiblings('docs', 'a')) {
      expect(value?.embedding).toEqual(Float32Array.of(1, 1, 0))
    }
  })
})

describe('quarantine', () => {
  const tooMany = Array.from({ length: SIBLINGS_MAX + 1 }, (_, index) =>
    put(index.toString(16).padStart(2, '0').repeat(16), 1),
  )

  test.each([
    [
      'another dimension',
      [put(ACTOR, 3, { embedding: Float32Array.of(1, 2) })],
      /2 components, not 3/,
    ],
    ['NaN', [put(ACTOR, 3, { embedding: Float32Array.of(1, NaN, 0) })], /not finite/],
    ['all zeros', [put(ACTOR, 3, { embedding: new Float32Array(3) })], /all zeros/],
    ['metadata that is none', [put(ACTOR, 3, { metadata: '[1]' })], /no JSON object/],
    ['too many siblings', tooMany, /more than 32 siblings/],
  ])('puts a change with %s aside, and the rest goes on', async (_what, siblings, reason) => {
    using fixture = await open()

    const result = apply(fixture, change('bad', ...siblings), change('good', put(OTHER, 4)))
    apply(fixture, change('bad', ...siblings))

    expect(result).toMatchObject({ applied: 1, redundant: 0, conflicts: 0, quarantined: 1 })
    expect(fixture.events).toEqual([
      {
        type: 'change-quarantined',
        shardId: 'docs',
        peer: 'p',
        id: 'bad',
        reason: expect.stringMatching(reason) as string,
      },
    ])
    expect(fixture.db.get('docs', 'good')).not.toBeNull()
    expect(fixture.db.replica.shardState('docs').quarantineCount).toBe(1)
  })

  test('holds the version vector where it is for the writers of what was put aside', async () => {
    using fixture = await open()
    const { replica } = fixture.db
    apply(fixture, change('good', put(ACTOR, 1)))
    replica.joinVector('docs', SOURCE, new Map([[ACTOR, 1]]))
    apply(
      fixture,
      change('bad', put(ACTOR, 3, { metadata: '1' })),
      change('new', put(OTHER, 1, { metadata: '1' })),
    )

    const theirs = new Map([
      [ACTOR, 9],
      [OTHER, 1],
    ])
    const state = replica.joinVector('docs', SOURCE, theirs)

    // ACTOR:2 may be what ACTOR:3 superseded: then it is neither here nor superseded here.
    expect(state.versionVector).toEqual(new Map([[ACTOR, 1]]))
  })

  test('lets go of a change when a later one covers it', async () => {
    using fixture = await open()
    const { replica } = fixture.db
    apply(fixture, change('a', put(ACTOR, 3, { metadata: '1' })))

    apply(fixture, change('a', put(ACTOR, 4)))

    expect(replica.shardState('docs').quarantineCount).toBe(0)
    expect(replica.joinVector('docs', SOURCE, new Map([[ACTOR, 4]])).versionVector).toEqual(
      new Map([[ACTOR, 4]]),
    )
  })
})

describe('what cannot be true refuses the batch', () => {
  const first = put(ACTOR, 1)

  test.each([
    ['no siblings', { id: 'a', siblings: [], context: null }],
    ['an actor that is none', change('a', { ...first, dot: { actor: 'x', counter: 1 } })],
    ['a counter of 0', change('a', { ...first, dot: { actor: ACTOR, counter: 0 } })],
    ['a counter of a half', change('a', { ...first, dot: { actor: ACTOR, counter: 1.5 } })],
    ['a stamp out of range', change('a', { ...first, stamp: { ms: 2 ** 48, logical: 0 } })],
  ])('%s', async (_what, bad) => {
    using fixture = await open()

    expect(() => apply(fixture, change('good', put(OTHER, 1)), bad)).toThrow(
      expect.objectContaining({ code: 'STORE_CHANGE_INVALID' }),
    )

    expect(fixture.db.count('docs')).toBe(0)
    expect(fixture.db.replica.peerCursor('docs', 'p')).toBeNull()
  })
})

describe('cursors', () => {
  test('of one feed only move forwards, and another feed starts where it says', async () => {
    using fixture = await open()
    const { replica } = fixture.db
    const at = (logId: string, cursor: number): void =>
      void replica.applyDelta('docs', [], { peer: 'p', logId, cursor })
    const pulled = (): unknown => replica.peerCursor('docs', 'p')?.pulled

    at('01'.repeat(16), 5)
    at('01'.repeat(16), 3)
    expect(pulled()).toEqual({ logId: '01'.repeat(16), cursor: 5 })
    at('02'.repeat(16), 2)
    expect(pulled()).toEqual({ logId: '02'.repeat(16), cursor: 2 })
  })

  test('an acknowledgement is kept as the peer said it', async () => {
    using fixture = await open()
    const { replica } = fixture.db

    replica.recordAck('docs', 'p', 4, new Map([[ACTOR, 2]]))
    fixture.clock.ms += 10
    replica.recordAck('docs', 'p', 3, new Map([[OTHER, 1]]))
    replica.recordAck('docs', 'q', 1, new Map())

    expect(replica.peerCursors()).toEqual([
      {
        peer: 'p',
        shardId: 'docs',
        pulled: null,
        versionVector: new Map([[OTHER, 1]]),
        ackedCursor: 3,
        lastContactMs: fixture.clock.ms,
      },
      expect.objectContaining({ peer: 'q', versionVector: new Map() }),
    ])
    expect(replica.peerCursor('docs', 'nobody')).toBeNull()
  })
})

describe('readDelta()', () => {
  test('read from 0 is the shard: every record once, in the order of its last write', async () => {
    using fixture = await open()
    const { db } = fixture
    for (const id of ['a', 'b', 'c', 'd']) db.insert('docs', record(id))
    db.upsert('docs', record('a', { again: true }))
    db.delete('docs', 'c')

    const read = db.replica.readDelta('docs', EVERYTHING)

    expect(read.changes.map(({ id }) => id)).toEqual(['b', 'd', 'a', 'c'])
    expect(read).toMatchObject({ through: 6, atHead: true, state: { head: 6 } })
    expect(read.changes.at(-1)?.siblings[0]?.value).toBeNull()
  })

  test('pages by rows and by bytes reach the head without a gap', async () => {
    using fixture = await open()
    const { db } = fixture
    for (let index = 0; index < 25; index += 1) db.insert('docs', record(`r${index}`))

    for (const limits of [{ countMax: 7 }, { bytesMax: 1 }, { bytesMax: 40, countMax: 3 }]) {
      const ids: string[] = []
      let after = 0
      for (;;) {
        const read = db.replica.readDelta('docs', { ...EVERYTHING, ...limits, after })
        ids.push(...read.changes.map(({ id }) => id))
        after = read.through
        if (read.atHead) break
        expect(read.changes.length).toBeGreaterThan(0)
      }
      expect(ids).toEqual(Array.from({ length: 25 }, (_, index) => `r${index}`))
      expect(after).toBe(25)
    }
  })

  test('skips what the reader has, a conflict only when it has every sibling', async () => {
    using fixture = await open()
    const { replica } = fixture.db
    apply(
      fixture,
      change('a', put(ACTOR, 1)),
      change('b', put(ACTOR, 2), put(OTHER, 1)),
      change('c', put(OTHER, 2)),
    )
    const ids = (...known: (readonly [string, number])[]): unknown => {
      const read = replica.readDelta('docs', { ...EVERYTHING, known: new Map(known) })
      return { ids: read.changes.map(({ id }) => id), through: read.through, atHead: read.atHead }
    }

    expect(ids([ACTOR, 2])).toEqual({ ids: ['b', 'c'], through: 3, atHead: true })
    expect(ids([OTHER, 2])).toEqual({ ids: ['a', 'b'], through: 3, atHead: true })
    expect(ids([ACTOR, 2], [OTHER, 2])).toEqual({ ids: [], through: 3, atHead: true })
  })

  test('beyond the head there is nothing, and the head is said', async () => {
    using fixture = await open()
    fixture.db.insert('docs', record('a'))

    const read = fixture.db.replica.readDelta('docs', { ...EVERYTHING, after: 1 })

    expect(read).toMatchObject({ changes: [], through: 1, atHead: true })
  })

  test('feeds of two shards do not mix', async () => {
    using fixture = await open()
    const { db } = fixture
    db.createShard('other', { dimension: 3 })
    db.insert('docs', record('a'))
    db.insert('other', record('b'))
    db.insert('docs', record('c'))

    expect(db.replica.readDelta('docs', EVERYTHING)).toMatchObject({ through: 2, atHead: true })
    expect(db.replica.readDelta('other', EVERYTHING).changes.map(({ id }) => id)).toEqual(['b'])
  })

  test('what was read and applied elsewhere gives the same rows and digest', async () => {
    using a = await open()
    using b = await open()
    a.db.insert('docs', { id: 'x', embedding: [1, 2, 3], metadata: { z: 1, a: 2 }, text: 'words' })
    a.db.insert('docs', record('y'))
    a.db.update('docs', 'x', { metadata: { k: 1 } })
    a.db.delete('docs', 'y')

    pull(a, b)

    expect(shown(b.db)).toEqual(shown(a.db))
    const [ours, theirs] = [a, b].map(({ db }) => db.replica.shardState('docs'))
    expect(theirs?.digest).toBe(ours?.digest)
    expect(theirs?.versionVector).toEqual(ours?.versionVector)
  })
})
