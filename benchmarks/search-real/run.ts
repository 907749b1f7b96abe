/**
 * Runs one case in this process and prints its report as the last line: `run.ts CASE COUNT`.
 *
 * True recall is computed here from the rows, not by the library: a result counts when its distance
 * is at most that of the k-th nearest row. SEARCH_LIBRARY names another build of the library to
 * measure (a path to its index.ts), so that two can be compared on equal data.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type * as Library from '@agentic-flow/sqlite-vector'
import { median } from '../bar.ts'
import { CASES, type Case, DIMENSION } from './cases.ts'

/** What was measured for one number of neighbours. */
export interface RecallFigures {
  readonly k: number
  readonly mode: string
  readonly stated: number
  readonly recall: number
  /** Mean recall of the tenth of the queries with the least. */
  readonly worstDecile: number
  readonly p50: number
  readonly p99: number
  readonly exactP50: number
}

/** The report of one case. */
export interface CaseReport {
  readonly name: string
  /** Straight after the last write, and when the index had nothing left to do. */
  readonly atOnce: readonly RecallFigures[]
  readonly settled: readonly RecallFigures[]
  readonly buildMs: number
}

const [name = '', countText = ''] = process.argv.slice(2)
const library = process.env['SEARCH_LIBRARY'] ?? '@agentic-flow/sqlite-vector'
const { createVectorDB } = (await import(library)) as typeof Library
const folder = mkdtempSync(join(tmpdir(), 'search-real-'))
try {
  const make = CASES[name]
  if (make === undefined) throw new Error(`no case is called ${name}`)
  process.stdout.write(`${JSON.stringify(await measure(make(Number(countText))))}\n`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}

async function measure(data: Case): Promise<CaseReport> {
  const memory = data.memoryBytes === undefined ? {} : { searchMemoryBytes: data.memoryBytes }
  const path = join(folder, 'case.db')
  using db = await createVectorDB({ path, durability: 'normal', ...memory })
  db.createShard('s', { dimension: DIMENSION, metric: data.metric })
  const start = performance.now()
  await insert(db, numberedRows(data.rows))
  await db.warmIndex('s')
  const buildMs = performance.now() - start
  const rows = [...data.rows]
  const { changed } = data
  if (changed !== undefined) {
    // The index has answered for the old rows before they change.
    for (const row of data.rows.slice(0, 20)) db.search('s', row)
    for (const [index, row] of changed) rows[index] = row
    await insert(db, [...changed])
  }
  const truth = data.queries.map((query) => nearest(rows, query, data.metric, 100))
  const atOnce = changed === undefined ? [] : [10, 100].map((k) => figures(db, data, truth, k, 0))
  await db.warmIndex('s')
  const settled = [10, 100].map((k) => figures(db, data, truth, k, 5))
  return { name, atOnce, settled, buildMs }
}

function numberedRows(rows: readonly Float32Array[]): (readonly [number, Float32Array])[] {
  return rows.map((row, i) => [i, row] as const)
}

async function insert(
  db: Library.SQLiteVectorDB,
  rows: readonly (readonly [number, Float32Array])[],
): Promise<void> {
  for (let from = 0; from < rows.length; from += 10_000) {
    const part = rows.slice(from, from + 10_000)
    db.transaction(() => {
      for (const [i, embedding] of part) db.upsert('s', { id: String(i), embedding })
    })
    await nextTurn()
  }
}

function figures(
  db: Library.SQLiteVectorDB,
  data: Case,
  truth: readonly (readonly number[])[],
  k: number,
  exactQueries: number,
): RecallFigures {
  const { mode, expectedRecall: stated } = db.explain('s', { k })
  const times: number[] = []
  const recalls = data.queries.map((query, q) => {
    const start = performance.now()
    const found = db.search('s', query, { k })
    times.push(performance.now() - start)
    // The library's distances are exact; the truth is computed in another order of additions.
    const limit = (truth[q]?.[k - 1] ?? 0) + 1e-9 * Math.max(1, Math.abs(truth[q]?.[k - 1] ?? 0))
    return Math.min(k, found.filter(({ distance }) => distance <= limit).length) / k
  })
  const exact = data.queries.slice(0, exactQueries).map((query) => {
    const start = performance.now()
    db.search('s', query, { k, exact: true })
    return performance.now() - start
  })
  const sorted = recalls.toSorted((a, b) => a - b)
  const worst = sorted.slice(0, Math.ceil(sorted.length / 10))
  times.sort((a, b) => a - b)
  return {
    k,
    mode,
    stated,
    recall: mean(recalls),
    worstDecile: mean(worst),
    p50: median(times),
    p99: times[Math.floor(0.99 * (times.length - 1))] ?? Number.NaN,
    exactP50: exact.length === 0 ? Number.NaN : median(exact),
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** The distances to the `k` nearest rows, ascending, in float64. */
function nearest(
  rows: readonly Float32Array[],
  query: Float32Array,
  metric: Case['metric'],
  k: number,
): readonly number[] {
  const distances = Float64Array.from(rows, (row) => distanceOf(row, query, metric)).sort()
  return [...distances.subarray(0, k)]
}

function distanceOf(row: Float32Array, query: Float32Array, metric: Case['metric']): number {
  let dot = 0
  let rowSquare = 0
  let querySquare = 0
  for (let d = 0; d < DIMENSION; d += 1) {
    const a = row[d] ?? 0
    const b = query[d] ?? 0
    dot += a * b
    rowSquare += a * a
    querySquare += b * b
  }
  if (metric === 'dot') return -dot
  if (metric === 'cosine') return 1 - dot / Math.sqrt(rowSquare * querySquare)
  let sum = 0
  for (let d = 0; d < DIMENSION; d += 1) sum += ((row[d] ?? 0) - (query[d] ?? 0)) ** 2
  return Math.sqrt(sum)
}
