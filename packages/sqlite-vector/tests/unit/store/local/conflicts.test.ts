/**
 * Conflicts: what each strategy shows, deciding, and what is refused. How siblings come about is in apply.test.ts.
 */
import { describe, expect, test } from 'vitest'

import type { ConflictStrategy } from '../../../../src/store/types.ts'
import { type Fixture, folder, open, pull, record, shown } from '../fixture.ts'

/** Two stores that wrote the record `x` without knowing of each other, and then exchanged everything. */
async function divided(): Promise<Disposable & { readonly a: Fixture; readonly b: Fixture }> {
  const a = await open()
  const b = await open()
  b.clock.ms += 1_000
  a.db.insert('docs', { id: 'x', embedding: [1, 0, 0], metadata: { by: 'a', a: 1 }, text: 'of a' })
  b.db.insert('docs', { id: 'x', embedding: [0, 1, 0], metadata: { by: 'b', b: 1 }, text: 'of b' })
  pull(a, b)
  pull(b, a)
  return {
    a,
    b,
    [Symbol.dispose]() {
      a.db.close()
      b.db.close()
    },
  }
}

const own: ConflictStrategy = () => ({ embedding: [1, 1, 1], metadata: { own: true } })

function metadataOf(fixture: Fixture): unknown {
  return fixture.db.get('docs', 'x')?.metadata
}

describe('strategies', () => {
  test.each<[ConflictStrategy, unknown]>([
    ['last-write-wins', { by: 'b', b: 1 }],
    ['first-write-wins', { by: 'a', a: 1 }],
    ['manual', { by: 'b', b: 1 }],
    ['merge', { by: 'b', a: 1, b: 1 }],
    [(siblings) => ({ embedding: [1, 1, 1], metadata: { of: siblings.length } }), { of: 2 }],
  ])('%s shows its view on both sides, and the conflict stays open', async (strategy, metadata) => {
    using both = await divided()
    const { a, b } = both

    for (const { db } of [a, b]) db.setConflictStrategy('docs', strategy)

    expect(metadataOf(a)).toEqual(metadata)
    expect(shown(b.db)).toEqual(shown(a.db))
    for (const { db } of [a, b]) {
      expect(db.listConflicts('docs').conflicts).toEqual([
        { id: 'x', siblingCount: 2, visible: true },
      ])
      expect(db.replica.recomputeDigest('docs')).toBe(db.replica.shardState('docs').digest)
    }
  })

  test('a strategy that was set before gives the same as one that was set after', async () => {
    using both = await divided()
    using before = await open()
    before.db.setConflictStrategy('docs', 'merge')
    pull(both.a, before)

    both.a.db.setConflictStrategy('docs', 'merge')

    expect(shown(before.db)).toEqual(shown(both.a.db))
  })

  test('a change of strategy moves the feed of records that look different, and sends no one anything', async () => {
    using both = await divided()
    const { a, b } = both
    a.db.insert('docs', record('other'))
    pull(a, b)
    const { head } = a.db.replica.shardState('docs')

    a.db.setConflictStrategy('docs', 'first-write-wins')

    expect(a.db.replica.shardState('docs').head).toBe(head + 1)
    expect(pull(a, b)).toMatchObject({ applied: 0, redundant: 0 })
    a.db.setConflictStrategy('docs', 'first-write-wins')
    expect(a.db.replica.shardState('docs').head).toBe(head + 1)
  })

  test('a strategy can show a delete, and show the record again', async () => {
    using both = await divided()
    const { db } = both.a

    db.setConflictStrategy('docs', () => null)
    expect(db.get('docs', 'x')).toBeNull()
    expect(db.search('docs', [1, 0, 0])).toEqual([])
    expect(db.replica.shardState('docs')).toMatchObject({ recordCount: 0, tombstoneCount: 1 })
    expect(db.listConflicts('docs').conflicts[0]).toMatchObject({ visible: false })

    db.setConflictStrategy('docs', 'last-write-wins')
    expect(db.get('docs', 'x')?.metadata).toEqual({ by: 'b', b: 1 })
    expect(db.replica.shardState('docs')).toMatchObject({ recordCount: 1, tombstoneCount: 0 })
  })

  test('search finds what the strategy shows', async () => {
    using both = await divided()
    const { db } = both.a
    db.setConflictStrategy('docs', 'merge')

    const [found] = db.search('docs', [1, 1, 0])

    expect(found?.id).toBe('x')
    expect(found?.distance).toBeCloseTo(0, 6)
  })

  test.each<[string, () => never]>([
    [
      'throws',
      () => {
        throw new Error('cannot decide')
      },
    ],
    ['gives a vector of a wrong dimension', () => ({ embedding: [1] }) as never],
    ['gives nothing', () => undefined as never],
  ])('a function that %s is reported, and the last write is shown', async (_what, strategy) => {
    using both = await divided()
    const { a } = both

    a.db.setConflictStrategy('docs', strategy)
    a.db.insert('docs', record('goes on'))

    expect(metadataOf(a)).toEqual({ by: 'b', b: 1 })
    expect(a.events).toContainEqual(
      expect.objectContaining({ type: 'strategy-failed', shardId: 'docs', id: 'x' }),
    )
  })

  test('a name is kept in the file; a function shows the last write until it is set again', async () => {
    using place = folder()
    using both = await divided()
    const path = place.file('c.db')
    const first = await open({ path })
    pull(both.a, first)
    first.db.setConflictStrategy('docs', 'first-write-wins')
    first.db.close()

    const second = await open({ path })
    expect(metadataOf(second)).toEqual({ by: 'a', a: 1 })
    second.db.setConflictStrategy('docs', own)
    expect(metadataOf(second)).toEqual({ own: true })
    second.db.close()

    using third = await open({ path })
    third.db.insert('docs', record('new'))
    third.db.setConflictStrategy('docs', own)
    expect(metadataOf(third)).toEqual({ own: true })
  })
})

