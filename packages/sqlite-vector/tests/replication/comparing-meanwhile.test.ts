/**
 * What other sessions do while two replicas compare rows: nothing that was deleted comes back by it.
 */
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'

import { folder, open, record } from '../unit/store/fixture.ts'
import { type Peer, peers, pullFrom, syncBoth } from './drive.ts'

const MONTH_MS = 31 * 86_400_000

function idsOf(peer: Peer): readonly string[] {
  return peer.fixture.db.list('docs').records.map(({ id }) => id)
}

test('a batch of somebody who missed a delete, between a comparison of floors and its join, revives nothing', async () => {
  using all = await peers('sender', 'puller', 'absentee')
  const [sender, puller, absentee] = all
  for (const id of ['dead', 'kept']) sender.fixture.db.insert('docs', record(id))
  pullFrom(absentee, sender)
  sender.fixture.db.delete('docs', 'dead')
  sender.fixture.clock.ms += MONTH_MS
  expect(sender.fixture.db.collectTombstones('docs')).toBe(1)
  puller.fixture.db.insert('docs', record('own'))

  // The rows of the whole range were compared by then.
  const stale = (): void => {
    if (!idsOf(puller).includes('dead')) pullFrom(puller, absentee, { cutBefore: 'caughtUp' })
    expect(idsOf(puller)).toContain('dead')
  }
  let isStale = false
  const { error, frames } = pullFrom(puller, sender, {
    before: {
      records: () => {
        if (!isStale) stale()
        isStale = true
      },
    },
  })

  expect(error).toBeNull()
  expect(idsOf(puller)).toEqual(['kept', 'own'])
  // First for what the comparison found, then for what came meanwhile.
  expect(frames.filter((frame) => frame === '> need').length).toBeGreaterThanOrEqual(2)
  syncBoth(puller, sender)
  syncBoth(absentee, sender)
  syncBoth(absentee, puller)
  for (const peer of all) expect(idsOf(peer)).toEqual(['kept', 'own'])
})

test('a batch of somebody else that brings what the sender has, too, is asked about once and stays', async () => {
  using all = await peers('sender', 'puller', 'third')
  const [sender, puller, third] = all
  for (const id of ['dead', 'kept']) sender.fixture.db.insert('docs', record(id))
  sender.fixture.db.delete('docs', 'dead')
  third.fixture.db.insert('docs', record('late'))
  pullFrom(sender, third)
  sender.fixture.clock.ms += MONTH_MS
  sender.fixture.db.collectTombstones('docs')
  puller.fixture.db.insert('docs', record('own'))

  const { error } = pullFrom(puller, sender, {
    before: { ranges: () => pullFrom(puller, third, { cutBefore: 'caughtUp' }) },
  })

  expect(error).toBeNull()
  expect(idsOf(puller)).toEqual(['kept', 'late', 'own'])
})

test('a record that was deleted and forgotten while lost rows were fetched is not taken for lost', async () => {
  using place = folder()
  const path = place.file('damaged.db')
  const whole: Peer = { name: 'whole', fixture: await open() }
  const before: Peer = { name: 'damaged', fixture: await open({ path }) }
  for (const id of ['lost', 'kept']) whole.fixture.db.insert('docs', record(id))
  syncBoth(whole, before)
  before.fixture.db.close()
  {
    using raw = new DatabaseSync(path)
    raw.exec(`DELETE FROM vector_changelog WHERE record IN (SELECT record FROM vectors WHERE vector_id = 'lost');
      DELETE FROM embeddings WHERE record IN (SELECT record FROM vectors WHERE vector_id = 'lost');
      DELETE FROM vectors WHERE vector_id = 'lost'`)
  }
  const damaged: Peer = { name: 'damaged', fixture: await open({ path }) }
  damaged.fixture.db.recount('docs')

  const meanwhile = (): void => {
    whole.fixture.db.delete('docs', 'lost')
    syncBoth(damaged, whole)
    expect(damaged.fixture.db.collectTombstones('docs')).toBe(1)
  }
  let isOver = false
  const { error } = pullFrom(damaged, whole, {
    before: {
      records: () => {
        if (!isOver) {
          isOver = true
          meanwhile()
        }
      },
    },
  })

  expect(error).toBeNull()
  expect(idsOf(damaged)).toEqual(['kept'])
  syncBoth(damaged, whole)
  for (const peer of [damaged, whole]) {
    expect(idsOf(peer)).toEqual(['kept'])
    peer.fixture[Symbol.dispose]()
  }
})
