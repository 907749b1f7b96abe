/**
 * A node as a process of its own: started with flags, told to end, killed. Nothing of it runs in the tests' process.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { join } from 'node:path'

const PROGRAM = join(import.meta.dirname, 'serve-process.ts')

export interface Ready {
  readonly url: string
  readonly syncAddress: string
  readonly fingerprint: string
  readonly certificatePem: string
}

export class NodeProcess implements AsyncDisposable {
  readonly ready: Ready
  readonly #child: ChildProcess
  readonly #exit: Promise<number | null>

  private constructor(child: ChildProcess, ready: Ready, exit: Promise<number | null>) {
    this.#child = child
    this.ready = ready
    this.#exit = exit
  }

  /** Resolves when the node says that it is ready. */
  static async start(
    flags: Readonly<Record<string, string | readonly string[]>>,
  ): Promise<NodeProcess> {
    const args = ['--conditions=source', PROGRAM, JSON.stringify(flags)]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
    // When its output has ended, too: what it said last is the reason.
    const exit = once(child, 'close').then(([code]) => code as number | null)
    const line = once(createInterface({ input: child.stdout }), 'line')
    const first = await Promise.race([line, exit])
    if (!Array.isArray(first)) throw new Error(`the node ended with ${first}: ${said}`)
    return new NodeProcess(child, JSON.parse(String(first[0])) as Ready, exit)
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** SIGTERM; resolves with the exit code. */
  async end(): Promise<number | null> {
    this.#child.kill('SIGTERM')
    return this.#exit
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exit
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
  }
}
