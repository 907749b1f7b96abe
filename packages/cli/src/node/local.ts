/**
 * A node that is a database file on this machine, opened by this process. A server may run on the
 * same file: two processes on one file are safe, and each sees the other's commits.
 *
 * Thin: every method is a call of the library. Sync is loaded on first use, so that `get` starts
 * faster.
 */
import {
  createVectorDB,
  type JsonValue,
  type SQLiteVectorDB,
  watch,
} from '@agentic-flow/sqlite-vector'
import { SqliteVectorError } from '@agentic-flow/sqlite-vector/errors'
import type { Resolution, ShardCoordinator } from '@agentic-flow/sqlite-vector/sync'
import { UsageError } from '../command.ts'
import type { NodeClient, QueryRequest, ResolutionToken, ShownRecord } from './types.ts'

/** A record as the library returns it. */
interface Found extends ShownRecord {
  readonly distance?: number | null
}

/** Opens the file as a node. @throws SqliteVectorError `STORE_…` */
export async function openLocalNode(path: string, nodeId: string): Promise<NodeClient> {
  const db = await createVectorDB({ path })
  let coordinator: ShardCoordinator | null = null
  const network = async (): Promise<ShardCoordinator> => {
    const { createShardCoordinator } = await import('@agentic-flow/sqlite-vector/sync')
    coordinator ??= createShardCoordinator(db, nodeId)
    return coordinator
  }
  return {
    batch: { recordsMax: 1_000, vectorBytes: 8_388_608, parallel: 1 },
    ...recordMethods(db),
    ...conflictMethods(db),
    ...upkeepMethods(db),
    async peers(check) {
      const known = await network()
      if (check) await known.healthCheck()
      return known
        .getSession()
        .registered.map(({ nodeId: name, address, status, peer, lastSeenMs, rttMs }) => ({
          nodeId: name,
          address,
          status,
          peer,
          lastSeenMs,
          rttMs,
        }))
    },
    async sync(shardId, address, signal) {
      const { sync } = await network()
      const result = await sync.sync(shardId, address, { signal })
      const { peer, pulled, pushed, applied, sent, conflicts, quarantined } = result
      const { wireBytes, durationMs } = result
      const counts = { applied, sent, conflicts, quarantined, wireBytes, durationMs }
      return { shardId, address, peer, pulled, pushed, ...counts }
    },
    async verify(shardId, address, payloads, signal) {
      const { sync } = await network()
      const { state: _, ...summary } = await sync.verify(shardId, address, { signal, payloads })
      return summary
    },
    async *watch(shardId, request, signal) {
      for await (const found of watch(db, shardId, watchQueryOf(request), { signal })) {
        yield found.map(shownRecord)
      }
    },
    async close() {
      await coordinator?.close()
      db.close()
    },
  }
}

function recordMethods(
  db: SQLiteVectorDB,
): Pick<
  NodeClient,
  | 'shards'
  | 'createShard'
  | 'dropShard'
  | 'setStrategy'
  | 'stats'
  | 'get'
  | 'list'
  | 'count'
  | 'query'
  | 'explain'
  | 'write'
  | 'delete'
  | 'deleteWhere'
> {
  return {
    async shards() {
      return db.stats().shards
    },
    async createShard(shardId, options) {
      db.createShard(shardId, options)
    },
    async setStrategy(shardId, strategy) {
      db.setConflictStrategy(shardId, strategy)
    },
    async dropShard(shardId) {
      return db.dropShard(shardId)
    },
    async stats() {
      return plain(db.stats())
    },
    async get(shardId, id) {
      const record = db.get(shardId, id)
      return record === null ? null : shownRecord(record)
    },
    async list(shardId, { cursor, limit }) {
      const { records, nextCursor } = db.list(shardId, { cursor, limit, includeVectors: true })
      return { records: records.map(shownRecord), nextCursor }
    },
    async count(shardId, filter) {
      return db.count(shardId, filter)
    },
    async query(shardId, request) {
      return search(db, shardId, request).map(shownRecord)
    },
    async explain(shardId, { filter, exact, k }) {
      return plain(
        db.explain(shardId, {
          k,
          ...(filter === undefined ? {} : { filter }),
          ...(exact === undefined ? {} : { exact }),
        }),
      )
    },
    async write(shardId, records, mode) {
      await db.insertBatch(shardId, records, { mode })
    },
    async delete(shardId, id) {
      return db.delete(shardId, id)
    },
    async deleteWhere(shardId, filter) {
      return db.delete(shardId, { filter })
    },
  }
}

