/**
 * Work that blocks for a bounded number of rows at a time, and two ways to drive it.
 *
 * Each slice reads in a transaction of its own, so others may write between two: such work states
 * what it then means. Not here: the rows (replica/hash-scan.ts, recount.ts, compare.ts). Sessions
 * drive it with their effects (sync/session/driver.ts).
 */
import { turns } from '#platform'

/** All of it at once. Inside a transaction, over one state of the file. */
export function inOneGo<T>(work: Sliced<T>): T {
  for (;;) {
    const step = work.next()
    if (step.done === true) return step.value
  }
}

/** A slice per turn of the event loop. Rejects with the reason of `signal` when that ends it. */
export async function inTurns<T>(work: Sliced<T>, signal?: AbortSignal): Promise<T> {
  for (;;) {
    signal?.throwIfAborted()
    const step = work.next()
    if (step.done === true) return step.value
    await turns.next()
  }
}

/**
 * Work in slices: each step reads a bounded number of rows, in a transaction of its own, and yields
 * how many to account for; the last one returns the result. The driver lets other work run between
 * two.
 */
export type Sliced<T> = Generator<number, T, void>
