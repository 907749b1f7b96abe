/**
 * Starts a node process (node.ts), asks it, kills it. A process that ends rejects every open request,
 * so that no test waits for the dead.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { NodeEvent, NodeRequests } from './node-messages.ts'

interface Waiting {
  readonly resolve: (answer: never) => void
  readonly reject: (error: Error) => void
}

/** A node process; `await using` ends it. */
export class NodeHandle {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  readonly #exited: Promise<void>
  readonly #watchers = new Set<(records: number) => void>()
  #requests = 0
  /** The most records that the node said it had committed. */
  committedRecords = 0

  constructor() {
    this.#child = fork(join(import.meta.dirname, 'node.ts'), [], {
      serialization: 'advanced',
      execArgv: ['--conditions=source'],
    })
    this.#child.on('message', (event) => this.#receive(event as NodeEvent))
    this.#exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        const error = new Error(`the node ended: ${signal ?? `exit code ${code}`}`)
        for (const waiting of this.#waiting.values()) waiting.reject(error)
        this.#waiting.clear()
        resolve()
      })
    })
  }

  call<Name extends keyof NodeRequests>(
    name: Name,
    request: NodeRequests[Name]['request'],
  ): Promise<NodeRequests[Name]['answer']> {
    this.#requests += 1
    const number = this.#requests
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject })
      this.#child.send({ number, name, request })
    })
  }

  /** Calls `watcher` with the number of records after every commit of the node. */
  onCommit(watcher: (records: number) => void): void {
    this.#watchers.add(watcher)
  }

  /** `kill -9`, and waits until the process is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
  }

  async close(): Promise<void> {
    await this.call('close', {})
    await this.#exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
  }

  #receive(event: NodeEvent): void {
    if (event.type === 'committed') {
      this.committedRecords = Math.max(this.committedRecords, event.records)
      for (const watcher of this.#watchers) watcher(event.records)
      return
    }
    const waiting = this.#waiting.get(event.number)
    this.#waiting.delete(event.number)
    if (event.type === 'answer') waiting?.resolve(event.answer as never)
    else waiting?.reject(new Error(event.message))
  }
}
