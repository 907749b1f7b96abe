/**
 * Rows are summed, compared and counted a bounded number at a time, and what is written between two slices makes
 * nothing wrong.
 */
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'

import { COMPARE_NEED_MAX, RECOUNT_ATTEMPTS_MAX } from '../../src/limits.ts'
import { inOneGo, inTurns } from '../../src/store/file/sliced.ts'
import { SessionDriver } from '../../src/sync/session/driver.ts'
import { encodeFrame } from '../../src/sync/wire/control-frames.ts'
import { createSender } from '../../src/sync/session/sender.ts'
import { EMPTY_VECTOR } from '../../src/model/version-vector.ts'
import { type Fixture, folder, open, record } from '../unit/store/fixture.ts'
import { type IdRange, type RangeAnswer } from '../../src/store/replica/types.ts'
import { type Sliced } from '../../src/store/file/sliced.ts'

const WHOLE: IdRange = { from: '', to: null }
const SLICE_ROWS = 10
const RECORDS = 95

/** Ids whose order is that of their numbers. */
function idOf(index: number): string {
  return `r${String(index).padStart(5, '0')}`
}

async function filled(count: number, options: Parameters<typeof open>[0] = {}): Promise<Fixture> {
  const fixture = await open({ sliceRows: SLICE_ROWS, ...options })
  await fixture.db.insertBatch(
    'docs',
    Array.from({ length: count }, (_, index) => record(idOf(index))),
  )
  return fixture
}

/** What each slice says it read, and the result; `between` is called after each. */
function driven<T>(
  work: Sliced<T>,
  between: (slice: number) => void = () => undefined,
): { readonly slices: readonly number[]; readonly result: T } {
  const slices: number[] = []
  for (;;) {
    const step = work.next()
    if (step.done === true) return { slices, result: step.value }
    slices.push(step.value)
    between(slices.length)
  }
}

function partsOf(answers: readonly RangeAnswer[]): readonly { readonly count: number }[] {
  const [answer] = answers
  if (answer?.type !== 'parts') throw new Error('a list')
  return answer.parts
}

function countOf(answers: readonly RangeAnswer[]): number {
  return partsOf(answers).reduce((sum, { count }) => sum + count, 0)
}

