/**
 * The HTTP server. Routes run behind one gate that checks, in this order: node state, API key,
 * rate, permission, body size, media type, schema. Every refusal and every error is a problem+json.
 *
 * Not here: the routes (routes/) and their context (context.ts). CORS is off: its headers are never
 * sent.
 */
import { Readable } from 'node:stream'
import rateLimit from '@fastify/rate-limit'
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { ApiKeyConfig } from '../config/types.ts'
import { authorize, keyOf } from './auth.ts'
import type { NodeContext } from './context.ts'
import { HttpError } from './errors.ts'
import { pathParameters } from './openapi.ts'
import { problemOf } from './problem.ts'
import { tracedRequest } from '../tracing.ts'
import { type Call, type Route, type RouteAccess, Status } from './route.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The caller's key; null without a valid one. */
    apiKey: ApiKeyConfig | null
  }
  interface FastifyContextConfig {
    access?: RouteAccess
  }
}

/** Longest time to receive a request, in milliseconds: slow senders must not hold sockets. */
const REQUEST_MS_MAX = 30_000

/** Longest name in a path: 1,024 bytes, each written as three characters. */
const PARAMETER_CHARACTERS_MAX = 3_072

/** Abort reason when a caller disconnects. */
const GONE = new Error('the caller has gone')

/** Builds the server for `routes`; the caller starts listening. */
export async function createApp(
  context: NodeContext,
  routes: readonly Route[],
): Promise<FastifyInstance> {
  const { config } = context
  const app = fastify({
    bodyLimit: config.http.bodyBytesMax,
    requestTimeout: REQUEST_MS_MAX,
    // The gate answers it as a problem+json.
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: PARAMETER_CHARACTERS_MAX },
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'string' },
    app.getDefaultJsonParser('error', 'error'),
  )
  useSchemas(app)
  useErrors(app, context)
  useGate(app, context)
  if (config.http.requestsPerMinuteMax > 0)
    await useRateLimit(app, config.http.requestsPerMinuteMax)
  for (const route of routes) register(app, context, route)
  return app
}

/** Validator as the framework calls it: true, or false with `errors` set. */
interface FastifyValidator {
  (value: unknown): boolean
  errors?: ErrorObject[] | null
}

/**
 * Bodies are checked as they are; query strings are text, so their values are coerced to the
 * schema's types.
 */
function useSchemas(app: FastifyInstance): void {
  const options = { strict: false, useDefaults: true, verbose: true }
  const exact = new Ajv(options)
  const lenient = new Ajv({ ...options, coerceTypes: true })
  app.setValidatorCompiler(({ schema, httpPart }) => {
    const ajv = httpPart === 'querystring' ? lenient : exact
    let validate: ValidateFunction | null = null
    // Compiled at the first request: compiling all schemas would take half of the start.
    const check: FastifyValidator = (value) => {
      validate ??= ajv.compile(schema as object)
      const isValid = validate(value)
      check.errors = validate.errors ?? null
      return isValid
    }
    return check
  })
}

function useErrors(app: FastifyInstance, { log, metrics }: NodeContext): void {
  app.setErrorHandler((error, request, reply) => {
    const problem = problemOf(error)
    const { method } = request
    const route = request.routeOptions.url ?? 'unknown'
    metrics.http.refused(problem.code)
    if (problem.code === 'HTTP_INTERNAL') {
      const stack = error instanceof Error ? error.stack : String(error)
      log('error', 'request-failed', { method, route, stack })
    } else {
      log('debug', 'request-refused', { method, route, code: problem.code, detail: problem.detail })
    }
    if (problem.status === 401) void reply.header('www-authenticate', 'Bearer')
    if (problem.status === 503) void reply.header('retry-after', '1')
    return reply.status(problem.status).type('application/problem+json').send(problem)
  })
  app.setNotFoundHandler((request) => {
    throw new HttpError(
      'HTTP_ROUTE_UNKNOWN',
      `there is no ${request.method} ${pathOf(request.url)}`,
    )
  })
}

/**
 * The key is known before the request is counted; permission is decided before the body is read.
 */
