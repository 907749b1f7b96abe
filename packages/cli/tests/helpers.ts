/**
 * The command as a person runs it, for tests: real processes, real files, exit codes.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export const MAIN: string = join(import.meta.dirname, '..', 'src', 'main.ts')
const NODE_ARGUMENTS = ['--conditions=source', MAIN]

/** Compiled once for all processes of all tests: each starts in half the time. */
const SHARED_ENVIRONMENT = {
  ...process.env,
  NODE_COMPILE_CACHE: join(
    import.meta.dirname,
    '..',
    '..',
    '..',
    'node_modules',
    '.cache',
    'compile',
  ),
}

export interface Finished {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly cwd?: string
  readonly input?: string | Uint8Array
  readonly environment?: Readonly<Record<string, string>>
  /** Leaves stdin open, for {@link Running.process} to be written to. */
  readonly isTyped?: boolean
}

/** Runs the command to its end. */
export function run(args: readonly string[], options: RunOptions = {}): Finished {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...NODE_ARGUMENTS, ...args], {
    encoding: 'utf8',
    cwd: options.cwd,
    input: options.input ?? '',
    env: { ...SHARED_ENVIRONMENT, ...options.environment },
    maxBuffer: 64 * 1_048_576,
  })
  return { status, stdout, stderr }
}

/** A command that goes on until it is stopped. */
export interface Running extends AsyncDisposable {
  readonly process: ChildProcess
  /** The next line on stdout; rejects when the process ends without one. */
  line(): Promise<string>
  /** Sends SIGTERM (or another signal) and resolves with the exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>
  /** What it said on stderr so far. */
  stderr(): string
}

export function start(args: readonly string[], options: RunOptions = {}): Running {
  const child = spawn(process.execPath, [...NODE_ARGUMENTS, ...args], {
    stdio: [options.isTyped === true ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    cwd: options.cwd,
    env: { ...SHARED_ENVIRONMENT, ...options.environment },
  })
  let errors = ''
  const { stdout, stderr } = child
  if (stdout === null || stderr === null) throw new Error('a process without its pipes')
  stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]()
  const exited = once(child, 'exit') as Promise<[number | null]>
  const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    const [code] = await exited
    return code
  }
  return {
    process: child,
    async line() {
      const { value, done } = (await lines.next()) as { value?: string; done?: boolean }
      if (done === true || value === undefined) throw new Error(`ended early: ${errors}`)
      return value
    },
    stop,
    stderr: () => errors,
    async [Symbol.asyncDispose]() {
      await stop()
    },
  }
}

/** A new folder that goes with the test. */
export function temporaryFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'sqlite-vector-cli-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

/** A command under way beside the test, which goes on meanwhile: for servers that the test itself is. */
export interface StartedProcess extends Promise<Finished> {
  /** Ends it at once, as `kill -9` does. */
  kill(): void
}

export function startProcess(args: readonly string[], options: RunOptions = {}): StartedProcess {
  const child = spawn(process.execPath, [...NODE_ARGUMENTS, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: options.cwd,
    env: { ...SHARED_ENVIRONMENT, ...options.environment },
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const finished = once(child, 'close').then(([status]) => ({
    status: status as number | null,
    stdout,
    stderr,
  }))
  return Object.assign(finished, { kill: () => void child.kill('SIGKILL') })
}
