/**
 * Runs one engine over one data set and prints its report as the last line: `driver.ts ENGINE
 * DATA-FOLDER COUNT QUERIES`.
 *
 * Timed: single calls, one after the other, after some that warm the code. Not timed: making the
 * data, checking answers. Recall: an answer counts when its true distance, computed here in
 * float64, is at most that of the 10th true neighbour.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { median } from '../bar.ts'
import { type Dataset, GROUPS, K, groupOf, cosineDistance, makeDataset, row } from './data.ts'
import type { Engine, EngineFactory, EngineReport } from './engine.ts'

const [engineName = '', dataFolder = '', countText = '', queriesText = ''] = process.argv.slice(2)
const data = makeDataset(dataFolder, Number(countText), Number(queriesText))
const folder = mkdtempSync(join(tmpdir(), 'search-bench-'))
try {
  const { open } = (await import(`./engines/${engineName}.ts`)) as { open: EngineFactory }
  process.stdout.write(`${JSON.stringify(await measure(await open(folder)))}\n`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}

async function measure(engine: Engine): Promise<EngineReport> {
  const before = process.memoryUsage().rss
  const buildStart = performance.now()
  await engine.build(data)
  const buildMs = performance.now() - buildStart
  const memoryBytes = process.memoryUsage().rss - before
  const search = await timed(data, data.truth, (query) => engine.search(query, K), everything)
  const { exact, filtered } = engine
  const exactRun =
    exact === null
      ? null
      : await timed(data, data.truth, (query) => exact(query, K), everything, exactQueries(data))
  const filteredRun =
    filtered === null
      ? null
      : await timed(data, data.groupTruth, (query, q) => filtered(query, K, groupOf(q)), inGroup)
  const filterRatio = filtered === null ? null : await ratioInTurns(engine, filtered)
  const filterAgainRatio =
    engine.filteredAgain === undefined ? null : await ratioInTurns(engine, engine.filteredAgain)
  const diskBytes = engine.diskBytes()
  const writes = await timedWrites(engine)
  await engine.close()
  let reopenMs: number | null = null
  if (engine.reopen !== null) {
    const start = performance.now()
    await engine.reopen(row(data.queries, 0))
    reopenMs = performance.now() - start
  }
  return {
    engine: engineName,
    count: data.count,
    buildMs,
    ...search,
    ...writes,
    exactP50: exactRun?.p50 ?? null,
    exactRecall: exactRun?.recall ?? null,
    filteredP50: filteredRun?.p50 ?? null,
    filteredRecall: filteredRun?.recall ?? null,
    filterRatio,
    filterAgainRatio,
    diskBytes,
    memoryBytes,
    reopenMs,
  }
}

/** The median with a filter over that without, in turns: a busy machine is then busy for both. */
async function ratioInTurns(
  engine: Engine,
  filtered: NonNullable<Engine['filtered']>,
): Promise<number> {
  const times: { readonly plain: number[]; readonly filtered: number[] } = {
    plain: [],
    filtered: [],
  }
  for (let q = 0; q < 2 * data.queryCount; q += 1) {
    const query = row(data.queries, q % data.queryCount)
    let start = performance.now()
    await engine.search(query, K)
    times.plain.push(performance.now() - start)
    start = performance.now()
    await filtered(query, K, groupOf(q))
    times.filtered.push(performance.now() - start)
  }
  return median(times.filtered) / median(times.plain)
}

/**
 * Among a million records an exact search that reads the file takes seconds: few of them must do.
 */
function exactQueries({ count, queryCount }: Dataset): number {
  return count >= 1_000_000 ? Math.min(5, queryCount) : queryCount
}

function everything(): boolean {
  return true
}

function inGroup(index: number, query: number): boolean {
  return index % GROUPS === groupOf(query)
}

interface Timed {
  readonly p50: number
  readonly p99: number
  readonly recall: number
}

async function timed(
  from: Dataset,
  truth: Dataset['truth'],
  search: (query: Float32Array, index: number) => Promise<readonly number[]> | readonly number[],
  allowed: (index: number, query: number) => boolean,
  queryCount = from.queryCount,
): Promise<Timed> {
  const times: number[] = []
  let found = 0
  for (let round = 0; round < 2; round += 1) {
    for (let q = 0; q < queryCount; q += 1) {
      const query = row(from.queries, q)
      const start = performance.now()
      const answer = await search(query, q)
      const ms = performance.now() - start
      // The first round warms the code; its answers are checked all the same, once.
      if (round === 1) times.push(ms)
      else found += hits(from, query, answer, truth[q] ?? [], (index) => allowed(index, q))
    }
  }
  times.sort((a, b) => a - b)
  const at = (share: number): number => times[Math.floor(share * (times.length - 1))] ?? Number.NaN
  return { p50: at(0.5), p99: at(0.99), recall: found / (queryCount * K) }
}

function hits(
  from: Dataset,
  query: Float32Array,
  answer: readonly number[],
  truth: readonly number[],
  allowed: (index: number) => boolean,
): number {
  const farthest = (truth.at(-1) ?? -Infinity) + 1e-12
  const near = [...new Set(answer)].filter(
    (index) => allowed(index) && cosineDistance(row(from.base, index), query) <= farthest,
  )
  return near.length
}

async function timedWrites(
  engine: Engine,
): Promise<{ insertMs: number; updateMs: number; removeMs: number }> {
  const repeats = Math.min(100, data.queryCount)
  const typical = async (write: (i: number) => Promise<void> | void): Promise<number> => {
    const times: number[] = []
    for (let i = 0; i < repeats; i += 1) {
      const start = performance.now()
      await write(i)
      times.push(performance.now() - start)
    }
    return times.sort((a, b) => a - b)[repeats >> 1] ?? Number.NaN
  }
  const insertMs = await typical((i) => engine.insert(data.count + i, row(data.queries, i)))
  const updateMs = await typical((i) => engine.update(data.count + i, row(data.base, i)))
  const removeMs = await typical((i) => engine.remove(data.count + i))
  return { insertMs, updateMs, removeMs }
}
