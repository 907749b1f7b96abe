/**
 * Stated against true recall on data made from the text that this machine has. See README.md.
 *
 * Each case runs in a process of its own. SEARCH_REAL_CASE picks one, SEARCH_REAL_COUNT sets rows.
 */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { bar, type Bar, type BenchOptions } from '../bar.ts'
import { CASES } from './cases.ts'
import type { CaseReport, RecallFigures } from './run.ts'

export const title = 'search-real: stated against true recall, 256 dimensions, 15 kinds of data'

export async function bars({ quick, log }: BenchOptions): Promise<readonly Bar[]> {
  const count = Number(process.env['SEARCH_REAL_COUNT'] ?? (quick ? 5_000 : 40_000))
  const one = process.env['SEARCH_REAL_CASE']
  const found: Bar[] = []
  for (const name of one === undefined ? Object.keys(CASES) : [one]) {
    log(name)
    const args = ['--conditions=source', join(import.meta.dirname, 'run.ts'), name, String(count)]
    const { stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: 1e8 })
    const report = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as CaseReport
    for (const figures of report.atOnce) {
      found.push(...recallBars(`${name}, at once, @${figures.k}`, figures))
    }
    for (const figures of report.settled) {
      const label = `${name}, @${figures.k}`
      found.push(...recallBars(label, figures), ...timeBars(label, figures))
    }
    log(found.slice(-12).map(lineOf).join('\n'))
  }
  return found
}

function recallBars(label: string, figures: RecallFigures): Bar[] {
  const { recall, stated, worstDecile } = figures
  return [
    bar(`${label}: true recall (${figures.mode})`, recall, '>= 0.99', ''),
    bar(`${label}: stated - true`, Math.abs(stated - recall), '<= 0.005', ''),
    bar(`${label}: worst decile`, worstDecile, 'none', ''),
  ]
}

function timeBars(label: string, { p50, p99, exactP50 }: RecallFigures): Bar[] {
  return [
    bar(`${label}: p50`, p50, 'none', 'ms'),
    bar(`${label}: p99`, p99, 'none', 'ms'),
    bar(`${label}: p50 / exact p50`, p50 / exactP50, 'none', 'x'),
  ]
}

function lineOf({ name, value, unit, ok }: Bar): string {
  return `  ${ok ? ' ' : '!'} ${name} ${Number(value.toPrecision(4))} ${unit}`
}
