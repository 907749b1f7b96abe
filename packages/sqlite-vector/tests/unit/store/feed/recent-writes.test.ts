/**
 * What a session that pushes our newest writes is given from memory: what the feed of the file says, to the byte.
 */
import { expect, test } from 'vitest'

import { RECENT_WRITES_BYTES_MAX, TEXT_BYTES_MAX } from '../../../../src/limits.ts'
import type { SQLiteVectorDB } from '../../../../src/store/vector-db.ts'
import { contextOf } from '../../../../src/model/merge.ts'
import { encodeDelta } from '../../../../src/sync/delta.ts'
import { type Fixture, folder, open, pull, record } from '../fixture.ts'
import { type DeltaQuery, type DeltaRead } from '../../../../src/store/feed/types.ts'

const EMPTY = new Map<string, number>()

/** What a live session asks for after a write. */
function pushQuery(db: SQLiteVectorDB, after: number, counter: number): DeltaQuery {
  const { actor } = db.replica.identity()
  const only = { actor, counter }
  return { after, countMax: 1_000, bytesMax: 4_000_000, known: EMPTY, expose: true, only }
}

/** What goes over the wire, and where the reader stands then. */
function told({ changes, through, atHead, state }: DeltaRead): unknown {
  // A context has no order.
  const inOrder = changes.map((change) => ({
    ...change,
    context: new Map([...contextOf(change)].toSorted(([a], [b]) => (a < b ? -1 : 1))),
  }))
  return { frame: [...encodeDelta({ through, changes: inOrder }, 3)], through, atHead, state }
}

/** The head and the newest counter of our own, as a session has them that has pushed everything. */
function caughtUp(db: SQLiteVectorDB): [head: number, counter: number] {
  const { head, versionVector } = db.replica.shardState('docs')
  return [head, versionVector.get(db.replica.identity().actor) ?? 0]
}

/** Numbers from 0 to below `end`, the same for the same seed. */
function chance(seed: number): (end: number) => number {
  let state = seed
  return (end) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * end)
  }
}

async function writeAtRandom({ db }: Fixture, from: Fixture, draw: ReturnType<typeof chance>) {
  const id = `r${draw(8)}`
  const given = { ...record(id, { at: draw(1_000) }), text: `text ${draw(50)}` }
  switch (draw(10)) {
    case 0:
      db.delete('docs', id)
      return
    case 1:
      if (db.get('docs', id) !== null) db.update('docs', id, { metadata: { only: draw(9) } })
      return
    case 2:
      await db.insertBatch('docs', [given, record(`b${draw(99)}`)], { mode: 'upsert' })
      return
    case 3:
      await db.insertBatch('docs', [record(`n${draw(2 ** 30)}`), record(`n${draw(2 ** 30)}`)])
      return
    case 4:
      db.transaction(() => {
        db.upsert('docs', given)
        expect(() =>
          db.transaction(() => {
            db.upsert('docs', record('undone'))
            throw new TypeError('undone')
          }),
        ).toThrow('undone')
        db.upsert('docs', { ...record('kept'), text: given.text })
      })
      return
    case 5:
      from.db.upsert('docs', record(`theirs${draw(5)}`))
      pull(from, { db } as Fixture)
      return
    case 6:
      // A conflict with what is ours, or what supersedes it.
      if (draw(2) === 0) pull({ db } as Fixture, from)
      from.db.upsert('docs', record(id))
      pull(from, { db } as Fixture)
      return
    default:
      db.upsert('docs', given)
  }
}

test.each([1, 2, 3, 4, 5, 6, 7, 8])(
  'is what another connection reads from the file, seed %i',
  async (seed) => {
    using files = folder()
    using fixture = await open({ path: files.file('a.db') })
    using reader = await open({ path: files.file('a.db'), shard: false })
    using from = await open()
    const { db } = fixture
    db.replica.expose('docs')
    const draw = chance(seed)
    let [after, counter] = caughtUp(db)

    for (let round = 0; round < 40; round += 1) {
      for (let count = draw(4); count >= 0; count -= 1) await writeAtRandom(fixture, from, draw)
      const query = { ...pushQuery(db, after, counter), countMax: 1 + draw(6) }
      const pushed = db.replica.readDelta('docs', query)

      // A row that concerns nobody here may be passed over with the rest, or looked at: it is the changes that count.
      const whole = { ...query, countMax: 1_000 }
      expect(told(db.replica.readDelta('docs', whole))).toEqual(
        told(reader.db.replica.readDelta('docs', { ...whole, expose: false })),
      )
      expect(pushed.changes.length).toBeLessThanOrEqual(query.countMax)
      if (!pushed.atHead) after = pushed.through
      else [after, counter] = caughtUp(db)
    }
  },
)

