/**
 * The metrics of one node: counters that events increment, and gauges read at each scrape.
 *
 * Not here: the groups (http-metrics.ts, store-metrics.ts, sync-metrics.ts). Names and units follow
 * Prometheus' conventions; every label is bounded (labels.ts). docs/reference/metrics.md lists all
 * metrics.
 */
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { HostMetrics } from './host-metrics.ts'
import { HttpMetrics } from './http-metrics.ts'
import { StoreMetrics } from './store-metrics.ts'
import { SyncMetrics } from './sync-metrics.ts'
import type { MetricSource } from './source.ts'

/** Gauges that the client library calls `_total`, against the conventions. */
const LEFT_OUT = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
]

/** See the head of this file. */
export class Metrics {
  readonly http: HttpMetrics
  readonly store: StoreMetrics
  readonly sync: SyncMetrics
  readonly #host: HostMetrics
  readonly #registry = new Registry()

  /** `codes`: errors of the API, whose series begin at 0. */
  constructor(version: string, codes: readonly string[] = []) {
    const registry = this.#registry
    this.http = new HttpMetrics(registry, codes)
    this.store = new StoreMetrics(registry)
    this.sync = new SyncMetrics(registry)
    this.#host = new HostMetrics(registry)
    const about = {
      name: 'sqlite_vector_build_info',
      help: 'Always 1; the labels give the release and the Node version.',
      labelNames: ['version', 'node_version'] as const,
      registers: [registry],
    }
    new Gauge(about).set({ version, node_version: process.versions.node }, 1)
    collectDefaultMetrics({ register: registry })
    for (const name of LEFT_OUT) registry.removeSingleMetric(name)
  }

  /** Sets the database and the coordinator that gauges are read from at each scrape. */
  attach(source: MetricSource): void {
    this.store.attach(source)
    this.sync.attach(source)
    this.#host.attach(source)
  }

  /** The text format of Prometheus. */
  text(): Promise<string> {
    this.store.collect()
    this.sync.collect()
    this.#host.collect()
    return this.#registry.metrics()
  }

  /** Names of all metrics, without the suffixes of histograms. */
  names(): readonly string[] {
    return this.#registry.getMetricsAsArray().map(({ name }) => name)
  }
}
