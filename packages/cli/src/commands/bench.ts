/**
 * `sqlite-vector bench`: measures inserts, reopening, and searches with their recall on this
 * machine.
 *
 * Vectors are seeded noise around centres, so figures compare between machines and releases, not
 * with your data. The project's own benchmarks are in benchmarks/.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RecordInput, SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import { type Call, type Command, EXIT, UsageError } from '../command.ts'
import { formatBytes, formatCount, formatMs } from '../terminal.ts'

const CENTRES = 64
const QUERIES = 100
const BATCH = 1_000
const K = 10

export const benchCommand: Command = {
  words: ['bench'],
  summary: 'Measure inserts, reopening and searches on this machine, in a temporary file.',
  details:
    'Uses --records records of seeded noise. Speed is printed with the recall@10 it was reached at. Other load on the machine affects the figures.',
  target: 'none',
  arguments: [],
  options: [
    { name: 'records', value: 'COUNT', summary: 'number of records', default: '20000' },
    { name: 'dimension', value: 'COUNT', summary: 'components of a vector', default: '384' },
    { name: 'seed', value: 'NUMBER', summary: 'seed of the noise', default: '1' },
  ],
  run: bench,
}

interface Figures {
  readonly records: number
  readonly dimension: number
  readonly seed: number
  readonly insertsPerSecond: number
  readonly fileBytes: number
  readonly openMs: number
  readonly searchMsP50: number
  readonly searchMsP99: number
  readonly exactMsP50: number
  readonly recallAt10: number
  readonly mode: string
}

async function bench(call: Call): Promise<number> {
  const records = call.count('records', 20_000)
  const dimension = call.count('dimension', 384)
  const seed = call.count('seed', 1)
  if (records < K) throw new UsageError(`--records must be at least ${K}`)
  const folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-bench-'))
  try {
    const figures = await measure(call, join(folder, 'bench.db'), { records, dimension, seed })
    call.print(figures, () => linesOf(figures))
    return EXIT.done
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function measure(
  call: Call,
  path: string,
  { records, dimension, seed }: Pick<Figures, 'records' | 'dimension' | 'seed'>,
): Promise<Figures> {
  const { createVectorDB } = await import('@agentic-flow/sqlite-vector')
  const vector = vectorMaker(dimension, seed)
  let insertMs = 0
  {
    using db = await createVectorDB({ path })
    db.createShard('bench', { dimension })
    for (let done = 0; done < records; done += BATCH) {
      call.signal.throwIfAborted()
      const batch: RecordInput[] = []
      for (let index = done; index < Math.min(records, done + BATCH); index += 1) {
        batch.push({ id: `r${index}`, embedding: vector() })
      }
      const started = performance.now()
      await db.insertBatch('bench', batch)
      insertMs += performance.now() - started
      call.reporter.progress('insert', done + batch.length, records)
    }
  }
  const opened = performance.now()
  using db = await createVectorDB({ path })
  const queries = Array.from({ length: QUERIES }, vector)
  db.search('bench', queries[0] ?? vector(), { k: K })
  const openMs = performance.now() - opened
  await db.warmIndex('bench')
  const found = timed(db, queries, false)
  const exact = timed(db, queries, true)
  const { recall, mode } = db.recall('bench', { queries, k: K })
  return {
    records,
    dimension,
    seed,
    insertsPerSecond: records / (insertMs / 1_000),
    fileBytes: db.stats().fileBytes,
    openMs,
    searchMsP50: quantile(found, 0.5),
    searchMsP99: quantile(found, 0.99),
    exactMsP50: quantile(exact, 0.5),
    recallAt10: recall,
    mode,
  }
}

function timed(db: SQLiteVectorDB, queries: readonly Float32Array[], exact: boolean): number[] {
  return queries
    .map((query) => {
      const started = performance.now()
      db.search('bench', query, { k: K, exact })
      return performance.now() - started
    })
    .sort((a, b) => a - b)
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

/** Seeded noise around seeded centres: xorshift32, so the same everywhere. */
function vectorMaker(dimension: number, seed: number): () => Float32Array {
  let state = seed >>> 0 || 1
  const next = (): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32 - 0.5
  }
  const noise = (): Float32Array => Float32Array.from({ length: dimension }, next)
  const centres = Array.from({ length: CENTRES }, noise)
  return () => {
    const centre = centres[Math.floor((next() + 0.5) * CENTRES)] ?? noise()
    return centre.map((value) => value + 0.5 * next())
  }
}

function linesOf(figures: Figures): string {
  const { records, dimension, insertsPerSecond, fileBytes, openMs, recallAt10, mode } = figures
  return [
    `${formatCount(records)} records of ${dimension} dimensions, ${formatBytes(fileBytes)}`,
    `insert   ${formatCount(insertsPerSecond)}/s, durable, in batches of ${formatCount(BATCH)}`,
    `open     ${formatMs(openMs)} to the first answer`,
    `search   ${formatMs(figures.searchMsP50)} p50, ${formatMs(figures.searchMsP99)} p99, recall@${K} ${recallAt10.toFixed(3)} (${mode})`,
    `exact    ${formatMs(figures.exactMsP50)} p50, recall@${K} 1.000`,
  ].join('\n')
}
