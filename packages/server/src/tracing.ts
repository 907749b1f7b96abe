/**
 * Spans of requests and of applied batches, through the OpenTelemetry API.
 *
 * Not here: an SDK. Without an SDK that the process registers itself (`node --import …`), spans
 * cost and do nothing. Names follow the semantic conventions for HTTP servers; no attribute holds a
 * value that a caller sent.
 */
import {
  context,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'

const tracer = trace.getTracer('@agentic-flow/sqlite-vector-server')

export interface TracedRequest {
  readonly method: string
  /** The route's pattern, never the requested path. */
  readonly route: string
  readonly headers: Readonly<Record<string, unknown>>
}

/** Runs a request inside a span that continues the caller's trace. */
export function tracedRequest<T>(
  { method, route, headers }: TracedRequest,
  run: () => Promise<T>,
): Promise<T> {
  const attributes = { 'http.request.method': method, 'http.route': route }
  const options = { kind: SpanKind.SERVER, attributes }
  const parent = propagation.extract(context.active(), headers)
  return tracer.startActiveSpan(`${method} ${route}`, options, parent, async (span) => {
    try {
      return await run()
    } catch (error) {
      failed(span, error)
      throw error
    } finally {
      span.end()
    }
  })
}

/** Applies a batch inside a span. */
export function tracedApply<T>(shardId: string, changes: number, run: () => T): T {
  const attributes = { 'sqlite_vector.shard': shardId, 'sqlite_vector.changes': changes }
  return tracer.startActiveSpan('apply batch', { attributes }, (span) => {
    try {
      return run()
    } catch (error) {
      failed(span, error)
      throw error
    } finally {
      span.end()
    }
  })
}

function failed(span: Span, error: unknown): void {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'fault'
  span.setAttribute('error.type', code)
  span.setStatus({ code: SpanStatusCode.ERROR })
}
