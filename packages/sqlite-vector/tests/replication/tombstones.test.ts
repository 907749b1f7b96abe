/**
 * Collecting deletes: when they may be forgotten, that absentees cannot bring records back, and that the space
 * comes back.
 */
import { describe, expect, test } from 'vitest'

import { folder, open, record } from '../unit/store/fixture.ts'
import { peers, pullFrom, syncBoth } from './drive.ts'

const DAY_MS = 86_400_000

describe('collectTombstones()', () => {
  test('forgets at once where there are no peers', async () => {
    using alone = await open()
    alone.db.insert('docs', record('a'))
    alone.db.delete('docs', 'a')

    expect(alone.db.collectTombstones('docs')).toBe(1)
    expect(alone.db.replica.shardState('docs')).toMatchObject({ tombstoneCount: 0, recordCount: 0 })
    expect(alone.db.recount('docs').correct).toBe(true)
  })

  test('waits for every known peer', async () => {
    using all = await peers('a', 'b', 'c')
    const [a, b, c] = all
    a.fixture.db.insert('docs', record('x'))
    syncBoth(a, b)
    syncBoth(a, c)
    a.fixture.db.delete('docs', 'x')
    syncBoth(a, b)

    const withoutC = a.fixture.db.collectTombstones('docs')
    syncBoth(a, c)
    const withAll = a.fixture.db.collectTombstones('docs')

    expect([withoutC, withAll]).toEqual([0, 1])
  })

  test('a report that we cannot follow yet does not count, the one before it does', async () => {
    using all = await peers('a', 'b')
    const [a, b] = all
    a.fixture.db.insert('docs', record('x'))
    a.fixture.db.delete('docs', 'x')
    syncBoth(a, b)
    b.fixture.db.insert('docs', record('y'))
    // b tells of y, which a does not have.
    pullFrom(b, a)

    expect(a.fixture.db.collectTombstones('docs')).toBe(1)
  })

  test('sets aside a peer that was silent for longer than the retention', async () => {
    using all = await peers('a', 'b')
    const [a, b] = all
    a.fixture.db.insert('docs', record('x'))
    syncBoth(a, b)
    a.fixture.db.delete('docs', 'x')

    a.fixture.clock.ms += 29 * DAY_MS
    const within = a.fixture.db.collectTombstones('docs')
    a.fixture.clock.ms += 2 * DAY_MS
    const beyond = a.fixture.db.collectTombstones('docs')

    expect([within, beyond]).toEqual([0, 1])
  })
})

