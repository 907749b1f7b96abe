/**
 * Values of the library as JSON can say them: maps and typed arrays become objects and arrays, errors their
 * code and message. Pure.
 */
import type { VectorRecord } from '@agentic-flow/sqlite-vector'
import { SqliteVectorError } from '@agentic-flow/sqlite-vector/errors'

/** Anything that holds maps, typed arrays or errors somewhere. For small values: it copies all of it. */
export function plain(value: unknown): unknown {
  if (value instanceof Map) {
    return Object.fromEntries([...value].map(([key, inner]) => [String(key), plain(inner)]))
  }
  if (value instanceof Float32Array) return [...value]
  if (value instanceof Error) return errorJson(value)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]))
  }
  return value
}

/** A record or a search result; only its embedding needs care, and results are many. */
export function recordJson(record: VectorRecord): unknown {
  const { embedding } = record
  return embedding === undefined ? record : { ...record, embedding: [...embedding] }
}

/** What a caller may know of an error that happened in its behalf. */
export function errorJson(error: Error): unknown {
  const { message } = error
  if (!(error instanceof SqliteVectorError)) return { code: null, message }
  return { code: error.code, message, retryable: error.retryable }
}
