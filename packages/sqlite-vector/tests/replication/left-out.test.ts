/**
 * Embeddings that are left out of a delta because the reader's vector covers the write that brought them.
 */
import { expect, test } from 'vitest'

import { open, record } from '../unit/store/fixture.ts'
import { type Peer, peers, pullFrom, syncBoth } from './drive.ts'

const WIDE = 1_536

async function wide(name: string): Promise<Peer> {
  const fixture = await open()
  fixture.db.createShard('wide', { dimension: WIDE })
  return { name, fixture }
}

test('a metadata-only update travels without its embedding', async () => {
  const a = await wide('a')
  const b = await wide('b')
  const embedding = Float32Array.from({ length: WIDE }, (_, n) => Math.sin(n))
  a.fixture.db.insert('wide', { id: 'x', embedding })
  syncBoth(a, b, { shardId: 'wide' })
  a.fixture.db.update('wide', 'x', { metadata: { read: true } })

  const { bytes } = pullFrom(b, a, { shardId: 'wide' })

  expect(bytes).toBeLessThan(WIDE)
  expect(b.fixture.db.get('wide', 'x')).toEqual(a.fixture.db.get('wide', 'x'))
  a.fixture[Symbol.dispose]()
  b.fixture[Symbol.dispose]()
})

test('who lost the embedding to another write asks for the record, before it acknowledges', async () => {
  using all = await peers('a', 'b', 'c')
  const [a, b, c] = all
  a.fixture.db.insert('docs', record('x'))
  syncBoth(a, b)
  syncBoth(a, c)
  // b replaces the embedding; c only touches the metadata of the one it superseded.
  b.fixture.db.update('docs', 'x', { embedding: [0, 1, 0] })
  a.fixture.db.insert('docs', record('y'))
  c.fixture.db.update('docs', 'x', { metadata: { by: 'c' } })

  const { frames, error, tally } = pullFrom(b, c)

  expect([error, tally.quarantined]).toEqual([null, 0])
  expect(frames.filter((frame) => /need|records/.test(frame))).toEqual(['> need', '< records'])
  expect(frames.indexOf('> need')).toBeLessThan(frames.indexOf('> ack'))
  expect(b.fixture.db.conflictSiblings('docs', 'x')).toHaveLength(2)
})

test('a transfer cut before the asked-for record arrived is not caught up, and asks again', async () => {
  using all = await peers('a', 'b', 'c')
  const [a, b, c] = all
  a.fixture.db.insert('docs', record('x'))
  syncBoth(a, b)
  syncBoth(a, c)
  b.fixture.db.update('docs', 'x', { embedding: [0, 1, 0] })
  c.fixture.db.update('docs', 'x', { metadata: { by: 'c' } })
  const { actor } = c.fixture.db.replica.identity()

  const cut = pullFrom(b, c, { cutBefore: 'records' })
  const claimed = b.fixture.db.replica.shardState('docs').versionVector.get(actor)
  const whole = pullFrom(b, c)

  expect([cut.error !== null, claimed]).toEqual([true, undefined])
  expect(whole.error).toBeNull()
  expect(b.fixture.db.conflictSiblings('docs', 'x')).toHaveLength(2)
})
