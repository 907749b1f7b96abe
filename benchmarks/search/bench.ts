/**
 * Search against other engines: 384-d clustered unit vectors, 10,000 and 100,000, and BIGANN;
 * recall beside every figure. See README.md.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { bar, type Bar, type BenchOptions } from '../bar.ts'
import { bigannBars } from './bigann.ts'
import type { EngineReport } from './engine.ts'
import { arenaInsertMicroseconds, dataFolder, runEngine } from './run.ts'

export const title =
  'search: 384-d clustered unit vectors, against other engines in processes of their own'

/** Engines that are compared, and the sizes at which they take minutes rather than an hour. */
const COMPETITORS: readonly (readonly [name: string, countMax: number])[] = [
  ['sqlite-vec', 100_000],
  ['usearch', 100_000],
  ['lancedb', 100_000],
  ['libsql', 10_000],
]

/** Engines of the comparison that cannot be installed without a compiler. */
const NOT_INSTALLED = 'hnswlib-node is not compared: every install compiles it from source'

export async function bars({ quick, log }: BenchOptions): Promise<readonly Bar[]> {
  const sizes = quick ? [2_000] : [10_000, 100_000]
  const queries = quick ? 20 : 100
  const installed = existsSync(join(import.meta.dirname, 'competitors', 'node_modules'))
  if (!installed) log('competitors are not installed: npm run bench:competitors')
  log(NOT_INSTALLED)
  const found: Bar[] = []
  for (const count of sizes) {
    const ours = await runEngine('ours', count, queries, log)
    const others: EngineReport[] = []
    for (const [name, countMax] of COMPETITORS) {
      if (!installed || count > countMax) continue
      others.push(await runEngine(name, count, queries, log))
    }
    found.push(...goals(count, ours, others), ...[ours, ...others].flatMap(figures))
  }
  const largest = sizes.at(-1) ?? 0
  const insert = arenaInsertMicroseconds(dataFolder(), largest, queries)
  found.push(bar(`${size(largest)} insert into the arena, median`, insert, '<= 50', 'µs'))
  return [...found, ...bigannBars(log)]
}

/** The bars with goals. */
function goals(count: number, ours: EngineReport, others: readonly EngineReport[]): Bar[] {
  const name = size(count)
  const large = count >= 100_000
  const goal = (bound: string): string => (large ? bound : 'none')
  const result = [
    bar(`${name} recall@10, default`, ours.recall, '>= 0.99', ''),
    bar(`${name} recall@10, exact`, ours.exactRecall ?? 0, '= 1', ''),
    bar(`${name} open to first answer`, ours.reopenMs ?? Number.NaN, goal('<= 500'), 'ms'),
    bar(
      `${name} p50 with a 2 % filter not seen before / without, in turns`,
      ours.filterRatio ?? Number.NaN,
      goal('<= 1.2'),
      'x',
    ),
    bar(
      `${name} p50 with a 2 % filter seen before / without, in turns`,
      ours.filterAgainRatio ?? Number.NaN,
      goal('<= 1.2'),
      'x',
    ),
    bar(`${name} recall@10 with a 2 % filter`, ours.filteredRecall ?? 0, '>= 0.99', ''),
  ]
  const vec = others.find(({ engine }) => engine === 'sqlite-vec')
  if (vec === undefined) return result
  return [
    bar(`${name} p50 default / sqlite-vec`, ours.p50 / vec.p50, goal('<= 0.05'), 'x'),
    bar(
      `${name} p50 exact / sqlite-vec`,
      (ours.exactP50 ?? Number.NaN) / vec.p50,
      goal('<= 0.5'),
      'x',
    ),
    ...result,
  ]
}

/** Everything else that was measured, engine by engine. */
function figures(report: EngineReport): Bar[] {
  const name = `${size(report.count)} ${report.engine}`
  const recall = `recall@10 ${report.recall.toFixed(3)}`
  const figure = (what: string, value: number | null, unit: string): Bar[] =>
    value === null ? [] : [bar(`${name} ${what}`, value, 'none', unit)]
  return [
    ...figure(`p50 (${recall})`, report.p50, 'ms'),
    ...figure(`p99 (${recall})`, report.p99, 'ms'),
    ...figure(`exact p50 (recall@10 ${report.exactRecall?.toFixed(3)})`, report.exactP50, 'ms'),
    ...figure(
      `2 % filter p50 (recall@10 ${report.filteredRecall?.toFixed(3)})`,
      report.filteredP50,
      'ms',
    ),
    ...figure('build', report.buildMs / 1_000, 's'),
    ...figure('insert of one', report.insertMs, 'ms'),
    ...figure('update of one', report.updateMs, 'ms'),
    ...figure('delete of one', report.removeMs, 'ms'),
    ...figure('memory per vector', report.memoryBytes / report.count, 'bytes'),
    ...figure('disk per vector', report.diskBytes / report.count, 'bytes'),
    ...figure('open to first answer', report.reopenMs, 'ms'),
  ]
}

function size(count: number): string {
  return count >= 1_000_000 ? `${count / 1_000_000}M` : `${count / 1_000}k`
}
