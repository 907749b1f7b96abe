/**
 * The book of members: bounded, kept, and honest about who was heard of when.
 */
import { afterEach, beforeEach, expect, test } from 'vitest'

import { MEMBER_SILENT_MS, MEMBERS_MAX, MEMBERS_UNTRUSTED_MAX } from '../../../../src/limits.ts'
import { createVectorDB, type SQLiteVectorDB } from '../../../../src/store/vector-db.ts'
import { encodeRecord, encodeStatement } from '../../../../src/sync/wire/peer-record.ts'
import { type CheckedRecord, MemberBook } from '../../../../src/sync/members/member-book.ts'
import { VirtualClock, VirtualTime } from '../../../simulation/virtual-clock.ts'

const DAY_MS = 86_400_000
const PASSED_ON_BY = 'ff'.repeat(32)

let db: SQLiteVectorDB
let time: VirtualTime
let book: MemberBook

beforeEach(async () => {
  db = await createVectorDB({ path: ':memory:' })
  time = new VirtualTime()
  book = openBook()
})

afterEach(() => {
  db.close()
})

function openBook(): MemberBook {
  return new MemberBook(db.replica, new VirtualClock(time), (error) => {
    throw error
  })
}

/** As it is once its signature was checked. */
function checked(
  index: number,
  { sequence = 1, trusted = true, status = 'online' as const } = {},
): CheckedRecord {
  const statement = { nodeId: `n${index}`, address: null, status, sequence, shards: [] }
  const bytes = encodeRecord({
    statement: encodeStatement(statement),
    certificate: Uint8Array.of(1),
    signature: Uint8Array.of(1),
  })
  return { peer: index.toString(16).padStart(64, '0'), bytes, statement, trusted }
}

test('holds at most as many as the limit, and drops strangers for nodes that are trusted', () => {
  for (let index = 0; index < MEMBERS_UNTRUSTED_MAX; index += 1) {
    expect(book.put(checked(index, { trusted: false }), PASSED_ON_BY)).toBe(true)
    time.advance(1)
  }
  expect(book.put(checked(5_000, { trusted: false }), PASSED_ON_BY)).toBe(true)
  expect(book.list().length).toBe(MEMBERS_UNTRUSTED_MAX)
  expect(book.get(checked(0).peer)).toBeNull()

  for (let index = 10_000; index < 10_000 + MEMBERS_MAX; index += 1) {
    expect(book.put(checked(index), PASSED_ON_BY)).toBe(true)
  }
  expect(book.list().length).toBe(MEMBERS_MAX)
  expect(book.list().every(({ trusted }) => trusted)).toBe(true)
  expect(book.put(checked(20_000), PASSED_ON_BY)).toBe(false)
})

test('the record with the largest sequence counts', () => {
  expect(book.put(checked(1, { sequence: 5 }), PASSED_ON_BY)).toBe(true)
  expect(book.put(checked(1, { sequence: 5 }), PASSED_ON_BY)).toBe(false)
  expect(book.put(checked(1, { sequence: 4 }), PASSED_ON_BY)).toBe(false)
  expect(book.put(checked(1, { sequence: 6 }), PASSED_ON_BY)).toBe(true)
})

test('a silent node is marked, then set aside and not passed on any more, until it is heard of', () => {
  book.put(checked(1), PASSED_ON_BY)
  const { peer } = checked(1)
  expect(book.get(peer)?.status).toBe('online')

  time.advance(MEMBER_SILENT_MS)
  expect(book.get(peer)?.status).toBe('silent')

  time.advance(30 * DAY_MS)
  expect(book.get(peer)?.status).toBe('set-aside')
  expect(book.records()).toEqual([])

  book.put(checked(1, { sequence: 2 }), PASSED_ON_BY)
  expect(book.get(peer)?.status).toBe('online')
  expect(book.records().length).toBe(1)
})

test('is written soon after a change, and restored', () => {
  book.put(checked(1), PASSED_ON_BY)
  const sequence = book.nextSequence()
  time.advance(2_000)

  const restored = openBook()

  expect(restored.list()).toEqual(book.list())
  expect(restored.nextSequence()).toBeGreaterThan(sequence)
})

test('our own sequence goes above one that a peer showed', () => {
  const shown = book.nextSequence() + DAY_MS
  expect(book.raiseSequence(shown)).toBe(true)
  expect(book.raiseSequence(shown)).toBe(false)
  expect(book.nextSequence()).toBeGreaterThan(shown)
})
