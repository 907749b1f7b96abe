/**
 * One request as its route sees it: input, caller, deadline, and the room of its answer.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ApiKeyConfig } from '../config/types.ts'
import type { AnswerSize } from './answer-budget.ts'
import type { NodeContext } from './context.ts'
import type { Call, Route } from './route.ts'

/** Abort reason when a caller disconnects. */
const GONE = new Error('the caller has disconnected')

export class RequestCall implements Call {
  readonly params: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, unknown>>
  readonly body: unknown
  readonly requestId: string
  readonly key: ApiKeyConfig | null
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #context: NodeContext
  readonly #late = new AbortController()
  #signal: AbortSignal | null = null

  constructor(
    request: FastifyRequest,
    reply: FastifyReply,
    context: NodeContext,
    names: readonly string[],
  ) {
    const given = request.params as Readonly<Record<string, string>>
    this.params = Object.fromEntries(names.map((name) => [name, given[name] ?? '']))
    this.query = request.query as Readonly<Record<string, unknown>>
    this.body = request.body
    this.requestId = request.id
    this.key = request.apiKey
    this.#request = request
    this.#reply = reply
    this.#context = context
  }

  /**
   * Created on first use: most routes answer at once, and a signal costs more than a small query.
   */
  get signal(): AbortSignal {
    if (this.#signal === null) {
      const gone = new AbortController()
      const { raw } = this.#reply
      if (raw.closed) gone.abort(GONE)
      raw.once('close', () => gone.abort(GONE))
      this.#signal = AbortSignal.any([gone.signal, this.#late.signal, this.#context.stopping])
    }
    return this.#signal
  }

  header(name: string): string | undefined {
    const value = this.#request.headers[name]
    return Array.isArray(value) ? value[0] : value
  }

  reserve(size: AnswerSize): void {
    const release = this.#context.answers.reserve(size)
    this.#reply.raw.once('close', release)
  }

  /**
   * Runs the route. Rejects at the deadline, unless the route is unbounded.
   * @throws HttpError `HTTP_TIMEOUT`
   */
  async run(route: Route): Promise<unknown> {
    const running = route.run(this)
    if (!(running instanceof Promise) || route.isUnbounded === true) return running
    const { deadlines } = this.#context
    const late = Promise.withResolvers<never>()
    const done = deadlines.start(() => {
      const error = deadlines.error()
      this.#late.abort(error)
      late.reject(error)
    })
    try {
      return await Promise.race([running, late.promise])
    } finally {
      done()
    }
  }

  /** Cuts an answer off that is not taken before the deadline; calls `onLate` first. */
  endSending(onLate: () => void): void {
    const { raw } = this.#reply
    const done = this.#context.deadlines.start(() => {
      onLate()
      this.#late.abort(this.#context.deadlines.error())
      raw.destroy()
    })
    raw.once('close', done)
  }
}
