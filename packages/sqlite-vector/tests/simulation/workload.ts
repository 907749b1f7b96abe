/**
 * What the users of a simulation do: writes of every kind on few records, so that they collide. Each
 * operation checks at once that the store did what it said, no more and no less.
 */
import { unreachable } from '../../src/assert.ts'
import { SqliteVectorError } from '../../src/errors.ts'
import type { ShardInfo, VectorRecord } from '../../src/store/types.ts'
import type { SQLiteVectorDB } from '../../src/store/vector-db.ts'
import { type History, shardViewOf, Violation } from './history.ts'
import { observeShard } from './inspect.ts'
import type { SimNode } from './node.ts'
import type { Random } from './random.ts'

/** Who works where, and on what. */
export interface Workplace {
  readonly history: History
  readonly node: SimNode
  /** The node's own handle on its file, or another process's. */
  readonly db: SQLiteVectorDB
  readonly shard: ShardInfo
  readonly random: Random
}

export type Operation =
  | 'insert'
  | 'upsert'
  | 'update-metadata'
  | 'update-embedding'
  | 'update-text'
  | 'delete'
  | 'batch'

/** How often each is picked. */
export const OPERATION_WEIGHTS: readonly (readonly [number, Operation])[] = [
  [5, 'insert'],
  [8, 'upsert'],
  [4, 'update-metadata'],
  [3, 'update-embedding'],
  [2, 'update-text'],
  [6, 'delete'],
  [1, 'batch'],
]

/** What a record must be right after a write; null for deleted. */
interface Expected {
  readonly embedding: Float32Array
  readonly metadata: string
  readonly text: string | null
}

/** Carries one operation out. Returns what was done, for the trace. */
export async function work(place: Workplace, operation: Operation): Promise<string> {
  const { db, shard, random } = place
  const { shardId } = shard
  const id = pickId(random)
  const before = db.get(shardId, id)
  switch (operation) {
    case 'insert':
      return insert(place, id, before)
    case 'upsert': {
      const record = newRecord(random, id, shard.dimension)
      const added = db.upsert(shardId, record)
      if (added !== (before === null)) wrong(place, `upsert of "${id}" says ${String(added)}`)
      return written(place, id, expectedOf(record), 'upsert')
    }
    case 'update-metadata':
    case 'update-embedding':
    case 'update-text':
      return update(place, operation, id, before)
    case 'delete': {
      const deleted = db.delete(shardId, id)
      if (deleted !== (before !== null)) wrong(place, `delete of "${id}" says ${String(deleted)}`)
      return deleted
        ? written(place, id, null, 'delete')
        : unchanged(place, `delete ${id}: not there`)
    }
    case 'batch':
      return batch(place)
    default:
      return unreachable(operation)
  }
}

function insert(place: Workplace, id: string, before: VectorRecord | null): string {
  const { db, shard, random } = place
  const record = newRecord(random, id, shard.dimension)
  try {
    db.insert(shard.shardId, record)
  } catch (error) {
    if (before === null || !isCode(error, 'STORE_RECORD_EXISTS')) throw error
    return unchanged(place, `insert ${id}: exists`)
  }
  if (before !== null) wrong(place, `insert of "${id}" replaced a record`)
  return written(place, id, expectedOf(record), 'insert')
}

function update(
  place: Workplace,
  operation: 'update-metadata' | 'update-embedding' | 'update-text',
  id: string,
  before: VectorRecord | null,
): string {
  const { db, shard, random } = place
  const metadata = newMetadata(random)
  const text = random.chance(0.3) ? null : newText(random)
  const embedding = newEmbedding(random, shard.dimension)
  const replace = random.chance(0.3)
  const change =
    operation === 'update-metadata'
      ? { metadata, metadataMode: replace ? ('replace' as const) : ('merge' as const) }
      : operation === 'update-text'
        ? { text }
        : { embedding }
  try {
    db.update(shard.shardId, id, change)
  } catch (error) {
    if (before !== null || !isCode(error, 'STORE_RECORD_UNKNOWN')) throw error
    return unchanged(place, `${operation} ${id}: not there`)
  }
  if (before === null) return wrong(place, `${operation} of "${id}" found a record`)
  const merged =
    operation !== 'update-metadata'
      ? before.metadata
      : replace
        ? metadata
        : { ...before.metadata, ...metadata }
  const after: Expected = {
    embedding:
      operation === 'update-embedding' ? embedding : (before.embedding ?? new Float32Array()),
    metadata: JSON.stringify(merged),
    text: operation === 'update-text' ? text : before.text,
  }
  return written(place, id, after, operation)
}

