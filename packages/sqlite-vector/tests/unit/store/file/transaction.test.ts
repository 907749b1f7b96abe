/**
 * `transaction()` and `group()`: what is committed together, and what a failure undoes.
 */
import { describe, expect, test } from 'vitest'

import { folder, open, record } from '../fixture.ts'
import { type CommitNotice } from '../../../../src/store/file/open-shard.ts'

describe('transaction()', () => {
  test('commits everything at once and returns what its function returns', async () => {
    using fixture = await open()
    const { db } = fixture
    const notices: CommitNotice[] = []
    db.replica.onCommit((notice) => void notices.push(notice))

    const count = db.transaction(() => {
      db.insert('docs', record('a'))
      db.insert('docs', record('b'))
      db.delete('docs', 'a')
      return db.count('docs')
    })

    expect(count).toBe(1)
    expect(notices).toEqual([{ shardId: 'docs', head: 3 }])
  })

  test('leaves nothing of what it wrote when its function throws', async () => {
    using fixture = await open()
    const { db } = fixture
    db.insert('docs', record('kept'))
    const before = db.replica.shardState('docs')
    const notices: CommitNotice[] = []
    db.replica.onCommit((notice) => void notices.push(notice))

    const failing = (): void =>
      db.transaction(() => {
        db.createShard('other', { dimension: 2 })
        db.insert('docs', record('a'))
        db.delete('docs', 'kept')
        throw new Error('no')
      })

    expect(failing).toThrow('no')
    expect(db.replica.shardState('docs')).toEqual(before)
    expect(db.shards()).toHaveLength(1)
    expect(notices).toEqual([])
    // Nothing that memory remembers of it may reach the next write.
    db.insert('docs', record('b'))
    expect(db.replica.recomputeDigest('docs')).toBe(db.replica.shardState('docs').digest)
    expect(db.replica.shardState('docs').head).toBe(before.head + 1)
  })

  test('goes on after a refusal that its function caught', async () => {
    using fixture = await open()
    const { db } = fixture

    db.transaction(() => {
      db.insert('docs', record('a'))
      expect(() => db.insert('docs', record('a'))).toThrow(/already/)
      expect(() => db.update('docs', 'none', { text: 'x' })).toThrow(/no record/)
      db.insert('docs', record('b'))
    })

    expect(db.count('docs')).toBe(2)
    expect(db.replica.shardState('docs').versionVector.get(db.replica.identity().actor)).toBe(2)
  })

  test('inside another one fails alone', async () => {
    using fixture = await open()
    const { db } = fixture

    db.transaction(() => {
      db.insert('docs', record('a'))
      expect(() =>
        db.transaction(() => {
          db.insert('docs', record('b'))
          db.upsert('docs', record('a', { changed: true }))
          throw new Error('inner')
        }),
      ).toThrow('inner')
      db.transaction(() => db.insert('docs', record('c')))
    })

    expect(db.list('docs').records.map(({ id }) => id)).toEqual(['a', 'c'])
    expect(db.get('docs', 'a')?.metadata).toEqual({})
    expect(db.replica.recomputeDigest('docs')).toBe(db.replica.shardState('docs').digest)
  })

  test('sees its own writes in search, list and state', async () => {
    using fixture = await open()
    const { db } = fixture

    db.transaction(() => {
      db.insert('docs', { id: 'a', embedding: [0, 0, 1] })
      expect(db.search('docs', [0, 0, 1])[0]?.id).toBe('a')
      expect(db.list('docs').records).toHaveLength(1)
      expect(db.replica.shardState('docs').head).toBe(1)
    })
  })
})

describe('group()', () => {
  test('commits the calls of one turn together, and each answers for itself', async () => {
    using fixture = await open()
    const { db } = fixture
    const notices: CommitNotice[] = []
    db.replica.onCommit((notice) => void notices.push(notice))

    const outcomes = await Promise.allSettled([
      db.group(() => db.insert('docs', record('a'))),
      db.group(() => {
        db.insert('docs', record('b'))
        throw new Error('only this one')
      }),
      db.group(() => db.insert('docs', record('a'))),
      db.group(() => db.upsert('docs', record('c'))),
    ])

    expect(outcomes.map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'rejected',
      'fulfilled',
    ])
    expect(db.list('docs').records.map(({ id }) => id)).toEqual(['a', 'c'])
    expect(notices).toEqual([{ shardId: 'docs', head: 2 }])
  })

  test('rejects all of them when the commit fails', async () => {
    using place = folder()
    const path = place.file('a.db')
    using fixture = await open({ path })
    using other = await open({ path })
    const { db } = fixture
    // The other one deletes the shard before the group runs: the first read inside fails for all.
    const waiting = [1, 2].map((n) => db.group(() => db.insert('docs', record(`r${n}`))))
    other.db.dropShard('docs')

    const outcomes = await Promise.allSettled(waiting)

    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'STORE_SHARD_UNKNOWN' } })
    }
  })

  test('commits what waits when the database is closed', async () => {
    using place = folder()
    const path = place.file('a.db')
    const first = await open({ path })
    const waiting = first.db.group(() => first.db.insert('docs', record('a')))

    first.db.close()
    await waiting

    using again = await open({ path })
    expect(again.db.count('docs')).toBe(1)
  })
})

describe('onCommit()', () => {
  test('tells until it is unsubscribed', async () => {
    using fixture = await open()
    const heads: number[] = []
    const stop = fixture.db.replica.onCommit(({ head }) => void heads.push(head))

    fixture.db.insert('docs', record('a'))
    stop()
    fixture.db.insert('docs', record('b'))

    expect(heads).toEqual([1])
  })

  test('hears of no commit that changed nothing', async () => {
    using fixture = await open()
    let heard = 0
    fixture.db.replica.onCommit(() => void (heard += 1))

    fixture.db.delete('docs', 'none')
    fixture.db.createShard('docs', { dimension: 3 })
    fixture.db.transaction(() => undefined)

    expect(heard).toBe(0)
  })

  test('a listener may write', async () => {
    using fixture = await open()
    const { db } = fixture
    const stop = db.replica.onCommit(() => {
      stop()
      db.insert('docs', record('by the listener'))
    })

    db.insert('docs', record('a'))

    expect(db.count('docs')).toBe(2)
  })

  test('poll() hears of commits of another connection, once', async () => {
    using place = folder()
    const path = place.file('a.db')
    using ours = await open({ path })
    using theirs = await open({ path })
    const notices: CommitNotice[] = []
    ours.db.replica.poll()
    ours.db.replica.onCommit((notice) => void notices.push(notice))

    theirs.db.insert('docs', record('a'))
    expect(ours.db.replica.poll()).toBe(1)
    expect(ours.db.replica.poll()).toBe(0)
    ours.db.insert('docs', record('b'))
    expect(ours.db.replica.poll()).toBe(0)

    expect(notices).toEqual([
      { shardId: 'docs', head: 1 },
      { shardId: 'docs', head: 2 },
    ])
  })
})
