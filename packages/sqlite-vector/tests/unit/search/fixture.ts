/**
 * A database in a folder of its own, which goes away with the test.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { VectorDBOptions } from '../../../src/store/types.ts'
import { createVectorDB, type SQLiteVectorDB } from '../../../src/store/vector-db.ts'

export interface DbFixture extends AsyncDisposable {
  readonly path: string
  readonly db: SQLiteVectorDB
  /** Opens the same file once more, as another process would. */
  open(options?: Omit<VectorDBOptions, 'path'>): Promise<SQLiteVectorDB>
}

/** Opens a new database; every connection to it is closed at the end. */
export async function temporaryDb(options: Omit<VectorDBOptions, 'path'> = {}): Promise<DbFixture> {
  const directory = mkdtempSync(join(tmpdir(), 'sqlite-vector-search-'))
  const path = join(directory, 'records.db')
  const opened: SQLiteVectorDB[] = []
  const open = async (own: Omit<VectorDBOptions, 'path'> = {}): Promise<SQLiteVectorDB> => {
    const db = await createVectorDB({ path, durability: 'normal', ...own })
    opened.push(db)
    return db
  }
  return {
    path,
    db: await open(options),
    open,
    [Symbol.asyncDispose]: async () => {
      for (const db of opened) db.close()
      rmSync(directory, { recursive: true, force: true })
      return Promise.resolve()
    },
  }
}