async function batch(place: Workplace): Promise<string> {
  const { db, shard, random } = place
  const ids = [...new Set([pickId(random), pickId(random), pickId(random), pickId(random)])]
  const records = ids.map((id) => newRecord(random, id, shard.dimension))
  const count = await db.insertBatch(shard.shardId, records, { mode: 'upsert' })
  if (count !== records.length) wrong(place, `a batch of ${records.length} counted ${count}`)
  observe(place)
  for (const record of records) checkWritten(place, record.id, expectedOf(record))
  return `batch ${ids.join(' ')}`
}

/** Takes notice of a write and checks that the record is exactly what was written. */
function written(place: Workplace, id: string, expected: Expected | null, what: string): string {
  observe(place)
  checkWritten(place, id, expected)
  return `${what} ${id}`
}

function unchanged(place: Workplace, what: string): string {
  const { history } = place
  const before = history.writeCount
  observe(place)
  if (history.writeCount !== before) wrong(place, `${what}, and wrote all the same`)
  return what
}

function observe({ history, node, shard }: Workplace): void {
  // Nothing to hear for the handle that wrote; another process's commits must be asked for.
  node.db.replica.poll()
  observeShard(history, node, shard.shardId, 'write')
}

function checkWritten(place: Workplace, id: string, expected: Expected | null): void {
  const { node, shard } = place
  const held = shardViewOf(node.view, shard.shardId).records.get(id)
  const [sibling] = held?.state.siblings ?? []
  if (held?.siblings.length !== 1 || sibling === undefined) {
    return wrong(place, `"${id}" has ${held?.siblings.length ?? 0} siblings after a write`)
  }
  const { value } = sibling
  if (value === null || expected === null) {
    if (value !== null || expected !== null) wrong(place, `"${id}" is not what was written`)
    return
  }
  const same =
    value.metadata === expected.metadata &&
    value.text === expected.text &&
    value.embedding?.join() === expected.embedding.join()
  if (!same) {
    wrong(place, `"${id}" is ${value.metadata} ${value.text} [${value.embedding?.join() ?? ''}]`)
  }
}

function wrong(place: Workplace, what: string): never {
  throw new Violation('a write does what it says', `${place.node.name}: ${what}`)
}

export function isCode(error: unknown, code: string): boolean {
  return error instanceof SqliteVectorError && error.code === code
}

/** Few ids, so that nodes meet on them; now and then one of many. */
function pickId(random: Random): string {
  return random.chance(0.8) ? `r${random.below(6)}` : `r${random.below(40)}`
}

function newRecord(
  random: Random,
  id: string,
  dimension: number,
): {
  readonly id: string
  readonly embedding: Float32Array
  readonly metadata: { readonly [key: string]: string | number }
  readonly text?: string
} {
  const record = {
    id,
    embedding: newEmbedding(random, dimension),
    metadata: newMetadata(random),
  }
  return random.chance(0.5) ? { ...record, text: newText(random) } : record
}

/** Eighths from -2 to 2: exact in float32, never all zero, and sometimes opposite to one another. */
function newEmbedding(random: Random, dimension: number): Float32Array {
  const embedding = Float32Array.from({ length: dimension }, () => random.between(-16, 16) / 8)
  if (embedding.every((component) => component === 0)) embedding[0] = 1
  return embedding
}

function newMetadata(random: Random): { readonly [key: string]: string | number } {
  const metadata: Record<string, string | number> = {}
  for (const key of ['a', 'b', 'ключ']) {
    if (random.chance(0.5)) metadata[key] = random.below(1_000)
  }
  return metadata
}

function newText(random: Random): string {
  return `text ${random.below(100_000)}`
}

function expectedOf(record: ReturnType<typeof newRecord>): Expected {
  const { embedding, metadata, text = null } = record
  return { embedding, metadata: JSON.stringify(metadata), text }
}