test('is read from the file where another process has written', async () => {
  using files = folder()
  using fixture = await open({ path: files.file('a.db') })
  using other = await open({ path: files.file('a.db'), shard: false })
  const { db } = fixture
  db.replica.expose('docs')
  db.upsert('docs', record('ours'))
  other.db.upsert('docs', record('theirs'))

  const first = db.replica.readDelta('docs', pushQuery(db, 0, 0))
  db.upsert('docs', record('again'))
  const second = db.replica.readDelta('docs', pushQuery(db, first.through, 2))

  expect(first.changes.map(({ id }) => id)).toEqual(['ours', 'theirs'])
  expect(second.changes.map(({ id }) => id)).toEqual(['again'])
  expect(second).toMatchObject({ through: 3, atHead: true })
})

test('is read from the file where somebody else has written over it', async () => {
  using fixture = await open()
  using from = await open()
  const { db } = fixture
  for (const id of ['a', 'b']) db.upsert('docs', record(id))
  db.replica.expose('docs')
  for (const id of ['c', 'd']) db.upsert('docs', record(id))
  from.db.upsert('docs', record('c'))
  pull(from, fixture)

  // The first is before what memory knows of, and reads past the place that the record has left.
  const first = db.replica.readDelta('docs', { ...pushQuery(db, 0, 0), countMax: 3 })
  const second = db.replica.readDelta('docs', pushQuery(db, first.through, 0))

  const ids = [...first.changes, ...second.changes].map(({ id }) => id)
  expect(ids).toEqual(['a', 'b', 'd', 'c'])
  expect(second.changes[0]?.siblings).toHaveLength(2)
})

test('is read from the file once records were forgotten', async () => {
  using fixture = await open()
  const { db, clock } = fixture
  db.replica.expose('docs')
  db.upsert('docs', record('a'))
  db.upsert('docs', record('b'))
  db.delete('docs', 'a')
  clock.ms += 1
  expect(db.replica.collectTombstones('docs', 0)).toBe(1)

  const { changes, state } = db.replica.readDelta('docs', pushQuery(db, 0, 0))

  expect(changes.map(({ id }) => id)).toEqual(['b'])
  expect(state).toEqual(db.replica.shardState('docs'))
})

test('is what was committed, also when the caller writes to its array afterwards', async () => {
  using fixture = await open()
  const { db } = fixture
  db.replica.expose('docs')
  const embedding = Float32Array.of(1, 0, 0)
  db.upsert('docs', { id: 'a', embedding })
  embedding.fill(9)

  const { changes } = db.replica.readDelta('docs', pushQuery(db, 0, 0))

  expect([...(changes[0]?.siblings[0]?.value?.embedding ?? [])]).toEqual([1, 0, 0])
})

test('ends with the sessions that ask for it, and is never more than its bound', async () => {
  using fixture = await open()
  const { db } = fixture
  const end = db.replica.expose('docs')
  const text = 'x'.repeat(TEXT_BYTES_MAX)
  const ids = Array.from({ length: RECENT_WRITES_BYTES_MAX / TEXT_BYTES_MAX }, (_, at) => `r${at}`)
  for (const id of ids) db.upsert('docs', { ...record(id), text })
  const query = { ...pushQuery(db, 0, 0), bytesMax: 10 * RECENT_WRITES_BYTES_MAX }

  expect(db.replica.readDelta('docs', query).changes.map(({ id }) => id)).toEqual(ids)
  end()
  db.upsert('docs', record('g'))
  expect(db.replica.readDelta('docs', query).changes.map(({ id }) => id)).toEqual([...ids, 'g'])
})
