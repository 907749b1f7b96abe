/**
 * JSON Schemas that several routes use. They validate and describe input; the library checks the
 * rest (components of a vector, bytes of a name, paths of a filter).
 */
import type { JsonSchema } from './route.ts'

export const text: JsonSchema = { type: 'string' }
export const flag: JsonSchema = { type: 'boolean' }
export const count: JsonSchema = { type: 'integer', minimum: 0 }
export const nullableText: JsonSchema = { type: ['string', 'null'] }

/** An object of exactly these properties. */
export function object(
  properties: Readonly<Record<string, JsonSchema>>,
  required: readonly string[] = Object.keys(properties),
): JsonSchema {
  return { type: 'object', additionalProperties: false, required, properties }
}

export function listOf(items: JsonSchema, countMax?: number): JsonSchema {
  return { type: 'array', items, ...(countMax === undefined ? {} : { maxItems: countMax }) }
}

export const vector: JsonSchema = {
  type: 'array',
  items: { type: 'number' },
  minItems: 1,
  maxItems: 8_192,
  description: 'One finite number per dimension of the shard; stored as float32.',
}

export const metadata: JsonSchema = { type: 'object', additionalProperties: true }

export const filter: JsonSchema = {
  type: 'object',
  additionalProperties: true,
  description: 'Conditions by path (see docs/reference/api.md): {"year": {"$gte": 2000}}.',
}

export const recordInput: JsonSchema = object({ id: text, embedding: vector, metadata, text }, [
  'id',
  'embedding',
])

export const record: JsonSchema = object(
  { id: text, metadata, text: nullableText, embedding: vector },
  ['id', 'metadata', 'text'],
)

export const metric: JsonSchema = { enum: ['cosine', 'l2', 'dot'] }

export const strategy: JsonSchema = {
  enum: ['last-write-wins', 'first-write-wins', 'merge', 'manual'],
}

export const versionVector: JsonSchema = {
  type: 'object',
  additionalProperties: count,
  description: 'Highest covered counter of each actor.',
}

export const shardState: JsonSchema = {
  type: 'object',
  required: ['shardId', 'dimension', 'metric', 'recordCount', 'head', 'logId', 'digest'],
  properties: {
    shardId: text,
    dimension: count,
    metric,
    modelId: nullableText,
    logId: text,
    head: count,
    versionVector,
    settled: flag,
    gcFloor: versionVector,
    digest: text,
    recordCount: count,
    tombstoneCount: count,
    conflictCount: count,
    quarantineCount: count,
    updatedAtMs: count,
  },
}

export const dot: JsonSchema = object({ actor: text, counter: count })

export const page: Readonly<Record<string, JsonSchema>> = {
  cursor: { type: 'string', description: 'nextCursor of the previous page.' },
  limit: { type: 'integer', minimum: 1, maximum: 10_000, default: 100 },
}

/** The body of every error. */
export const problem: JsonSchema = object({
  type: text,
  title: text,
  status: count,
  detail: text,
  code: text,
  retryable: flag,
})
