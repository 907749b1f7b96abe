/**
 * The rule of permissions: which grant holds for which peer and shard.
 */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { accessOf, allows, type Grant, withGrant } from '../../../../src/sync/access/rules.ts'

const BOB = { fingerprint: 'b'.repeat(64), nodeId: 'bob' }
const EVE = { fingerprint: 'e'.repeat(64) }

function grants(...given: [string, string, Grant['access']][]): readonly Grant[] {
  return given.reduce<readonly Grant[]>(
    (list, [peer, shards, access]) => withGrant(list, { peer, shards, access }),
    [],
  )
}

test('without any grant for a peer, trust alone decides', () => {
  expect(accessOf([], BOB, 'notes')).toBe('write')
  expect(accessOf(grants(['alice', '*', 'none']), BOB, 'notes')).toBe('write')
})

test('a peer that a grant names may only what is granted', () => {
  const list = grants(['bob', 'notes-*', 'read'])

  expect(accessOf(list, BOB, 'notes-2026')).toBe('read')
  expect(accessOf(list, BOB, 'notes')).toBe('none')
  expect(accessOf(list, EVE, 'notes')).toBe('write')
})

test('a grant may name a fingerprint, and * is for those that no other names', () => {
  const list = grants(
    ['*', '*', 'none'],
    [EVE.fingerprint, 'public', 'read'],
    ['bob', '*', 'write'],
  )

  expect(accessOf(list, { fingerprint: 'f'.repeat(64) }, 'public')).toBe('none')
  expect(accessOf(list, EVE, 'public')).toBe('read')
  expect(accessOf(list, BOB, 'anything')).toBe('write')
})

test('the newest of the grants that match holds, and one for the same pattern replaces the older', () => {
  const list = grants(['bob', '*', 'write'], ['bob', 'secret', 'none'], ['bob', '*', 'read'])

  expect(list.map(({ shards }) => shards)).toEqual(['secret', '*'])
  expect(accessOf(list, BOB, 'secret')).toBe('read')
  expect(accessOf(grants(['bob', '*', 'write'], ['bob', 'secret', 'none']), BOB, 'secret')).toBe(
    'none',
  )
})

test('write includes read, and nothing includes more than itself', () => {
  expect([allows('write', 'read'), allows('write', 'write')]).toEqual([true, true])
  expect([allows('read', 'read'), allows('read', 'write')]).toEqual([true, false])
  expect([allows('none', 'read'), allows('none', 'write')]).toEqual([false, false])
})

test('a pattern matches what the regular expression of its stars matches', () => {
  const letters = fc.string({
    unit: fc.constantFrom('a', 'b', '.', '*'),
    minLength: 1,
    maxLength: 8,
  })
  const name = fc.string({ unit: fc.constantFrom('a', 'b', '.'), minLength: 1, maxLength: 8 })

  fc.assert(
    fc.property(letters, name, (pattern, shardId) => {
      const source = pattern.replaceAll('.', String.raw`\.`).replaceAll('*', '.*')
      const expected = new RegExp(`^${source}$`).test(shardId)
      const access = accessOf([{ peer: '*', shards: pattern, access: 'read' }], EVE, shardId)

      expect(access).toBe(expected ? 'read' : 'none')
    }),
    { numRuns: 1_000 },
  )
})

test('a grant that is none is refused', () => {
  expect(() => withGrant([], { peer: '', shards: '*', access: 'read' })).toThrow('peer')
  expect(() => withGrant([], { peer: 'bob', shards: '', access: 'read' })).toThrow('shards')
  expect(() => withGrant([], { peer: 'bob', shards: '*', access: 'all' as never })).toThrow(
    'access',
  )
})
