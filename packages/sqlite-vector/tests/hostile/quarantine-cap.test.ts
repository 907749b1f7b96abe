/**
 * Quarantine filled on purpose: changes that cannot be applied take bounded room per peer, and a node that meets the bound
 * says so.
 */
import { expect, test } from 'vitest'
import { QUARANTINE_ENTRIES_PER_PEER_MAX } from '../../src/limits.ts'
import type { Change } from '../../src/model/types.ts'
import { open } from '../unit/store/fixture.ts'

const SOURCE = { peer: 'liar', logId: '01'.repeat(16), cursor: 1 }

/** Changes that no shard can take: a component is not finite. */
function impossible(from: number, count: number): readonly Change[] {
  return Array.from({ length: count }, (_, n) => {
    const dot = { actor: 'ab'.repeat(16), counter: from + n + 1 }
    const embedding = new Float32Array([Number.NaN, 1])
    const value = { embedding, embeddingDot: dot, metadata: '{}', text: null }
    return {
      id: `q${from + n}`,
      siblings: [{ dot, stamp: { ms: 1, logical: 0 }, value }],
      context: null,
    }
  })
}

test('one peer fills quarantine up to its bound, is refused by name then, and others are not', async () => {
  using fixture = await open()
  const { replica } = fixture.db
  const batches = Math.ceil(QUARANTINE_ENTRIES_PER_PEER_MAX / 1_000)
  const fill = (): void => {
    for (let n = 0; n <= batches; n += 1) {
      replica.applyDelta('docs', impossible(n * 1_000, 1_000), { ...SOURCE, cursor: n + 1 })
    }
  }

  expect(fill).toThrow(expect.objectContaining({ code: 'STORE_QUARANTINE_FULL' }))

  const held = replica.shardState('docs').quarantineCount
  expect(held).toBeLessThanOrEqual(QUARANTINE_ENTRIES_PER_PEER_MAX)
  expect(held).toBeGreaterThan(QUARANTINE_ENTRIES_PER_PEER_MAX - 1_000)
  const other = { ...SOURCE, peer: 'other' }
  expect(replica.applyDelta('docs', impossible(9_000_000, 1), other).quarantined).toBe(1)
  for (const { entry } of fixture.db.listQuarantine('docs').slice(0, 10)) {
    fixture.db.discardQuarantine('docs', entry)
  }
  expect(replica.applyDelta('docs', impossible(8_000_000, 5), SOURCE).quarantined).toBe(5)
})