describe('a peer that comes back behind the floor', () => {
  test('drops what was deleted meanwhile and forgotten, and keeps what nobody saw', async () => {
    using all = await peers('a', 'b')
    const [a, b] = all
    for (const id of ['dead', 'kept', 'edited']) a.fixture.db.insert('docs', record(id))
    syncBoth(a, b)
    a.fixture.db.delete('docs', 'dead')
    a.fixture.db.delete('docs', 'edited')
    a.fixture.clock.ms += 31 * DAY_MS
    expect(a.fixture.db.collectTombstones('docs')).toBe(2)
    b.fixture.db.insert('docs', record('unseen'))
    b.fixture.db.update('docs', 'edited', { metadata: { edited: true } })

    const [aPulled, bPulled] = syncBoth(a, b)
    syncBoth(a, b)

    expect(aPulled.tally.dropped + bPulled.tally.dropped).toBe(1)
    for (const { fixture } of [a, b]) {
      expect(fixture.db.list('docs').records.map(({ id }) => id)).toEqual([
        'edited',
        'kept',
        'unseen',
      ])
      expect(fixture.db.recount('docs').correct).toBe(true)
    }
    expect(b.fixture.db.replica.shardState('docs').digest).toBe(
      a.fixture.db.replica.shardState('docs').digest,
    )
  })

  test('keeps a delete that the sender still remembers beside its own write', async () => {
    using all = await peers('a', 'b')
    const [a, b] = all
    a.fixture.db.insert('docs', record('disputed'))
    a.fixture.db.insert('docs', record('dead'))
    syncBoth(a, b)
    a.fixture.db.delete('docs', 'dead')
    a.fixture.clock.ms += 31 * DAY_MS
    expect(a.fixture.db.collectTombstones('docs')).toBe(1)
    a.fixture.db.delete('docs', 'disputed')
    b.fixture.db.update('docs', 'disputed', { metadata: { edited: true } })

    const { frames } = pullFrom(b, a)
    syncBoth(a, b)

    expect(frames).toContain('> compare')
    for (const { fixture } of [a, b]) {
      const siblings = fixture.db.conflictSiblings('docs', 'disputed')
      expect(siblings.map(({ value }) => value?.metadata ?? null)).toContainEqual(null)
      expect(siblings.map(({ value }) => value?.metadata ?? null)).toContainEqual({ edited: true })
    }
  })

  test('a write over what came again after a collection has seen the delete that was forgotten', async () => {
    using all = await peers('a', 'b', 'c')
    const [a, b, c] = all
    b.fixture.db.insert('docs', record('x'))
    b.fixture.db.delete('docs', 'x')
    syncBoth(a, b)
    expect(a.fixture.db.collectTombstones('docs')).toBe(1)
    // c never heard of it, and deletes a record of its own of that id.
    c.fixture.db.insert('docs', record('x', { by: 'c' }))
    c.fixture.db.delete('docs', 'x')
    pullFrom(a, c)
    pullFrom(b, c)

    a.fixture.db.insert('docs', record('x', { by: 'a' }))
    for (const [x, y] of [
      [a, b],
      [b, c],
      [a, c],
    ] as const)
      syncBoth(x, y)

    for (const { fixture } of all) {
      expect(fixture.db.get('docs', 'x')?.metadata).toEqual({ by: 'a' })
      expect(fixture.db.replica.shardState('docs').conflictCount).toBe(0)
    }
  })

  test('all agree on a delete that one forgot and another holds beside a write', async () => {
    using all = await peers('a', 'b', 'c')
    const [a, b, c] = all
    a.fixture.db.insert('docs', record('disputed'))
    a.fixture.db.delete('docs', 'disputed')
    pullFrom(b, a, { cutBefore: 'caughtUp' })
    expect(a.fixture.db.collectTombstones('docs')).toBe(1)
    c.fixture.db.insert('docs', record('disputed', { by: 'c' }))

    for (const [x, y] of [
      [a, c],
      [b, c],
      [a, b],
      [a, c],
      [b, c],
    ] as const)
      syncBoth(x, y)

    const states = all.map(({ fixture }) => fixture.db.replica.shardState('docs').digest)
    expect(new Set(states).size).toBe(1)
    for (const { fixture } of all) {
      expect(fixture.db.conflictSiblings('docs', 'disputed')).toHaveLength(2)
    }
  })

  test('a record written anew is no conflict with the delete that its author forgot', async () => {
    using all = await peers('a', 'b')
    const [a, b] = all
    for (const id of ['again', 'batch']) a.fixture.db.insert('docs', record(id))
    for (const id of ['again', 'batch']) a.fixture.db.delete('docs', id)
    syncBoth(a, b)
    expect(a.fixture.db.collectTombstones('docs')).toBe(2)
    a.fixture.db.insert('docs', record('again', { life: 2 }))
    await a.fixture.db.insertBatch('docs', [record('batch', { life: 2 })])

    syncBoth(a, b)

    for (const { fixture } of all) {
      expect(fixture.db.replica.shardState('docs').conflictCount).toBe(0)
      expect(fixture.db.get('docs', 'again')?.metadata).toEqual({ life: 2 })
      expect(fixture.db.get('docs', 'batch')?.metadata).toEqual({ life: 2 })
    }
  })

  test('learns of a delete that is made while it compares', async () => {
    using all = await peers('a', 'b')
    const [a, b] = all
    a.fixture.db.insert('docs', record('late'))
    a.fixture.db.insert('docs', record('dead'))
    syncBoth(a, b)
    a.fixture.db.delete('docs', 'dead')
    a.fixture.clock.ms += 31 * DAY_MS
    expect(a.fixture.db.collectTombstones('docs')).toBe(1)

    const { tally } = pullFrom(b, a, {
      before: { compare: () => a.fixture.db.delete('docs', 'late') },
    })

    // The vector that b joined covers `late`, so b must hold it or the delete, not nothing.
    expect(b.fixture.db.conflictSiblings('docs', 'late').map(({ value }) => value)).toEqual([null])
    expect(b.fixture.db.get('docs', 'dead')).toBeNull()
    expect(tally.dropped).toBe(1)
  })

  test('brings nothing back when it is the first to send', async () => {
    using all = await peers('a', 'b')
    const [a, b] = all
    a.fixture.db.insert('docs', record('dead'))
    syncBoth(a, b)
    a.fixture.db.delete('docs', 'dead')
    a.fixture.db.collectTombstones('docs', { replicaRetentionMs: 0 })
    a.fixture.clock.ms += 1
    a.fixture.db.collectTombstones('docs', { replicaRetentionMs: 0 })

    pullFrom(a, b)

    expect(a.fixture.db.get('docs', 'dead')).toBeNull()
  })

  test('a record that was deleted, forgotten and written anew is no conflict there', async () => {
    using all = await peers('a', 'b')
    const [a, b] = all
    a.fixture.db.insert('docs', record('again', { life: 1 }))
    syncBoth(a, b)
    a.fixture.db.delete('docs', 'again')
    a.fixture.clock.ms += 31 * DAY_MS
    a.fixture.db.collectTombstones('docs')
    a.fixture.db.insert('docs', record('again', { life: 2 }))

    syncBoth(a, b)

    expect(b.fixture.db.replica.shardState('docs').conflictCount).toBe(0)
    expect(b.fixture.db.get('docs', 'again')?.metadata).toEqual({ life: 2 })
  })

  test('a fresh replica needs no comparison, for the digests are equal', async () => {
    using all = await peers('a', 'b')
    const [a, b] = all
    for (let n = 0; n < 300; n += 1) a.fixture.db.insert('docs', record(`r${n}`))
    for (let n = 0; n < 100; n += 1) a.fixture.db.delete('docs', `r${n}`)
    a.fixture.db.collectTombstones('docs')

    const { frames } = pullFrom(b, a)

    expect(frames).not.toContain('> compare')
    expect(b.fixture.db.count('docs')).toBe(200)
    expect(b.fixture.db.replica.shardState('docs').gcFloor).toEqual(
      a.fixture.db.replica.shardState('docs').gcFloor,
    )
  })

  test('its search forgets the dropped records, too', async () => {
    using all = await peers('a', 'b')
    const [a, b] = all
    for (let n = 0; n < 20; n += 1) a.fixture.db.insert('docs', record(`r${n}`))
    syncBoth(a, b)
    expect(b.fixture.db.search('docs', [1, 0, 1], { k: 100 })).toHaveLength(20)
    for (let n = 0; n < 10; n += 1) a.fixture.db.delete('docs', `r${n}`)
    a.fixture.clock.ms += 31 * DAY_MS
    a.fixture.db.collectTombstones('docs')

    const { tally } = pullFrom(b, a)

    expect(tally.dropped).toBe(10)
    expect(b.fixture.db.search('docs', [1, 0, 1], { k: 100 })).toHaveLength(10)
  })
})

test('deleting, collecting and vacuuming gives the space back', async () => {
  using place = folder()
  using alone = await open({ path: place.file('space.db') })
  const { db } = alone
  const empty = db.stats().fileBytes
  const records = Array.from({ length: 2_000 }, (_, n) => record(`r${n}`, { n }))
  await db.insertBatch('docs', records)
  db.transaction(() => records.forEach(({ id }) => db.delete('docs', id)))

  const collected = db.collectTombstones('docs')
  const freed = db.vacuum()

  const { fileBytes, freeBytes } = db.stats()
  expect(collected).toBe(2_000)
  expect(freed).toBeGreaterThan(0)
  expect(freeBytes).toBe(0)
  expect(fileBytes).toBeLessThanOrEqual(empty + 4 * 8_192)
})
