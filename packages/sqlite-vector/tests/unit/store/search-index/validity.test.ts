/**
 * A calibration holds for the rows and queries it was made of: what is stated stays true when rows
 * change, when queries are unlike rows, and after a reopen. Codes in memory, rows in the table.
 */
import { describe, expect, test } from 'vitest'
import { distanceFrom } from '../../../../src/search/distance.ts'
import type { SQLiteVectorDB } from '../../../../src/store/vector-db.ts'
import { clustered, isotropic, normal, seededRandom } from '../../search/data.ts'
import { type DbFixture, temporaryDb } from '../../search/fixture.ts'

const COUNT = 1_500
const DIMENSION = 32
const QUERIES = 30

/** Room for int8 codes and bits, not for float32 rows. */
const CODES = { searchMemoryBytes: COUNT * 70 }

async function filled(
  rows: readonly Float32Array[],
  metric: 'cosine' | 'dot' | 'l2' = 'cosine',
): Promise<DbFixture> {
  const fixture = await temporaryDb(CODES)
  fixture.db.createShard('s', { dimension: DIMENSION, metric })
  write(fixture.db, rows)
  await fixture.db.warmIndex('s')
  return fixture
}

function write(db: SQLiteVectorDB, rows: readonly Float32Array[]): void {
  db.transaction(() => {
    for (const [i, embedding] of rows.entries()) db.upsert('s', { id: `r${i}`, embedding })
  })
}

/** Recall@10 of the default search, counted from the rows. */
function trueRecall(
  db: SQLiteVectorDB,
  rows: readonly Float32Array[],
  queries: readonly Float32Array[],
  metric: 'cosine' | 'dot' | 'l2' = 'cosine',
): number {
  const shares = queries.map((query) => {
    const distanceTo = distanceFrom(metric, query)
    const kth = rows.map((row) => distanceTo(row)).sort((a, b) => a - b)[9] ?? 0
    return db.search('s', query).filter(({ distance }) => distance <= kth).length / 10
  })
  return shares.reduce((sum, share) => sum + Math.min(1, share), 0) / shares.length
}

function expectTrue(db: SQLiteVectorDB, recall: number): void {
  expect(recall).toBeGreaterThanOrEqual(0.99)
  expect(recall).toBeGreaterThanOrEqual(db.explain('s').expectedRecall - 0.005)
}

describe('rows that were all replaced', () => {
  const before = clustered(COUNT, DIMENSION, 1, 20)
  const after = isotropic(COUNT + QUERIES, DIMENSION, 2).map((row) => row.map((v) => v + 3))
  const rows = after.slice(0, COUNT)
  const queries = after.slice(COUNT)

  test('make the calibration void at once, and explain() says so', async () => {
    await using fixture = await filled(before)
    const { db } = fixture
    expect(db.explain('s').index.calibration).not.toBeNull()

    write(db, rows)

    expect(db.explain('s')).toMatchObject({
      mode: 'int8',
      expectedRecall: 1,
      reason: '1500 of 1500 records have changed since the calibration',
    })
    expect(trueRecall(db, rows, queries)).toBe(1)
    await db.warmIndex('s')
    expect(db.explain('s').reason).not.toContain('have changed')
    expectTrue(db, trueRecall(db, rows, queries))
  })

  test('also where they changed while the codes were on disk', async () => {
    await using fixture = await filled(before)
    fixture.db.close()
    const writer = await fixture.open({ searchMemoryBytes: 0, saveIndex: false })
    write(writer, rows)
    writer.close()

    const db = await fixture.open(CODES)

    expect(db.explain('s')).toMatchObject({ mode: 'int8', expectedRecall: 1 })
    expect(trueRecall(db, rows, queries)).toBe(1)
  })
})

test('changes below the share that voids are counted over saves and reopens', async () => {
  const rows = clustered(COUNT, DIMENSION, 3, 20)
  const other = isotropic(COUNT, DIMENSION, 4)
  await using fixture = await filled(rows)
  let { db } = fixture
  for (let part = 0; part < 3; part += 1) {
    db.close()
    db = await fixture.open(CODES)
    // Four times a twenty-fifth: each alone is below every limit.
    const changed = other.slice(part * 60, part * 60 + 60)
    db.transaction(() => {
      for (const [i, embedding] of changed.entries()) {
        db.upsert('s', { id: `r${part * 60 + i}`, embedding })
      }
    })
  }

  expect(db.explain('s').reason).toBe('180 of 1500 records have changed since the calibration')
})

test('metadata that changes makes nothing void', async () => {
  const rows = clustered(COUNT, DIMENSION, 5, 20)
  await using fixture = await filled(rows)
  const { db } = fixture

  for (let i = 0; i < COUNT; i += 1) db.update('s', `r${i}`, { metadata: { seen: true } })

  expect(db.explain('s').reason).not.toContain('have changed')
})

describe('what is stated is true', () => {
  const random = seededRandom(6)
  const heavy = (): Float32Array =>
    Float32Array.from({ length: DIMENSION }, (_, d) => {
      return normal(random) * (d % 8 === 0 ? 1 / Math.max(0.01, Math.abs(normal(random))) : 1)
    })
  const originals = isotropic(30, DIMENSION, 7)
  const copies = Array.from({ length: COUNT }, (_, i) =>
    originals[i % 30]!.map((value) => value + 0.01 * normal(random)),
  )
  const away = isotropic(1, DIMENSION, 8)[0]!
  const topic = (): Float32Array => away.map((value) => value + 0.2 * normal(random))
  const minority = clustered(COUNT, DIMENSION, 9, 20).map((row, i) =>
    i % 50 === 7 ? topic() : row,
  )
  const lengths = clustered(COUNT, DIMENSION, 10, 20).map((row) => {
    const factor = Math.exp(normal(random))
    return row.map((value) => value * factor)
  })
  const groups = Array.from({ length: COUNT }, (_, i) => originals[Math.floor(Math.sqrt(i / 2))]!)

  test.each([
    ['of near copies, for foreign queries', 'cosine', copies, isotropic(QUERIES, DIMENSION, 11)],
    ['of heavy-tailed dimensions', 'cosine', Array.from({ length: COUNT }, heavy), heavy],
    ['of dot products of rows of all lengths', 'dot', lengths, lengths.slice(0, QUERIES)],
    ['of a minority of another topic', 'cosine', minority, topic],
    [
      'of groups of identical rows',
      'l2',
      groups.map((row) => row ?? away),
      isotropic(QUERIES, DIMENSION, 12),
    ],
  ] as const)('%s', async (_, metric, rows, given) => {
    const queries = typeof given === 'function' ? Array.from({ length: QUERIES }, given) : given
    await using fixture = await filled(rows, metric)

    expectTrue(fixture.db, trueRecall(fixture.db, rows, queries, metric))
  })
})

test('recall() leaves the row out of its own answer, and says how the worst fare', async () => {
  // Without itself, a row has no neighbour that is nearer than any other.
  const rows = clustered(COUNT, DIMENSION, 13, 20)
  await using fixture = await filled(rows)

  const report = fixture.db.recall('s', { sample: 40, k: 10 })

  expect(report).toMatchObject({ k: 10, queries: 40 })
  expect(report.recall).toBeGreaterThanOrEqual(0.99)
  expect(report.worstDecile).toBeLessThanOrEqual(report.recall)
})
