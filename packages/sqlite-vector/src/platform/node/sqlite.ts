/**
 * SQLite on Node: `node:sqlite`, whose databases and statements are the interfaces of
 * platform/types.ts as they are.
 *
 * The module is looked up instead of imported: an import of a module that this Node does not have
 * fails before any of our code runs, with a message that names neither the cause nor the remedy.
 */
import type { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'

import type { PlatformSqlite, SqliteDatabase } from '../types.ts'

type NodeSqlite = typeof import('node:sqlite')

/**
 * The first SQLite without the WAL-reset bug, which could corrupt a file. Node 24.15 is the first
 * to have it.
 */
const SQLITE_MIN = [3, 51, 3] as const

const module: NodeSqlite = loadSqlite()

/** Node's own SQLite. */
export const sqlite: PlatformSqlite = Object.freeze({
  open: (
    path: string,
    {
      readOnly = false,
      immutable = false,
      busyTimeoutMs = 0,
    }: { readOnly?: boolean; immutable?: boolean; busyTimeoutMs?: number } = {},
  ): SqliteDatabase =>
    withLargeRowids(
      new module.DatabaseSync(
        immutable ? new URL(`${pathToFileURL(path).href}?immutable=1`) : path,
        { readOnly: readOnly || immutable, timeout: busyTimeoutMs },
      ),
    ),
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

/** From this Node on, `run()` throws where the connection's last row id is beyond 2^53. */
const NODE_WITH_CHECKED_ROWIDS = 25

/**
 * Lets statements run whatever the connection's last row id is. Full-text tables write rows whose
 * ids are beyond 2^53, and from then on every `run()` of the connection would throw, also that of
 * a rollback.
 */
function withLargeRowids(db: DatabaseSync): DatabaseSync {
  if (Number.parseInt(process.versions.node, 10) < NODE_WITH_CHECKED_ROWIDS) return db
  const prepare = db.prepare.bind(db)
  db.prepare = (sql: string) => {
    const statement = prepare(sql)
    const run = statement.run.bind(statement) as (...values: unknown[]) => {
      readonly changes: number | bigint
      readonly lastInsertRowid: number | bigint
    }
    statement.run = (...values: unknown[]) => {
      statement.setReadBigInts(true)
      try {
        const { changes, lastInsertRowid } = run(...values)
        return { changes: Number(changes), lastInsertRowid }
      } finally {
        statement.setReadBigInts(false)
      }
    }
    return statement
  }
  return db
}

function loadSqlite(): NodeSqlite {
  const found = process.getBuiltinModule?.('node:sqlite') as NodeSqlite | undefined
  if (found === undefined) throw unsupported('it has no node:sqlite')
  // Runtimes that do not say are checked when a file is opened.
  const version = process.versions['sqlite']
  if (version !== undefined && isOlder(version.split('.').map(Number), SQLITE_MIN)) {
    throw unsupported(
      `its SQLite is ${version}, the first without a bug that corrupts files is ${SQLITE_MIN.join('.')}`,
    )
  }
  return found
}

function isOlder(version: readonly number[], min: readonly number[]): boolean {
  for (const [index, least] of min.entries()) {
    const part = version[index] ?? 0
    if (part !== least) return part < least
  }
  return false
}

/** One sentence, with a code that programs can print without a stack. */
function unsupported(reason: string): Error {
  const error = new Error(
    `SQLiteVector needs Node 24.15 or newer, and this is Node ${process.versions.node} (${reason}). ` +
      'Install a newer Node and run the program again.',
  )
  return Object.assign(error, { code: 'ERR_SQLITE_VECTOR_RUNTIME' })
}
