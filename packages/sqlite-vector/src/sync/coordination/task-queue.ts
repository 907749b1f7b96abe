/**
 * Which sync runs next: tasks by priority, one at a time per shard and peer, at most so many at
 * once, and no peer in the way of another. Pure: time is an argument, nothing runs here.
 *
 *   priority   larger first; equal ones in the order they were scheduled
 *   fairness   while others wait, a peer has at most half of the places, and one whose last contact
 *              failed or that was never reached has one: a slow or dead peer delays no other
 *   rest       a peer that failed rests; its tasks wait, those of others go on
 *
 * Invariants: a (shard, peer) is pending at most once and active at most once, never both started;
 * a task scheduled while the same one is active runs after it.
 */

/** A shard to be synced with a peer. */
export interface SyncTask {
  readonly shardId: string
  /** Node id of the peer. */
  readonly peer: string
  readonly priority: number
}

interface Pending extends SyncTask {
  readonly key: string
  readonly order: number
}

interface Lane {
  /** By priority, then order; the next one last. */
  readonly pending: Pending[]
  isSorted: boolean
  active: number
  isProven: boolean
  restsUntilMs: number
}

/** See the head of this file. */
export class TaskQueue {
  readonly #concurrencyMax: number
  readonly #lanes = new Map<string, Lane>()
  readonly #pendingKeys = new Set<string>()
  readonly #activeKeys = new Set<string>()
  #orders = 0

  constructor(concurrencyMax: number) {
    this.#concurrencyMax = concurrencyMax
  }

  get pendingCount(): number {
    return this.#pendingKeys.size
  }

  get activeCount(): number {
    return this.#activeKeys.size
  }

  /**
   * Adds a task; one that is pending already stays, with the larger priority. True when it is new.
   */
  schedule(task: SyncTask): boolean {
    const key = keyOf(task)
    const lane = this.#lane(task.peer)
    this.#orders += 1
    const entry = { ...task, key, order: this.#orders }
    if (this.#pendingKeys.has(key)) {
      const at = lane.pending.findIndex((one) => one.key === key)
      const known = lane.pending[at]
      if (known !== undefined && known.priority < task.priority) {
        lane.pending[at] = { ...entry, order: known.order }
        lane.isSorted = false
      }
      return false
    }
    this.#pendingKeys.add(key)
    lane.pending.push(entry)
    lane.isSorted = false
    return true
  }

  /** The task to start now; null when none may. It is active until {@link ended}. */
  next(nowMs: number): SyncTask | null {
    if (this.#activeKeys.size >= this.#concurrencyMax) return null
    let best: { readonly lane: Lane; readonly at: number; readonly task: Pending } | null = null
    const isCrowded = this.#waitingLanes(nowMs) > 1
    for (const lane of this.#lanes.values()) {
      if (lane.restsUntilMs > nowMs || lane.active >= this.#share(lane, isCrowded)) continue
      const at = this.#first(lane)
      const task = lane.pending[at]
      if (task !== undefined && (best === null || isBefore(task, best.task))) {
        best = { lane, at, task }
      }
    }
    if (best === null) return null
    best.lane.pending.splice(best.at, 1)
    this.#pendingKeys.delete(best.task.key)
    this.#activeKeys.add(best.task.key)
    best.lane.active += 1
    const { shardId, peer, priority } = best.task
    return { shardId, peer, priority }
  }

  /** The active task is over; `isProven`: the peer answered. */
  ended(task: SyncTask, isProven: boolean): void {
    this.#activeKeys.delete(keyOf(task))
    const lane = this.#lane(task.peer)
    lane.active -= 1
    lane.isProven = isProven
  }

  /** Starts nothing with the peer before then. */
  rest(peer: string, untilMs: number): void {
    this.#lane(peer).restsUntilMs = untilMs
  }

  /** When the first resting peer with tasks may be tried again; null when none rests. */
  wakesAtMs(nowMs: number): number | null {
    const times = [...this.#lanes.values()]
      .filter(({ pending, restsUntilMs }) => pending.length > 0 && restsUntilMs > nowMs)
      .map(({ restsUntilMs }) => restsUntilMs)
    return times.length === 0 ? null : Math.min(...times)
  }

  /** Takes out the pending tasks of a peer, or all. */
  clear(peer: string | null = null): readonly SyncTask[] {
    const taken: SyncTask[] = []
    for (const [name, lane] of this.#lanes) {
      if (peer !== null && name !== peer) continue
      for (const task of lane.pending.splice(0)) {
        this.#pendingKeys.delete(task.key)
        taken.push({ shardId: task.shardId, peer: task.peer, priority: task.priority })
      }
    }
    return taken
  }

  #share(lane: Lane, isCrowded: boolean): number {
    if (!lane.isProven) return 1
    return isCrowded ? Math.max(1, Math.ceil(this.#concurrencyMax / 2)) : this.#concurrencyMax
  }

  #waitingLanes(nowMs: number): number {
    let count = 0
    for (const lane of this.#lanes.values()) {
      if (lane.pending.length > 0 && lane.restsUntilMs <= nowMs) count += 1
    }
    return count
  }

  /** The place of the lane's next task that is not active already; -1 when there is none. */
  #first(lane: Lane): number {
    if (!lane.isSorted) {
      lane.pending.sort((a, b) => (isBefore(a, b) ? 1 : -1))
      lane.isSorted = true
    }
    return lane.pending.findLastIndex(({ key }) => !this.#activeKeys.has(key))
  }

  #lane(peer: string): Lane {
    const known = this.#lanes.get(peer)
    if (known !== undefined) return known
    const lane: Lane = {
      pending: [],
      isSorted: true,
      active: 0,
      isProven: false,
      restsUntilMs: 0,
    }
    this.#lanes.set(peer, lane)
    return lane
  }
}

function keyOf({ shardId, peer }: SyncTask): string {
  return `${peer}\0${shardId}`
}

function isBefore(a: Pending, b: Pending): boolean {
  return a.priority === b.priority ? a.order < b.order : a.priority > b.priority
}
