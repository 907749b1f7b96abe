/**
 * Peers that left: deletes are forgotten without them, and they are told when they come back all the same.
 */
import { expect, test } from 'vitest'

import { open, record } from '../unit/store/fixture.ts'
import { peers, pullFrom, syncBoth } from './drive.ts'

test('a peer that left is not waited for, and again once it is back', async () => {
  using all = await peers('a', 'b', 'c')
  const [a, b, c] = all
  a.fixture.db.insert('docs', record('x'))
  syncBoth(a, b)
  syncBoth(a, c)
  a.fixture.db.delete('docs', 'x')
  syncBoth(a, c)
  expect(a.fixture.db.collectTombstones('docs')).toBe(0)

  a.fixture.db.replica.notePeerLeft(b.name, true)
  expect(a.fixture.db.collectTombstones('docs')).toBe(1)
  a.fixture.db.replica.notePeerLeft(b.name, false)
  a.fixture.db.insert('docs', record('y'))
  a.fixture.db.delete('docs', 'y')
  syncBoth(a, c)

  expect(a.fixture.db.collectTombstones('docs')).toBe(0)
  syncBoth(a, b)
  expect(a.fixture.db.collectTombstones('docs')).toBe(1)
})

test('a peer that left and syncs before it says that it is back compares rows', async () => {
  using all = await peers('a', 'b')
  const [a, b] = all
  for (const id of ['dead', 'kept']) a.fixture.db.insert('docs', record(id))
  syncBoth(a, b)
  a.fixture.db.delete('docs', 'dead')
  a.fixture.db.replica.notePeerLeft(b.name, true)
  expect(a.fixture.db.collectTombstones('docs')).toBe(1)
  b.fixture.db.insert('docs', record('new'))

  const { frames, tally } = pullFrom(b, a)
  syncBoth(a, b)

  expect(frames).toContain('> compare')
  expect(tally.dropped).toBe(1)
  for (const { fixture } of all) {
    expect(fixture.db.get('docs', 'dead')).toBeNull()
    expect(fixture.db.get('docs', 'new')).not.toBeNull()
  }
})

test('of a peer that was never met nothing is noted', async () => {
  using alone = await open()
  const { head } = alone.db.replica.shardState('docs')

  alone.db.replica.notePeerLeft('ab'.repeat(32), true)

  expect(alone.db.replica.peerCursors()).toEqual([])
  expect(alone.db.replica.shardState('docs').head).toBe(head)
})
