/**
 * Starts an engine in a process of its own and reads its report; measures the arena without the
 * database around it.
 */
import { execFile } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { viewToBytes } from '../../packages/sqlite-vector/src/bytes.ts'
import { Arena } from '../../packages/sqlite-vector/src/search/arena.ts'
import { trainQuantizer } from '../../packages/sqlite-vector/src/search/quantizer.ts'
import { median } from '../bar.ts'
import { DIMENSION, makeDataset, row } from './data.ts'
import type { EngineReport } from './engine.ts'

/** The folder that keeps data sets between runs. */
export function dataFolder(): string {
  return join(tmpdir(), 'sqlite-vector-search-bench')
}

/** Runs one engine over one data set. */
export async function runEngine(
  name: string,
  count: number,
  queries: number,
  log: (line: string) => void,
): Promise<EngineReport> {
  makeDataset(dataFolder(), count, queries)
  log(`${name}: ${count} vectors`)
  const driver = join(import.meta.dirname, 'driver.ts')
  const args = ['--conditions=source', driver, name, dataFolder(), String(count), String(queries)]
  const { stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: 1e8 })
  const report = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as EngineReport
  log(`${name}: p50 ${report.p50.toFixed(3)} ms, recall@10 ${report.recall.toFixed(4)}`)
  return report
}

/** Median microseconds to put one more vector into a full arena: float32, int8 and bits. */
export function arenaInsertMicroseconds(folder: string, count: number, queries: number): number {
  const data = makeDataset(folder, count, queries)
  const rows = { float32: true, int8: true, bits: true }
  const arena = new Arena({ dimension: DIMENSION, metric: 'cosine', rows })
  const sample = Array.from({ length: 1_000 }, (_, i) => row(data.base, i))
  arena.quantize(trainQuantizer(sample, DIMENSION, 'cosine'))
  for (let i = 0; i < count; i += 1) arena.set(i, viewToBytes(row(data.base, i)))
  const times = Array.from({ length: 1_000 }, (_, i) => {
    const start = performance.now()
    arena.set(count + i, viewToBytes(row(data.base, i)))
    return performance.now() - start
  })
  return median(times) * 1_000
}
