/**
 * wrk as the load generator: a process of its own, written in C, so that it does not share the nodes' engine or loop.
 *
 * Its script goes through many query vectors and prints one line of JSON; nothing of its own report is parsed.
 */
import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** What wrk counted and measured. */
export interface LoadReport {
  readonly requests: number
  readonly requestsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  /** Answers other than 2xx, and connections that failed. */
  readonly errors: number
}

/** @throws Error when wrk is not installed */
export function requireWrk(): void {
  if (spawnSync('wrk', ['--version']).error === undefined) return
  throw new Error('this suite needs wrk (Debian package wrk)')
}

/** Posts `bodies` in turn over `connections` connections for `seconds`. */
export async function load(
  url: string,
  path: string,
  bodies: readonly string[],
  connections: number,
  seconds: number,
): Promise<LoadReport> {
  const folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-wrk-'))
  try {
    const script = join(folder, 'post.lua')
    writeFileSync(script, lua(path, bodies))
    const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', '-s', script, url]
    const { stdout } = await run('wrk', args)
    const line = stdout.split('\n').find((candidate) => candidate.startsWith('{'))
    if (line === undefined) throw new Error(`wrk said no result: ${stdout}`)
    return JSON.parse(line) as LoadReport
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function lua(path: string, bodies: readonly string[]): string {
  return `
local bodies = {${bodies.map((body) => `[[${body}]]`).join(',\n')}}
local at = 0
wrk.headers["Content-Type"] = "application/json"
function request()
  at = at % #bodies + 1
  return wrk.format("POST", "${path}", nil, bodies[at])
end
function done(summary, latency)
  local failed = summary.errors
  io.write(string.format(
    '{"requests":%d,"requestsPerSecond":%.1f,"p50Ms":%.3f,"p99Ms":%.3f,"maxMs":%.3f,"errors":%d}\\n',
    summary.requests, summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000,
    failed.connect + failed.read + failed.write + failed.status + failed.timeout))
end
`
}
