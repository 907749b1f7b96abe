/**
 * The contract of search, whatever the index holds: float32, codes, bits, or nothing at all.
 *
 * Each configuration's test file is one call of this. Enough rows that codes leave most of them
 * out.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SQLiteVectorDB } from '../../src/store/vector-db.ts'
import { clustered } from '../unit/search/data.ts'
import { type DbFixture, temporaryDb } from '../unit/search/fixture.ts'
import { type SearchResult } from '../../src/store/query/types.ts'

const COUNT = 2_000
const DIMENSION = 48
const ROWS = clustered(COUNT + 30, DIMENSION, 21, 40)
const QUERIES = ROWS.slice(COUNT)

/** A way to hold an index. */
export interface SearchConfiguration {
  readonly name: string
  readonly searchMemoryBytes: number
  /** The expected `explain()`, so that a suite cannot run on another configuration unnoticed. */
  readonly rows: readonly string[] | null
  readonly mode: 'exact' | 'int8' | 'bits'
}

/** Runs the suite for one configuration. */
export function searchContract(configuration: SearchConfiguration): void {
  const { name, searchMemoryBytes, rows, mode } = configuration

  async function filled(): Promise<DbFixture> {
    const fixture = await temporaryDb({ searchMemoryBytes })
    fixture.db.createShard('s', { dimension: DIMENSION, metric: 'cosine' })
    const records = ROWS.slice(0, COUNT).map((embedding, i) => ({
      id: `r${i}`,
      embedding,
      metadata: { tenth: i % 10, rare: i % 1_000 },
    }))
    await fixture.db.insertBatch('s', records)
    await fixture.db.warmIndex('s')
    return fixture
  }

  describe(`search contract: ${name}`, () => {
    // One file for all: filling and calibrating take longer than the tests, and each leaves it as
    // it was.
    let fixture: DbFixture
    beforeAll(async () => {
      fixture = await filled()
    })
    afterAll(() => fixture[Symbol.asyncDispose]())

    test('it runs as it is configured', () => {
      const plan = fixture.db.explain('s')

      expect(plan.mode).toBe(mode)
      expect(plan.index.rows).toEqual(rows)
    })

    test('exact search gives what a scan of the table gives', async () => {
      const scanning = await fixture.open({ searchMemoryBytes: 0 })
      const options = { k: 15, exact: true, includeVectors: true }

      for (const query of QUERIES.slice(0, 5)) {
        expect(fixture.db.search('s', query, options)).toEqual(scanning.search('s', query, options))
      }
    })

    test('default search finds 0.98 of the neighbours, at their exact distances', () => {
      const { db } = fixture

      const { recall } = db.recall('s', { queries: QUERIES })

      expect(recall).toBeGreaterThanOrEqual(0.98)
      for (const query of QUERIES.slice(0, 5)) {
        const truth = new Map(distances(db.search('s', query, { k: 100, exact: true })))
        for (const [id, distance] of distances(db.search('s', query))) {
          expect(distance).toBe(truth.get(id))
        }
      }
    })

    test('k records that pass the filter are returned whenever there are k', () => {
      const { db } = fixture
      const [query = []] = QUERIES

      expect(db.search('s', query, { k: 150, filter: { tenth: 3 } })).toHaveLength(150)
      expect(db.search('s', query, { k: 300, filter: { tenth: 3 } })).toHaveLength(200)
      expect(db.search('s', query, { k: 5, filter: { rare: 7 } })).toHaveLength(2)
      const near = db.search('s', query, { k: 50, filter: { tenth: { $in: [1, 2] } } })
      expect(near.every(({ metadata }) => [1, 2].includes(metadata['tenth'] as number))).toBe(true)
    })

    test('a query of any length finds k', () => {
      const [query = new Float32Array(DIMENSION)] = QUERIES
      const wanted = fixture.db.search('s', query, { exact: true }).map(({ id }) => id)

      for (const scale of [1e-30, 1e-3, 1e3, 1e30]) {
        const scaled = query.map((value) => value * scale)
        const found = fixture.db.search('s', scaled).map(({ id }) => id)
        expect(found).toHaveLength(10)
        expect(found.filter((id) => wanted.includes(id)).length).toBeGreaterThanOrEqual(9)
      }
    })

    test('a record is found at once after its commit, and never again after its delete', async () => {
      const { db } = fixture
      const other = await fixture.open()

      for (const [i, query] of QUERIES.slice(0, 6).entries()) {
        const writer = i % 2 === 0 ? db : other
        writer.insert('s', { id: `new${i}`, embedding: query })
        expect(ids(db, query, 1)).toEqual([`new${i}`])
        writer.upsert('s', { id: `new${i}`, embedding: query.map((value) => -value) })
        expect(ids(db, query, 100)).not.toContain(`new${i}`)
        writer.upsert('s', { id: `new${i}`, embedding: query })
        expect(ids(db, query, 1)).toEqual([`new${i}`])
        writer.delete('s', `new${i}`)
        expect(ids(db, query, 100)).not.toContain(`new${i}`)
      }
    })

    test('searches are right while the index is being built', async () => {
      const opened = await fixture.open({ searchMemoryBytes })
      const built = opened.warmIndex('s')

      const during = QUERIES.map((query) => opened.search('s', query, { exact: true }))
      await built

      expect(during).toEqual(QUERIES.map((query) => opened.search('s', query, { exact: true })))
    })
  })
}

function ids(db: SQLiteVectorDB, query: Float32Array, k: number): string[] {
  return db.search('s', query, { k }).map(({ id }) => id)
}

function distances(results: readonly SearchResult[]): (readonly [string, number])[] {
  return results.map(({ id, distance }) => [id, distance] as const)
}
