/**
 * `/livez`, `/readyz`: whether the process turns, and whether it can serve. `/metrics` and the description of the API.
 *
 * Alive is all that `/livez` says: a node that waits for its disk is alive. Ready is asked of the file at every call.
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
    status: { enum: ['ready', 'starting', 'stopping', 'failing'] },
    checks: {
      type: 'object',
      additionalProperties: text,
      description: 'What was asked, and "ok" or what is wrong.',
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
      summary: 'Whether the process answers.',
      access: 'open',
      answer: { status: 200, description: 'It does.', schema: health },
      run: () => ({ status: 'alive' }),
    },
    {
      method: 'GET',
      path: '/readyz',
      id: 'ready',
      tag: 'health',
      summary: 'Whether the node can read its file and takes peers; 503 while it cannot.',
      access: 'open',
      answer: {
        status: 200,
        description: 'It can.',
        schema: readiness,
        also: { 503: 'It cannot, and this is why.' },
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
      answer: { status: 200, description: 'All of them.', type: 'text/plain' },
      run: () => context.metrics.text(),
    },
    {
      method: 'GET',
      path: '/openapi.json',
      id: 'describe',
      tag: 'health',
      summary: 'This description.',
      access: 'open',
      answer: { status: 200, description: 'An OpenAPI 3.1 document.', schema: { type: 'object' } },
      run: describe,
    },
  ]
}

function ready({ state, config, db, coordinator }: NodeContext): unknown {
  const checks = {
    store: checked(() => {
      db.shards()
      return true
    }),
    sync: checked(
      () => config.sync.listen === null || coordinator.sync.getSession().listening !== null,
    ),
  }
  const isWell = Object.values(checks).every((check) => check === 'ok')
  const status = state === 'ready' && !isWell ? 'failing' : state
  const body = { status, checks }
  return status === 'ready' ? body : new Status(503, body)
}

/** `ok`, or what is wrong; an error by its code, as anybody may ask. */
function checked(isWell: () => boolean): string {
  try {
    return isWell() ? 'ok' : 'not listening'
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'failing'
  }
}
