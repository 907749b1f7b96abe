/**
 * Replication lag of each peer, in operations and in seconds, from its last acknowledgement.
 *
 * Operations are counted by version vectors: writes held here that the peer has not acknowledged. A
 * record written many times counts each write, although it is sent once. Seconds are the age of the
 * oldest commit that the peer has not acknowledged; a lower bound for commits made before this
 * process started.
 */
import { performance } from 'node:perf_hooks'
import type { PeerCursor, ReplicaStore, ShardState } from '@agentic-flow/sqlite-vector'
import { Gauge, type Registry } from 'prom-client'
import { FeedMarks } from './feed-marks.ts'
import { type BoundedLabel, peerLabel } from './labels.ts'

export class LagMetrics {
  readonly #peers: BoundedLabel
  readonly #shards: BoundedLabel
  readonly #operations: Gauge<'peer' | 'shard'>
  readonly #seconds: Gauge<'peer' | 'shard'>
  readonly #marks = new Map<string, FeedMarks>()

  constructor(registry: Registry, peers: BoundedLabel, shards: BoundedLabel) {
    this.#peers = peers
    this.#shards = shards
    const labelNames = ['peer', 'shard'] as const
    this.#operations = new Gauge({
      name: 'sqlite_vector_replication_lag_operations',
      help: 'Writes held here that the peer has not acknowledged.',
      labelNames,
      registers: [registry],
    })
    this.#seconds = new Gauge({
      name: 'sqlite_vector_replication_lag_seconds',
      help: 'Age of the oldest commit that the peer has not acknowledged.',
      labelNames,
      registers: [registry],
    })
  }

  attach(replica: ReplicaStore): void {
    replica.onCommit(({ shardId, head }) => this.#marksOf(shardId).passed(head, performance.now()))
  }

  collect(cursors: readonly PeerCursor[], states: readonly ShardState[]): void {
    this.#operations.reset()
    this.#seconds.reset()
    const byShard = new Map(states.map((state) => [state.shardId, state]))
    const nowMs = performance.now()
    const furthest = new Map<string, number>()
    for (const { peer, shardId, versionVector, ackedCursor } of cursors) {
      const state = byShard.get(shardId)
      if (state === undefined || versionVector === null) continue
      const labels = { peer: this.#peers.of(peerLabel(peer)), shard: this.#shards.of(shardId) }
      const operations = missing(state.versionVector, versionVector)
      this.#operations.inc(labels, operations)
      const ageMs = operations === 0 ? 0 : this.#ageMs(state, ackedCursor, nowMs)
      // The largest lag counts when several shards or peers share a label.
      const key = `${labels.peer} ${labels.shard}`
      const furthestMs = Math.max(ageMs, furthest.get(key) ?? 0)
      furthest.set(key, furthestMs)
      this.#seconds.set(labels, furthestMs / 1_000)
    }
  }

  /**
   * Commits from before this process have no mark; they are at least as old as the newest commit.
   */
  #ageMs({ shardId, head, updatedAtMs }: ShardState, cursor: number, nowMs: number): number {
    const markedMs = this.#marksOf(shardId).ageMs(cursor, head, nowMs)
    return Math.max(markedMs, Date.now() - updatedAtMs)
  }

  #marksOf(shardId: string): FeedMarks {
    let marks = this.#marks.get(shardId)
    if (marks === undefined) {
      marks = new FeedMarks()
      this.#marks.set(shardId, marks)
    }
    return marks
  }
}

/** Writes that `ours` covers and `theirs` does not. Pure. */
function missing(ours: ReadonlyMap<string, number>, theirs: ReadonlyMap<string, number>): number {
  let count = 0
  for (const [actor, counter] of ours) count += Math.max(0, counter - (theirs.get(actor) ?? 0))
  return count
}
