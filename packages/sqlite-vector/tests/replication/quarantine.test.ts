/**
 * Changes that cannot be applied: put aside without holding up the rest, retried, discarded, and never claimed.
 */
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'

import type { Change } from '../../src/model/types.ts'
import { EMPTY_VECTOR } from '../../src/model/version-vector.ts'
import { folder, open, record } from '../unit/store/fixture.ts'
import { changeOf, dotOf, put } from '../unit/sync/changes.ts'
import { type Peer, peers, pullFrom, syncBoth } from './drive.ts'

const ACTOR = 'cc'.repeat(16)
const SOURCE = { peer: 'peer', logId: '01'.repeat(16), cursor: 1 }

/** A change whose embedding is not finite. */
function broken(id: string, counter = 1): Change {
  return changeOf(id, [put(dotOf(ACTOR, counter), { embedding: Float32Array.of(NaN, 0, 1) })])
}

describe('a change that cannot be applied', () => {
  test('is listed with its reason, and the rest of its batch applies', async () => {
    using fixture = await open()
    const { db } = fixture
    const whole = changeOf('good', [put(dotOf(ACTOR, 2))])

    const result = db.replica.applyDelta('docs', [broken('bad'), whole], SOURCE)

    expect(result).toMatchObject({ applied: 1, quarantined: 1 })
    expect(db.listQuarantine('docs')).toEqual([
      expect.objectContaining({ id: 'bad', peer: 'peer', reason: 'the embedding is not finite' }),
    ])
    expect(db.replica.peerCursor('docs', 'peer')?.pulled?.cursor).toBe(1)
  })

  test('is not covered by the version vector before it was retried or discarded', async () => {
    using fixture = await open()
    const { db } = fixture
    db.replica.applyDelta('docs', [broken('bad', 5)], SOURCE)

    const held = db.replica.joinVector('docs', SOURCE, new Map([[ACTOR, 9]]))
    db.discardQuarantine('docs', db.listQuarantine('docs')[0]?.entry ?? 0)
    const freed = db.replica.joinVector('docs', SOURCE, new Map([[ACTOR, 9]]))

    expect([held.versionVector.get(ACTOR), freed.versionVector.get(ACTOR)]).toEqual([undefined, 9])
  })

  test('goes back into quarantine when a retry fails for the same reason', async () => {
    using fixture = await open()
    const { db } = fixture
    db.replica.applyDelta('docs', [broken('bad')], SOURCE)

    expect(db.retryQuarantine('docs')).toEqual({ applied: 0, left: 1 })
    expect(db.replica.shardState('docs').quarantineCount).toBe(1)
  })

  test('is applied by a retry once nothing hinders it any more', async () => {
    using fixture = await open()
    const { db } = fixture
    const fifty = Array.from({ length: 33 }, (_, n) => dotOf(String(n).padStart(32, '0'), 1))
    const crowd = fifty.map((dot) => changeOf('crowded', [put(dot)]))
    db.replica.applyDelta('docs', crowd, SOURCE)
    expect(db.listQuarantine('docs')).toHaveLength(1)

    db.update('docs', 'crowded', { metadata: { decided: true } })
    const { applied, left } = db.retryQuarantine('docs', db.listQuarantine('docs')[0]?.entry ?? 0)

    expect([applied, left]).toEqual([1, 0])
    expect(db.conflictSiblings('docs', 'crowded')).toHaveLength(2)
  })

  test('that was discarded is superseded everywhere by what the record was here', async () => {
    using all = await peers('a', 'b')
    const [a, b] = all
    a.fixture.db.insert('docs', record('x', { good: true }))
    syncBoth(a, b)
    const dot = dotOf(ACTOR, 1)
    const { versionVector } = a.fixture.db.replica.shardState('docs')
    const context = new Map([...versionVector, [ACTOR, 1]])
    const bad = { embedding: Float32Array.of(0, 0, 0) }
    // b holds it as a release would that takes it; for a it is all zeros under cosine.
    a.fixture.db.replica.applyDelta('docs', [changeOf('x', [put(dot, bad)], context)], SOURCE)

    a.fixture.db.discardQuarantine('docs', a.fixture.db.listQuarantine('docs')[0]?.entry ?? 0)
    syncBoth(a, b)

    for (const { fixture } of [a, b]) {
      expect(fixture.db.get('docs', 'x')?.metadata).toEqual({ good: true })
      expect(fixture.db.replica.shardState('docs').quarantineCount).toBe(0)
    }
  })

  test('keeps the vector from passing a forgotten delete of the write that it superseded', async () => {
    using place = folder()
    const path = place.file('b.db')
    const a: Peer = { name: 'a', fixture: await open() }
    const b: Peer = { name: 'b', fixture: await open({ path }) }
    const c: Peer = { name: 'c', fixture: await open() }
    a.fixture.db.insert('docs', record('x', { first: true }))
    for (const puller of [b, c]) expect(pullFrom(puller, a).error).toBeNull()
    // While b writes over it what c cannot take, a deletes it, and forgets that it did.
    b.fixture.db.update('docs', 'x', { metadata: { second: true } })
    {
      using raw = new DatabaseSync(path)
      raw.exec(`UPDATE vectors SET metadata = '["later"]'`)
    }
    a.fixture.db.delete('docs', 'x')
    a.fixture.clock.ms += 31 * 86_400_000
    expect(a.fixture.db.collectTombstones('docs')).toBe(1)
    expect(pullFrom(c, b).tally.quarantined).toBe(1)
    expect(pullFrom(b, a).error).toBeNull()
    expect(pullFrom(c, b).error).toBeNull()

    const { actor } = a.fixture.db.replica.identity()
    const covered = ({ fixture }: Peer): number | undefined =>
      fixture.db.replica.shardState('docs').versionVector.get(actor)
    // c shows the first write, which the delete superseded: it must not say that it knows the delete.
    expect(c.fixture.db.get('docs', 'x')?.metadata).toEqual({ first: true })
    expect([covered(b), covered(c)]).toEqual([2, 1])

    c.fixture.db.discardQuarantine('docs', c.fixture.db.listQuarantine('docs')[0]?.entry ?? 0)
    syncBoth(b, c)
    syncBoth(a, b)
    syncBoth(b, c)
    expect([covered(a), covered(b), covered(c)]).toEqual([2, 2, 2])
    for (const { fixture } of [a, b, c]) {
      expect(fixture.db.get('docs', 'x')?.metadata).toEqual({ first: true })
    }
    for (const { fixture } of [a, b, c]) fixture[Symbol.dispose]()
  })

  test('that had decided a conflict, discarded, leaves the conflict open with all its writes', async () => {
    using place = folder()
    const path = place.file('a.db')
    const a: Peer = { name: 'a', fixture: await open({ path }) }
    const b: Peer = { name: 'b', fixture: await open() }
    a.fixture.db.insert('docs', record('x', { by: 'a' }))
    b.fixture.db.insert('docs', record('x', { by: 'b' }))
    syncBoth(a, b)
    a.fixture.db.update('docs', 'x', { metadata: { decided: true } })
    {
      // As a release would write it that allows more.
      using raw = new DatabaseSync(path)
      raw.exec(`UPDATE vectors SET metadata = '["later"]'`)
    }
    expect(pullFrom(b, a).tally.quarantined).toBe(1)

    b.fixture.db.discardQuarantine('docs', b.fixture.db.listQuarantine('docs')[0]?.entry ?? 0)
    syncBoth(a, b)

    for (const { fixture } of [a, b]) {
      const siblings = fixture.db.conflictSiblings('docs', 'x')
      expect(siblings).toHaveLength(2)
      expect(new Set(siblings.map(({ value }) => value?.metadata['by']))).toEqual(
        new Set(['a', 'b']),
      )
      expect(fixture.db.replica.shardState('docs').quarantineCount).toBe(0)
    }
    expect(a.fixture.db.replica.shardState('docs').digest).toBe(
      b.fixture.db.replica.shardState('docs').digest,
    )
    a.fixture[Symbol.dispose]()
    b.fixture[Symbol.dispose]()
  })

  test('goes when another of its record is discarded by a decision that covers it', async () => {
    using fixture = await open()
    const { db } = fixture
    const good = put(dotOf('bb'.repeat(16), 1))
    const bad = put(dotOf(ACTOR, 1), { embedding: Float32Array.of(NaN, 0, 1) })
    // The write alone, and the state that somebody made of it and of what is here.
    const changes = [[good], [bad], [good, bad]].map((siblings) => changeOf('x', siblings))
    db.replica.applyDelta('docs', changes, SOURCE)
    expect(db.listQuarantine('docs')).toHaveLength(2)

    db.discardQuarantine('docs', db.listQuarantine('docs')[0]?.entry ?? 0)

    expect(db.listQuarantine('docs')).toEqual([])
    expect(db.replica.shardState('docs').quarantineCount).toBe(0)
  })

  test('is taken along when the retry of all applies one that supersedes it', async () => {
    using fixture = await open()
    const { db } = fixture
    const last = dotOf('ff'.repeat(16), 1)
    const full = Array.from({ length: 32 }, (_, n) => dotOf(String(n).padStart(32, '0'), 1))
    const crowd = full.map((dot) => changeOf('crowded', [put(dot)]))
    const newer = changeOf('crowded', [put({ ...last, counter: 2 })])
    const older = changeOf('crowded', [put(last)])
    db.replica.applyDelta('docs', [...crowd, newer, older], SOURCE)
    expect(db.listQuarantine('docs')).toHaveLength(2)

    db.update('docs', 'crowded', { metadata: { decided: true } })

    expect(db.retryQuarantine('docs')).toEqual({ applied: 1, left: 0 })
    expect(db.conflictSiblings('docs', 'crowded')).toHaveLength(2)
  })

  test('of a record that is not here is a delete once discarded', async () => {
    using fixture = await open()
    const { db } = fixture
    db.replica.applyDelta('docs', [broken('bad')], SOURCE)

    db.discardQuarantine('docs', db.listQuarantine('docs')[0]?.entry ?? 0)

    expect(db.get('docs', 'bad')).toBeNull()
    const read = db.replica.readDelta('docs', {
      after: 0,
      countMax: 10,
      bytesMax: 1_000,
      known: EMPTY_VECTOR,
    })
    expect(read.changes[0]?.context?.get(ACTOR)).toBe(1)
  })

  test('is retried by itself when another release opens the file', async () => {
    using place = folder()
    const path = place.file('q.db')
    const first = await open({ path })
    const actors = Array.from({ length: 33 }, (_, n) => dotOf(String(n).padStart(32, '0'), 1))
    const crowd = actors.map((dot) => changeOf('crowded', [put(dot)]))
    first.db.replica.applyDelta('docs', crowd, SOURCE)
    first.db.update('docs', 'crowded', { metadata: { decided: true } })
    first.db.close()
    const same = await open({ path })
    const left = same.db.replica.shardState('docs').quarantineCount
    same.db.close()
    {
      using raw = new DatabaseSync(path)
      raw.exec(`UPDATE database_metadata SET release = 'an earlier one'`)
    }

    using later = await open({ path })

    expect([left, later.db.replica.shardState('docs').quarantineCount]).toEqual([1, 0])
  })

  test('survives a reopen, and is named when it is not there', async () => {
    using place = folder()
    const first = await open({ path: place.file('q.db') })
    first.db.replica.applyDelta('docs', [broken('bad')], SOURCE)
    first.db.close()
    using again = await open({ path: place.file('q.db') })

    expect(again.db.listQuarantine('docs')).toHaveLength(1)
    expect(() => again.db.retryQuarantine('docs', 77)).toThrow(
      expect.objectContaining({ code: 'STORE_QUARANTINE_UNKNOWN' }),
    )
    expect(() => again.db.discardQuarantine('docs', 77)).toThrow(
      expect.objectContaining({ code: 'STORE_QUARANTINE_UNKNOWN' }),
    )
  })
})

test('a peer whose clock is ten days ahead or behind neither wins over later edits nor stops anyone', async () => {
  using all = await peers('a', 'ahead', 'behind')
  const [a, ahead, behind] = all
  const { clock } = a.fixture
  ahead.fixture.clock.ms = clock.ms + 10 * 86_400_000
  behind.fixture.clock.ms = clock.ms - 10 * 86_400_000
  ahead.fixture.db.insert('docs', record('x', { by: 'ahead' }))

  const { tally } = pullFrom(a, ahead)
  a.fixture.db.update('docs', 'x', { metadata: { by: 'a' } })
  pullFrom(behind, a)
  behind.fixture.db.update('docs', 'x', { metadata: { by: 'behind' } })
  pullFrom(ahead, behind)

  expect(tally.skewMsMax).toBeGreaterThanOrEqual(10 * 86_400_000)
  expect(a.fixture.events).toContainEqual(
    expect.objectContaining({ type: 'clock-skew', peer: 'ahead' }),
  )
  expect(ahead.fixture.db.get('docs', 'x')?.metadata).toEqual({ by: 'behind' })
  expect(ahead.fixture.db.replica.shardState('docs').conflictCount).toBe(0)
})
