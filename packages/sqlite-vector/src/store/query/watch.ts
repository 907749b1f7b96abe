/**
 * `watch()`: the result of a query, and again whenever it changes. The change may come from this
 * process, from another one on the file, or from a peer.
 *
 * Runs the query again after commits to the shard and compares the results, so each result it
 * yields equals the query's answer at that moment. A slow reader misses results in between, never
 * the newest. Holds two results at most.
 */
import { bytesEqual, viewToBytes } from '../../bytes.ts'
import { systemClock } from '../../clock/system-clock.ts'
import type { Clock } from '../../clock/types.ts'
import { FOREIGN_POLL_IDLE_MS, K_MAX } from '../../limits.ts'
import { integerIn, objectGiven, rejectUnknownKeys } from '../../options.ts'
import type { VectorQuery } from './query-builder.ts'
import type { Filter } from './types.ts'
import type { VectorRecord } from '../types.ts'
import { type ReplicaStore } from '../replica/types.ts'
import { type SearchOptions, type SearchResult } from './types.ts'
import { type VectorInput } from '../../model/records.ts'

/** The part of a database that a watch uses. */
export interface WatchableDatabase {
  readonly replica: Pick<ReplicaStore, 'onCommit' | 'poll'>
  search(shardId: string, vector: VectorInput, options: SearchOptions): readonly SearchResult[]
  query(shardId: string): VectorQuery
}

/** The nearest to a vector, or the records that pass a filter. */
export type WatchQuery =
  | ({ readonly vector: VectorInput } & SearchOptions)
  | {
      readonly filter: Filter
      /** Most records. Integer, 1 to 10,000. @defaultValue `100` */
      readonly limit?: number
    }

/** Options of `watch()`. */
export interface WatchOptions {
  /** Ends the watch. */
  readonly signal?: AbortSignal
}

/**
 * Yields the result of `query` now and after every change of it. Ends when the loop is left or
 * `signal` ends it.
 * @throws errors of the query
 */
export async function* watch(
  db: WatchableDatabase,
  shardId: string,
  query: WatchQuery | VectorQuery,
  options: WatchOptions = {},
): AsyncGenerator<readonly (VectorRecord | SearchResult)[], void> {
  rejectUnknownKeys('watch', options, ['signal'])
  const run = runnerOf(db, shardId, query)
  const { signal } = options
  const changes = new Changes(db.replica, shardId, systemClock)
  const end = (): void => changes.end()
  if (signal?.aborted === true) end()
  signal?.addEventListener('abort', end, { once: true })
  try {
    let last: readonly (VectorRecord | SearchResult)[] | null = null
    while (!changes.isOver) {
      // Before the query runs: a commit during it makes another round.
      changes.isPending = false
      const result = run()
      if (last === null || !isSameResult(result, last)) {
        last = result
        yield result
      }
      await changes.next()
    }
  } finally {
    signal?.removeEventListener('abort', end)
    changes.close()
  }
}

function runnerOf(
  db: WatchableDatabase,
  shardId: string,
  query: WatchQuery | VectorQuery,
): () => readonly (VectorRecord | SearchResult)[] {
  objectGiven('watch: query', query)
  if ('all' in query) return () => query.all()
  if ('vector' in query) {
    const { vector, ...rest } = query
    // Later changes to the caller's array must not change the query.
    const own = Float32Array.from(vector)
    return () => db.search(shardId, own, rest)
  }
  rejectUnknownKeys('watch: query', query, ['filter', 'limit'])
  const { filter, limit = 100 } = query
  integerIn('watch: limit', limit, 1, K_MAX)
  return () => db.query(shardId).where(filter).limit(limit).all()
}

/** Reports that a shard changed; polls for other processes' commits while a caller waits. */
class Changes {
  readonly #replica: WatchableDatabase['replica']
  readonly #clock: Clock
  readonly #stopListening: () => void
  #waiting: (() => void) | null = null
  #cancelPoll: (() => void) | null = null
  /** True when the shard changed since this was last set to false. */
  isPending = false
  isOver = false

  constructor(replica: WatchableDatabase['replica'], shardId: string, clock: Clock) {
    this.#replica = replica
    this.#clock = clock
    this.#stopListening = replica.onCommit((notice) => {
      if (notice.shardId === shardId) this.wake()
    })
  }

  wake(): void {
    this.isPending = true
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.()
  }

  end(): void {
    this.isOver = true
    this.wake()
  }

  /**
   * Resolves at the next change, at once when there was one. @throws errors of polling: the file
   * was closed, or its disk fails
   */
  next(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.isPending || this.isOver) {
        resolve()
        return
      }
      this.#waiting = resolve
      this.#pollSoon(reject)
    })
  }

  close(): void {
    this.#cancelPoll?.()
    this.#stopListening()
  }

  #pollSoon(reject: (error: unknown) => void): void {
    this.#cancelPoll?.()
    this.#cancelPoll = this.#clock.schedule(FOREIGN_POLL_IDLE_MS, () => {
      try {
        this.#replica.poll()
      } catch (error) {
        reject(error)
        return
      }
      if (this.#waiting !== null) this.#pollSoon(reject)
    })
  }
}

/** True when two results hold the same values: JSON, and vectors component by component. */
function isSameResult(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (a instanceof Float32Array || b instanceof Float32Array) {
    return (
      a instanceof Float32Array &&
      b instanceof Float32Array &&
      bytesEqual(viewToBytes(a), viewToBytes(b))
    )
  }
  const keys = Object.keys(a)
  return (
    Array.isArray(a) === Array.isArray(b) &&
    keys.length === Object.keys(b).length &&
    keys.every(
      (key) =>
        Object.hasOwn(b, key) &&
        isSameResult((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]),
    )
  )
}