describe('deciding', () => {
  test('for a sibling replicates, and nothing is in conflict any more', async () => {
    using both = await divided()
    const { a, b } = both
    const siblings = a.db.conflictSiblings('docs', 'x')
    const ofA = siblings.find(({ value }) => value?.metadata['by'] === 'a')
    expect(siblings.map(({ dot }) => dot.actor)).toEqual(
      siblings.map(({ dot }) => dot.actor).toSorted(),
    )

    b.db.resolveConflict('docs', 'x', { choose: ofA!.dot })
    pull(b, a)

    for (const { db } of [a, b]) {
      expect(db.get('docs', 'x')).toEqual({
        id: 'x',
        embedding: Float32Array.of(1, 0, 0),
        metadata: { by: 'a', a: 1 },
        text: 'of a',
      })
      expect(db.listConflicts('docs').conflicts).toEqual([])
      expect(db.conflictSiblings('docs', 'x')).toHaveLength(1)
    }
  })

  test('by a value of one’s own replicates', async () => {
    using both = await divided()
    const { a, b } = both

    a.db.resolveConflict('docs', 'x', { value: { embedding: [0, 0, 1], metadata: { own: 1 } } })
    pull(a, b)

    expect(b.db.get('docs', 'x')).toMatchObject({ metadata: { own: 1 }, text: null })
    expect(b.db.replica.shardState('docs').conflictCount).toBe(0)
  })

  test('by null deletes', async () => {
    using both = await divided()

    both.a.db.resolveConflict('docs', 'x', { value: null })
    pull(both.a, both.b)

    expect(both.b.db.get('docs', 'x')).toBeNull()
  })

  test('any write decides: it covers all siblings', async () => {
    using both = await divided()
    const { a, b } = both

    a.db.update('docs', 'x', { metadata: { by: 'both' } })
    pull(a, b)

    expect(metadataOf(b)).toEqual({ by: 'both', b: 1 })
    expect(b.db.replica.shardState('docs').conflictCount).toBe(0)
  })

  test('two decisions at once are a new conflict', async () => {
    using both = await divided()
    const { a, b } = both

    a.db.resolveConflict('docs', 'x', { value: { embedding: [1, 1, 1], metadata: { d: 'a' } } })
    b.db.resolveConflict('docs', 'x', { value: { embedding: [1, 1, 1], metadata: { d: 'b' } } })
    pull(a, b)
    pull(b, a)

    expect(
      a.db.conflictSiblings('docs', 'x').map(({ value }) => value?.metadata['d']),
    ).toHaveLength(2)
    expect(shown(a.db)).toEqual(shown(b.db))
  })

  test.each([
    [{}, TypeError, 'choice must have exactly one of choose and value'],
    [
      { choose: { actor: 'x', counter: 1 }, value: null },
      TypeError,
      'exactly one of choose and value',
    ],
    [{ pick: 1 }, TypeError, 'choice: unknown option "pick"'],
    [{ value: { embedding: [1] } }, Error, 'value.embedding must have 3 components'],
    [{ value: { embedding: [1, 0, 0], id: 'x' } }, TypeError, 'value: unknown option "id"'],
  ])('refuses %o and leaves the conflict', async (choice, kind, message) => {
    using both = await divided()
    const before = both.a.db.replica.shardState('docs')

    const call = (): void => both.a.db.resolveConflict('docs', 'x', choice as never)

    expect(call).toThrow(kind)
    expect(call).toThrow(message)
    expect(both.a.db.replica.shardState('docs')).toEqual(before)
  })

  test('refuses a record without a conflict and a sibling that is not there', async () => {
    using both = await divided()
    const { db } = both.a
    db.insert('docs', record('calm'))
    const dot = { actor: 'a1'.repeat(16), counter: 1 }

    for (const call of [
      () => db.resolveConflict('docs', 'calm', { value: null }),
      () => db.resolveConflict('docs', 'never', { value: null }),
      () => db.resolveConflict('docs', 'x', { choose: dot }),
    ]) {
      expect(call).toThrow(expect.objectContaining({ code: 'STORE_CONFLICT_UNKNOWN' }))
    }
  })
})

test('listConflicts() pages by id, hidden ones included', async () => {
  using a = await open()
  using b = await open()
  for (const id of ['d', 'a', 'c', 'b']) {
    a.db.insert('docs', record(id))
    b.db.insert('docs', record(id))
  }
  b.clock.ms += 5
  b.db.delete('docs', 'c')
  pull(b, a)

  const first = a.db.listConflicts('docs', { limit: 3 })
  const second = a.db.listConflicts('docs', { limit: 3, cursor: first.nextCursor })

  expect(first.conflicts.map(({ id, visible }) => [id, visible])).toEqual([
    ['a', true],
    ['b', true],
    ['c', false],
  ])
  expect(second).toMatchObject({ conflicts: [{ id: 'd' }], nextCursor: null })
})
