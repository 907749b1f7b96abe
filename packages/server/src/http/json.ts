/**
 * Converts values of the library to JSON: maps and typed arrays become objects and arrays, errors
 * become their code and message. Pure.
 */
import type { VectorRecord } from '@agentic-flow/sqlite-vector'
import { SqliteVectorError } from '@agentic-flow/sqlite-vector/errors'
import { redactPaths } from './redact.ts'

/**
 * Converts a value with maps, typed arrays or errors inside. Copies the whole value; use it for
 * small ones.
 */
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

/** Converts a record or search result. Only the embedding is copied, because results are many. */
export function recordJson(record: VectorRecord): unknown {
  const { embedding } = record
  return embedding === undefined ? record : { ...record, embedding: [...embedding] }
}

/** The part of an error that a caller may see. */
export function errorJson(error: Error): unknown {
  const message = redactPaths(error.message)
  if (!(error instanceof SqliteVectorError)) return { code: null, message }
  return { code: error.code, message, retryable: error.retryable }
}
