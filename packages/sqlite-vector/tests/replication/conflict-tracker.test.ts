/**
 * Conflicts as people meet them: listed with their writers, previewed, decided, taken back.
 */
import { describe, expect, test } from 'vitest'

import { ConflictResolver, ConflictTracker } from '../../src/sync/conflict.ts'
import { folder, open, record } from '../unit/store/fixture.ts'
import { type Peer, peers, syncBoth } from './drive.ts'

/** Both write `x` without knowing of each other, and sync; b wrote later. */
function collide(a: Peer, b: Peer): void {
  b.fixture.clock.ms += 1_000
  a.fixture.db.insert('docs', record('x', { by: 'a', a: 1 }))
  b.fixture.db.insert('docs', record('x', { by: 'b', b: 1 }))
  syncBoth(a, b)
}

describe('ConflictTracker', () => {
  test('lists an open conflict with all siblings, their nodes and times, on both sides', async () => {
    using all = await peers('a', 'b')
    const [a, b] = all
    collide(a, b)

    for (const [peer, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const tracker = new ConflictTracker(peer.fixture.db)
      const [conflict] = tracker.list('docs').conflicts
      expect(tracker.count('docs')).toBe(1)
      expect(conflict?.shown?.metadata).toEqual({ by: 'b', b: 1 })
      expect(conflict?.siblings.map(({ value }) => value?.metadata['by']).sort()).toEqual([
        'a',
        'b',
      ])
      const { actor } = other.fixture.db.replica.identity()
      expect(conflict?.siblings.find(({ dot }) => dot.actor === actor)?.nodeId).toBe(other.name)
    }
  })

  test('survives a restart, and shows nothing as resolved while it is open', async () => {
    using place = folder()
    const a = { name: 'a', fixture: await open({ path: place.file('a.db') }) }
    const b = { name: 'b', fixture: await open() }
    collide(a, b)
    a.fixture.db.close()
    const again = await open({ path: place.file('a.db') })

    expect(new ConflictTracker(again.db).get('docs', 'x')?.siblings).toHaveLength(2)
    expect(new ConflictTracker(again.db).get('docs', 'y')).toBeNull()
    again.db.close()
    b.fixture.db.close()
  })
})

describe('ConflictResolver', () => {
  test('previews what each decision would show, and writes nothing', async () => {
    using all = await peers('a', 'b')
    const [a, b] = all
    collide(a, b)
    const resolver = new ConflictResolver(a.fixture.db)
    const before = a.fixture.db.replica.shardState('docs')
    const { dot } = a.fixture.db.conflictSiblings('docs', 'x')[0] ?? {}

    const first = resolver.preview('docs', 'x', { strategy: 'first-write-wins' })
    const merged = resolver.preview('docs', 'x', { strategy: 'merge' })
    const chosen = resolver.preview('docs', 'x', { choose: dot ?? { actor: '', counter: 0 } })
    const deleted = resolver.preview('docs', 'x', { value: null })

    expect(first?.metadata).toEqual({ by: 'a', a: 1 })
    expect(merged?.metadata).toEqual({ by: 'b', a: 1, b: 1 })
    expect(chosen).not.toBeNull()
    expect(deleted).toBeNull()
    expect(a.fixture.db.replica.shardState('docs')).toEqual(before)
  })

  test.each([
    [{ strategy: 'merge' as const }, { by: 'b', a: 1, b: 1 }],
    [{ strategy: 'first-write-wins' as const }, { by: 'a', a: 1 }],
    [{ value: { embedding: [1, 0, 0], metadata: { by: 'me' } } }, { by: 'me' }],
  ])('resolves by %j as previewed, for everybody', async (decision, metadata) => {
    using all = await peers('a', 'b')
    const [a, b] = all
    collide(a, b)
    const resolver = new ConflictResolver(a.fixture.db)
    const preview = resolver.preview('docs', 'x', decision)

    resolver.resolve('docs', 'x', decision)
    syncBoth(a, b)

    expect(preview?.metadata).toEqual(metadata)
    for (const { fixture } of [a, b]) {
      expect(fixture.db.get('docs', 'x')?.metadata).toEqual(metadata)
      expect(new ConflictTracker(fixture.db).count('docs')).toBe(0)
    }
  })

  test('takes a resolution back by a write that brings back what was shown', async () => {
    using all = await peers('a', 'b')
    const [a, b] = all
    collide(a, b)
    const resolver = new ConflictResolver(a.fixture.db)
    const resolution = resolver.resolve('docs', 'x', { value: null })
    syncBoth(a, b)

    const undone = resolver.undo(resolution)
    syncBoth(a, b)

    expect(undone).toBe(true)
    expect(b.fixture.db.get('docs', 'x')?.metadata).toEqual({ by: 'b', b: 1 })
  })

  test('does not take a resolution back over what somebody wrote since', async () => {
    using all = await peers('a', 'b')
    const [a, b] = all
    collide(a, b)
    const resolver = new ConflictResolver(a.fixture.db)
    const resolution = resolver.resolve('docs', 'x', { strategy: 'merge' })
    a.fixture.db.update('docs', 'x', { metadata: { since: true } })

    expect(resolver.undo(resolution)).toBe(false)
    expect(a.fixture.db.get('docs', 'x')?.metadata['since']).toBe(true)
  })

  test('names a record that has no open conflict, and a choice that is no sibling', async () => {
    using all = await peers('a', 'b')
    const [a, b] = all
    collide(a, b)
    const resolver = new ConflictResolver(a.fixture.db)
    const stranger = { actor: 'ee'.repeat(16), counter: 1 }

    expect(() => resolver.preview('docs', 'y', { value: null })).toThrow(
      expect.objectContaining({ code: 'STORE_CONFLICT_UNKNOWN' }),
    )
    expect(() => resolver.resolve('docs', 'y', { value: null })).toThrow(
      expect.objectContaining({ code: 'STORE_CONFLICT_UNKNOWN' }),
    )
    expect(() => resolver.preview('docs', 'x', { choose: stranger })).toThrow(
      expect.objectContaining({ code: 'STORE_CONFLICT_UNKNOWN' }),
    )
  })
})
