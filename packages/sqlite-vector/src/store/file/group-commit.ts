/**
 * Group commit: calls that come in one turn of the event loop share one transaction, so that many
 * small writes cost one flush to disk. Each is resolved when its writes are durable, and fails
 * alone.
 *
 * Not here: the transaction (file/transaction.ts). Invariant: nothing is resolved before the commit
 * that holds it.
 */
import { turns } from '#platform'

import type { OpenFile } from './transaction.ts'

interface Waiting {
  readonly run: () => unknown
  readonly resolve: (value: never) => void
  readonly reject: (error: unknown) => void
}

type Outcome = { readonly value: unknown } | { readonly error: unknown }

/** The calls of one open file that wait for the end of the turn. */
export class GroupCommit {
  readonly #core: OpenFile
  #waiting: Waiting[] = []

  constructor(core: OpenFile) {
    this.#core = core
  }

  /** Runs `fn` at the end of this turn, in a transaction shared with the others. */
  add<T>(fn: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#waiting.length === 0) turns.soon(() => this.flush())
      this.#waiting.push({ run: fn, resolve, reject })
    })
  }

  /** Runs and commits what waits now. */
  flush(): void {
    const waiting = this.#waiting
    this.#waiting = []
    if (waiting.length === 0) return
    let outcomes: readonly Outcome[]
    try {
      outcomes = this.#core.write((transaction) =>
        waiting.map(({ run }) => {
          try {
            return { value: this.#core.savepoint(transaction, run) }
          } catch (error) {
            return { error }
          }
        }),
      )
    } catch (error) {
      // The commit failed: nothing of the group is durable.
      for (const { reject } of waiting) reject(error)
      return
    }
    for (const [index, outcome] of outcomes.entries()) {
      const { resolve, reject } = waiting[index] as Waiting
      if ('error' in outcome) reject(outcome.error)
      else resolve(outcome.value as never)
    }
  }
}
