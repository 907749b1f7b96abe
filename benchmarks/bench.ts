/**
 * Runs one benchmark suite: `npm run bench -- SUITE [--json] [--quick] [--minutes N]`.
 *
 * A suite is a folder beside this file whose bench.ts exports `title` and `bars` (bar.ts). The exit
 * code is 0 also where a bar falls short, because a slow machine is no broken one; it is 1 when the
 * benchmark itself failed and 2 when it was called wrongly. With --json the last line of stdout is
 * one JSON object; what a suite says while it runs goes to stderr.
 */
import { execFileSync, type StdioOptions } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import type { Bar, BenchSuite } from './bar.ts'

interface Surroundings {
  readonly machine: string
  readonly node: string
  readonly sqlite: string
  readonly commit: string
}

const folder = import.meta.dirname

function suiteNames(): readonly string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(folder, entry.name, 'bench.ts')))
    .map((entry) => entry.name)
    .toSorted()
}

function surroundings(): Surroundings {
  const processors = cpus()
  const gibibytes = (totalmem() / 2 ** 30).toFixed(0)
  return {
    machine: `${process.platform} ${process.arch}, ${processors.length} x ${processors[0]?.model ?? 'unknown processor'}, ${gibibytes} GiB`,
    node: process.versions.node,
    sqlite: process.versions['sqlite'] ?? 'unknown',
    commit: commitName(),
  }
}

/** The commit that was measured, marked `+` when the tree differs from it. */
function commitName(): string {
  try {
    const changed = git('status', '--porcelain', '--untracked-files=no') !== ''
    return git('rev-parse', '--short', 'HEAD') + (changed ? '+' : '')
  } catch {
    return 'unknown (no git here)'
  }
}

function git(...args: string[]): string {
  const stdio: StdioOptions = ['ignore', 'pipe', 'ignore']
  return execFileSync('git', args, { cwd: folder, encoding: 'utf8', stdio }).trim()
}

function table(bars: readonly Bar[]): string {
  const rows = [
    ['bar', 'value', 'goal', 'unit', ''],
    ...bars.map((bar) => [bar.name, figure(bar.value), bar.goal, bar.unit, verdict(bar)]),
  ]
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((r) => r[column]?.length ?? 0)))
  return rows
    .map((row) => row.map((cell, column) => pad(cell, widths[column] ?? 0, column)).join('  '))
    .map((line) => line.trimEnd())
    .join('\n')
}

function verdict(bar: Bar): string {
  if (bar.goal === 'none') return ''
  return bar.ok ? 'holds' : 'FALLS SHORT'
}

function pad(cell: string, width: number, column: number): string {
  return column === 1 ? cell.padStart(width) : cell.padEnd(width)
}

/** Four significant digits, whole numbers in full. */
function figure(value: number): string {
  if (Number.isInteger(value) || Math.abs(value) >= 1_000) return String(Math.round(value))
  return String(Number(value.toPrecision(4)))
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      minutes: { type: 'string' },
    },
  })
  const names = suiteNames()
  const [suite, ...rest] = positionals
  const minutes = values.minutes === undefined ? null : Number(values.minutes)
  const isTime = minutes === null || (minutes > 0 && minutes <= 60)
  if (suite === undefined || rest.length > 0 || !names.includes(suite) || !isTime) {
    process.stderr.write(
      `usage: npm run bench -- SUITE [--json] [--quick] [--minutes N]\nsuites: ${names.join(', ') || 'none yet'}\n`,
    )
    return 2
  }
  const path = join(folder, suite, 'bench.ts')
  const suiteModule = (await import(pathToFileURL(path).href)) as BenchSuite
  const { title } = suiteModule
  const about = surroundings()
  process.stdout.write(
    `${title}\n${about.machine}; Node ${about.node}; SQLite ${about.sqlite}; commit ${about.commit}\n\n`,
  )
  const bars = await suiteModule.bars({
    quick: values.quick,
    minutes,
    log: (line) => process.stderr.write(`${line}\n`),
  })
  if (bars.length === 0) throw new Error(`suite ${suite} measured nothing`)
  process.stdout.write(`${table(bars)}\n`)
  if (values.quick) process.stdout.write('quick run: these figures are no results\n')
  if (values.json) {
    process.stdout.write(
      `${JSON.stringify({ suite, title, ...about, quick: values.quick, bars })}\n`,
    )
  }
  return 0
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(
    `benchmark failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  )
  process.exitCode = 1
}
