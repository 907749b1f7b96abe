/**
 * Metrics of the HTTP API: answers, durations, refusals.
 */
import { Counter, Histogram, type Registry } from 'prom-client'

/** From a fast read to a long sync, in seconds. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/**
 * See the head of this file. Labels are routes and codes of the program, never what callers send.
 */
export class HttpMetrics {
  readonly #requests: Counter<'method' | 'route' | 'status'>
  readonly #seconds: Histogram<'method' | 'route'>
  readonly #refused: Counter<'code'>
  readonly #audited: Counter<'operation'>

  constructor(registry: Registry, codes: readonly string[]) {
    const registers = [registry]
    this.#requests = new Counter({
      name: 'sqlite_vector_http_requests_total',
      help: 'Requests answered, by route and status.',
      labelNames: ['method', 'route', 'status'],
      registers,
    })
    this.#seconds = new Histogram({
      name: 'sqlite_vector_http_request_duration_seconds',
      help: 'Time from the first byte of a request to the last byte of its answer.',
      labelNames: ['method', 'route'],
      buckets: SECONDS,
      registers,
    })
    this.#refused = new Counter({
      name: 'sqlite_vector_http_refused_total',
      help: 'Requests that ended with an error, by its code.',
      labelNames: ['code'],
      registers,
    })
    // A series that begins at 1 shows no increase.
    for (const code of codes) this.#refused.inc({ code }, 0)
    this.#audited = new Counter({
      name: 'sqlite_vector_audit_events_total',
      help: 'Audited operations: writes over HTTP and refused callers.',
      labelNames: ['operation'],
      registers,
    })
  }

  answered(method: string, route: string, status: number, seconds: number): void {
    this.#requests.inc({ method, route, status: String(status) })
    this.#seconds.observe({ method, route }, seconds)
  }

  /** An operation was recorded in the audit log. */
  audited(operation: string): void {
    this.#audited.inc({ operation })
  }

  refused(code: string): void {
    this.#refused.inc({ code })
  }
}
