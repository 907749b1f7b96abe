/**
 * What a route is: everything that the server needs to run it and that the OpenAPI document says of it.
 * app.ts runs routes, openapi.ts describes them; both from the same value.
 */

/** A JSON Schema (draft 2020-12 as far as draft-07 validators agree). */
export type JsonSchema = Readonly<Record<string, unknown>>

/** Who may call: everybody, whoever holds a key, or whoever holds a key that may write. */
export type RouteAccess = 'open' | 'read' | 'write'

/** A request, checked against the schemas of its route. */
export interface Call {
  readonly params: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, unknown>>
  readonly body: unknown
  /** Ends when the caller has gone or the node ends. */
  readonly signal: AbortSignal
  readonly header: (name: string) => string | undefined
}

/** What a route answers when all is well. */
export interface Answer {
  readonly status: 200 | 201 | 204
  readonly description: string
  /** @defaultValue `application/json` */
  readonly type?: 'application/json' | 'text/plain' | 'text/event-stream'
  /** Of JSON; null where there is no body. */
  readonly schema?: JsonSchema
  /** Other statuses with the same kind of body, and what each says; a {@link Status} gives one. */
  readonly also?: Readonly<Record<number, string>>
}

/** One method of one path. */
export interface Route {
  readonly method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE'
  /** Parameters in braces: `/v1/shards/{shard}`. */
  readonly path: string
  /** Names the operation; unique. */
  readonly id: string
  readonly tag: string
  readonly summary: string
  readonly access: RouteAccess
  readonly query?: JsonSchema
  readonly body?: JsonSchema
  readonly answer: Answer
  /** Codes of errors that callers should expect, beyond those of every route. */
  readonly errors?: readonly string[]
  /**
   * A value that is sent as JSON, text where `answer.type` says text, or the parts of a stream.
   * A {@link Status} where the answer has another status than the usual one.
   */
  run(call: Call): unknown
}

/** An answer whose status is not the route's usual one. */
export class Status {
  readonly status: number
  readonly body: unknown

  constructor(status: number, body: unknown) {
    this.status = status
    this.body = body
  }
}
