/**
 * Runs one TypeScript module of this repository as a user would: a process of its own, in an empty
 * folder, with the packages' sources resolvable. For run-examples.ts and run-doc-examples.ts.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const DEADLINE_MS = 120_000

/** How a module ended. */
export interface Ended {
  readonly ok: boolean
  readonly stdout: string
  /** stderr, and the signal or the missed deadline when there was one. */
  readonly complaint: string
  readonly durationMs: number
}

/** Runs `path` to its end. What it leaves in its working folder is removed. */
export function runModule(path: string): Ended {
  const [ended] = runModuleAgain(path, 1)
  return ended as Ended
}

/** Runs `path` several times in one folder, as a reader does who tries an example again. */
export function runModuleAgain(path: string, times: number): readonly Ended[] {
  const folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-example-'))
  try {
    return Array.from({ length: times }, () => runIn(folder, path))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function runIn(folder: string, path: string): Ended {
  const started = performance.now()
  const ended = spawnSync(process.execPath, ['--conditions=source', path], {
    cwd: folder,
    encoding: 'utf8',
    timeout: DEADLINE_MS,
  })
  const why = ended.error?.message ?? (ended.signal === null ? '' : `ended by ${ended.signal}`)
  return {
    ok: ended.status === 0,
    stdout: ended.stdout,
    complaint: [ended.stderr.trim(), why].filter((line) => line !== '').join('\n'),
    durationMs: Math.round(performance.now() - started),
  }
}
