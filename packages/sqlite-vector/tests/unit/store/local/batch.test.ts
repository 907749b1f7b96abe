/**
 * `insertBatch()`: what it writes, in which transactions, and what an error or an abort leaves.
 */
import { describe, expect, test } from 'vitest'

import { BATCH_ATOMIC_RECORDS_MAX } from '../../../../src/limits.ts'
import type { BatchProgress, RecordInput } from '../../../../src/store/types.ts'
import { EVERYTHING, open, record, shown } from '../fixture.ts'

function records(count: number): RecordInput[] {
  return Array.from({ length: count }, (_, index) => record(`r${index}`, { index }))
}

describe('insertBatch()', () => {
  test('writes what insert() would have written, feed and digest included', async () => {
    using batch = await open()
    using single = await open()
    // A tombstone in the middle breaks the run of new records.
    for (const { db } of [batch, single]) {
      db.insert('docs', record('r13'))
      db.delete('docs', 'r13')
    }
    const given = records(57)

    await expect(batch.db.insertBatch('docs', given)).resolves.toBe(57)
    for (const one of given) single.db.insert('docs', one)

    expect(shown(batch.db)).toEqual(shown(single.db))
    const [ours, theirs] = [batch, single].map(({ db }) => {
      const { changes, through } = db.replica.readDelta('docs', EVERYTHING)
      const { actor } = db.replica.identity()
      return JSON.parse(JSON.stringify({ changes, through }).replaceAll(actor, 'actor')) as unknown
    })
    // The clock stands still, so that even the stamps are the same.
    expect(ours).toEqual(theirs)
    expect(batch.db.replica.recomputeDigest('docs')).toBe(
      batch.db.replica.shardState('docs').digest,
    )
  })

  test('gives every record a stamp of its own: a sum in floating point once rounded them', async () => {
    using fixture = await open()

    await fixture.db.insertBatch('docs', records(40))

    const { changes } = fixture.db.replica.readDelta('docs', EVERYTHING)
    const logical = changes.map(({ siblings }) => siblings[0]?.stamp.logical)
    expect(logical).toEqual(Array.from({ length: 40 }, (_, index) => index))
  })

  test('of nothing commits nothing', async () => {
    using fixture = await open()

    await expect(fixture.db.insertBatch('docs', [])).resolves.toBe(0)

    expect(fixture.db.replica.shardState('docs').head).toBe(0)
  })

  test.each([0, 7, 12, 56])('with a bad record at %i stores none', async (at) => {
    using fixture = await open()
    const given = records(57)
    given[at] = { id: 'bad', embedding: [1, Number.NaN, 1] }

    await expect(fixture.db.insertBatch('docs', given)).rejects.toThrow(
      `records[${at}].embedding[1] must be a finite float32, got NaN`,
    )

    expect(fixture.db.count('docs')).toBe(0)
    expect(fixture.db.replica.shardState('docs').head).toBe(0)
  })

  test.each([
    ['of the batch itself', 56, 3],
    ['of the batch itself, in one statement', 8, 3],
  ])('refuses an id that repeats one %s', async (_what, at, earlier) => {
    using fixture = await open()
    const given = records(57)
    given[at] = record(`r${earlier}`)

    await expect(fixture.db.insertBatch('docs', given)).rejects.toMatchObject({
      code: 'STORE_RECORD_EXISTS',
      message: `shard "docs" has a record "r${earlier}" already`,
    })

    expect(fixture.db.count('docs')).toBe(0)
  })

  test('refuses an id that the shard has, unless it may replace it', async () => {
    using fixture = await open()
    fixture.db.insert('docs', record('r20', { index: 'old' }))

    await expect(fixture.db.insertBatch('docs', records(57))).rejects.toMatchObject({
      code: 'STORE_RECORD_EXISTS',
    })
    await fixture.db.insertBatch('docs', records(57), { mode: 'upsert' })

    expect(fixture.db.count('docs')).toBe(57)
    expect(fixture.db.get('docs', 'r20')?.metadata).toEqual({ index: 20 })
  })

  test('of more than one transaction reports each, and keeps those before a bad record', async () => {
    using fixture = await open()
    const given = records(BATCH_ATOMIC_RECORDS_MAX + 2)
    const progress: BatchProgress[] = []
    given[BATCH_ATOMIC_RECORDS_MAX + 1] = record('r0')

    const batch = fixture.db.insertBatch('docs', given, {
      onProgress: (step) => void progress.push(step),
    })

    await expect(batch).rejects.toMatchObject({
      code: 'STORE_RECORD_EXISTS',
      message: expect.stringContaining(
        '10000 records before records[10000] are committed',
      ) as string,
    })
    expect(progress).toEqual([{ done: 10_000, total: 10_002 }])
    expect(fixture.db.count('docs')).toBe(10_000)
  })

  test('stops at a signal between two transactions', async () => {
    using fixture = await open()
    const controller = new AbortController()
    const reason = new Error('enough')

    const batch = fixture.db.insertBatch('docs', records(BATCH_ATOMIC_RECORDS_MAX + 1), {
      signal: controller.signal,
      onProgress: () => controller.abort(reason),
    })

    await expect(batch).rejects.toBe(reason)
    expect(fixture.db.count('docs')).toBe(BATCH_ATOMIC_RECORDS_MAX)
  })

  test('with a signal that is given already does nothing', async () => {
    using fixture = await open()

    const batch = fixture.db.insertBatch('docs', records(3), { signal: AbortSignal.abort() })

    await expect(batch).rejects.toMatchObject({ name: 'AbortError' })
    expect(fixture.db.count('docs')).toBe(0)
  })

  test.each([
    [[record('a')], { batchSize: 10 }, /^insertBatch: unknown option "batchSize"/],
    [[record('a')], { mode: 'replace' }, /^mode must be one of insert, upsert/],
    [[record('a')], { onProgress: 1 }, /^onProgress must be a function/],
    [[record('a')], { signal: {} }, /^signal must be an AbortSignal/],
    ['abc', {}, /^records must be an array, got "abc"/],
    [[record('a'), null], {}, /^records\[1\] must be an object, got null/],
  ])('refuses wrong arguments: %o, %o', async (given, options, message) => {
    using fixture = await open()

    await expect(fixture.db.insertBatch('docs', given as never, options as never)).rejects.toThrow(
      message,
    )

    expect(fixture.db.count('docs')).toBe(0)
  })

  test('is refused inside a transaction, which may not wait', async () => {
    using fixture = await open()
    let batch: Promise<number> | undefined

    fixture.db.transaction(() => {
      batch = fixture.db.insertBatch('docs', records(3))
    })

    await expect(batch).rejects.toThrow(/^insertBatch\(\) cannot run inside transaction\(\)/)
    expect(fixture.db.count('docs')).toBe(0)
  })
})