function useGate(app: FastifyInstance, context: NodeContext): void {
  const { apiKeys } = context.config.http
  app.decorateRequest('apiKey', null)
  app.addHook('onRequest', async (request, reply) => {
    void reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff')
    request.apiKey = keyOf(apiKeys, request.headers.authorization)
    const { access = 'read' } = request.routeOptions.config
    if (access !== 'open' && context.state !== 'ready') {
      throw new HttpError('HTTP_NOT_READY', `the node is ${context.state}`)
    }
  })
  app.addHook('preParsing', async (request) => {
    if (request.is404) return
    const { access = 'write' } = request.routeOptions.config
    const { authorization, host } = request.headers
    authorize(access, apiKeys, request.apiKey, { authorization, host })
  })
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'unknown'
    context.metrics.http.answered(
      request.method,
      route,
      reply.statusCode,
      reply.elapsedTime / 1_000,
    )
  })
}

async function useRateLimit(app: FastifyInstance, perMinute: number): Promise<void> {
  await app.register(rateLimit, {
    max: perMinute,
    timeWindow: 60_000,
    keyGenerator: (request) => request.apiKey?.name ?? request.ip,
    allowList: (request) => request.routeOptions.config.access === 'open',
    errorResponseBuilder: (_request, { after }) =>
      new HttpError(
        'HTTP_RATE_LIMITED',
        `more than ${perMinute} requests in a minute; wait ${after}`,
      ),
  })
}

function register(app: FastifyInstance, context: NodeContext, route: Route): void {
  const names = pathParameters(route.path)
  app.route({
    method: route.method,
    url: route.path.replaceAll(/\{(\w+)\}/g, ':$1'),
    config: { access: route.access },
    // HEAD would run reads and discard the result.
    exposeHeadRoute: false,
    schema: {
      ...(route.query === undefined ? {} : { querystring: route.query }),
      ...(route.body === undefined ? {} : { body: route.body }),
    },
    // Answers are not filtered by their schema, so a field missing from it is not lost.
    serializerCompiler: () => (value) => JSON.stringify(value),
    handler: async (request, reply) => {
      const call = callOf(request, reply, context, names)
      const { method, path } = route
      const traced = { method, route: path, headers: request.headers }
      return send(reply, route, await tracedRequest(traced, async () => route.run(call)))
    },
  })
}

function callOf(
  request: FastifyRequest,
  reply: FastifyReply,
  context: NodeContext,
  names: readonly string[],
): Call {
  const given = request.params as Readonly<Record<string, string>>
  let signal: AbortSignal | null = null
  return {
    params: Object.fromEntries(names.map((name) => [name, given[name] ?? ''])),
    query: request.query as Readonly<Record<string, unknown>>,
    body: request.body,
    // Created on first use: most routes answer at once, and a signal costs more than a small query.
    get signal() {
      signal ??= endOf(reply, context)
      return signal
    },
    header: (name) => {
      const value = request.headers[name]
      return Array.isArray(value) ? value[0] : value
    },
  }
}

/** Aborts when the caller disconnects or the node ends. */
function endOf(reply: FastifyReply, { stopping }: NodeContext): AbortSignal {
  const gone = new AbortController()
  if (reply.raw.closed) gone.abort(GONE)
  reply.raw.once('close', () => gone.abort(GONE))
  return AbortSignal.any([gone.signal, stopping])
}

function send(reply: FastifyReply, { answer }: Route, value: unknown): FastifyReply {
  if (value instanceof Status) return reply.status(value.status).send(value.body)
  void reply.status(answer.status)
  if (answer.status === 204) return reply.send()
  if (answer.type === 'text/event-stream') {
    void reply.type('text/event-stream')
    // At most one part ahead of a slow reader.
    return reply.send(Readable.from(value as AsyncIterable<string>, { highWaterMark: 1 }))
  }
  if (answer.type === 'text/plain') void reply.type('text/plain; version=0.0.4; charset=utf-8')
  return reply.send(value)
}

function pathOf(url: string): string {
  return url.split('?', 1)[0]?.slice(0, 200) ?? ''
}
