/**
 * What the API itself refuses, by code. Errors of the library keep their own codes; problem.ts makes
 * an answer of either. Each code has a row in docs/reference/http-api.md.
 */

export const HTTP_ERRORS = {
  HTTP_INPUT_INVALID: {
    status: 400,
    retryable: false,
    hint: 'The request is not what the API takes; the detail names what is wrong.',
  },
  HTTP_UNAUTHENTICATED: {
    status: 401,
    retryable: false,
    hint: 'Send a key of this node as "Authorization: Bearer KEY".',
  },
  HTTP_FORBIDDEN: {
    status: 403,
    retryable: false,
    hint: 'The key may only read; use one that may write.',
  },
  HTTP_HOST_REFUSED: {
    status: 403,
    retryable: false,
    hint: 'Without API keys this node answers only to its loopback address.',
  },
  HTTP_ROUTE_UNKNOWN: {
    status: 404,
    retryable: false,
    hint: 'There is no such method and path; see /openapi.json.',
  },
  HTTP_PEER_UNKNOWN: {
    status: 404,
    retryable: false,
    hint: 'Register the peer first, or look at the list of peers.',
  },
  HTTP_UNDO_REFUSED: {
    status: 409,
    retryable: false,
    hint: 'Somebody wrote to the record since; their write stands.',
  },
  HTTP_SNAPSHOT_EXISTS: {
    status: 409,
    retryable: false,
    hint: 'Choose another name; a snapshot is never overwritten.',
  },
  HTTP_SNAPSHOTS_OFF: {
    status: 409,
    retryable: false,
    hint: 'Give snapshots.folder in the configuration of the node.',
  },
  HTTP_BODY_TOO_LARGE: {
    status: 413,
    retryable: false,
    hint: 'Send less at once, or raise http.bodyBytesMax.',
  },
  HTTP_MEDIA_TYPE: {
    status: 415,
    retryable: false,
    hint: 'Send "Content-Type: application/json".',
  },
  HTTP_RATE_LIMITED: {
    status: 429,
    retryable: true,
    hint: 'Wait as long as Retry-After says, or raise http.requestsPerMinuteMax.',
  },
  HTTP_STREAMS_TOO_MANY: {
    status: 503,
    retryable: true,
    hint: 'Close an event stream, or raise http.eventStreamsMax.',
  },
  HTTP_NOT_READY: {
    status: 503,
    retryable: true,
    hint: 'The node is starting or ending; try again, or another node.',
  },
  HTTP_INTERNAL: {
    status: 500,
    retryable: false,
    hint: 'A fault of the node; its log says more.',
  },
} as const

export type HttpErrorCode = keyof typeof HTTP_ERRORS

/** A refusal by the API. */
export class HttpError extends Error {
  override readonly name = 'HttpError'
  readonly code: HttpErrorCode

  constructor(code: HttpErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
