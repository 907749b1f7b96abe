/**
 * Metrics of sync: work done with each peer, failures, lag.
 *
 * Counters follow sync's events; gauges are read at each scrape. Peers are labelled by the first 16
 * digits of their fingerprint, up to the label's bound.
 */
import type { SyncEvent, SyncSession } from '@agentic-flow/sqlite-vector/sync'
import { SqliteVectorError } from '@agentic-flow/sqlite-vector/errors'
import { Counter, Gauge, type Registry } from 'prom-client'
import { BoundedLabel, peerLabel } from './labels.ts'
import { LagMetrics } from './lag-metrics.ts'
import { QuicMetrics } from './quic-metrics.ts'
import type { MetricSource } from './source.ts'

/** Time that a skew is shown after the last stamp that had it, in milliseconds. */
const SKEW_SHOWN_MS = 600_000

type EventOf<T extends SyncEvent['type']> = Extract<SyncEvent, { type: T }>

/** See the head of this file. */
export class SyncMetrics {
  readonly #peers = new BoundedLabel()
  readonly #shards = new BoundedLabel()
  readonly #lag: LagMetrics
  readonly #quic: QuicMetrics
  readonly #operations: Counter<'peer' | 'direction'>
  readonly #sessions: Counter<'direction' | 'result'>
  readonly #errors: Counter<'code'>
  readonly #conflicts: Counter<'shard'>
  readonly #quarantined: Counter<'shard'>
  readonly #repairs: Counter<'shard'>
  readonly #refused: Counter
  readonly #keysShared: Counter
  readonly #doubts: Counter
  readonly #collected: Counter<'shard'>
  readonly #skew: Gauge<'peer'>
  readonly #gauges: Readonly<
    Record<'queue' | 'active' | 'live' | 'peersOnline' | 'diverged', Gauge>
  >
  /** Changes reported by each session so far. */
  readonly #progress = new Map<string, number>()
  readonly #diverged = new Set<string>()
  /** Newest skew of each peer. */
  readonly #skews = new Map<string, { readonly seconds: number; readonly atMs: number }>()
  /** Handlers of the events that are counted. */
  readonly #counted: { readonly [T in SyncEvent['type']]?: (event: EventOf<T>) => void } = {
    progress: (event) => this.#progressed(event),
    'session-ended': (event) => this.#ended(event),
    conflict: ({ shardId, conflicts }) => {
      this.#conflicts.inc({ shard: this.#shards.of(shardId) }, conflicts)
    },
    quarantine: ({ shardId, quarantined }) => {
      this.#quarantined.inc({ shard: this.#shards.of(shardId) }, quarantined)
    },
    repair: ({ shardId, diverged }) => {
      if (diverged) this.#repairs.inc({ shard: this.#shards.of(shardId) })
    },
    collected: ({ shardId, count }) => {
      this.#collected.inc({ shard: this.#shards.of(shardId) }, count)
    },
    'peer-refused': () => this.#refused.inc(),
    'key-shared': () => this.#keysShared.inc(),
    doubt: () => this.#doubts.inc(),
    skew: ({ peer, skewMs }) => {
      const label = this.#peers.of(peerLabel(peer))
      this.#skews.set(label, { seconds: skewMs / 1_000, atMs: performance.now() })
    },
    peer: (event) => this.#quic.onPeer(event),
    error: ({ error, shardId }) => this.#failed(error, shardId),
  }
  #source: MetricSource | null = null

  constructor(registry: Registry) {
    const registers = [registry]
    const counter = <L extends string>(name: string, help: string, labelNames: L[]): Counter<L> =>
      new Counter({ name, help, labelNames, registers })
    const gauge = (name: string, help: string): Gauge => new Gauge({ name, help, registers })
    this.#lag = new LagMetrics(registry, this.#peers, this.#shards)
    this.#quic = new QuicMetrics(registry, this.#peers)
    this.#operations = counter(
      'sqlite_vector_sync_operations_total',
      'Changes in committed batches: committed here (pull) or by the peer (push).',
      ['peer', 'direction'],
    )
    this.#sessions = counter(
      'sqlite_vector_sync_sessions_total',
      'Ended sessions by result: ok, or an error code.',
      ['direction', 'result'],
    )
    this.#errors = counter('sqlite_vector_sync_errors_total', 'Failures of live sync, by code.', [
      'code',
    ])
    this.#conflicts = counter('sqlite_vector_conflicts_total', 'Conflicts received.', ['shard'])
    this.#quarantined = counter(
      'sqlite_vector_quarantined_total',
      'Changes from peers that could not be applied.',
      ['shard'],
    )
    this.#repairs = counter(
      'sqlite_vector_divergences_total',
      'Divergences found and repaired: rows differed from a peer although they had to be equal.',
      ['shard'],
    )
    this.#collected = counter(
      'sqlite_vector_tombstones_collected_total',
      'Tombstones collected because every known replica holds them.',
      ['shard'],
    )
    this.#refused = counter(
      'sqlite_vector_peers_refused_total',
      'Connections refused because the peer is not trusted.',
      [],
    )
    this.#keysShared = counter(
      'sqlite_vector_keys_shared_total',
      'Times that two living processes were seen with one key.',
      [],
    )
    this.#doubts = counter(
      'sqlite_vector_identity_doubts_total',
      'Claims about writes of this node that their peer did not prove.',
      [],
    )
    this.#skew = new Gauge({
      name: 'sqlite_vector_clock_skew_seconds',
      help: 'Lead of a peer over this clock, from its newest stamps beyond the drift bound.',
      labelNames: ['peer'],
      registers,
    })
    this.#gauges = {
      queue: gauge('sqlite_vector_sync_queue_tasks', 'One-off syncs waiting to run.'),
      active: gauge('sqlite_vector_sync_sessions_active', 'Sessions running now.'),
      live: gauge('sqlite_vector_sync_live_shards', 'Pairs of shard and peer that are live.'),
      peersOnline: gauge('sqlite_vector_peers_connected', 'Peers with an open connection.'),
      diverged: gauge(
        'sqlite_vector_divergent_shards',
        'Shards whose rows still differ from a peer after a comparison.',
      ),
    }
  }

  attach(source: MetricSource): void {
    this.#source = source
    this.#lag.attach(source.db.replica)
  }

  onEvent(event: SyncEvent): void {
    const count = this.#counted[event.type] as ((event: SyncEvent) => void) | undefined
    count?.(event)
  }

  collect(): void {
    this.#gauges.diverged.set(this.#diverged.size)
    this.#collectSkews()
    if (this.#source === null) return
    const { coordinator, db } = this.#source
    const session: SyncSession = coordinator.sync.getSession()
    this.#gauges.queue.set(coordinator.getPendingTasksCount())
    this.#gauges.active.set(session.sessionsActive)
    this.#gauges.live.set(session.autoSyncs.filter(({ status }) => status === 'live').length)
    this.#gauges.peersOnline.set(new Set(session.connections.map(({ peer }) => peer)).size)
    this.#lag.collect(session.peers, db.replica.shardStates())
    this.#quic.collect(session)
  }

  /** A clock that was set right sends no further skew; its gauge goes after a while. */
  #collectSkews(): void {
    this.#skew.reset()
    for (const [peer, { seconds, atMs }] of this.#skews) {
      if (performance.now() - atMs > SKEW_SHOWN_MS) this.#skews.delete(peer)
      else this.#skew.set({ peer }, seconds)
    }
  }

  #ended(event: EventOf<'session-ended'>): void {
    const { direction, shardId, error } = event
    this.#progressed(event)
    this.#progress.delete(keyOf(event))
    this.#sessions.inc({ direction, result: resultOf(error) })
    if (shardId === null) return
    // The puller compares digests when it has caught up.
    if (error === null && direction === 'pull') this.#diverged.delete(shardId)
    if (resultOf(error) === 'SYNC_DIVERGED') this.#diverged.add(shardId)
  }

  /** Sessions report sums; the growth since the last report is counted. */
  #progressed(event: EventOf<'progress' | 'session-ended'>): void {
    const key = keyOf(event)
    const before = this.#progress.get(key) ?? 0
    const changes = event.changes >= before ? event.changes - before : event.changes
    this.#progress.set(key, event.changes)
    const { direction } = event
    if (changes > 0) {
      this.#operations.inc({ peer: this.#peers.of(peerLabel(event.peer)), direction }, changes)
    }
  }

  #failed(error: Error, shardId: string | null): void {
    const code = resultOf(error)
    this.#errors.inc({ code })
    if (code === 'SYNC_DIVERGED' && shardId !== null) this.#diverged.add(shardId)
  }
}

function keyOf({
  direction,
  shardId,
  peer,
}: {
  direction: string
  shardId: string | null
  peer: string
}): string {
  return `${direction} ${peer} ${shardId ?? ''}`
}

function resultOf(error: Error | null): string {
  if (error === null) return 'ok'
  return error instanceof SqliteVectorError ? error.code : 'fault'
}
