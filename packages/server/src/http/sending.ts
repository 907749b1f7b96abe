/**
 * Sends what a route returned: JSON whole or in parts, text, or an event stream; compressed where
 * the caller takes gzip.
 */
import { pipeline, Readable } from 'node:stream'
import { promisify } from 'node:util'
import { constants, createGzip, gzip } from 'node:zlib'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { isParted, jsonParts, WHOLE_CHARACTERS, type Parted } from './json-parts.ts'
import type { RequestCall } from './request-call.ts'
import { type Route, Status } from './route.ts'

/** Below this a compressed answer is hardly smaller. */
const GZIP_CHARACTERS_MIN = 1_024

/** Fast: answers are made once and sent once. */
const GZIP = { level: constants.Z_BEST_SPEED }

const compress = promisify(gzip)

interface Sending {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly call: RequestCall
  /** Called when an answer was cut off. */
  readonly onLate: () => void
}

export async function send(
  { answer }: Route,
  value: unknown,
  sending: Sending,
): Promise<FastifyReply> {
  const { reply } = sending
  if (value instanceof Status) {
    return sendText(sending, reply.status(value.status), JSON.stringify(value.body))
  }
  void reply.status(answer.status)
  if (answer.status === 204) return reply.send()
  if (answer.type === 'text/event-stream') return sendEvents(reply, value as AsyncIterable<string>)
  if (answer.type === 'text/plain') {
    void reply.type('text/plain; version=0.0.4; charset=utf-8')
    return sendText(sending, reply, value as string)
  }
  if (isParted(value)) return sendParts(sending, value)
  return sendText(sending, reply, JSON.stringify(value))
}

function sendEvents(reply: FastifyReply, parts: AsyncIterable<string>): FastifyReply {
  void reply.type('text/event-stream')
  // nginx holds an answer back until a buffer is full, unless it is told not to.
  void reply.header('x-accel-buffering', 'no')
  // At most one part ahead of a slow reader.
  return reply.send(Readable.from(parts, { highWaterMark: 1 }))
}

async function sendText(
  { request }: Sending,
  reply: FastifyReply,
  text: string,
): Promise<FastifyReply> {
  if (!reply.hasHeader('content-type')) void reply.type('application/json; charset=utf-8')
  void reply.header('vary', 'accept-encoding')
  if (text.length < GZIP_CHARACTERS_MIN || !takesGzip(request)) return reply.send(text)
  return reply.header('content-encoding', 'gzip').send(await compress(text, GZIP))
}

async function sendParts(sending: Sending, value: Parted): Promise<FastifyReply> {
  const { request, reply, call } = sending
  const parts = jsonParts(value, call.signal)
  let text = ''
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop -- parts come one after another
    const { done, value: part } = await parts.next()
    if (done === true) return sendText(sending, reply, text)
    text += part
    if (text.length > WHOLE_CHARACTERS) break
  }
  call.endSending(sending.onLate)
  void reply.type('application/json; charset=utf-8').header('vary', 'accept-encoding')
  if (request.method === 'HEAD') return reply.send('')
  const rest = Readable.from(joined(text, parts), { highWaterMark: 1 })
  if (!takesGzip(request)) return reply.send(rest)
  void reply.header('content-encoding', 'gzip')
  // An error of the source destroys the compressor, which cuts the answer off.
  return reply.send(pipeline(rest, createGzip(GZIP), () => undefined))
}

async function* joined(first: string, rest: AsyncGenerator<string>): AsyncGenerator<string> {
  yield first
  yield* rest
}

function takesGzip({ headers }: FastifyRequest): boolean {
  return /(^|,)\s*gzip\s*(;\s*q=(?!0(\.0*)?\s*(,|$)))?\s*(;|,|$)/.test(
    headers['accept-encoding'] ?? '',
  )
}
