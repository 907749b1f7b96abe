/**
 * Search among a million vectors of 384 dimensions, which takes minutes and several GiB: by command
 * only.
 */
import { bar, type Bar, type BenchOptions } from '../bar.ts'
import { runEngine } from '../search/run.ts'

export const title =
  'search-million: 1,000,000 clustered unit vectors of 384 dimensions, default memory'

export async function bars({ quick, log }: BenchOptions): Promise<readonly Bar[]> {
  const count = quick ? 20_000 : 1_000_000
  const report = await runEngine('ours', count, 50, log)
  return [
    bar('p50, default', report.p50, '<= 15', 'ms'),
    bar('p99, default', report.p99, 'none', 'ms'),
    bar('recall@10, default', report.recall, '>= 0.98', ''),
    bar('p50 with a 2 % filter', report.filteredP50 ?? Number.NaN, 'none', 'ms'),
    bar(
      'p50 with a 2 % filter not seen before / without, in turns',
      report.filterRatio ?? Number.NaN,
      '<= 1.2',
      'x',
    ),
    bar(
      'p50 with a 2 % filter seen before / without, in turns',
      report.filterAgainRatio ?? Number.NaN,
      '<= 1.2',
      'x',
    ),
    bar('recall@10 with a 2 % filter', report.filteredRecall ?? 0, '>= 0.98', ''),
    bar('p50, exact', report.exactP50 ?? Number.NaN, 'none', 'ms'),
    bar('recall@10, exact', report.exactRecall ?? 0, '= 1', ''),
    bar('insert of one', report.insertMs, 'none', 'ms'),
    bar('memory per vector', report.memoryBytes / report.count, 'none', 'bytes'),
    bar('disk per vector', report.diskBytes / report.count, 'none', 'bytes'),
    bar('build', report.buildMs / 1_000, 'none', 's'),
    bar('open to first answer', report.reopenMs ?? Number.NaN, 'none', 'ms'),
  ]
}
