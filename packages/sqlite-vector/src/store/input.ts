/**
 * Checks of arguments: ids, vectors, metadata, texts. Pure.
 *
 * Everything here throws before anything is written: a TypeError (wrong kind), a RangeError (wrong
 * value) or `STORE_DIMENSION_MISMATCH`, naming the argument, the rule and the value.
 */
import { utf8ByteLength } from '../bytes.ts'
import { SqliteVectorError } from '../errors.ts'
import { ID_BYTES_MAX, METADATA_BYTES_MAX, METADATA_DEPTH_MAX, TEXT_BYTES_MAX } from '../limits.ts'
import { nameGiven, objectGiven, rejectUnknownKeys, shown } from '../options.ts'
import type { RecordInput } from './types.ts'
import { type ShardInfo } from '../model/records.ts'

/** A record as the tables take it. */
export interface PreparedRecord {
  readonly id: string
  readonly embedding: Float32Array
  readonly metadata: string
  readonly text: string | null
}

const RECORD_KEYS = ['id', 'embedding', 'metadata', 'text'] as const

/** How messages call a record and its parts. */
interface RecordNames {
  readonly record: string
  readonly id: string
  readonly embedding: string
  readonly metadata: string
  readonly text: string
}

const RECORD_NAMES = recordNames('record')

/** Checks `record` against its shard. */
export function prepareRecord(shard: ShardInfo, record: RecordInput): PreparedRecord {
  return prepareNamed(shard, record, RECORD_NAMES)
}

/** {@link prepareRecord}, where messages call the record `records[index]`. */
export function prepareRecordAt(
  shard: ShardInfo,
  records: readonly RecordInput[],
  index: number,
): PreparedRecord {
  const record = records[index] as RecordInput
  try {
    return prepareNamed(shard, record, RECORD_NAMES)
  } catch {
    // Only a refused record is worth a name of its own; this throws the same, well named.
    return prepareNamed(shard, record, recordNames(`records[${index}]`))
  }
}

function prepareNamed(shard: ShardInfo, record: RecordInput, names: RecordNames): PreparedRecord {
  objectGiven(names.record, record)
  // A loop without allocation says whether there is anything to complain of.
  for (const key in record) {
    if (key === 'id' || key === 'embedding' || key === 'metadata' || key === 'text') continue
    rejectUnknownKeys(names.record, record, RECORD_KEYS)
  }
  const { id, embedding, metadata, text } = record
  nameGiven(names.id, id, ID_BYTES_MAX)
  return {
    id,
    embedding: prepareVector(shard, embedding, names.embedding),
    metadata: metadata === undefined ? '{}' : metadataToText(metadata, names.metadata),
    text: text === undefined ? null : prepareText(text, names.text),
  }
}

function recordNames(record: string): RecordNames {
  return {
    record,
    id: `${record}.id`,
    embedding: `${record}.embedding`,
    metadata: `${record}.metadata`,
    text: `${record}.text`,
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
  const square = squaredSum(float32)
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
  const fault = jsonFault(metadata, 1)
  if (fault !== null) throw faultError(fault, name)
  return limitMetadata(JSON.stringify(metadata), name)
}

/** `text`, when it is not longer than metadata may be. */
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

/** Sum of squares in four sums, because one would wait for itself. */
function squaredSum(vector: Float32Array): number {
  let a = 0
  let b = 0
  let c = 0
  let d = 0
  const whole = vector.length & ~3
  for (let index = 0; index < whole; index += 4) {
    const x = vector[index] as number
    const y = vector[index + 1] as number
    const z = vector[index + 2] as number
    const w = vector[index + 3] as number
    a += x * x
    b += y * y
    c += z * z
    d += w * w
  }
  for (let index = whole; index < vector.length; index += 1) {
    a += (vector[index] as number) * (vector[index] as number)
  }
  return a + b + c + d
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

/** The first place in a value that JSON.stringify would drop or change silently, and why. */
interface JsonFault {
  readonly path: string
  readonly rule: string
  readonly got: string
  readonly kind: 'type' | 'range'
}

function faultError(fault: JsonFault, name: string): TypeError | RangeError {
  const message = `${name}${fault.path} must be ${fault.rule}, got ${fault.got}`
  return fault.kind === 'type' ? new TypeError(message) : new RangeError(message)
}

/**
 * The first fault of `value`, or null. The path is put together on the way back: faults are rare.
 */
function jsonFault(value: unknown, depth: number): JsonFault | null {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return null
  if (typeof value === 'number') {
    if (Number.isFinite(value)) return null
    return { path: '', rule: 'a finite number', got: String(value), kind: 'range' }
  }
  if (typeof value !== 'object' || !(Array.isArray(value) || isPlainObject(value))) {
    return { path: '', rule: 'a JSON value', got: shown(value), kind: 'type' }
  }
  if (depth > METADATA_DEPTH_MAX) {
    const rule = `nested at most ${METADATA_DEPTH_MAX} deep`
    return { path: '', rule, got: 'more (is it a cycle?)', kind: 'range' }
  }
  return Array.isArray(value) ? arrayFault(value, depth) : objectFault(value, depth)
}

function arrayFault(values: readonly unknown[], depth: number): JsonFault | null {
  // By index: a hole is undefined, and would become null.
  for (let index = 0; index < values.length; index += 1) {
    const fault = jsonFault(values[index], depth + 1)
    if (fault !== null) return { ...fault, path: `[${index}]${fault.path}` }
  }
  return null
}

function objectFault(value: Record<string, unknown>, depth: number): JsonFault | null {
  for (const key of Object.keys(value)) {
    const fault = jsonFault(value[key], depth + 1)
    if (fault !== null) return { ...fault, path: `.${key}${fault.path}` }
  }
  return null
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}
