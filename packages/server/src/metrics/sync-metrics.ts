/**
 * What sync did, with whom, and how far peers are behind.
 *
 * Counted from the events of sync; gauges are looked up when metrics are read. Peers are told apart by the first
 * 16 digits of their fingerprint, up to the bound of the label.
 */
import type { SyncEvent, SyncSession } from '@agentic-flow/sqlite-vector/sync'
import { SqliteVectorError } from '@agentic-flow/sqlite-vector/errors'
import { Counter, Gauge, type Registry } from 'prom-client'
import { BoundedLabel, peerLabel } from './labels.ts'
import { LagMetrics } from './lag-metrics.ts'
import { QuicMetrics } from './quic-metrics.ts'
import type { MetricSource } from './source.ts'

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
  readonly #collected: Counter<'shard'>
  readonly #skew: Gauge<'peer'>
  readonly #gauges: Readonly<
    Record<'queue' | 'active' | 'live' | 'peersOnline' | 'diverged', Gauge>
  >
  /** Changes told of by each session so far. */
  readonly #progress = new Map<string, number>()
  readonly #diverged = new Set<string>()
  /** Events that are counted; the others say nothing that is. */
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
    skew: ({ peer, skewMs }) => {
      this.#skew.set({ peer: this.#peers.of(peerLabel(peer)) }, skewMs / 1_000)
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
      'Changes of batches that were committed: by us (pull), by the peer (push).',
      ['peer', 'direction'],
    )
    this.#sessions = counter(
      'sqlite_vector_sync_sessions_total',
      'Sessions that ended, by result: ok or the code of an error.',
      ['direction', 'result'],
    )
    this.#errors = counter('sqlite_vector_sync_errors_total', 'Failures of live sync, by code.', [
      'code',
    ])
    this.#conflicts = counter('sqlite_vector_conflicts_total', 'Conflicts that came in.', ['shard'])
    this.#quarantined = counter(
      'sqlite_vector_quarantined_total',
      'Changes of peers that could not be applied.',
      ['shard'],
    )
    this.#repairs = counter(
      'sqlite_vector_divergences_total',
      'Times that rows differed from those of a peer and had to be equal; they were mended.',
      ['shard'],
    )
    this.#collected = counter(
      'sqlite_vector_tombstones_collected_total',
      'Deletes forgotten because every known replica has them.',
      ['shard'],
    )
    this.#refused = counter('sqlite_vector_peers_refused_total', 'Strangers turned away.', [])
    this.#skew = new Gauge({
      name: 'sqlite_vector_clock_skew_seconds',
      help: 'How far the newest stamps of a peer beyond the drift bound were ahead of our clock.',
      labelNames: ['peer'],
      registers,
    })
    this.#gauges = {
      queue: gauge('sqlite_vector_sync_queue_tasks', 'Syncs that wait for their turn.'),
      active: gauge('sqlite_vector_sync_sessions_active', 'Sessions under way.'),
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

  #ended(event: EventOf<'session-ended'>): void {
    const { direction, shardId, error } = event
    this.#progressed(event)
    this.#progress.delete(keyOf(event))
    this.#sessions.inc({ direction, result: resultOf(error) })
    if (shardId === null) return
    // Whoever pulls compares digests when it has caught up.
    if (error === null && direction === 'pull') this.#diverged.delete(shardId)
    if (resultOf(error) === 'SYNC_DIVERGED') this.#diverged.add(shardId)
  }

  /** Sessions tell sums: what is new since the last time is counted. */
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
