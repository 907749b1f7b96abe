/**
 * Records that several nodes deleted at the same time: they are deletes, not conflicts.
 */
import { DatabaseSync } from 'node:sqlite'

import { describe, expect, test } from 'vitest'

import { folder, open, pull, record } from '../unit/store/fixture.ts'
import { peers, syncBoth } from './drive.ts'
import { SHARD_TEXTS_STEP, STEPS, TEXT_INDEX_STEP } from '../../src/store/file/schema.ts'

const DAY_MS = 86_400_000

describe('a record that two nodes deleted at the same time', () => {
  test('is not an open conflict, on either node', async () => {
    using all = await peers('a', 'b')
    const [a, b] = all
    a.fixture.db.insert('docs', record('x'))
    syncBoth(a, b)

    a.fixture.db.delete('docs', 'x')
    b.fixture.db.delete('docs', 'x')
    const [pulled] = syncBoth(a, b)
    syncBoth(a, b)

    expect(pulled.tally.conflicts).toBe(0)
    for (const { fixture } of [a, b]) {
      const { db } = fixture
      expect(db.listConflicts('docs').conflicts).toEqual([])
      expect(db.replica.shardState('docs')).toMatchObject({ conflictCount: 0, tombstoneCount: 1 })
      expect(db.recount('docs')).toMatchObject({ correct: true, conflictCount: 0 })
      expect(() => db.resolveConflict('docs', 'x', { value: null })).toThrow(
        expect.objectContaining({ code: 'STORE_CONFLICT_UNKNOWN' }),
      )
    }
  })

  test('is forgotten when every peer has both deletes', async () => {
    using all = await peers('a', 'b')
    const [a, b] = all
    a.fixture.db.insert('docs', record('x'))
    syncBoth(a, b)
    a.fixture.db.delete('docs', 'x')
    b.fixture.db.delete('docs', 'x')
    syncBoth(a, b)
    syncBoth(a, b)

    expect([a, b].map(({ fixture }) => fixture.db.collectTombstones('docs'))).toEqual([1, 1])
    for (const { fixture } of [a, b]) {
      expect(fixture.db.replica.shardState('docs')).toMatchObject({ tombstoneCount: 0 })
      expect(fixture.db.recount('docs').correct).toBe(true)
    }
  })

  test('gives equal lists of conflicts when one of them was collected earlier elsewhere', async () => {
    using all = await peers('a', 'b', 'c')
    const [a, b, c] = all
    a.fixture.db.insert('docs', record('x'))
    syncBoth(a, b)
    syncBoth(a, c)
    a.fixture.db.delete('docs', 'x')
    c.fixture.db.delete('docs', 'x')
    syncBoth(a, b)
    // c is set aside here, and the delete forgotten; then c brings its own.
    a.fixture.clock.ms += 31 * DAY_MS
    syncBoth(a, b)
    expect(a.fixture.db.collectTombstones('docs')).toBe(1)
    for (let round = 0; round < 3; round += 1) {
      syncBoth(a, c)
      syncBoth(b, c)
      syncBoth(a, b)
    }

    const lists = all.map(({ fixture }) => fixture.db.listConflicts('docs').conflicts)
    expect(lists).toEqual([[], [], []])
    const states = all.map(({ fixture }) => fixture.db.replica.shardState('docs'))
    expect(new Set(states.map(({ digest }) => digest)).size).toBe(1)
    expect(states.map(({ conflictCount }) => conflictCount)).toEqual([0, 0, 0])
  })

  test('shows nothing under a strategy that would show a value', async () => {
    using all = await peers('a', 'b')
    const [a, b] = all
    a.fixture.db.setConflictStrategy('docs', () => ({ embedding: [1, 2, 3] }))
    a.fixture.db.insert('docs', record('x'))
    syncBoth(a, b)
    a.fixture.db.delete('docs', 'x')
    b.fixture.db.delete('docs', 'x')
    syncBoth(a, b)

    expect(a.fixture.db.get('docs', 'x')).toBeNull()
    expect(a.fixture.db.recount('docs').correct).toBe(true)
  })

  test('becomes a conflict when a write that saw neither delete arrives, and ends with its decision', async () => {
    using all = await peers('a', 'b', 'c')
    const [a, b, c] = all
    a.fixture.db.insert('docs', record('x'))
    syncBoth(a, b)
    syncBoth(a, c)
    a.fixture.db.delete('docs', 'x')
    b.fixture.db.delete('docs', 'x')
    syncBoth(a, b)
    c.fixture.db.update('docs', 'x', { metadata: { late: true } })
    syncBoth(a, c)
    syncBoth(a, b)

    const lists = all.map(({ fixture }) => fixture.db.listConflicts('docs').conflicts)
    expect(lists[0]).toMatchObject([{ id: 'x', siblingCount: 3 }])
    expect(lists[1]).toEqual(lists[0])
    a.fixture.db.resolveConflict('docs', 'x', { value: null })
    syncBoth(a, b)
    syncBoth(a, c)
    for (const { fixture } of all) {
      expect(fixture.db.replica.shardState('docs')).toMatchObject({
        conflictCount: 0,
        tombstoneCount: 1,
      })
      expect(fixture.db.recount('docs').correct).toBe(true)
    }
  })

  test('is a delete again in a file that an earlier release kept as a conflict', async () => {
    using files = folder()
    const path = files.file('old.db')
    {
      using a = await open({ path })
      using b = await open()
      a.db.insert('docs', record('x'))
      pull(a, b)
      a.db.delete('docs', 'x')
      b.db.delete('docs', 'x')
      pull(b, a)
    }
    {
      using raw = new DatabaseSync(path)
      // The file as the release before the step wrote it: the later steps are taken back, too.
      raw.exec('ALTER TABLE shard_metadata DROP COLUMN text_analysis')
      raw.exec(TEXT_INDEX_STEP)
      raw.exec(`UPDATE vector_changelog SET operation = 3; UPDATE shard_metadata SET conflict_count = 1;
        PRAGMA user_version = ${STEPS.indexOf(SHARD_TEXTS_STEP) - 1}`)
    }
    using again = await open({ path, shard: false })

    expect(again.db.listConflicts('docs').conflicts).toEqual([])
    expect(again.db.recount('docs')).toMatchObject({ correct: true, conflictCount: 0 })
    again.clock.ms += 31 * DAY_MS
    expect(again.db.collectTombstones('docs')).toBe(1)
  })
})
