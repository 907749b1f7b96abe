/**
 * The gate in front of all routes: origin, node state, API key, rate, permission. Every refusal and
 * every error leaves as a problem+json and is counted, logged and, where it is a refusal, audited.
 */
import type { Socket } from 'node:net'
import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ApiKeyConfig } from '../config/types.ts'
import { authorize, keyOf, type Operation } from './auth.ts'
import type { NodeContext } from './context.ts'
import { HttpError } from './errors.ts'
import { refuseOtherOrigins } from './origin.ts'
import { type Problem, problemOf } from './problem.ts'
import type { RouteAccess } from './route.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The caller's key; null without a valid one. */
    apiKey: ApiKeyConfig | null
    /** Code of the error that the request ended with. */
    problemCode: string | null
  }
  interface FastifyContextConfig {
    access?: RouteAccess
    id?: string
    tag?: string
  }
}

/** Caller without a valid key, refused operation: what an operator wants to see. */
const REFUSALS: readonly number[] = [401, 403, 507]

/**
 * The key is known before the request is counted; permission is decided before the body is read.
 */
export function useGate(app: FastifyInstance, context: NodeContext): void {
  app.decorateRequest('apiKey', null)
  app.decorateRequest('problemCode', null)
  app.addHook('onRequest', async (request, reply) => {
    void reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff')
    void reply.header('x-request-id', request.id)
    refuseOtherOrigins(request.headers)
    request.apiKey = keyOf(context.apiKeys(), request.headers.authorization)
    const { access = 'read' } = request.routeOptions.config
    const isServing = context.state === 'ready' || context.state === 'draining'
    if (access !== 'open' && !isServing) {
      throw new HttpError('HTTP_NOT_READY', `the node is ${context.state}`)
    }
  })
  app.addHook('preParsing', async (request) => {
    if (request.is404) return
    const { authorization, host } = request.headers
    authorize(operationOf(request), context.apiKeys(), request.apiKey, { authorization, host })
  })
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'unknown'
    const { method } = request
    context.metrics.http.answered(method, route, reply.statusCode, reply.elapsedTime / 1_000)
    audit(context, request, reply)
  })
}

function operationOf(request: FastifyRequest): Operation {
  const { access = 'admin', id = null, tag = null } = request.routeOptions.config
  const { shard = null } = request.params as { readonly shard?: string }
  return { access, id, tag, shard }
}

/** Writes of any kind and refusals are audited; reads are not. */
function audit({ audit: record }: NodeContext, request: FastifyRequest, reply: FastifyReply): void {
  const { access, id, shard } = operationOf(request)
  const { statusCode } = reply
  const isWrite = (access === 'write' || access === 'admin') && id !== null
  if (!isWrite && statusCode !== 401 && statusCode !== 403) return
  const params = request.params as Readonly<Record<string, string>>
  const target = params['id'] ?? params['node'] ?? params['entry'] ?? params['name']
  record({
    operation: id ?? 'unknown',
    shard,
    ...(target === undefined ? {} : { target }),
    key: request.apiKey?.name ?? null,
    address: request.ip,
    requestId: request.id,
    status: statusCode,
    code: request.problemCode,
  })
}

export function useErrors(app: FastifyInstance, context: NodeContext): void {
  app.setErrorHandler((error, request, reply) => {
    const problem = problemOf(error)
    request.problemCode = problem.code
    context.metrics.http.refused(problem.code)
    logProblem(context, problem, error, request)
    return answerProblem(reply, problem)
  })
  app.setNotFoundHandler((request) => {
    throw new HttpError(
      'HTTP_ROUTE_UNKNOWN',
      `there is no route ${request.method} ${JSON.stringify(pathOf(request.url))}`,
    )
  })
}

/** Answers with a problem where no hook runs any more: a path that cannot be decoded. */
export function answerUnroutable(
  { metrics }: NodeContext,
  error: unknown,
  reply: FastifyReply,
): FastifyReply {
  const problem = problemOf(error)
  metrics.http.refused(problem.code)
  return answerProblem(reply.header('x-request-id', reply.request.id), problem)
}

/** Answers on a connection whose request never became one: too late, too large, not HTTP. */
export function answerBroken(
  { metrics }: NodeContext,
  error: NodeJS.ErrnoException,
  socket: Socket,
): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const problem = problemOf(brokenError(error.code))
  metrics.http.refused(problem.code)
  const body = JSON.stringify(problem)
  socket.end(
    `HTTP/1.1 ${problem.status} ${STATUS_TEXT[problem.status] ?? 'Bad Request'}\r\n` +
      `content-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n` +
      `connection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  )
}

const STATUS_TEXT: Readonly<Record<number, string>> = {
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
}

function brokenError(code: string | undefined): HttpError {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new HttpError('HTTP_REQUEST_TIMEOUT', 'the request did not arrive in time')
  }
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new HttpError('HTTP_HEADERS_TOO_LARGE', 'the headers of the request are too large')
  }
  return new HttpError('HTTP_INPUT_INVALID', 'the bytes sent are not an HTTP request')
}

function answerProblem(reply: FastifyReply, problem: Problem): FastifyReply {
  if (problem.status === 401) void reply.header('www-authenticate', 'Bearer')
  if (problem.status === 503) void reply.header('retry-after', '1')
  void reply.status(problem.status).type('application/problem+json')
  return reply.send(JSON.stringify(problem))
}

function logProblem(
  { log }: NodeContext,
  problem: Problem,
  error: unknown,
  request: FastifyRequest,
): void {
  const { method } = request
  const route = request.routeOptions.url ?? 'unknown'
  const { code, status, detail } = problem
  const about = { method, route, code, requestId: request.id, address: request.ip }
  if (code === 'HTTP_INTERNAL') {
    const stack = error instanceof Error ? error.stack : String(error)
    log('error', 'request-failed', { ...about, stack })
  } else if (REFUSALS.includes(status) || (status >= 500 && code !== 'HTTP_NOT_READY')) {
    const { cause } = error as { readonly cause?: unknown }
    const key = request.apiKey?.name ?? null
    log('warn', 'request-refused', {
      ...about,
      key,
      detail,
      ...(cause === undefined ? {} : { cause }),
    })
  } else {
    log('debug', 'request-refused', { ...about, detail })
  }
}

/** Each key, or each address without keys, has its own rate. */
export async function useRateLimit(app: FastifyInstance, context: NodeContext): Promise<void> {
  const usual = context.config.http.requestsPerMinuteMax
  const rateOf = (key: ApiKeyConfig | null): number => key?.requestsPerMinuteMax ?? usual
  await app.register(rateLimit, {
    max: ({ apiKey }) => rateOf(apiKey),
    timeWindow: 60_000,
    keyGenerator: ({ apiKey, ip }) => (apiKey === null ? `address ${ip}` : `key ${apiKey.name}`),
    allowList: ({ routeOptions, apiKey }) =>
      routeOptions.config.access === 'open' || rateOf(apiKey) === 0,
    errorResponseBuilder: (_request, { after, max }) =>
      new HttpError('HTTP_RATE_LIMITED', `more than ${max} requests in a minute; wait ${after}`),
  })
}

function pathOf(url: string): string {
  return url.split('?', 1)[0]?.slice(0, 200) ?? ''
}
