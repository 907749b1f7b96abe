/**
 * Compares two database files row by row, by reading both. The demo's verdict rests on it.
 *
 * It trusts no digest and no counter: ids, metadata, text and the bytes of every vector are
 * read from both files through the public API and set side by side.
 */
import {
  createVectorDB,
  type ListPage,
  type SQLiteVectorDB,
  type VectorRecord,
} from '@agentic-flow/sqlite-vector'

/** The outcome of reading two files. */
export interface Comparison {
  readonly rowsA: number
  readonly rowsB: number
  /** Ids whose rows differ or that one file lacks; the first {@link DIFFERENCES_SHOWN}. */
  readonly differences: readonly string[]
  readonly differenceCount: number
}

const DIFFERENCES_SHOWN = 10
const PAGE_ROWS = 1_000

/** Reads shard `shardId` of both files whole. */
export async function compareFiles(a: string, b: string, shardId: string): Promise<Comparison> {
  using first = await createVectorDB({ path: a })
  using second = await createVectorDB({ path: b })
  const rowsA = rowsOf(first, shardId)
  const rowsB = rowsOf(second, shardId)
  const ids = new Set([...rowsA.keys(), ...rowsB.keys()])
  const different = [...ids].filter((id) => rowsA.get(id) !== rowsB.get(id))
  return {
    rowsA: rowsA.size,
    rowsB: rowsB.size,
    differences: different.slice(0, DIFFERENCES_SHOWN),
    differenceCount: different.length,
  }
}

/** Every row of a shard as text in which each byte counts, by id. */
function rowsOf(db: SQLiteVectorDB, shardId: string): ReadonlyMap<string, string> {
  const rows = new Map<string, string>()
  let cursor: string | null = null
  do {
    const page: ListPage = db.list(shardId, { cursor, limit: PAGE_ROWS, includeVectors: true })
    for (const record of page.records) rows.set(record.id, rowText(record))
    cursor = page.nextCursor
  } while (cursor !== null)
  return rows
}

function rowText(record: VectorRecord): string {
  const { embedding } = record
  if (embedding === undefined) throw new Error(`row ${record.id} was read without its vector`)
  const bytes = Buffer.from(embedding.buffer, embedding.byteOffset, embedding.byteLength)
  return JSON.stringify([record.metadata, record.text, bytes.toString('base64')])
}
