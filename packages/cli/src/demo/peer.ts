/**
 * A node process as the orchestrator sees it: started, asked, and seen to its end.
 *
 * Nothing of the node's work happens here. A node that ends before it answered rejects the call
 * with its exit code or signal, so the demo never waits for a dead process.
 */
import { InputError } from '../formats/input-error.ts'
import { fork, type ChildProcess } from 'node:child_process'
import type { CallName, Calls, NodeMessage } from './messages.ts'
import { NODE_PROCESS_PATH } from './node-process.ts'

interface Waiting {
  readonly resolve: (answer: never) => void
  readonly reject: (error: Error) => void
}

export type OnProgress = (label: string, done: number, total: number) => void

/** One child process that owns one database file. */
export class PeerProcess {
  readonly name: string
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  readonly #exited: Promise<void>
  #calls = 0

  constructor(name: string, onProgress: OnProgress) {
    this.name = name
    // The parent's own flags (`--conditions=source`) come along, so both run the same sources.
    this.#child = fork(NODE_PROCESS_PATH, [], { serialization: 'advanced' })
    this.#child.on('message', (message) => this.#receive(message as NodeMessage, onProgress))
    this.#exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        this.#failAll(new Error(`node ${name} ended: ${signal ?? `exit code ${code}`}`))
        resolve()
      })
    })
    this.#child.once('error', (error) => this.#failAll(error))
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Sends one request; rejects with the node's own message when it failed. */
  call<Name extends CallName>(
    call: Name,
    request: Calls[Name]['request'],
  ): Promise<Calls[Name]['answer']> {
    this.#calls += 1
    const number = this.#calls
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject })
      this.#child.send({ number, call, request }, (error) => {
        if (error !== null) this.#settle(number)?.reject(error)
      })
    })
  }

  /** Closes the node and waits until its process is gone. */
  async close(): Promise<void> {
    await this.call('close', {})
    await this.#exited
  }

  /** Kills the process if it still runs, after a failed demo. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
  }

  #receive(message: NodeMessage, onProgress: OnProgress): void {
    switch (message.type) {
      case 'progress':
        onProgress(message.label, message.done, message.total)
        return
      case 'answer':
        this.#settle(message.number)?.resolve(message.answer as never)
        return
      case 'failure':
        this.#settle(message.number)?.reject(
          new InputError(`node ${this.name}: ${message.message}`),
        )
    }
  }

  #settle(number: number): Waiting | undefined {
    const waiting = this.#waiting.get(number)
    this.#waiting.delete(number)
    return waiting
  }

  #failAll(error: Error): void {
    for (const number of this.#waiting.keys()) this.#settle(number)?.reject(error)
  }
}
