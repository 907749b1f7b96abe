/**
 * Options of the store: the only place where defaults meet what a caller gave. Past these functions
 * everything is complete, validated and frozen.
 */
import {
  DIMENSION_MAX,
  ID_BYTES_MAX,
  LIST_LIMIT_MAX,
  MODEL_ID_BYTES_MAX,
  REPLICA_RETENTION_DAYS,
  SHARD_ID_BYTES_MAX,
} from '../limits.ts'
import {
  booleanGiven,
  integerIn,
  nameGiven,
  objectGiven,
  oneOf,
  rejectUnknownKeys,
  shown,
} from '../options.ts'
import type {
  BatchOptions,
  CollectOptions,
  ConflictListOptions,
  ListOptions,
  QuarantineListOptions,
  ShardOptions,
  StoreEvent,
  VectorDBOptions,
} from './types.ts'
import { type ShardInfo } from '../model/records.ts'
import { type Condition, parseFilter } from '../search/filter.ts'
import { DEFAULT_ANALYSIS, resolveTextOptions } from '../search/text-analysis.ts'

/** {@link VectorDBOptions} with nothing optional. */
export type ResolvedVectorDBOptions = Required<VectorDBOptions>

/** {@link ListOptions} with nothing optional. */
export interface ResolvedListOptions {
  readonly cursor: string | null
  readonly limit: number
  readonly includeVectors: boolean
  readonly condition: Condition | null
  readonly prefix: string
}

const BUSY_TIMEOUT_MS_MAX = 60_000

/** Float32, int8 and bits of about 270,000 vectors of 384, or int8 and bits of a million. */
const SEARCH_MEMORY_BYTES_DEFAULT = 536_870_912

const DB_KEYS = [
  'path',
  'durability',
  'busyTimeoutMs',
  'searchMemoryBytes',
  'saveIndex',
  'readOnly',
  'onEvent',
]

const METRICS = ['cosine', 'l2', 'dot'] as const

/** Checks the options of `createVectorDB()`. */
export function resolveVectorDBOptions(given: VectorDBOptions): ResolvedVectorDBOptions {
  objectGiven('createVectorDB: options', given)
  rejectUnknownKeys('createVectorDB', given, DB_KEYS)
  const { path, durability = 'full', busyTimeoutMs = 5_000, onEvent = ignore } = given
  const { searchMemoryBytes = SEARCH_MEMORY_BYTES_DEFAULT, saveIndex = true } = given
  const { readOnly = false } = given
  if (typeof path !== 'string') throw new TypeError(`path must be a string, got ${shown(path)}`)
  if (path === '') throw new RangeError('path must not be empty')
  if (path.includes('\0')) throw new RangeError(`path must not contain NUL, got ${shown(path)}`)
  if (/^file:/i.test(path)) {
    throw new RangeError(
      `path must be a file name, not a URI, got ${shown(path)}; pass ${shown(path.slice(5))}`,
    )
  }
  oneOf('durability', durability, ['full', 'normal'])
  integerIn('busyTimeoutMs', busyTimeoutMs, 0, BUSY_TIMEOUT_MS_MAX)
  integerIn('searchMemoryBytes', searchMemoryBytes, 0, Number.MAX_SAFE_INTEGER)
  booleanGiven('saveIndex', saveIndex)
  booleanGiven('readOnly', readOnly)
  if (readOnly && path === ':memory:') {
    throw new RangeError('readOnly needs a file, got the path ":memory:"')
  }
  functionGiven('onEvent', onEvent)
  return Object.freeze({
    path,
    durability,
    busyTimeoutMs,
    searchMemoryBytes,
    saveIndex: saveIndex && !readOnly,
    readOnly,
    onEvent,
  })
}

