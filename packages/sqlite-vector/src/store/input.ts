/**
 * What callers give, checked: ids, vectors, metadata, texts. Pure.
 *
 * Everything here throws before anything is written: a TypeError (wrong kind), a RangeError (wrong
 * value) or `STORE_DIMENSION_MISMATCH`, naming the argument, the rule and the value.
 */
import { utf8ByteLength } from '../bytes.ts'
import { SqliteVectorError } from '../errors.ts'
import { ID_BYTES_MAX, METADATA_BYTES_MAX, METADATA_DEPTH_MAX, TEXT_BYTES_MAX } from '../limits.ts'
import { nameGiven, objectGiven, rejectUnknownKeys, shown } from '../options.ts'
import type { RecordInput, ShardInfo } from './types.ts'

/** A record as the tables take it. */
export interface PreparedRecord {
  readonly id: string
  readonly embedding: Float32Array
  readonly metadata: string
  readonly text: string | null
}

const RECORD_KEYS = ['id', 'embedding', 'metadata', 'text'] as const

/** Checks `record` against its shard; `name` is how messages call it. */
export function prepareRecord(shard: ShardInfo, record: RecordInput, name: string): PreparedRecord {
  objectGiven(name, record)
  rejectUnknownKeys(name, record, RECORD_KEYS)
  const { id, embedding, metadata, text } = record
  nameGiven(`${name}.id`, id, ID_BYTES_MAX)
  return {
    id,
    embedding: prepareVector(shard, embedding, `${name}.embedding`),
    metadata: metadata === undefined ? '{}' : metadataToText(metadata, `${name}.metadata`),
    text: text === undefined ? null : prepareText(text, `${name}.text`),
  }
}

/** `dimension` finite float32 components, not all zero when the metric is cosine. */
export function prepareVector(shard: ShardInfo, vector: unknown, name: string): Float32Array {
  const float32 = toFloat32(vector, name)
  if (float32.length !== shard.dimension) {
    throw new SqliteVectorError(
      'STORE_DIMENSION_MISMATCH',
      `${name} must have ${shard.dimension} components, as shard ${shown(shard.shardId)} has, ` +
        `got ${float32.length}`,
    )
  }
  let square = 0
  for (let index = 0; index < float32.length; index += 1) {
    const component = float32[index] as number
    square += component * component
  }
  // The square of a float32 fits a float64, so the sum is finite exactly when all components are.
  if (!Number.isFinite(square)) throw notFinite(vector as ArrayLike<number>, float32, name)
  if (square === 0 && shard.metric === 'cosine') {
    throw new RangeError(`${name} must not be all zeros: the cosine metric has no angle to it`)
  }
  return float32
}

/** A well-formed text within its limit. */
export function prepareText(text: unknown, name: string): string {
  if (typeof text !== 'string') throw new TypeError(`${name} must be a string, got ${shown(text)}`)
  if (!text.isWellFormed()) {
    throw new RangeError(`${name} must be well-formed Unicode, got ${shown(text)}`)
  }
  if (text.includes('\0')) throw new RangeError(`${name} must not contain NUL, got ${shown(text)}`)
  limitBytes(text, TEXT_BYTES_MAX, name)
  return text
}

/** Metadata as the JSON text that is stored and replicated; keys stay in the order given. */
export function metadataToText(metadata: unknown, name: string): string {
  if (!isPlainObject(metadata)) {
    throw new TypeError(`${name} must be a JSON object, got ${shown(metadata)}`)
  }
  assertJson(metadata, name, 1)
  return limitMetadata(JSON.stringify(metadata), name)
}

/** `text`, when it is no longer than metadata may be. */
export function limitMetadata(text: string, name: string): string {
  limitBytes(text, METADATA_BYTES_MAX, name)
  return text
}

function toFloat32(vector: unknown, name: string): Float32Array {
  if (vector instanceof Float32Array) return vector
  if (!Array.isArray(vector)) {
    throw new TypeError(
      `${name} must be a Float32Array or an array of numbers, got ${shown(vector)}`,
    )
  }
  const float32 = new Float32Array(vector.length)
  for (let index = 0; index < vector.length; index += 1) {
    const component: unknown = vector[index]
    if (typeof component !== 'number') {
      throw new TypeError(`${name}[${index}] must be a number, got ${shown(component)}`)
    }
    float32[index] = component
  }
  return float32
}

function notFinite(given: ArrayLike<number>, float32: Float32Array, name: string): RangeError {
  const index = float32.findIndex((component) => !Number.isFinite(component))
  return new RangeError(`${name}[${index}] must be a finite float32, got ${given[index]}`)
}

function limitBytes(text: string, bytesMax: number, name: string): void {
  if (text.length * 3 <= bytesMax) return
  const bytes = utf8ByteLength(text)
  if (bytes <= bytesMax) return
  throw new RangeError(`${name} must be at most ${bytesMax} UTF-8 bytes, got ${bytes}`)
}

/** Refuses what JSON.stringify would drop or change without a word. */
function assertJson(value: unknown, name: string, depth: number): void {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return
  if (typeof value === 'number') {
    if (Number.isFinite(value)) return
    throw new RangeError(`${name} must be a finite number, got ${value}`)
  }
  if (typeof value !== 'object') {
    throw new TypeError(`${name} must be a JSON value, got ${shown(value)}`)
  }
  if (depth > METADATA_DEPTH_MAX) {
    throw new RangeError(
      `${name} must be nested at most ${METADATA_DEPTH_MAX} deep (is it a cycle?)`,
    )
  }
  if (Array.isArray(value)) {
    // By index: a hole is undefined, and would become null.
    for (let index = 0; index < value.length; index += 1) {
      assertJson(value[index], `${name}[${index}]`, depth + 1)
    }
    return
  }
  if (!isPlainObject(value)) {
    throw new TypeError(`${name} must be a JSON value, got ${shown(value)}`)
  }
  for (const key of Object.keys(value)) assertJson(value[key], `${name}.${key}`, depth + 1)
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}