describe('sums over a range', () => {
  test('are made in slices, and are the same as in one go', async () => {
    using fixture = await filled(RECORDS)
    using whole = await open({ sliceRows: 100_000 })
    const { replica } = fixture.db
    const feed = replica.readDelta('docs', {
      after: 0,
      countMax: 1_000,
      bytesMax: 1e9,
      known: EMPTY_VECTOR,
    })
    whole.db.replica.applyDelta('docs', feed.changes, {
      peer: 'p',
      logId: feed.state.logId,
      cursor: feed.through,
    })
    const middle = { from: idOf(1), to: null }

    const { slices, result } = driven(replica.summarizeRanges('docs', [middle]))
    const { slices: none, result: atOnce } = driven(
      whole.db.replica.summarizeRanges('docs', [middle]),
    )

    expect(slices).toEqual(Array.from({ length: Math.floor(94 / SLICE_ROWS) }, () => SLICE_ROWS))
    expect(none).toEqual([])
    expect(result).toEqual(atOnce)
    expect(countOf(result)).toBe(94)
  })

  test('of many small ranges share their slices', async () => {
    using fixture = await filled(RECORDS)
    const ranges = Array.from({ length: 16 }, (_, n) => ({
      from: idOf(n * 5),
      to: idOf(n * 5 + 5),
    }))

    const { slices, result } = driven(fixture.db.replica.summarizeRanges('docs', ranges))

    expect(slices).toHaveLength(80 / SLICE_ROWS)
    expect(result.map((answer) => answer.type === 'list' && answer.records.length)).toEqual(
      ranges.map(() => 5),
    )
  })

  test('count each record once, whatever is written between two slices', async () => {
    using fixture = await filled(RECORDS)
    const { db } = fixture

    const { result } = driven(db.replica.summarizeRanges('docs', [WHOLE]), (slice) => {
      if (slice > 8) return
      // Behind, where nothing is read any more, and ahead, where it will be.
      db.update('docs', idOf(0), { metadata: { slice } })
      db.delete('docs', idOf(slice))
      db.delete('docs', idOf(94 - slice))
      db.insert('docs', record(`${idOf(slice)}-new`))
      for (const end of ['y', 'z']) db.insert('docs', record(`${end}${slice}`))
    })

    // Without the eight that went before they were read, with the sixteen that came where nothing was read yet.
    expect(countOf(result)).toBe(RECORDS - 8 + 16)
  })

  test('are compared in slices, too', async () => {
    using fixture = await filled(RECORDS)
    const { replica } = fixture.db
    const answers = inOneGo(replica.summarizeRanges('docs', [WHOLE]))

    const { slices, result } = driven(replica.compareRanges('docs', [WHOLE], answers, 'floor'))

    expect(slices.length).toBe(Math.floor(RECORDS / SLICE_ROWS))
    expect(result).toEqual({ descend: [], need: [], extra: 0 })
  })

  test('of a peer that lists next to nothing leave the rest of what is here to later questions', async () => {
    using fixture = await filled(COMPARE_NEED_MAX + 100, { sliceRows: 1_000 })
    const { replica } = fixture.db
    const answer: RangeAnswer = { type: 'list', records: [] }

    const first = inOneGo(replica.compareRanges('docs', [WHOLE], [answer], 'floor'))
    const second = inOneGo(replica.compareRanges('docs', first.descend, [answer], 'floor'))

    expect(first.need).toHaveLength(COMPARE_NEED_MAX)
    expect(first.descend).toEqual([{ from: idOf(COMPARE_NEED_MAX), to: null }])
    expect(second.descend).toEqual([])
    const needed = new Set([...first.need, ...second.need])
    expect(needed.size).toBe(COMPARE_NEED_MAX + 100)
    // Over equal vectors it is the peer that lacks them.
    const equal = inOneGo(replica.compareRanges('docs', [WHOLE], [answer], 'equal'))
    expect(equal).toEqual({ descend: [], need: [], extra: COMPARE_NEED_MAX + 100 })
  })
})

describe('counting anew', () => {
  test('is done in slices, deletes and conflicts included, and finds what recount() finds', async () => {
    using fixture = await filled(RECORDS)
    const { db } = fixture
    for (let index = 0; index < 15; index += 1) db.delete('docs', idOf(index))

    const { slices, result } = driven(db.replica.recountInSlices('docs'))

    expect(slices.length).toBeGreaterThanOrEqual(80 / SLICE_ROWS)
    expect(Math.max(...slices)).toBe(SLICE_ROWS)
    expect(result).toEqual(db.recount('docs'))
    expect(result).toMatchObject({ correct: true, recordCount: 80, tombstoneCount: 15 })
  })

  test('begins anew when something was written, and gives up without a word about it when that goes on', async () => {
    using fixture = await filled(RECORDS)
    const { db } = fixture

    const once = driven(db.replica.recountInSlices('docs'), (slice) => {
      if (slice === 3) db.insert('docs', record('meanwhile'))
    })
    let written = 0
    const never = driven(db.replica.recountInSlices('docs'), () => {
      db.upsert('docs', record(`again-${(written += 1)}`))
    })

    expect(once.result).toMatchObject({ correct: true, recordCount: RECORDS + 1 })
    expect(never.result).toBeNull()
    expect(never.slices.length).toBeGreaterThanOrEqual(
      RECOUNT_ATTEMPTS_MAX * Math.floor(RECORDS / SLICE_ROWS),
    )
    expect(db.recount('docs').correct).toBe(true)
  })

  test('in turns is done in one go where the shard does not stand still', async () => {
    using fixture = await filled(RECORDS)
    const { db } = fixture
    let turns = 0
    let isOver = false
    const busy = (): void => {
      if (isOver) return
      turns += 1
      db.upsert('docs', record(`turn-${turns}`))
      setImmediate(busy)
    }
    busy()

    const counted = await db.replica.recountInTurns('docs')
    isOver = true

    expect(counted.correct).toBe(true)
    expect(turns).toBeGreaterThanOrEqual(RECOUNT_ATTEMPTS_MAX * Math.floor(RECORDS / SLICE_ROWS))
  })

  test('in turns gives way after each slice, and ends with its signal', async () => {
    using fixture = await filled(RECORDS)
    const abort = new AbortController()
    let turns = 0
    const step = (): void => {
      turns += 1
      if (turns === 3) abort.abort(new Error('enough'))
      else setImmediate(step)
    }
    setImmediate(step)

    await expect(fixture.db.replica.recountInTurns('docs', abort.signal)).rejects.toThrow('enough')
    expect(turns).toBe(3)
    expect(await inTurns(fixture.db.replica.recountInSlices('docs'))).toMatchObject({
      correct: true,
    })
  })

  test('puts right what is kept wrongly, unless the shard has moved by then', async () => {
    using place = folder()
    const path = place.file('damaged.db')
    using fixture = await filled(RECORDS, { path })
    const { replica } = fixture.db
    const right = replica.shardState('docs').digest
    const damage = (): void => {
      using raw = new DatabaseSync(path)
      raw.exec(`UPDATE shard_metadata SET fingerprint = x'0102030405060708', record_count = 7`)
    }

    damage()
    const found = driven(replica.recountInSlices('docs')).result
    expect(found).toMatchObject({ correct: false, digest: right, recordCount: RECORDS })
    expect(replica.shardState('docs')).toMatchObject({ digest: right, recordCount: RECORDS })

    // Another one puts it right while we count: it must not be done twice.
    damage()
    const late = driven(replica.recountInSlices('docs'), (slice) => {
      if (slice === 2) fixture.db.recount('docs')
    })
    expect(late.result).toMatchObject({ correct: true, digest: right })
    expect(replica.shardState('docs')).toMatchObject({ digest: right, recordCount: RECORDS })
  })
})

