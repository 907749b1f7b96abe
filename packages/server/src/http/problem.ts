/**
 * Turns errors into answers: `application/problem+json` (RFC 9457) with the error's code. Pure.
 *
 * An internal fault (an error without a code that is not about an argument) reveals no detail.
 */
import { isErrorCode, SqliteVectorError, type ErrorCode } from '@agentic-flow/sqlite-vector/errors'
import { nearestName } from '@agentic-flow/sqlite-vector/options'
import { HTTP_ERRORS, HttpError, type HttpErrorCode } from './errors.ts'
import { redactPaths } from './redact.ts'

/** Body of an error answer. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: ErrorCode | HttpErrorCode
  readonly retryable: boolean
}

/** Statuses of library codes that are not faults of the node or of a peer. */
const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  STORE_SHARD_UNKNOWN: 404,
  STORE_RECORD_UNKNOWN: 404,
  STORE_QUARANTINE_UNKNOWN: 404,
  STORE_CONFLICT_UNKNOWN: 404,
  STORE_RECORD_EXISTS: 409,
  STORE_SHARD_MISMATCH: 409,
  STORE_DIMENSION_MISMATCH: 400,
  STORE_QUERY_TOO_COSTLY: 400,
  STORE_BUSY: 503,
  STORE_CLOSED: 503,
  STORE_FULL: 507,
  SYNC_CLOSED: 503,
  SYNC_PERMISSIONS_INVALID: 409,
  TRANSPORT_IDENTITY_INVALID: 409,
  SYNC_SHARD_UNKNOWN: 404,
  SYNC_SHARD_MISMATCH: 409,
  TRANSPORT_DIAL_FAILED: 504,
  TRANSPORT_HANDSHAKE_TIMEOUT: 504,
}

/**
 * Hints of the library in the words of the API: a caller sends requests, and calls no functions.
 */
const HINTS: Readonly<Partial<Record<ErrorCode, string>>> = {
  STORE_BUSY: 'Another process holds the write lock. Try again.',
  STORE_CORRUPT: 'The database is damaged: restore a snapshot, or sync a new node from a peer.',
  STORE_SHARD_UNKNOWN: 'Create the shard first: PUT /v1/shards/{shard}.',
  STORE_RECORD_EXISTS: 'Send mode "upsert" to replace records.',
  STORE_RECORD_UNKNOWN: 'Write the record first: POST /v1/shards/{shard}/records.',
  SEALED_KEYS_INVALID: 'Give the node a shard key file that only its user can read.',
  TRANSPORT_LIMIT_EXCEEDED: 'One side has too many connections open. Try again later.',
}

/** The answer to an error. */
export function problemOf(error: unknown): Problem {
  const problem = unredacted(error)
  return { ...problem, detail: redactPaths(problem.detail) }
}

function unredacted(error: unknown): Problem {
  if (error instanceof SqliteVectorError && isErrorCode(error.code)) {
    const { code, message, hint, retryable } = error
    const told = HINTS[code] ?? hint
    return { ...kind(code, told), status: statusOf(code), detail: message, code, retryable }
  }
  if (error instanceof HttpError) return refusal(error.code, error.message)
  const framework = ofFramework(error)
  if (framework !== null) return framework
  // The library reports a wrong argument this way; the message names argument, rule and value.
  if ((error instanceof TypeError || error instanceof RangeError) && !isEngines(error)) {
    return refusal('HTTP_INPUT_INVALID', error.message)
  }
  return refusal('HTTP_INTERNAL', 'the node failed to answer')
}

/** Messages of the JavaScript engine for faults in code; argument errors never read like these. */
const ENGINE =
  /^(Cannot |Class constructor|Invalid (array|typed array|string|count)|Maximum call stack)|is not (a function|iterable|a constructor|defined|an object)/

function isEngines({ message }: Error): boolean {
  return ENGINE.test(message)
}

function statusOf(code: ErrorCode): number {
  return STATUS[code] ?? (code.startsWith('STORE_') ? 500 : 502)
}

function kind(code: string, hint: string): Pick<Problem, 'type' | 'title'> {
  return { type: `urn:sqlite-vector:error:${code}`, title: hint }
}

function refusal(code: HttpErrorCode, detail: string): Problem {
  const { status, retryable, hint } = HTTP_ERRORS[code]
  return { ...kind(code, hint), status, detail, code, retryable }
}

/** Error that the framework throws before a route runs. */
interface FrameworkError {
  readonly code?: unknown
  readonly statusCode?: unknown
  readonly message: string
  readonly validation?: readonly Violation[]
  readonly validationContext?: string
}

interface Violation {
  readonly instancePath: string
  readonly message?: string
  readonly keyword: string
  readonly params: Readonly<Record<string, unknown>>
  readonly parentSchema?: { readonly properties?: object }
}

function ofFramework(error: unknown): Problem | null {
  if (!(error instanceof Error)) return null
  const { code, statusCode, message, validation, validationContext } = error as FrameworkError
  const [violation] = validation ?? []
  if (violation !== undefined) {
    return refusal('HTTP_INPUT_INVALID', violationText(validationContext ?? 'body', violation))
  }
  if (statusCode === 413) return refusal('HTTP_BODY_TOO_LARGE', message)
  if (statusCode === 415) return refusal('HTTP_MEDIA_TYPE', message)
  const isRefused = typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500
  if (isRefused && typeof code === 'string') return refusal('HTTP_INPUT_INVALID', message)
  return null
}

function violationText(context: string, violation: Violation): string {
  const where = context + violation.instancePath.replaceAll('/', '.')
  if (violation.keyword === 'additionalProperties') {
    const name = String(violation.params['additionalProperty'])
    const nearest = nearestName(name, Object.keys(violation.parentSchema?.properties ?? {}))
    const remedy = nearest === undefined ? '' : `; did you mean ${nearest}?`
    return `${where} has no ${JSON.stringify(name)}${remedy}`
  }
  return `${where} ${violation.message ?? 'is wrong'}`
}
