/**
 * Metrics of the database file: contents, sizes, durations.
 *
 * Counts and sizes are read from the file at each scrape, so they cannot drift. Shards beyond the
 * label's bound are summed as `other`.
 */
import { statSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import type { ShardState, StoreEvent } from '@agentic-flow/sqlite-vector'
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import { BoundedLabel } from './labels.ts'
import type { MetricSource } from './source.ts'

/** From one row to a scan of millions, in seconds. */
const SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5]

/** Reasons of a new actor id. */
const RENEWALS: readonly Extract<StoreEvent, { type: 'identity-renewed' }>['reason'][] = [
  'unclean-open',
  'file-replaced',
  'own-writes-unknown',
  'cloned',
  'shard-dropped',
  'requested',
]

type PerShard = keyof Pick<
  ShardState,
  'recordCount' | 'tombstoneCount' | 'conflictCount' | 'quarantineCount'
>

/** See the head of this file. */
export class StoreMetrics {
  readonly #shardLabel = new BoundedLabel()
  readonly #perShard: readonly (readonly [PerShard, Gauge<'shard'>])[]
  readonly #databaseBytes: Gauge
  readonly #freeBytes: Gauge
  readonly #walBytes: Gauge
  readonly #indexBytes: Gauge<'shard'>
  readonly #shards: Gauge
  readonly #queries: Histogram<'kind'>
  readonly #writes: Histogram<'operation'>
  readonly #applies: Histogram
  readonly #identities: Counter<'reason'>
  readonly #damaged: Counter
  #source: MetricSource | null = null

  constructor(registry: Registry) {
    const gauge = (name: string, help: string): Gauge =>
      new Gauge({ name, help, registers: [registry] })
    const perShard = (name: string, help: string): Gauge<'shard'> =>
      new Gauge({ name, help, labelNames: ['shard'], registers: [registry] })
    this.#perShard = [
      ['recordCount', perShard('sqlite_vector_records', 'Visible records.')],
      ['tombstoneCount', perShard('sqlite_vector_tombstones', 'Deletes that still sync.')],
      ['conflictCount', perShard('sqlite_vector_conflicts_open', 'Records in conflict.')],
      [
        'quarantineCount',
        perShard(
          'sqlite_vector_quarantined_changes',
          'Changes in quarantine: they could not be applied.',
        ),
      ],
    ]
    this.#shards = gauge('sqlite_vector_shards', 'Shards of the file.')
    this.#databaseBytes = gauge('sqlite_vector_database_bytes', 'Bytes of the database file.')
    this.#freeBytes = gauge(
      'sqlite_vector_database_free_bytes',
      'Free bytes inside the database file.',
    )
    this.#walBytes = gauge('sqlite_vector_wal_bytes', 'Bytes of the write-ahead log.')
    this.#indexBytes = perShard('sqlite_vector_index_bytes', 'Bytes of search indexes in memory.')
    const histogram = <L extends string>(
      name: string,
      help: string,
      labelNames: L[],
    ): Histogram<L> =>
      new Histogram({ name, help, labelNames, buckets: SECONDS, registers: [registry] })
    this.#queries = histogram(
      'sqlite_vector_query_duration_seconds',
      'Duration of queries, by kind.',
      ['kind'],
    )
    this.#writes = histogram(
      'sqlite_vector_write_duration_seconds',
      'Duration of writes until they are durable, by operation.',
      ['operation'],
    )
    this.#applies = histogram(
      'sqlite_vector_apply_duration_seconds',
      'Duration of the transaction that applies one batch from a peer.',
      [],
    )
    this.#damaged = new Counter({
      name: 'sqlite_vector_damaged_records_total',
      help: 'Damaged records met in the file.',
      registers: [registry],
    })
    this.#identities = new Counter({
      name: 'sqlite_vector_identity_renewals_total',
      help: 'New actor ids drawn for this file, by reason.',
      labelNames: ['reason'],
      registers: [registry],
    })
    // A series that begins at 1 shows no increase.
    for (const reason of RENEWALS) this.#identities.inc({ reason }, 0)
  }

  attach(source: MetricSource): void {
    this.#source = source
  }

  query<T>(kind: string, run: () => T): T {
    const startMs = performance.now()
    const value = run()
    this.#queries.observe({ kind }, (performance.now() - startMs) / 1_000)
    return value
  }

  async queryInTurns<T>(kind: string, run: () => Promise<T>): Promise<T> {
    const startMs = performance.now()
    const value = await run()
    this.#queries.observe({ kind }, (performance.now() - startMs) / 1_000)
    return value
  }

  async write<T>(operation: string, run: () => Promise<T>): Promise<T> {
    const startMs = performance.now()
    const value = await run()
    this.#writes.observe({ operation }, (performance.now() - startMs) / 1_000)
    return value
  }

  /** Records one applied batch. */
  applied(durationMs: number): void {
    this.#applies.observe(durationMs / 1_000)
  }

  onEvent(event: StoreEvent): void {
    if (event.type === 'identity-renewed') this.#identities.inc({ reason: event.reason })
    if (event.type === 'record-damaged') this.#damaged.inc()
  }

  /** Reads the gauges. */
  collect(): void {
    if (this.#source === null) return
    const { db } = this.#source
    const { path, fileBytes, freeBytes, shards } = db.stats()
    this.#databaseBytes.set(fileBytes)
    this.#freeBytes.set(freeBytes)
    this.#walBytes.set(statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0)
    this.#shards.set(shards.length)
    this.#indexBytes.reset()
    for (const [, gauge] of this.#perShard) gauge.reset()
    for (const state of shards) {
      const shard = this.#shardLabel.of(state.shardId)
      for (const [field, gauge] of this.#perShard) gauge.inc({ shard }, state[field])
      this.#indexBytes.inc({ shard }, db.indexInfo(state.shardId).bytes)
    }
  }
}
