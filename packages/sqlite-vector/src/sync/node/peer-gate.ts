/**
 * The way to one peer, for all shards that are kept in sync with it: connects, and after a failure
 * lets no caller through before the backoff is over. Knows nothing of shards.
 *
 * Invariant: however many wait, a peer that does not answer is dialled once per backoff.
 */
import { random } from '#platform'

import type { Clock } from '../../clock/types.ts'
import { SqliteVectorError } from '../../errors.ts'
import { RETRY_BUDGET, RETRY_DELAY_MS, RETRY_DELAY_MS_MAX, RETRY_REFILL_MS } from '../../limits.ts'
import { abortable } from '../../transport/abortable.ts'
import type { Connection, PeerAddress } from '../../transport/types.ts'
import { SharedTask } from './shared-task.ts'
import { Backoff, RetryBudget } from '../../clock/backoff.ts'

/** Opens or reuses a connection. */
export type Connect = (address: PeerAddress, signal: AbortSignal) => Promise<Connection>

/** See the head of this file. */
export class PeerGate {
  readonly address: PeerAddress
  readonly #connect: Connect
  readonly #clock: Clock
  readonly #backoff = new Backoff({ firstMs: RETRY_DELAY_MS, lastMs: RETRY_DELAY_MS_MAX })
  readonly #budget: RetryBudget
  #openAtMs = 0
  #dialling: SharedTask<Connection> | null = null
  /** The failure of the newest attempt; null after one that succeeded. */
  lastError: Error | null = null

  constructor(address: PeerAddress, connect: Connect, clock: Clock) {
    this.address = address
    this.#connect = connect
    this.#clock = clock
    this.#budget = new RetryBudget(RETRY_BUDGET, RETRY_REFILL_MS, clock.monotonicMs())
  }

  /** Attempts that failed in a row. */
  get failures(): number {
    return this.#backoff.failures
  }

  /** Milliseconds until the next attempt may be made. */
  get waitMs(): number {
    return Math.max(0, this.#openAtMs - this.#clock.monotonicMs())
  }

  /** A connection, once one may be tried for. @throws what hindered it */
  async pass(signal: AbortSignal): Promise<Connection> {
    while (this.waitMs > 0) await sleep(this.#clock, this.waitMs, signal)
    // A caller that gives up ends its own wait; the dial ends with the last of them.
    if (this.#dialling === null || this.#dialling.ended) {
      this.#dialling = new SharedTask((dialling) => this.#dial(dialling))
    }
    return this.#dialling.wait(signal)
  }

  async #dial(signal: AbortSignal): Promise<Connection> {
    try {
      const connection = await this.#connect(this.address, signal)
      this.#backoff.succeeded()
      this.lastError = null
      return connection
    } catch (error) {
      if (error instanceof SqliteVectorError && !signal.aborted) {
        const delayMs = Math.max(this.#backoff.failed(chance()), this.#budget.take(this.#nowMs()))
        this.#openAtMs = this.#nowMs() + delayMs
        this.lastError = error
      }
      throw error
    }
  }

  #nowMs(): number {
    return this.#clock.monotonicMs()
  }
}

/** A number from 0 to below 1, for jitter. */
export function chance(): number {
  return random.below(2 ** 32) / 2 ** 32
}

/** Resolves after `delayMs`. @throws `TRANSPORT_ABORTED` when the signal ends it */
export function sleep(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return abortable<void>(signal, (resolve) => clock.schedule(delayMs, () => resolve()))
}
