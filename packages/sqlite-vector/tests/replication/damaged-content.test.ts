/**
 * Content of the file that cannot be true: named by shard and id, set aside, and given back by a peer.
 */
import { DatabaseSync } from 'node:sqlite'

import { describe, expect, test } from 'vitest'

import { folder, open, record, shown } from '../unit/store/fixture.ts'
import { pullFrom, syncBoth } from './drive.ts'
import type { Peer } from './drive.ts'

const DAMAGE: Readonly<Record<string, string>> = {
  'a missing embedding': 'DELETE FROM embeddings WHERE record = 2',
  'an embedding that was cut': "UPDATE embeddings SET embedding = x'0000' WHERE record = 2",
  'an embedding of another dimension':
    'UPDATE embeddings SET embedding = zeroblob(8) WHERE record = 2',
  'metadata that is not JSON': "UPDATE vectors SET metadata = '{' WHERE record = 2",
  'metadata nested too deeply for SQLite': `UPDATE vectors SET metadata = '{"a":' || replace(hex(zeroblob(600)), '0', '[') || replace(hex(zeroblob(600)), '0', ']') || '}' WHERE record = 2`,
  'a row that the feed lacks': 'DELETE FROM vector_changelog WHERE record = 2',
}

/** Two files with the records a, b and c, where b is damaged in the first. */
async function damagedPair(
  files: ReturnType<typeof folder>,
  damage: string,
): Promise<{ a: Peer; b: Peer } & Disposable> {
  const path = files.file('a.db')
  const a = { name: 'a', fixture: await open({ path }) }
  const b = { name: 'b', fixture: await open() }
  for (const id of ['a', 'b', 'c']) a.fixture.db.insert('docs', record(id, { id }))
  syncBoth(a, b)
  using raw = new DatabaseSync(path)
  raw.exec(damage)
  return {
    a,
    b,
    [Symbol.dispose]: () => [a, b].forEach(({ fixture }) => fixture[Symbol.dispose]()),
  }
}

describe.each(Object.entries(DAMAGE))('%s', (_, damage) => {
  test('is named by verify, and by reads of the record', async () => {
    using files = folder()
    using pair = await damagedPair(files, damage)
    const { db } = pair.a.fixture

    expect(db.recount('docs')).toMatchObject({ correct: false, damaged: ['b'] })
    expect(db.get('docs', 'a')).toMatchObject({ id: 'a' })
    expect(db.get('docs', 'c')).toMatchObject({ id: 'c' })
  })

  test('does not stop a peer that pulls everything, nor one that compares', async () => {
    using files = folder()
    using pair = await damagedPair(files, damage)
    using fresh = await open({ shard: false })
    const c = { name: 'c', fixture: fresh }

    const pulled = pullFrom(c, pair.a)
    const payloads = pullFrom(pair.b, pair.a, { payloads: true })

    expect([pulled.error, payloads.error]).toEqual([null, null])
    expect(fresh.db.get('docs', 'a')).toMatchObject({ id: 'a' })
    expect(fresh.db.get('docs', 'c')).toMatchObject({ id: 'c' })
  })

  test('is repaired from a peer by a sync that verifies', async () => {
    using files = folder()
    using pair = await damagedPair(files, damage)
    const { a, b } = pair

    const first = pullFrom(a, b, { verify: true })
    const second = pullFrom(a, b, { verify: true })

    expect([first.error, second.error]).toEqual([null, null])
    expect(shown(a.fixture.db)).toEqual(shown(b.fixture.db))
    expect(a.fixture.db.recount('docs')).toMatchObject({ correct: true, damaged: [] })
    expect(a.fixture.db.listQuarantine('docs')).toEqual([])
    expect(a.fixture.events).toContainEqual(
      expect.objectContaining({ type: 'record-damaged', shardId: 'docs', id: 'b' }),
    )
  })
})

test('a read of a damaged record says which shard and which record', async () => {
  using files = folder()
  using pair = await damagedPair(files, 'DELETE FROM embeddings WHERE record = 2')

  expect(() => pair.a.fixture.db.get('docs', 'b')).toThrow(
    expect.objectContaining({
      code: 'STORE_CORRUPT',
      message: expect.stringMatching(/"b" of shard "docs"/),
    }),
  )
})
