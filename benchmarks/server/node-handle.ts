/**
 * Starts node.ts as a process, asks it over HTTP, ends or kills it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export type NodeFlags = Readonly<Record<string, string | readonly string[]>>

export class ServerHandle {
  readonly url: string
  readonly syncAddress: string
  /** From the start of the process until `/readyz` said ready. */
  readonly readyMs: number
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, url: string, syncAddress: string, readyMs: number) {
    this.#child = child
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
    const line = once(createInterface({ input: child.stdout }), 'line')
    const first = await Promise.race([line, exit])
    if (first === null) throw new Error('the node ended before it was ready')
    const { url, syncAddress } = JSON.parse(String(first[0])) as ServerHandle
    const { status } = await fetch(`${url}/readyz`)
    if (status !== 200) throw new Error(`/readyz said ${status}`)
    return new ServerHandle(child, url, syncAddress, performance.now() - startedMs)
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
