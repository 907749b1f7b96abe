/**
 * Reads and writes by a filter use the declared index, and pages by filter and prefix hold what a
 * plain reading of all records says.
 */
import { expect, test } from 'vitest'
import { compareUtf8 } from '../../../../src/bytes.ts'
import { prefixEnd } from '../../../../src/store/query/pages.ts'
import { createVectorDB, type SQLiteVectorDB } from '../../../../src/store/vector-db.ts'
import type { Filter } from '../../../../src/search/filter.ts'
import type { ListOptions, VectorRecord } from '../../../../src/store/types.ts'

const COUNT = 5_000

async function filled(): Promise<SQLiteVectorDB> {
  const db = await createVectorDB({ path: ':memory:' })
  db.createShard('s', { dimension: 1, metric: 'l2' })
  const records = Array.from({ length: COUNT }, (_, i) => ({
    id: `${['a', 'é', 'z\u{10ffff}', '\u{10ffff}'][i % 4]}${i}`,
    embedding: [i],
    metadata: { n: i, rare: i % 1_000, half: i % 2 },
  }))
  await db.insertBatch('s', records)
  return db
}

/** All pages of a list, one after the other. */
function listed(db: SQLiteVectorDB, options: ListOptions): VectorRecord[] {
  const records: VectorRecord[] = []
  let after: string | null = null
  do {
    const page = db.list('s', { ...options, after })
    expect(page.records.length).toBeLessThanOrEqual(options.limit ?? 100)
    records.push(...page.records)
    after = page.nextCursor
  } while (after !== null)
  return records
}

/** Milliseconds of this thread, the least of several runs. */
function cost(fn: () => unknown): number {
  const runs = Array.from({ length: 7 }, () => {
    const started = process.threadCpuUsage()
    for (let i = 0; i < 5; i += 1) fn()
    const { user, system } = process.threadCpuUsage(started)
    return (user + system) / 5_000
  })
  return Math.min(...runs)
}

test('update, delete and query by a filter cost no scan of the ids where an index is declared', async () => {
  using db = await filled()
  db.createMetadataIndex('rare')
  const filter = { rare: 5_555 }
  const count = cost(() => db.count('s', filter))

  // A scan of 5,000 records by id takes some 2 ms.
  for (const each of [
    () => db.delete('s', { filter }),
    () => db.update('s', { filter }, { metadata: { seen: true } }),
    () => db.query('s').where(filter).all(),
    () => db.list('s', { filter }),
  ]) {
    expect(cost(each)).toBeLessThan(0.4 + 10 * count)
  }
})

test('explain() shows the statement that runs', async () => {
  using db = await filled()
  db.createMetadataIndex('rare')

  const { filter } = db.explain('s', { filter: { rare: 3 } })

  expect(filter?.statement).toContain(filter?.sql)
  expect(filter?.statement).toContain('group_concat')
  expect(filter?.queryPlan.join()).toContain('metadata:rare')
})

test('pages by filter and prefix hold each record that passes once, in the order of ids', async () => {
  using db = await filled()
  db.createMetadataIndex('rare')
  db.createMetadataIndex('half')
  const all = listed(db, { limit: 1_000 })
  expect(all).toHaveLength(COUNT)
  const filters: [Filter, (n: number) => boolean][] = [
    [{ rare: 7 }, (n) => n % 1_000 === 7],
    [{ half: 1 }, (n) => n % 2 === 1],
    [{ n: { $lt: 2_500 } }, (n) => n < 2_500],
    [{}, () => true],
  ]
  for (const [filter, passes] of filters) {
    for (const prefix of ['', 'a', 'a1', 'é', 'z\u{10ffff}', '\u{10ffff}', 'none']) {
      const wanted = all.filter(
        ({ id, metadata }) => id.startsWith(prefix) && passes(Number(metadata['n'])),
      )
      expect(listed(db, { filter, prefix, limit: 300 })).toEqual(wanted)
    }
  }
  expect(all.map(({ id }) => id)).toEqual(all.map(({ id }) => id).toSorted(compareUtf8))
  const backwards = db.query('s').where({ rare: 7 }).orderBy('n', 'desc').all()
  expect(backwards.map(({ metadata }) => metadata['n'])).toEqual([4_007, 3_007, 2_007, 1_007, 7])
})

test('a page with vectors has no more than fit an answer, and says where to go on', async () => {
  using db = await createVectorDB({ path: ':memory:' })
  db.createShard('s', { dimension: 8_192, metric: 'l2' })
  const embedding = new Float32Array(8_192)
  const records = Array.from({ length: 4_100 }, (_, i) => ({ id: `r${i}`, embedding }))
  await db.insertBatch('s', records)

  const page = db.list('s', { limit: 10_000, includeVectors: true })

  expect(page.records).toHaveLength(4_096)
  expect(page.nextCursor).toBe(page.records.at(-1)?.id)
})

test('options that contradict each other, and ids that are none, are refused', async () => {
  using db = await filled()

  expect(() => db.list('s', { cursor: 'a', after: 'b' })).toThrow('exclude each other')
  expect(() => db.list('s', { after: 1 as never })).toThrow('after must be a string, got 1')
  expect(() => db.list('s', { prefix: 'a\0' })).toThrow('prefix must not contain NUL')
})

test('the end of a prefix is above all that begin with it', () => {
  expect(prefixEnd('a')).toBe('b')
  expect(prefixEnd('a\u{10ffff}')).toBe('b')
  expect(prefixEnd('\u{10ffff}')).toBeNull()
  expect(prefixEnd('\ud7ff')).toBe('\ue000')
})
