/**
 * Runs of new records in one batch: what many rows at a time write is what one by one would have written.
 */
import { describe, expect, test } from 'vitest'

import { HLC_LOGICAL_MAX } from '../../../../src/clock/hlc.ts'
import { BULK_ROWS } from '../../../../src/store/file/statements.ts'
import type { Change } from '../../../../src/model/types.ts'
import { EVERYTHING, type Fixture, open, shown } from '../fixture.ts'

const ACTOR = 'a1'.repeat(16)
const SOURCE = { peer: 'p', logId: '0f'.repeat(16), cursor: 1 }

/** A put of the run: counters and stamps rise by one from record to record. */
function newPut(
  index: number,
  over: { id?: string; logical?: number; text?: string } = {},
): Change {
  const dot = { actor: ACTOR, counter: 5 + index }
  const { id = `record ${index}`, logical = 100 + index, text = null } = over
  const embedding = Float32Array.of(index + 1, 2, 3)
  return {
    id,
    context: null,
    siblings: [
      {
        dot,
        stamp: { ms: 1_700_000_000_000, logical },
        value: { embedding, embeddingDot: dot, metadata: `{"n":${index}}`, text },
      },
    ],
  }
}

function run(count: number): Change[] {
  return Array.from({ length: count }, (_, index) => newPut(index))
}

function contents({ db }: Fixture): unknown {
  const { state, ...delta } = db.replica.readDelta('docs', EVERYTHING)
  const { head, digest, recordCount, tombstoneCount, conflictCount } = state
  return {
    ...delta,
    head,
    digest,
    recordCount,
    tombstoneCount,
    conflictCount,
    shown: shown(db),
  }
}

/** Applies in one batch and, elsewhere, one by one; both must come to the same. */
async function expectSame(
  changes: readonly Change[],
  before: readonly Change[] = [],
): Promise<Record<string, number>> {
  using together = await open()
  using apart = await open()
  for (const { db } of [together, apart]) {
    for (const one of before) db.replica.applyDelta('docs', [one], SOURCE)
  }
  const result = together.db.replica.applyDelta('docs', changes, SOURCE)
  let applied = 0
  for (const one of changes)
    applied += apart.db.replica.applyDelta('docs', [one], SOURCE)?.applied ?? 0

  expect(contents(together)).toEqual(contents(apart))
  expect(result?.applied).toBe(applied)
  expect(together.db.replica.shardState('docs').settled).toBe(false)
  return { ...result } as unknown as Record<string, number>
}

describe('a batch of new records', () => {
  test.each([BULK_ROWS - 1, BULK_ROWS, BULK_ROWS + 1, 10 * BULK_ROWS, 10 * BULK_ROWS + 7])(
    'of %i is written as one by one',
    async (count) => {
      expect(await expectSame(run(count))).toMatchObject({ applied: count, redundant: 0 })
    },
  )

  test('keeps texts where they can be found', async () => {
    const changes = run(30).map((_, index) => newPut(index, { text: `passage ${index} unusual` }))

    await expectSame(changes)
  })

  test('with a record that exists in its middle is written as one by one', async () => {
    const dot = { actor: 'b2'.repeat(16), counter: 1 }
    const concurrent = newPut(15)
    const existing: Change = {
      ...concurrent,
      siblings: concurrent.siblings.map(({ stamp, value }) => ({
        dot,
        stamp,
        value: value === null ? null : { ...value, embeddingDot: dot },
      })),
    }

    const result = await expectSame(run(40), [existing])

    expect(result).toMatchObject({ applied: 40, conflicts: 1 })
  })

  test('that came before changes nothing', async () => {
    const result = await expectSame(run(35), run(35))

    expect(result).toMatchObject({ applied: 0, redundant: 35 })
  })

  test('with a tombstone in its middle is written as one by one', async () => {
    const gone = newPut(12)
    const deleted: Change = {
      ...gone,
      siblings: newPut(900).siblings.map((sibling) => ({ ...sibling, value: null })),
    }

    await expectSame(run(40), [deleted])
  })

  test('with a delete, a gap of counters and a jump of stamps is written as one by one', async () => {
    const changes = run(60)
    changes[14] = {
      ...newPut(14),
      siblings: newPut(14).siblings.map((sibling) => ({ ...sibling, value: null })),
    }
    changes[31] = newPut(700)
    changes[45] = newPut(45, { logical: 9_000 })

    await expectSame(changes)
  })

  test('with one record twice takes it once', async () => {
    const changes = run(30)
    changes[17] = newPut(17, { id: 'record 16' })

    await expectSame(changes)
  })

  test('whose stamps reach the end of their logical part is written as one by one', async () => {
    const changes = run(20).map((_, index) =>
      newPut(index, { logical: HLC_LOGICAL_MAX - 19 + index }),
    )

    await expectSame(changes)
  })

  test('with a change that breaks a rule puts that one aside and takes the rest', async () => {
    using fixture = await open()
    const changes = run(40)
    changes[22] = { ...newPut(22), id: '' }

    const result = fixture.db.replica.applyDelta('docs', changes, SOURCE)

    expect(result).toMatchObject({ applied: 39, quarantined: 1 })
    expect(fixture.db.count('docs')).toBe(39)
  })
})
