/**
 * What was written is held against a peer's, not only its names: a row that the disk altered is found, by id, and nothing is
 * taken for damaged that was only written to meanwhile. The damage is done to the tables directly, past the store.
 */
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'

import { DAMAGED_NAMED_MAX } from '../../src/limits.ts'
import { folder, open, record } from '../unit/store/fixture.ts'
import { type Peer, pullFrom, type Pulled, type PullOptions, syncBoth } from './drive.ts'

const RECORDS = 300

interface Pair extends Disposable {
  readonly a: Peer
  readonly b: Peer
  /** Changes the file of `b`. */
  readonly damage: (sql: string) => void
}

async function pair(records = RECORDS): Promise<Pair> {
  const place = folder()
  const path = place.file('b.db')
  const a = { name: 'a', fixture: await open({ path: place.file('a.db'), sliceRows: 40 }) }
  const b = { name: 'b', fixture: await open({ path, sliceRows: 40 }) }
  const all = Array.from({ length: records }, (_, n) => ({
    ...record(`r${n}`, { n }),
    ...(n % 2 === 0 ? { text: `text ${n}` } : {}),
  }))
  await a.fixture.db.insertBatch('docs', all)
  b.fixture.db.createShard('docs', { dimension: 3 })
  syncBoth(a, b)
  return {
    a,
    b,
    damage(sql) {
      using raw = new DatabaseSync(path)
      expect(raw.prepare(sql).run().changes).toBeGreaterThan(0)
    },
    [Symbol.dispose]() {
      a.fixture[Symbol.dispose]()
      b.fixture[Symbol.dispose]()
      place[Symbol.dispose]()
    },
  }
}

function deeply(puller: Peer, sender: Peer, options: PullOptions = {}): Pulled {
  return pullFrom(puller, sender, { verify: true, payloads: true, ...options })
}

function rowOf(id: string): string {
  return `(SELECT record FROM vectors WHERE vector_id = '${id}')`
}

describe('comparing payloads', () => {
  test('finds nothing between replicas in step, deletes and conflicts included', async () => {
    using both = await pair()
    const { a, b } = both
    a.fixture.db.delete('docs', 'r1')
    for (const { fixture, name } of [a, b]) fixture.db.upsert('docs', record('r2', { by: name }))
    a.fixture.db.delete('docs', 'r3')
    b.fixture.db.update('docs', 'r3', { metadata: { kept: true } })
    syncBoth(a, b)

    for (const pulled of [deeply(a, b), deeply(b, a)]) {
      expect(pulled.error).toBeNull()
      expect(pulled.compared).toMatchObject({ payloads: true, damagedCount: 0, damaged: [] })
    }
  })

  test('names the records of which embedding, metadata or text were altered, from either side, and changes nothing', async () => {
    using both = await pair()
    const { a, b, damage } = both
    damage(
      `UPDATE embeddings SET embedding = x'0000803f0000003f00000000' WHERE record = ${rowOf('r7')}`,
    )
    damage(`UPDATE vectors SET metadata = '{"n":9}' WHERE vector_id = 'r8'`)
    damage(`UPDATE vectors SET document = 'text 11' WHERE vector_id = 'r10'`)
    damage(`UPDATE vectors SET document = '' WHERE vector_id = 'r11'`)
    const heads = [a, b].map(({ fixture }) => fixture.db.replica.shardState('docs').head)

    const plain = pullFrom(b, a, { verify: true })
    const [here, there] = [deeply(b, a), deeply(a, b)]

    expect(plain.compared).toMatchObject({ payloads: false, damagedCount: 0 })
    for (const { error, compared, tally, frames } of [here, there]) {
      expect(error).toBeNull()
      expect(compared.damaged.toSorted()).toEqual(['r10', 'r11', 'r7', 'r8'])
      expect(compared.damagedCount).toBe(4)
      expect(tally).toMatchObject({ repaired: 0, dropped: 0, divergences: 0, applied: 0 })
      // Ranges are compared, and only what differs is fetched.
      expect(frames.filter((frame) => frame === '< records')).toHaveLength(1)
    }
    expect([a, b].map(({ fixture }) => fixture.db.replica.shardState('docs').head)).toEqual(heads)
    expect(b.fixture.db.get('docs', 'r8')?.metadata).toEqual({ n: 9 })

    // Written again where it is sound, it is sound everywhere.
    for (const id of ['r7', 'r8', 'r10', 'r11'])
      a.fixture.db.upsert('docs', record(id, { again: true }))
    syncBoth(a, b)
    expect(deeply(b, a).compared).toMatchObject({ payloads: true, damagedCount: 0 })
  })

  test('finds what was altered of a conflict', async () => {
    using both = await pair(20)
    const { a, b, damage } = both
    for (const { fixture, name } of [a, b]) fixture.db.upsert('docs', record('r2', { by: name }))
    syncBoth(a, b)
    damage(`UPDATE vector_conflicts SET metadata = '{"by":"nobody"}' WHERE metadata LIKE '%"a"%'`)

    expect(deeply(b, a).compared).toMatchObject({ damagedCount: 1, damaged: ['r2'] })
  })

  test('does not take for damaged what is written while payloads are compared', async () => {
    using both = await pair()
    const { a, b } = both
    let asked = 0
    const { error, compared } = deeply(b, a, {
      before: {
        compare: () => {
          asked += 1
          a.fixture.db.update('docs', `r${asked}`, { metadata: { asked } })
          b.fixture.db.delete('docs', `r${100 + asked}`)
        },
      },
    })

    expect(error).toBeNull()
    expect(asked).toBeGreaterThan(2)
    expect(compared).toMatchObject({ damagedCount: 0, damaged: [] })
  })

  test('counts all and names the first, where everything was altered', async () => {
    using both = await pair(DAMAGED_NAMED_MAX + 50)
    const { a, b, damage } = both
    damage(`UPDATE vectors SET metadata = '{"n":-1}'`)

    const { compared } = deeply(a, b)

    expect(compared.damagedCount).toBe(DAMAGED_NAMED_MAX + 50)
    expect(compared.damaged).toHaveLength(DAMAGED_NAMED_MAX)
    expect(new Set(compared.damaged).size).toBe(DAMAGED_NAMED_MAX)
  })
})
