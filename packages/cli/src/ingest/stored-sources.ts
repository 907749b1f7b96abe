/**
 * The passages that a shard holds of each ingested file, read from the metadata of its passages.
 *
 * The records are the only state of an ingestion: a file is whole when the shard has as many
 * passages of one hash as they say, so that a killed run, a restored backup and a peer's records
 * are all understood.
 */
import type { ListPage, SQLiteVectorDB } from '@agentic-flow/sqlite-vector'

/** Metadata of a passage. */
export interface PassageMetadata {
  /** Name of the file. */
  readonly source: string
  /** The folder that was given. */
  readonly root: string
  readonly heading: string
  /** Of the file's bytes and the way it was split. */
  readonly hash: string
  /** Number of the passage, from 1, and passages of the file. */
  readonly part: number
  readonly parts: number
}

/** One file of the shard. */
export interface StoredSource {
  readonly root: string
  readonly ids: string[]
  /**
   * The hash when all its passages agree on it and are there; null for a file that is to be read
   * again.
   */
  hash: string | null
}

/** Rows of one page of first passages. */
const PAGE = 10_000

/** The files of the shard by name; records of other origin are left out. */
export function storedSources(db: SQLiteVectorDB, shardId: string): Map<string, StoredSource> {
  return db.transaction(() => wholeSources(db, shardId) ?? scannedSources(db, shardId))
}

/**
 * The files by their first passages alone, which is one row of many; null when the number of
 * passages is not what they say, so that every row must be looked at.
 */
function wholeSources(db: SQLiteVectorDB, shardId: string): Map<string, StoredSource> | null {
  const sources = new Map<string, StoredSource>()
  let passages = 0
  for (let offset = 0; ; offset += PAGE) {
    const firsts = db.query(shardId).where({ part: 1 }).limit(PAGE).offset(offset).all()
    for (const { id, metadata } of firsts) {
      const { source, root, hash, parts } = metadata
      if (typeof source !== 'string' || typeof root !== 'string') return null
      if (typeof hash !== 'string' || typeof parts !== 'number') return null
      if (id !== `${source}#1` || !Number.isInteger(parts) || parts < 1) return null
      const ids = Array.from({ length: parts }, (_, index) => `${source}#${index + 1}`)
      sources.set(source, { root, ids, hash })
      passages += parts
    }
    if (firsts.length < PAGE) break
  }
  // Most shards of documents hold nothing else, and their count is kept.
  const isWhole = db.count(shardId) === passages
  return isWhole || db.count(shardId, { part: { $gte: 1 } }) === passages ? sources : null
}

function scannedSources(db: SQLiteVectorDB, shardId: string): Map<string, StoredSource> {
  const sources = new Map<string, StoredSource & { parts: number }>()
  let cursor: string | null = null
  do {
    const page: ListPage = db.list(shardId, { cursor, limit: 10_000 })
    for (const { id, metadata } of page.records) {
      const { source, root, hash, parts } = metadata
      if (typeof source !== 'string' || typeof root !== 'string') continue
      if (typeof hash !== 'string' || typeof parts !== 'number') continue
      const known = sources.get(source)
      if (known === undefined) sources.set(source, { root, ids: [id], hash, parts })
      else {
        known.ids.push(id)
        if (known.hash !== hash || known.parts !== parts) known.hash = null
      }
    }
    cursor = page.nextCursor
  } while (cursor !== null)
  for (const source of sources.values()) {
    if (source.ids.length !== source.parts) source.hash = null
  }
  return sources
}