/** Checks a shard's name and options. */
export function resolveShardOptions(shardId: string, given: ShardOptions): ShardInfo {
  nameGiven('shardId', shardId, SHARD_ID_BYTES_MAX)
  objectGiven('createShard: options', given)
  rejectUnknownKeys('createShard', given, ['dimension', 'metric', 'modelId', 'text'])
  const { dimension, metric = 'cosine', modelId, text } = given
  integerIn('dimension', dimension, 1, DIMENSION_MAX)
  oneOf('metric', metric, METRICS)
  if (modelId !== undefined) nameGiven('modelId', modelId, MODEL_ID_BYTES_MAX)
  const analysis = text === undefined ? DEFAULT_ANALYSIS : resolveTextOptions(text)
  return Object.freeze({
    shardId,
    dimension,
    metric,
    modelId: modelId ?? null,
    ...(analysis === DEFAULT_ANALYSIS ? {} : { text: analysis }),
  })
}

/** Checks the options of `list()`. */
export function resolveListOptions(given: ListOptions): ResolvedListOptions {
  objectGiven('list: options', given)
  const known = ['cursor', 'after', 'limit', 'includeVectors', 'filter', 'prefix']
  rejectUnknownKeys('list', given, known)
  const { cursor = null, after = null, limit = 100, includeVectors = false } = given
  const { filter, prefix = '' } = given
  for (const [name, id] of Object.entries({ cursor, after })) {
    if (id !== null && typeof id !== 'string') {
      throw new TypeError(`${name} must be a string, got ${shown(id)}`)
    }
  }
  if (cursor !== null && after !== null) {
    throw new TypeError('cursor and after exclude each other: both are the id to go on after')
  }
  if (prefix !== '') nameGiven('prefix', prefix, ID_BYTES_MAX)
  integerIn('limit', limit, 1, LIST_LIMIT_MAX)
  booleanGiven('includeVectors', includeVectors)
  const condition = filter === undefined ? null : parseFilter(filter)
  return Object.freeze({ cursor: cursor ?? after, limit, includeVectors, condition, prefix })
}

/** Checks the options of `listConflicts()`. */
export function resolveConflictListOptions(given: ConflictListOptions): ResolvedListOptions {
  objectGiven('listConflicts: options', given)
  rejectUnknownKeys('listConflicts', given, ['cursor', 'limit'])
  return resolveListOptions(given)
}

const DAY_MS = 86_400_000

/**
 * Checks the options of `collectTombstones()`; how long a silent peer is waited for, in
 * milliseconds.
 */
export function resolveCollectOptions(given: CollectOptions): number {
  objectGiven('collectTombstones: options', given)
  rejectUnknownKeys('collectTombstones', given, ['replicaRetentionMs'])
  const { replicaRetentionMs = REPLICA_RETENTION_DAYS * DAY_MS } = given
  integerIn('replicaRetentionMs', replicaRetentionMs, 0, 3_650 * DAY_MS)
  return replicaRetentionMs
}

/** Checks the options of `listQuarantine()`. */
export function resolveQuarantineListOptions(
  given: QuarantineListOptions,
): Required<QuarantineListOptions> {
  objectGiven('listQuarantine: options', given)
  rejectUnknownKeys('listQuarantine', given, ['after', 'limit'])
  const { after = 0, limit = 100 } = given
  integerIn('after', after, 0, Number.MAX_SAFE_INTEGER)
  integerIn('limit', limit, 1, LIST_LIMIT_MAX)
  return { after, limit }
}

/** Checks the options of `insertBatch()`. */
export function resolveBatchOptions(
  given: BatchOptions,
): BatchOptions & { mode: 'insert' | 'upsert' } {
  objectGiven('insertBatch: options', given)
  rejectUnknownKeys('insertBatch', given, ['mode', 'onProgress', 'signal'])
  const { mode = 'insert', onProgress, signal } = given
  oneOf('mode', mode, ['insert', 'upsert'])
  if (onProgress !== undefined) functionGiven('onProgress', onProgress)
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new TypeError(`signal must be an AbortSignal, got ${shown(signal)}`)
  }
  return Object.freeze({ ...given, mode })
}

/** @throws TypeError unless `value` is a function */
export function functionGiven(name: string, value: unknown): void {
  if (typeof value !== 'function') {
    throw new TypeError(`${name} must be a function, got ${shown(value)}`)
  }
}

function ignore(_event: StoreEvent): void {
  // The caller gave no listener.
}
