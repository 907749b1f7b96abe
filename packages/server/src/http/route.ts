/**
 * A route: all that the server needs to run it and the OpenAPI document to describe it.
 * app.ts runs routes, openapi.ts describes them; both from the same value.
 */

import type { ApiKeyConfig } from '../config/types.ts'
import type { AnswerSize } from './answer-budget.ts'

/** A JSON Schema (draft 2020-12 as far as draft-07 validators agree). */
export type JsonSchema = Readonly<Record<string, unknown>>

/** Permission needed: none, a key, a key that may write, or a key that may write everything. */
export type RouteAccess = 'open' | 'read' | 'write' | 'admin'

/** A request, checked against the schemas of its route. */
export interface Call {
  readonly params: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, unknown>>
  readonly body: unknown
  /** Aborts when the caller disconnects or the node ends. */
  readonly signal: AbortSignal
  /** The caller's key; null when the node has no keys. */
  readonly key: ApiKeyConfig | null
  readonly requestId: string
  header(name: string): string | undefined
  /**
   * Reserves room for an answer until it has left. @throws HttpError `HTTP_ANSWER_TOO_LARGE`,
   * `HTTP_BUSY`
   */
  reserve(size: AnswerSize): void
}

/** The successful answer of a route. */
export interface Answer {
  readonly status: 200 | 201 | 204
  readonly description: string
  /** @defaultValue `application/json` */
  readonly type?: 'application/json' | 'text/plain' | 'text/event-stream'
  /** Schema of the JSON body. */
  readonly schema?: JsonSchema
  /** Descriptions of other statuses with the same body schema; {@link Status} selects one. */
  readonly also?: Readonly<Record<number, string>>
}

/** One method of one path. */
export interface Route {
  readonly method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE'
  /** Parameters in braces: `/v1/shards/{shard}`. */
  readonly path: string
  /** Unique name of the operation. */
  readonly id: string
  readonly tag: string
  readonly summary: string
  readonly access: RouteAccess
  /** True for work of any length, which the caller ends by disconnecting. */
  readonly isUnbounded?: boolean
  readonly query?: JsonSchema
  readonly body?: JsonSchema
  readonly answer: Answer
  /** Error codes to expect beyond those of every route. */
  readonly errors?: readonly string[]
  /**
   * Returns the value to send as JSON, text or stream parts, according to `answer.type`, or a
   * {@link Status} to answer with another status.
   */
  run(call: Call): unknown
}

/** An answer with another status than the route's usual one. */
export class Status {
  readonly status: number
  readonly body: unknown

  constructor(status: number, body: unknown) {
    this.status = status
    this.body = body
  }
}
