/**
 * Liveness (`/livez`), readiness (`/readyz`), `/metrics`, and the OpenAPI document.
 *
 * `/livez` answers as long as the event loop runs, also while the disk stalls. `/readyz` reads the
 * file at every call.
 */
import type { NodeContext } from '../context.ts'
import { text } from '../schemas.ts'
import { Status, type Route } from '../route.ts'

const health = {
  type: 'object',
  required: ['status'],
  properties: { status: text },
}

const readiness = {
  type: 'object',
  required: ['status', 'checks'],
  properties: {
    status: { enum: ['ready', 'starting', 'warming', 'draining', 'stopping', 'failing'] },
    checks: {
      type: 'object',
      additionalProperties: text,
      description: 'Result of each check: "ok" or the problem.',
    },
  },
}

export function healthRoutes(context: NodeContext, describe: () => unknown): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/livez',
      id: 'live',
      tag: 'health',
      summary: 'Liveness: the process answers.',
      access: 'open',
      answer: { status: 200, description: 'The process answers.', schema: health },
      run: () => ({ status: 'alive' }),
    },
    {
      method: 'GET',
      path: '/readyz',
      id: 'ready',
      tag: 'health',
      summary: 'Readiness: the node reads its file and accepts peers. 503 while it does not.',
      access: 'open',
      answer: {
        status: 200,
        description: 'The node is ready.',
        schema: readiness,
        also: { 503: 'The node is not ready; checks say why.' },
      },
      run: () => ready(context),
    },
    {
      method: 'GET',
      path: '/metrics',
      id: 'metrics',
      tag: 'health',
      summary: 'Metrics in the text format of Prometheus.',
      access: 'read',
      answer: { status: 200, description: 'All metrics.', type: 'text/plain' },
      run: () => context.metrics.text(),
    },
    {
      method: 'GET',
      path: '/openapi.json',
      id: 'describe',
      tag: 'health',
      summary: 'This OpenAPI document.',
      access: 'open',
      answer: { status: 200, description: 'An OpenAPI 3.1 document.', schema: { type: 'object' } },
      run: describe,
    },
  ]
}

function ready({ state, config, db, coordinator, warming }: NodeContext): unknown {
  const checks = {
    store: checked(() => {
      db.shards()
      db.checkWritable()
      return true
    }),
    ...(warming.size === 0 ? {} : { index: `warming ${[...warming].slice(0, 5).join(', ')}` }),
    sync: checked(
      () => config.sync.listen === null || coordinator.sync.getSession().listening !== null,
    ),
  }
  const isWell = Object.values(checks).every((check) => check === 'ok')
  const trouble = warming.size > 0 ? 'warming' : 'failing'
  const status = state === 'ready' && !isWell ? trouble : state
  const body = { status, checks }
  return status === 'ready' ? body : new Status(503, body)
}

/** Returns `ok` or the problem. Errors are given by code only, because the route needs no key. */
function checked(isWell: () => boolean): string {
  try {
    return isWell() ? 'ok' : 'not listening'
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'failing'
  }
}
