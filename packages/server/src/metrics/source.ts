/**
 * The sources that gauges are read from. Types only.
 */
import type { SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import type { ShardCoordinator } from '@agentic-flow/sqlite-vector/sync'

export interface MetricSource {
  readonly db: SQLiteVectorDB
  readonly coordinator: ShardCoordinator
  /** Certificate of the HTTP API as PEM; null without TLS. */
  readonly httpCertificate?: () => string | null
}
