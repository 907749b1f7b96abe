/**
 * Reading a long feed for a reader that has nearly all of it: what it has is passed over, never beyond a bound.
 */
import { describe, expect, test } from 'vitest'

import { open, record } from '../fixture.ts'
import { type DeltaQuery } from '../../../../src/store/feed/types.ts'

const COUNT = 20_000

describe('readDelta() for a reader that has nearly everything', () => {
  test('passes over what it has, a stretch at a time, and finds the rest', async () => {
    using fixture = await open()
    const { db } = fixture
    await db.insertBatch(
      'docs',
      Array.from({ length: COUNT }, (_, index) => record(`r${index}`)),
    )
    const known = db.replica.shardState('docs').versionVector
    db.insert('docs', record('the last'))
    db.delete('docs', 'r7')
    const query: DeltaQuery = { after: 0, countMax: 10, bytesMax: 1_000_000, known }

    const first = db.replica.readDelta('docs', query)
    const second = db.replica.readDelta('docs', { ...query, after: first.through })

    expect(first).toMatchObject({ changes: [], atHead: false })
    expect(first.through).toBeGreaterThan(10_000)
    expect(second.changes.map(({ id }) => id)).toEqual(['the last', 'r7'])
    expect(second).toMatchObject({ through: COUNT + 2, atHead: true })
  })

  test('returns no more rows than asked for, and goes on after the last of them', async () => {
    using fixture = await open()
    const { db } = fixture
    for (const id of ['a', 'b', 'c', 'd']) db.insert('docs', record(id))
    const query: DeltaQuery = { after: 0, countMax: 2, bytesMax: 1_000_000, known: new Map() }

    const first = db.replica.readDelta('docs', query)
    const second = db.replica.readDelta('docs', { ...query, after: first.through })

    expect([first.through, first.atHead]).toEqual([2, false])
    expect([second.through, second.atHead]).toEqual([4, true])
  })
})
