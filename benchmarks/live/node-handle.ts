/**
 * Starts a node process (node.ts), asks it, stops, goes on with and kills it. A process that ends rejects
 * every open request.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { join } from 'node:path'

import type { LiveReply, LiveRequests } from './messages.ts'

interface Waiting {
  readonly resolve: (answer: never) => void
  readonly reject: (error: Error) => void
}

/** A node process. */
export class LiveNodeHandle {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  readonly #exited: Promise<void>
  #requests = 0

  /** `namespace`: a network namespace that exists; null for the one we are in. */
  constructor(namespace: string | null = null) {
    const path = join(import.meta.dirname, 'node.ts')
    const flags = ['--conditions=source', '--expose-gc']
    this.#child =
      namespace === null
        ? fork(path, [], { serialization: 'advanced', execArgv: flags })
        : spawn('ip', ['netns', 'exec', namespace, process.execPath, ...flags, path], {
            stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
            serialization: 'advanced',
          })
    this.#child.on('message', (reply) => this.#receive(reply as LiveReply))
    this.#exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        const error = new Error(`the node ended: ${signal ?? `exit code ${code}`}`)
        for (const waiting of this.#waiting.values()) waiting.reject(error)
        this.#waiting.clear()
        resolve()
      })
    })
  }

  call<Name extends keyof LiveRequests>(
    name: Name,
    request: LiveRequests[Name]['request'],
  ): Promise<LiveRequests[Name]['answer']> {
    this.#requests += 1
    const number = this.#requests
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject })
      this.#child.send({ number, name, request })
    })
  }

  /** Stops it from running, as a machine that is suspended; {@link wake} lets it go on. */
  freeze(): void {
    this.#child.kill('SIGSTOP')
  }

  wake(): void {
    this.#child.kill('SIGCONT')
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
  }

  async close(): Promise<void> {
    await this.call('close', {})
    await this.#exited
  }

  #receive(reply: LiveReply): void {
    const waiting = this.#waiting.get(reply.number)
    this.#waiting.delete(reply.number)
    if ('error' in reply) waiting?.reject(new Error(reply.error))
    else waiting?.resolve(reply.answer as never)
  }
}