function upkeepMethods(
  db: SQLiteVectorDB,
): Pick<
  NodeClient,
  'quarantine' | 'retryQuarantine' | 'discardQuarantine' | 'recount' | 'snapshot'
> {
  return {
    async quarantine(shardId) {
      return db.listQuarantine(shardId, { limit: 10_000 })
    },
    async retryQuarantine(shardId, entry) {
      return entry === undefined ? db.retryQuarantine(shardId) : db.retryQuarantine(shardId, entry)
    },
    async discardQuarantine(shardId, entry) {
      db.discardQuarantine(shardId, entry)
    },
    async recount(shardId) {
      const { correct, recordCount, digest } = await db.replica.recountInTurns(shardId)
      return { shardId, correct, recordCount, digest }
    },
    snapshot: (target, signal) => db.snapshot(target, { signal }),
  }
}

function conflictMethods(
  db: SQLiteVectorDB,
): Pick<NodeClient, 'conflicts' | 'conflict' | 'resolveConflict' | 'undoConflict'> {
  return {
    async conflicts(shardId, page) {
      return db.listConflicts(shardId, page)
    },
    async conflict(shardId, id) {
      const { ConflictTracker } = await import('@agentic-flow/sqlite-vector/sync')
      const found = new ConflictTracker(db).get(shardId, id)
      if (found === null) return null
      return {
        id,
        siblings: found.siblings.map(({ dot, nodeId, atMs, value }) => ({
          dot: `${dot.actor}:${dot.counter}`,
          nodeId,
          atMs,
          value,
        })),
        shown: found.shown === null ? null : shownRecord(found.shown),
      }
    },
    async resolveConflict(shardId, id, decision) {
      const { ConflictResolver } = await import('@agentic-flow/sqlite-vector/sync')
      const resolver = new ConflictResolver(db)
      const resolution =
        'choose' in decision
          ? resolver.resolve(shardId, id, { choose: dotOf(decision.choose) })
          : resolver.resolve(shardId, id, 'delete' in decision ? { value: null } : decision)
      return plain(resolution) as ResolutionToken
    },
    async undoConflict(token) {
      const { ConflictResolver } = await import('@agentic-flow/sqlite-vector/sync')
      return new ConflictResolver(db).undo(token as unknown as Resolution)
    },
  }
}

/** Nearest by vector, best by words, or both rankings fused. */
function search(
  db: SQLiteVectorDB,
  shardId: string,
  { vector, text, k, filter, exact, threshold, weights, includeVectors = false }: QueryRequest,
): readonly Found[] {
  const filtered = { k, ...(filter === undefined ? {} : { filter }) }
  const mode = { ...filtered, includeVectors, ...(exact === undefined ? {} : { exact }) }
  if (vector === undefined) {
    if (text === undefined) throw new UsageError('give --vector, --like, --embed or --text')
    return db.searchText(shardId, text, filtered)
  }
  if (text !== undefined) {
    const weighted = weights === undefined ? {} : { weights }
    return db.hybrid(shardId, { ...mode, ...weighted, vector, text })
  }
  return db.search(shardId, vector, { ...mode, ...(threshold === undefined ? {} : { threshold }) })
}

function watchQueryOf({ vector, k, filter, exact, threshold }: QueryRequest) {
  if (vector === undefined) return { filter: filter ?? {}, limit: k }
  return {
    vector,
    k,
    ...(filter === undefined ? {} : { filter }),
    ...(exact === undefined ? {} : { exact }),
    ...(threshold === undefined ? {} : { threshold }),
  }
}

function shownRecord(record: Found): ShownRecord {
  return record
}

/** `actor:counter`, as `conflicts show` prints it. @throws UsageError */
function dotOf(text: string): { actor: string; counter: number } {
  const [, actor, counter] = /^([0-9a-f]{32}):([1-9]\d*)$/.exec(text) ?? []
  if (actor === undefined)
    throw new UsageError(`--choose takes a write as \`conflicts show\` prints it, got ${text}`)
  return { actor, counter: Number(counter) }
}

/** Converts to JSON: maps become objects, vectors become arrays of numbers. */
function plain(value: unknown): JsonValue {
  return JSON.parse(JSON.stringify(value, plainValue)) as JsonValue
}

/** Replacer for `JSON.stringify` that converts maps, vectors and errors. */
export function plainValue(_: string, value: unknown): unknown {
  if (value instanceof Map) return Object.fromEntries(value)
  if (value instanceof Float32Array) return [...value]
  if (value instanceof SqliteVectorError) return { code: value.code, message: value.message }
  return value
}
