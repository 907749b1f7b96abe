/**
 * A delete that is forgotten before a live subscription has carried it: what was deleted must not stay with the peer, and
 * the peer's version vector must not say that it knows of it.
 */
import { expect, test } from 'vitest'

import { SessionDriver } from '../../src/sync/session/driver.ts'
import { createPuller } from '../../src/sync/session/puller.ts'
import { createSender } from '../../src/sync/session/sender.ts'
import { record } from '../unit/store/fixture.ts'
import { peers } from './drive.ts'

const MONTH_MS = 31 * 86_400_000

/** Carries out everything and delivers every frame, until nothing is left to do. */
function rest(...sides: readonly [SessionDriver, SessionDriver]): void {
  const queues: readonly [Uint8Array[], Uint8Array[]] = [[], []]
  const isBusy = (side: 0 | 1): boolean => sides[side].busy || queues[side].length > 0
  while (isBusy(0) || isBusy(1)) {
    for (const side of [0, 1] as const) {
      const driver = sides[side]
      const effect = driver.busy ? driver.advance() : null
      if (effect?.type === 'send') queues[side === 0 ? 1 : 0].push(effect.bytes.slice())
      if (!driver.ready) continue
      const frame = queues[side].shift()
      if (frame !== undefined) driver.take(frame)
    }
  }
}

test('a write that is pushed after a delete was forgotten does not vouch for the delete', async () => {
  using both = await peers('sender', 'puller')
  const [sender, puller] = both
  const { db, clock } = sender.fixture
  for (const id of ['dead', 'kept']) db.insert('docs', record(id))
  const pulling: SessionDriver = new SessionDriver(
    createPuller({ peer: sender.name, shardId: 'docs', live: true }),
    { store: puller.fixture.db.replica, nodeId: puller.name, batchSize: 100 },
  )
  const sending: SessionDriver = new SessionDriver(
    createSender({ peer: puller.name, shardId: null }),
    { store: db.replica, nodeId: sender.name, batchSize: 100 },
  )
  pulling.start()
  rest(pulling, sending)
  expect(pulling.session.phase).toBe('live')

  db.delete('docs', 'dead')
  clock.ms += MONTH_MS
  expect(db.collectTombstones('docs')).toBe(1)
  db.insert('docs', record('new'))
  sending.tell({ type: 'wrote' })
  rest(pulling, sending)

  expect([pulling.session.error, sending.session.error]).toEqual([null, null])
  const ids = puller.fixture.db.list('docs').records.map(({ id }) => id)
  expect(ids).toEqual(['kept', 'new'])
  const states = [sender, puller].map(({ fixture }) => fixture.db.replica.shardState('docs'))
  expect(states[1]?.versionVector).toEqual(states[0]?.versionVector)
  expect(states[1]?.digest).toBe(states[0]?.digest)
})
