/**
 * Errors of the API itself, by code. Errors of the library keep their codes; problem.ts turns
 * either into an answer. Each code has a row in docs/reference/http-api.md.
 */

export const HTTP_ERRORS = {
  HTTP_INPUT_INVALID: {
    status: 400,
    retryable: false,
    hint: 'Correct the request; the detail names the argument and the rule.',
  },
  HTTP_UNAUTHENTICATED: {
    status: 401,
    retryable: false,
    hint: 'Send an API key of this node as "Authorization: Bearer KEY".',
  },
  HTTP_FORBIDDEN: {
    status: 403,
    retryable: false,
    hint: 'Use a key that permits this operation.',
  },
  HTTP_HOST_REFUSED: {
    status: 403,
    retryable: false,
    hint: 'Call the node by its loopback address, or configure API keys.',
  },
  HTTP_ORIGIN_REFUSED: {
    status: 403,
    retryable: false,
    hint: 'Call the API from a program, or from a page that this node serves.',
  },
  HTTP_ROUTE_UNKNOWN: {
    status: 404,
    retryable: false,
    hint: 'See /openapi.json for the methods and paths of the API.',
  },
  HTTP_PEER_UNKNOWN: {
    status: 404,
    retryable: false,
    hint: 'Register the peer first; GET /v1/peers lists the known ones.',
  },
  HTTP_REQUEST_TIMEOUT: {
    status: 408,
    retryable: true,
    hint: 'Send the whole request faster, or raise http.requestTimeoutMs.',
  },
  HTTP_UNDO_REFUSED: {
    status: 409,
    retryable: false,
    hint: 'The record was written after the decision; that write stands.',
  },
  HTTP_SNAPSHOT_EXISTS: {
    status: 409,
    retryable: false,
    hint: 'Choose another name; snapshots are never overwritten.',
  },
  HTTP_SNAPSHOTS_OFF: {
    status: 409,
    retryable: false,
    hint: 'Set snapshots.folder in the configuration of the node.',
  },
  HTTP_BODY_TOO_LARGE: {
    status: 413,
    retryable: false,
    hint: 'Send a smaller body, or raise http.bodyBytesMax.',
  },
  HTTP_ANSWER_TOO_LARGE: {
    status: 400,
    retryable: false,
    hint: 'Ask for fewer records, leave out the vectors, or split the request.',
  },
  HTTP_HEADERS_TOO_LARGE: {
    status: 431,
    retryable: false,
    hint: 'Send at most 16 KiB of headers.',
  },
  HTTP_MEDIA_TYPE: {
    status: 415,
    retryable: false,
    hint: 'Send "Content-Type: application/json" without a Content-Encoding.',
  },
  HTTP_RATE_LIMITED: {
    status: 429,
    retryable: true,
    hint: 'Wait for the seconds in Retry-After, or raise http.requestsPerMinuteMax.',
  },
  HTTP_STREAMS_TOO_MANY: {
    status: 503,
    retryable: true,
    hint: 'Close an event stream, or raise http.eventStreamsMax.',
  },
  HTTP_BUSY: {
    status: 503,
    retryable: true,
    hint: 'Other large answers are being sent. Try again, or ask for less at once.',
  },
  HTTP_TIMEOUT: {
    status: 503,
    retryable: true,
    hint: 'Ask for less, or raise http.requestTimeoutMs. A write may still be committed.',
  },
  HTTP_NOT_READY: {
    status: 503,
    retryable: true,
    hint: 'The node is starting or ending. Try again later, or use another node.',
  },
  HTTP_INTERNAL: {
    status: 500,
    retryable: false,
    hint: "Internal error; see the node's log.",
  },
} as const

export type HttpErrorCode = keyof typeof HTTP_ERRORS

/** An error of the API itself. */
export class HttpError extends Error {
  override readonly name = 'HttpError'
  readonly code: HttpErrorCode

  constructor(code: HttpErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
