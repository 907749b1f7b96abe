/**
 * SQLite on Node: `node:sqlite`, whose databases and statements are the interfaces of platform/types.ts as they are.
 *
 * The module is looked up instead of imported: an import of a module that this Node does not have fails before any
 * of our code runs, with a message that names neither the cause nor the remedy.
 */
import type { DatabaseSync } from 'node:sqlite'

import type { PlatformSqlite, SqliteDatabase } from '../types.ts'

type NodeSqlite = typeof import('node:sqlite')

const module: NodeSqlite = loadSqlite()

/** Node's own SQLite. */
export const sqlite: PlatformSqlite = Object.freeze({
  open: (
    path: string,
    { readOnly = false, busyTimeoutMs = 0 }: { readOnly?: boolean; busyTimeoutMs?: number } = {},
  ): SqliteDatabase => new module.DatabaseSync(path, { readOnly, timeout: busyTimeoutMs }),
  async backup(
    source: SqliteDatabase,
    path: string,
    {
      pagesPerTurn,
      onProgress,
    }: { readonly pagesPerTurn: number; readonly onProgress: () => void },
  ) {
    await module.backup(source as DatabaseSync, path, { rate: pagesPerTurn, progress: onProgress })
  },
})

function loadSqlite(): NodeSqlite {
  const found = process.getBuiltinModule?.('node:sqlite') as NodeSqlite | undefined
  if (found !== undefined) return found
  throw new Error(
    `SQLiteVector needs Node 24.15 or newer, which has SQLite built in; this is Node ${process.versions.node}. ` +
      'Install a newer Node and run the program again.',
  )
}
