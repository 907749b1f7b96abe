/**
 * Equal version vectors over different rows: found, mended in proportion to the difference, and reported when that
 * fails. The damage is done to the tables directly, past the store.
 */
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'

import { folder, open, record } from '../unit/store/fixture.ts'
import { type Peer, peers, pullFrom, syncBoth } from './drive.ts'

const RECORDS = 1_000

interface Damaged extends Disposable {
  readonly a: Peer
  readonly b: Peer
}

/** Two replicas in step; of `b`, the records of `lost` are gone as if they had never been. */
async function damaged(lost: readonly string[]): Promise<Damaged> {
  const place = folder()
  const a = { name: 'a', fixture: await open({ path: place.file('a.db') }) }
  const path = place.file('b.db')
  const before = { name: 'b', fixture: await open({ path }) }
  const records = Array.from({ length: RECORDS }, (_, n) => record(`r${n}`, { n }))
  await a.fixture.db.insertBatch('docs', records)
  syncBoth(a, before)
  before.fixture.db.close()
  {
    using raw = new DatabaseSync(path)
    for (const id of lost) {
      const row = raw.prepare('SELECT record, change_id FROM vectors WHERE vector_id = ?').get(id)
      raw.prepare('DELETE FROM vectors WHERE record = ?').run(Number(row?.['record']))
      raw.prepare('DELETE FROM embeddings WHERE record = ?').run(Number(row?.['record']))
      raw.prepare('DELETE FROM vector_changelog WHERE record = ?').run(Number(row?.['record']))
    }
  }
  const b = { name: 'b', fixture: await open({ path }) }
  b.fixture.db.recount('docs')
  const dispose = (): void => {
    a.fixture[Symbol.dispose]()
    b.fixture[Symbol.dispose]()
    place[Symbol.dispose]()
  }
  return { a, b, [Symbol.dispose]: dispose }
}

describe('lost records', () => {
  test('come back at the next sync, and only they travel', async () => {
    using pair = await damaged(['r17', 'r700'])
    const { a, b } = pair

    const { tally, error, bytes } = pullFrom(b, a)

    expect(error).toBeNull()
    expect(tally).toMatchObject({ divergences: 1, repaired: 2, received: 2 })
    expect(b.fixture.db.get('docs', 'r17')?.metadata).toEqual({ n: 17 })
    expect(b.fixture.db.replica.shardState('docs').digest).toBe(
      a.fixture.db.replica.shardState('docs').digest,
    )
    // Levels of at most 16 parts of some 30 bytes, and two records: not a thousand of them.
    expect(bytes).toBeLessThan(12_000)
  })

  test('are asked for by the damaged side: the other keeps what it has and goes on', async () => {
    using pair = await damaged(['r17'])
    const { a, b } = pair

    const { error } = pullFrom(a, b)

    expect(error).toBeNull()
    expect(a.fixture.db.count('docs')).toBe(RECORDS)
  })

  test('many are found as few are', async () => {
    using pair = await damaged(Array.from({ length: 300 }, (_, n) => `r${n * 3}`))
    const { a, b } = pair

    const { tally, error } = pullFrom(b, a)

    expect([error, tally.repaired]).toEqual([null, 300])
    expect(b.fixture.db.recount('docs').correct).toBe(true)
  })
})

describe('a digest that was kept wrongly', () => {
  test.each(['puller', 'sender'])('by the %s is put right, and no record travels', async (side) => {
    using place = folder()
    const a = { name: 'a', fixture: await open({ path: place.file('a.db') }) }
    const b = { name: 'b', fixture: await open({ path: place.file('b.db') }) }
    a.fixture.db.insert('docs', record('x'))
    syncBoth(a, b)
    {
      using raw = new DatabaseSync(side === 'puller' ? b.fixture.db.path : a.fixture.db.path)
      raw.exec(`UPDATE shard_metadata SET fingerprint = x'0000000000000001'`)
    }

    const { tally } = pullFrom(b, a)
    const again = pullFrom(b, a)

    expect(tally).toMatchObject({ divergences: 1, repaired: 0, received: 0 })
    expect([again.error, again.tally.divergences]).toEqual([null, 0])
    for (const { fixture } of [a, b]) {
      expect(fixture.db.recount('docs').correct).toBe(true)
      fixture[Symbol.dispose]()
    }
  })
})

test('recount() tells and mends counts that are not those of the rows', async () => {
  using place = folder()
  const path = place.file('counts.db')
  const first = await open({ path })
  first.db.insert('docs', record('x'))
  first.db.close()
  {
    using raw = new DatabaseSync(path)
    raw.exec(`UPDATE shard_metadata SET record_count = 7, fingerprint = x'0000000000000001'`)
  }
  using again = await open({ path })

  const counted = again.db.recount('docs')

  expect(counted).toMatchObject({ correct: false, recordCount: 1 })
  expect(again.db.recount('docs').correct).toBe(true)
  expect(again.db.replica.shardState('docs').recordCount).toBe(1)
})

test('a question about rows changes nothing at the side that answers', async () => {
  using all = await peers('a', 'b')
  const [a, b] = all
  for (let n = 0; n < 100; n += 1) a.fixture.db.insert('docs', record(`r${n}`))
  syncBoth(a, b)
  const before = a.fixture.db.replica.shardState('docs')

  pullFrom(b, a, { verify: true })

  expect(a.fixture.db.replica.shardState('docs')).toEqual(before)
})
