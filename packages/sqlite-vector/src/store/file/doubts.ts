/**
 * Peers that claim writes of this file's own actors which the file did not make, or write under its
 * actor.
 *
 * Such a claim is true after a restore or a clone, and a lie otherwise. It costs the claimant, not
 * this file: the peer is asked once for all rows under our actors, is sent nothing until then, for
 * DOUBT_WAIT_MS at most, and only rows renew an identity. A peer that has shown none is not asked
 * again for DOUBT_INTERVAL_MS. Renewals that one peer causes follow a budget. Kept in memory: after
 * a restart, a claim is looked into again.
 *
 * Not here: what rows prove (replica/own-writes.ts). Invariant: at most DOUBTS_MAX pairs of shard
 * and peer are kept.
 */
import { RetryBudget } from '../../clock/backoff.ts'
import {
  DOUBT_INTERVAL_MS,
  DOUBT_WAIT_MS,
  DOUBTS_MAX,
  RENEWALS_PER_PEER_MAX,
  RENEWALS_REFILL_MS,
} from '../../limits.ts'

interface Doubt {
  readonly atMs: number
  isPending: boolean
}

/** The doubts of one open file. */
export class Doubts {
  readonly #doubts = new Map<string, Doubt>()
  readonly #budgets = new Map<string, RetryBudget>()

  /** Notes a claim of the peer; true while it is to be waited until the peer has shown its rows. */
  note(shardId: string, peer: string, nowMs: number): boolean {
    const key = keyOf(shardId, peer)
    const known = this.#doubts.get(key)
    const ageMs = known === undefined ? Infinity : nowMs - known.atMs
    if (known !== undefined && ageMs >= 0 && ageMs < DOUBT_INTERVAL_MS) {
      // Two nodes that doubt each other must not wait for each other for long.
      return known.isPending && ageMs < DOUBT_WAIT_MS
    }
    this.#doubts.delete(key)
    this.#doubts.set(key, { atMs: nowMs, isPending: true })
    dropOldest(this.#doubts)
    return true
  }

  /** True while the peer is to be asked for all rows under our actors. */
  isPending(shardId: string, peer: string): boolean {
    return this.#doubts.get(keyOf(shardId, peer))?.isPending === true
  }

  /** The peer has shown all that it holds. */
  settle(shardId: string, peer: string): void {
    const doubt = this.#doubts.get(keyOf(shardId, peer))
    if (doubt !== undefined) doubt.isPending = false
  }

  /** True when the peer may cause a new identity now; counts it. */
  mayRenew(peer: string, nowMs: number): boolean {
    const budget =
      this.#budgets.get(peer) ?? new RetryBudget(RENEWALS_PER_PEER_MAX, RENEWALS_REFILL_MS, nowMs)
    this.#budgets.set(peer, budget)
    dropOldest(this.#budgets)
    return budget.take(nowMs) === 0
  }
}

function keyOf(shardId: string, peer: string): string {
  return `${peer} ${shardId}`
}

function dropOldest(entries: Map<string, unknown>): void {
  if (entries.size <= DOUBTS_MAX) return
  for (const key of entries.keys()) {
    entries.delete(key)
    return
  }
}
