/**
 * Two writes under one name: the second to arrive is not taken, and the node says so and by whom it came.
 */
import { expect, test } from 'vitest'
import type { Change } from '../../src/model/types.ts'
import { open } from '../unit/store/fixture.ts'

const ACTOR = 'cd'.repeat(16)

function write(ms: number): Change {
  const dot = { actor: ACTOR, counter: 5 }
  const value = {
    embedding: new Float32Array([1, ms, 1]),
    embeddingDot: dot,
    metadata: '{}',
    text: null,
  }
  return { id: 'x', siblings: [{ dot, stamp: { ms, logical: 0 }, value }], context: null }
}

test('a forged dot of another node is told when that node shows the real write', async () => {
  using fixture = await open()
  const { replica } = fixture.db
  const source = { logId: '01'.repeat(16), cursor: 1 }
  replica.applyDelta('docs', [write(1)], { ...source, peer: 'liar' })
  expect(fixture.events).toEqual([])

  replica.applyDelta('docs', [write(2)], { ...source, peer: 'owner' })
  replica.applyDelta('docs', [write(1)], { ...source, peer: 'third' })

  expect(fixture.events).toEqual([
    { type: 'write-contradicted', shardId: 'docs', peer: 'owner', id: 'x', actor: ACTOR },
  ])
})
