/**
 * A node for the tools that is an open database of this process. Every method is a call of the
 * library.
 */
import type { SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import { ConflictResolver, ConflictTracker } from '@agentic-flow/sqlite-vector/sync'
import { MemoryError } from './memory.ts'
import type { MemoryNode, MemoryPeer } from './types.ts'

/** The database as a node; `peers` tells whom it exchanges records with. */
export function localMemoryNode(
  db: SQLiteVectorDB,
  peers: () => readonly MemoryPeer[] = () => [],
): MemoryNode {
  return {
    async shards() {
      return db.stats().shards
    },
    async createShard(shardId, options) {
      db.createShard(shardId, options)
    },
    async get(shardId, id) {
      return db.get(shardId, id)
    },
    async list(shardId, page) {
      return db.list(shardId, { ...page, includeVectors: true })
    },
    async query(shardId, { vector, text, k, filter, weights }) {
      const options = { k, ...(filter === undefined ? {} : { filter }) }
      if (vector === undefined) return db.searchText(shardId, text ?? '', options)
      if (text === undefined) return db.search(shardId, vector, options)
      const weighted = weights === undefined ? options : { ...options, weights }
      return db.hybrid(shardId, { ...weighted, text, vector })
    },
    async write(shardId, records, mode) {
      await db.insertBatch(shardId, records, { mode })
    },
    async delete(shardId, id) {
      return db.delete(shardId, id)
    },
    async peers() {
      return peers()
    },
    async conflicts(shardId, page) {
      return db.listConflicts(shardId, page)
    },
    async conflict(shardId, id) {
      const found = new ConflictTracker(db).get(shardId, id)
      if (found === null) return null
      return {
        siblings: found.siblings.map(({ dot, nodeId, atMs, value }) => ({
          dot: `${dot.actor}:${dot.counter}`,
          nodeId,
          atMs,
          value,
        })),
        shown: found.shown,
      }
    },
    async resolveConflict(shardId, id, decision) {
      const resolver = new ConflictResolver(db)
      if ('delete' in decision) return resolver.resolve(shardId, id, { value: null })
      const [, actor, counter] = /^([0-9a-f]{32}):([1-9]\d*)$/.exec(decision.choose) ?? []
      if (actor === undefined) {
        throw new MemoryError('version must be one that list_conflicts returned, or "delete".')
      }
      return resolver.resolve(shardId, id, { choose: { actor, counter: Number(counter) } })
    },
  }
}
