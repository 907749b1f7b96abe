/**
 * Starts node.ts as a process, asks it over HTTP, ends or kills it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'

export type NodeFlags = Readonly<Record<string, string | readonly string[]>>

export class ServerHandle {
  readonly url: string
  readonly syncAddress: string
  /** From the start of the process until `/readyz` said ready. */
  readonly readyMs: number
  readonly #child: ChildProcess
  readonly #lines: Interface

  private constructor(
    child: ChildProcess,
    lines: Interface,
    url: string,
    syncAddress: string,
    readyMs: number,
  ) {
    this.#child = child
    this.#lines = lines
    this.url = url
    this.syncAddress = syncAddress
    this.readyMs = readyMs
  }

  static async start(flags: NodeFlags): Promise<ServerHandle> {
    const startedMs = performance.now()
    const program = join(import.meta.dirname, 'node.ts')
    const child = spawn(
      process.execPath,
      ['--conditions=source', program, JSON.stringify({ 'log-level': 'error', ...flags })],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    const exit = once(child, 'exit').then(() => null)
    const lines = createInterface({ input: child.stdout })
    const first = await Promise.race([once(lines, 'line'), exit])
    if (first === null) throw new Error('the node ended before it was ready')
    const { url, syncAddress } = JSON.parse(String(first[0])) as ServerHandle
    const { status } = await fetch(`${url}/readyz`)
    if (status !== 200) throw new Error(`/readyz said ${status}`)
    return new ServerHandle(child, lines, url, syncAddress, performance.now() - startedMs)
  }

  /** How long the loop was held since the last time, in processor time. */
  async held(): Promise<{ readonly p99Ms: number; readonly maxMs: number }> {
    const line = once(this.#lines, 'line')
    this.#child.kill('SIGUSR2')
    return JSON.parse(String((await line)[0])) as { p99Ms: number; maxMs: number }
  }

  /** Asks, and gives the JSON of the answer. @throws Error for anything but success */
  async ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(this.url + path, {
      method,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return JSON.parse(text) as T
  }

  /** The value of a series of `/metrics`. The loop's delay is that since the time before. */
  async metric(series: string): Promise<number> {
    const text = await (await fetch(`${this.url}/metrics`)).text()
    const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `))
    if (line === undefined) throw new Error(`no metric ${series}`)
    return Number(line.slice(series.length + 1))
  }

  kill(signal: 'SIGTERM' | 'SIGKILL'): Promise<unknown> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return Promise.resolve()
    const exit = once(this.#child, 'exit')
    this.#child.kill(signal)
    return exit
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill('SIGKILL')
  }
}
