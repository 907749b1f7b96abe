/**
 * The HTTP server. Routes run behind one gate (gate.ts) that checks, in this order: origin, node
 * state, API key, rate, permission; then body size, media type and schema are checked here.
 *
 * Not here: the routes (routes/), their context (context.ts), sending (sending.ts). CORS is off:
 * its headers are never sent.
 */
import { randomUUID } from 'node:crypto'
import type { Server } from 'node:http'
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import fastify, { type FastifyHttpOptions, type FastifyInstance } from 'fastify'
import type { NodeContext } from './context.ts'
import { HttpError } from './errors.ts'
import { answerBroken, answerUnroutable, useErrors, useGate, useRateLimit } from './gate.ts'
import { useMcp } from './mcp.ts'
import { pathParameters } from './openapi.ts'
import { RequestCall } from './request-call.ts'
import type { Route } from './route.ts'
import { send } from './sending.ts'
import type { Tls } from './tls.ts'
import { tracedRequest } from '../tracing.ts'

/** Longest time to receive a request, in milliseconds: slow senders must not hold sockets. */
const RECEIVE_MS_MAX = 30_000

/** Interval at which late requests are looked for, in milliseconds. */
const RECEIVE_CHECK_MS = 1_000

/** Longest name in a path: 1,024 bytes, each written as three characters. */
const PARAMETER_CHARACTERS_MAX = 3_072

/** Largest body of a read, in bytes: parsing a larger one would hold the event loop. */
const READ_BODY_BYTES_MAX = 4_194_304

/** Builds the server for `routes`; the caller starts listening. */
export async function createApp(
  context: NodeContext,
  routes: readonly Route[],
  tls: Tls | null,
): Promise<FastifyInstance> {
  const { http } = context.config
  const app = tls === null ? fastify(optionsOf(context)) : httpsApp(context, tls)
  app.server.maxConnections = http.connectionsMax
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, text, done) => {
    if (text === '') done(null, undefined)
    else void app.getDefaultJsonParser('error', 'error')(request, text as string, done)
  })
  useSchemas(app)
  useErrors(app, context)
  useGate(app, context)
  await useRateLimit(app, context)
  app.addHook('preParsing', async ({ headers }) => {
    const { 'content-encoding': encoding = 'identity' } = headers
    if (encoding === 'identity') return
    throw new HttpError('HTTP_MEDIA_TYPE', 'bodies with a Content-Encoding are not taken')
  })
  for (const route of routes) register(app, context, route)
  await useMcp(app, context)
  return app
}

function optionsOf(context: NodeContext): FastifyHttpOptions<Server> {
  const { http } = context.config
  const receiveMs = Math.min(RECEIVE_MS_MAX, http.requestTimeoutMs)
  return {
    bodyLimit: http.bodyBytesMax,
    requestTimeout: receiveMs,
    http: { headersTimeout: receiveMs, connectionsCheckingInterval: RECEIVE_CHECK_MS },
    genReqId: ({ headers }) => {
      const given = headers['x-request-id']
      return typeof given === 'string' && /^[\w.:-]{1,64}$/.test(given) ? given : randomUUID()
    },
    clientErrorHandler: (error, socket) => answerBroken(context, error, socket),
    frameworkErrors: (error, _request, reply) => void answerUnroutable(context, error, reply),
    // The gate answers it as a problem+json.
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: PARAMETER_CHARACTERS_MAX },
  }
}

/** The same server over TLS; its type differs by the class of its sockets only. */
function httpsApp(context: NodeContext, tls: Tls): FastifyInstance {
  const { http, ...options } = optionsOf(context)
  const secure = { ...options, https: { ...http, ...tls.files } }
  return fastify(secure as unknown as FastifyHttpOptions<Server>)
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

function register(app: FastifyInstance, context: NodeContext, route: Route): void {
  const { method, path, access, id, tag, answer, query, body } = route
  const names = pathParameters(path)
  const isOptional = ((body?.['required'] ?? []) as readonly string[]).length === 0
  app.route({
    method,
    url: path.replaceAll(/\{(\w+)\}/g, ':$1'),
    config: { access, id, tag },
    exposeHeadRoute: method === 'GET' && answer.type !== 'text/event-stream',
    ...(access === 'read'
      ? { bodyLimit: Math.min(READ_BODY_BYTES_MAX, context.config.http.bodyBytesMax) }
      : {}),
    schema: {
      ...(query === undefined ? {} : { querystring: query }),
      ...(body === undefined ? {} : { body }),
    },
    preValidation: async (request) => {
      if (body !== undefined && isOptional) request.body ??= {}
    },
    handler: async (request, reply) => {
      const call = new RequestCall(request, reply, context, names)
      const traced = { method, route: path, headers: request.headers }
      const value = await tracedRequest(traced, () => call.run(route))
      const onLate = (): void => context.metrics.http.refused('HTTP_TIMEOUT')
      return send(route, value, { request, reply, call, onLate })
    },
  })
}
