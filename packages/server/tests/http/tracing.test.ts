/**
 * Spans, as an SDK of OpenTelemetry that the process registers gets them.
 */
import { propagation, trace } from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { pair, type Pair } from '../helpers/pair.ts'

const exporter = new InMemorySpanExporter()

let nodes: Pair

beforeAll(async () => {
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
  )
  nodes = await pair()
})

afterAll(async () => {
  await nodes?.[Symbol.asyncDispose]()
  trace.disable()
  propagation.disable()
})

test('a request is a span of its caller’s trace, named by its route, with the code of its error', async () => {
  const traceId = '0af7651916cd43dd8448eb211c80319c'

  await nodes.a.api.raw('/v1/shards/secret-name', {
    headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` },
  })
  const span = exporter.getFinishedSpans().find(({ name }) => name === 'GET /v1/shards/{shard}')

  expect(span?.spanContext().traceId).toBe(traceId)
  expect(span?.attributes).toEqual({
    'http.request.method': 'GET',
    'http.route': '/v1/shards/{shard}',
    'error.type': 'STORE_SHARD_UNKNOWN',
  })
})

test('a batch of a peer is a span with its shard and size', async () => {
  const { a, b } = nodes
  await a.api.put('/v1/shards/traced', { dimension: 2 })
  const records = ['x', 'y'].map((id) => ({ id, embedding: [1, 2] }))
  await a.api.post('/v1/shards/traced/records', { records })

  await b.node.coordinator.sync.sync('traced', a.node.syncAddress ?? '')
  const spans = exporter.getFinishedSpans().filter(({ name }) => name === 'apply batch')

  expect(spans.map(({ attributes }) => attributes)).toContainEqual({
    'sqlite_vector.shard': 'traced',
    'sqlite_vector.changes': 2,
  })
})
