/**
 * Forgets deletes from time to time, as long as a sync is open: those that every known replica has.
 *
 * Not here: which these are (store/replica/tombstones.ts). One timer, taken from the clock that it
 * is given; it keeps no process alive.
 */
import type { Clock } from '../../clock/types.ts'
import { SqliteVectorError } from '../../errors.ts'
import { COLLECT_FIRST_MS } from '../../limits.ts'
import type { SyncEvent } from '../types.ts'
import { type ReplicaStore } from '../../store/replica/types.ts'

/** How often, and how long a silent replica is waited for, in milliseconds. */
export interface CollectorOptions {
  /** 0 for not at all. */
  readonly collectIntervalMs: number
  readonly replicaRetentionMs: number
}

/** Runs until it is closed; tells of deletes that were forgotten, and of failures of the store. */
export class TombstoneCollector {
  readonly #store: Pick<ReplicaStore, 'shardStates' | 'collectTombstones'>
  readonly #clock: Clock
  readonly #options: CollectorOptions
  readonly #emit: (event: SyncEvent) => void
  #cancel: (() => void) | null = null

  constructor(
    store: Pick<ReplicaStore, 'shardStates' | 'collectTombstones'>,
    clock: Clock,
    options: CollectorOptions,
    emit: (event: SyncEvent) => void,
  ) {
    this.#store = store
    this.#clock = clock
    this.#options = options
    this.#emit = emit
    const { collectIntervalMs } = options
    if (collectIntervalMs > 0) this.#later(Math.min(collectIntervalMs, COLLECT_FIRST_MS))
  }

  /** Idempotent. */
  close(): void {
    this.#cancel?.()
    this.#cancel = null
  }

  #later(delayMs: number): void {
    this.#cancel = this.#clock.schedule(delayMs, () => {
      this.#later(this.#options.collectIntervalMs)
      try {
        this.#collect()
      } catch (error) {
        if (!(error instanceof SqliteVectorError)) throw error
        // No caller waits for it, and it runs again later.
        this.#emit({ type: 'error', shardId: null, address: null, error, willRetry: true })
      }
    })
  }

  #collect(): void {
    for (const { shardId, tombstoneCount } of this.#store.shardStates()) {
      if (tombstoneCount === 0) continue
      const count = this.#store.collectTombstones(shardId, this.#options.replicaRetentionMs)
      if (count > 0) this.#emit({ type: 'collected', shardId, count })
    }
  }
}
