/**
 * What one peer's comparisons may cost.
 */
import { expect, test } from 'vitest'

import { COMPARE_ROWS_BURST, COMPARE_ROWS_PER_SECOND } from '../../../../src/limits.ts'
import { inOneGo } from '../../../../src/store/file/sliced.ts'
import type { SessionStore } from '../../../../src/sync/session/driver.ts'
import { CompareBudget } from '../../../../src/sync/access/compare-budget.ts'
import { open, record, TestClock } from '../../store/fixture.ts'
import { type IdRange, type RangeAnswer } from '../../../../src/store/replica/types.ts'

const WHOLE: IdRange = { from: '', to: null }

/** A store of so many rows, by its own account; the rows themselves would take minutes. */
function storeOf(rows: number): Pick<SessionStore, 'summarizeRanges'> {
  const part = { count: rows / 2, digest: '0'.repeat(16) }
  const answer: RangeAnswer = {
    type: 'parts',
    parts: [
      { to: 'm', ...part },
      { to: null, ...part },
    ],
  }
  return {
    *summarizeRanges(_, ranges) {
      yield Math.floor(rows / 4)
      return ranges.map(() => answer)
    },
  }
}

function bounded(budget: CompareBudget, rows: number, peer: string): SessionStore {
  return budget.bounded(storeOf(rows) as SessionStore, peer)
}

test('a question of any size is answered, and the peer waits for as long as it cost', () => {
  const clock = new TestClock()
  const budget = new CompareBudget(clock)
  const store = bounded(budget, COMPARE_ROWS_BURST * 2, 'p')

  expect(inOneGo(store.summarizeRanges('docs', [WHOLE]))).toHaveLength(1)
  expect(() => store.summarizeRanges('docs', [WHOLE])).toThrow(
    expect.objectContaining({ code: 'SYNC_COMPARE_LIMIT', retryable: true }),
  )

  clock.ms += (COMPARE_ROWS_BURST / COMPARE_ROWS_PER_SECOND) * 1_000 - 1_000
  expect(() => store.summarizeRanges('docs', [WHOLE])).toThrow('again in 2 s')
  clock.ms += 3_000
  expect(inOneGo(store.summarizeRanges('docs', [WHOLE]))).toHaveLength(1)
})

test('one peer has what it asks counted, whatever the session; another is not held up by it', () => {
  const budget = new CompareBudget(new TestClock())
  const first = bounded(budget, COMPARE_ROWS_BURST, 'p')
  const second = bounded(budget, COMPARE_ROWS_BURST, 'p')
  const other = bounded(budget, COMPARE_ROWS_BURST, 'q')

  inOneGo(first.summarizeRanges('docs', [WHOLE]))

  expect(() => second.summarizeRanges('docs', [WHOLE])).toThrow('beyond its budget')
  expect(inOneGo(other.summarizeRanges('docs', [WHOLE]))).toHaveLength(1)
})

test('questions under way are charged for what they have read so far', () => {
  const budget = new CompareBudget(new TestClock())
  const store = bounded(budget, COMPARE_ROWS_BURST * 4, 'p')
  const first = store.summarizeRanges('docs', [WHOLE])
  const second = store.summarizeRanges('docs', [WHOLE])

  first.next()

  // One that was let in goes on; another is not let in.
  expect(() => store.summarizeRanges('docs', [WHOLE])).toThrow('beyond its budget')
  expect(inOneGo(second)).toHaveLength(1)
})

test('what is answered is what the store says, and empty ranges are not free', async () => {
  using fixture = await open()
  fixture.db.insert('docs', record('x'))
  const { replica } = fixture.db
  const budget = new CompareBudget(new TestClock())
  const whole = budget.bounded(
    { summarizeRanges: replica.summarizeRanges.bind(replica) } as SessionStore,
    'p',
  )

  expect(inOneGo(whole.summarizeRanges('docs', [WHOLE]))).toEqual(
    inOneGo(replica.summarizeRanges('docs', [WHOLE])),
  )
  const empty = bounded(budget, 0, 'p')
  const ranges = Array.from({ length: 16 }, () => WHOLE)
  expect(() => {
    for (let asked = 0; asked <= COMPARE_ROWS_BURST; asked += ranges.length) {
      inOneGo(empty.summarizeRanges('docs', ranges))
    }
  }).toThrow('beyond its budget')
})