/** A sender that was asked about everything it has. */
async function asked(): Promise<{ readonly fixture: Fixture; readonly driver: SessionDriver }> {
  const fixture = await filled(RECORDS)
  const driver: SessionDriver = new SessionDriver(createSender({ peer: 'p', shardId: null }), {
    store: fixture.db.replica,
    nodeId: 'sender',
    batchSize: 1_000,
  })
  driver.take(encodeFrame({ type: 'hello', nodeId: 'puller', actor: 'ab'.repeat(16) }))
  driver.take(
    encodeFrame({
      type: 'subscribe',
      shardId: 'docs',
      shard: null,
      logId: null,
      cursor: 0,
      versionVector: EMPTY_VECTOR,
      uncovered: EMPTY_VECTOR,
      live: false,
    }),
  )
  while (driver.busy) driver.advance()
  driver.take(encodeFrame({ type: 'compare', ranges: [WHOLE] }))
  return { fixture, driver }
}

describe('a sender that is asked about a large shard', () => {
  test('answers after as many steps as there are slices, and takes other frames between them', async () => {
    const { fixture, driver } = await asked()
    using _ = fixture

    let steps = 0
    let answer: number | undefined
    while (driver.busy) {
      expect(driver.ready).toBe(true)
      const effect = driver.advance()
      steps += 1
      if (effect?.type === 'send') answer = effect.bytes[0]
    }

    expect(steps).toBeGreaterThanOrEqual(RECORDS / SLICE_ROWS)
    expect(answer).toBeDefined()
  })

  test('works no further once the session has ended', async () => {
    const { fixture, driver } = await asked()
    using _ = fixture
    driver.advance()
    expect(driver.busy).toBe(true)

    driver.tell({ type: 'failed', error: new Error('torn') })
    let steps = 0
    while (driver.busy) {
      driver.advance()
      steps += 1
    }

    expect(steps).toBeLessThan(RECORDS / SLICE_ROWS)
  })

  test('ends when the store is closed in the middle', async () => {
    const { fixture, driver } = await asked()
    driver.advance()
    fixture.db.close()

    while (driver.busy) driver.advance()

    expect(driver.session.error).toMatchObject({ code: 'STORE_CLOSED' })
  })
})
