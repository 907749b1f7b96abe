/**
 * What the users of a simulation do: writes of every kind on few records, so that they collide. Each
 * operation checks at once that the store did what it said, no more and no less.
 */
import { unreachable } from '../../src/assert.ts'
import { SqliteVectorError } from '../../src/errors.ts'
import type { VectorRecord } from '../../src/store/types.ts'
import type { SQLiteVectorDB } from '../../src/store/vector-db.ts'
import { type History, shardViewOf, Violation } from './history.ts'
import { observeShard } from './inspect.ts'
import type { SimNode } from './node.ts'
import type { Random } from './random.ts'
import { type ShardInfo } from '../../src/model/records.ts'

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
  | 'delete-where'
  | 'resolve'
  | 'transaction'
  | 'group'
  | 'batch'

/** How often each is picked. */
export const OPERATION_WEIGHTS: readonly (readonly [number, Operation])[] = [
  [5, 'insert'],
  [8, 'upsert'],
  [4, 'update-metadata'],
  [3, 'update-embedding'],
  [2, 'update-text'],
  [6, 'delete'],
  [1, 'delete-where'],
  [6, 'resolve'],
  [2, 'transaction'],
  [1, 'group'],
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
    case 'delete-where':
      return deleteWhere(place)
    case 'resolve':
      return resolve(place)
    case 'transaction':
      return transaction(place)
    case 'group':
      return group(place)
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

/** Somebody decides a conflict: for one of the siblings, for a value, or for a delete. */
function resolve(place: Workplace): string {
  const { db, shard, random } = place
  const { conflicts } = db.listConflicts(shard.shardId)
  if (conflicts.length === 0) return 'nothing to resolve'
  const { id } = random.pick(conflicts)
  const { dot, value } = random.pick(db.conflictSiblings(shard.shardId, id))
  if (random.chance(0.6)) {
    db.resolveConflict(shard.shardId, id, { choose: dot })
    const chosen =
      value === null
        ? null
        : { ...value, metadata: JSON.stringify(value.metadata), embedding: value.embedding.slice() }
    return written(place, id, chosen, 'resolve by choice')
  }
  if (random.chance(0.2)) {
    db.resolveConflict(shard.shardId, id, { value: null })
    return written(place, id, null, 'resolve by deletion')
  }
  const { id: _, ...own } = newRecord(random, id, shard.dimension)
  db.resolveConflict(shard.shardId, id, { value: own })
  return written(place, id, expectedOf({ id, ...own }), 'resolve by value')
}

function deleteWhere(place: Workplace): string {
  const { db, shard, random } = place
  const least = random.between(500, 1_000)
  const ids = db
    .list(shard.shardId, { limit: 1_000 })
    .records.filter(({ metadata }) => Number(metadata['a'] ?? 0) >= least)
    .map(({ id }) => id)
  const count = db.delete(shard.shardId, { filter: { a: { $gte: least } } })
  if (count !== ids.length) wrong(place, `a delete by filter counted ${count}, not ${ids.length}`)
  if (count === 0) return unchanged(place, 'delete where nothing is')
  observe(place)
  for (const id of ids) checkWritten(place, id, null)
  return `delete where ${ids.join(' ')}`
}

/** Several writes in one commit, or in none. */
function transaction(place: Workplace): string {
  const { db, shard, random } = place
  const { shardId, dimension } = shard
  const after = new Map<string, Expected | null>()
  const fails = random.chance(0.4)
  const writes = (): void => {
    for (let count = random.between(1, 4); count > 0; count -= 1) {
      const id = pickId(random)
      if (random.chance(0.3)) {
        if (db.delete(shardId, id)) after.set(id, null)
        continue
      }
      const record = newRecord(random, id, dimension)
      db.upsert(shardId, record)
      after.set(id, expectedOf(record))
    }
    if (fails) throw new Failure()
  }
  try {
    db.transaction(writes)
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return unchanged(place, 'a transaction that fails')
  }
  observe(place)
  for (const [id, expected] of after) checkWritten(place, id, expected)
  return `transaction ${[...after.keys()].join(' ')}`
}

/** Writes that share a commit; one that fails is alone in it. */
async function group(place: Workplace): Promise<string> {
  const { db, shard, random } = place
  const records = [0, 1].map((index) => newRecord(random, `g${index}`, shard.dimension))
  const results = await Promise.allSettled([
    db.group(() => db.upsert(shard.shardId, records[0] as NewRecord)),
    db.group(() => {
      db.upsert(shard.shardId, newRecord(random, 'g1', shard.dimension))
      throw new Failure()
    }),
    db.group(() => db.upsert(shard.shardId, records[1] as NewRecord)),
  ])
  const outcome = results.map(({ status }) => status).join()
  const busy = results.find(
    (result) => result.status === 'rejected' && !(result.reason instanceof Failure),
  )
  if (busy?.status === 'rejected') throw busy.reason
  if (outcome !== 'fulfilled,rejected,fulfilled') wrong(place, `a group ended ${outcome}`)
  observe(place)
  for (const record of records) checkWritten(place, record.id, expectedOf(record))
  return 'group g0 g1'
}

class Failure extends Error {
  override readonly name = 'Failure'
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
export function pickId(random: Random): string {
  return random.chance(0.8) ? `r${random.below(6)}` : `r${random.below(40)}`
}

export interface NewRecord {
  readonly id: string
  readonly embedding: Float32Array
  readonly metadata: { readonly [key: string]: string | number }
  readonly text?: string
}

export function newRecord(random: Random, id: string, dimension: number): NewRecord {
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

function expectedOf(record: NewRecord): Expected {
  const { embedding, metadata, text = null } = record
  return { embedding, metadata: JSON.stringify(metadata), text }
}
