/**
 * The codes of large shards kept in files beside the database, so that the first search after an
 * open need not read every row: `<path>-index/<shard>-<token>.codes`.
 *
 * A file counts only when the database names its token (`saved_indexes`), and the name commits
 * after the file is whole. So what a file holds was read from the history of the very database that
 * names it, also after a backup was put back, after a kill at any moment, and with several
 * processes: the last to commit has its file named, and the others' go.
 *
 * Nothing here is the truth. Deleting every file costs time; one that cannot be read, or is not
 * what its database says, is rejected, reported and written again. Files are not synced to the
 * disk: power loss half-way leaves a wrong checksum.
 *
 * Not here: the bytes (search/saved-codes.ts), and when to save (search-index/indexes.ts).
 */
import { files, paths } from '#platform'

import { must } from '../../assert.ts'
import { bytesToHex } from '../../bytes.ts'
import { SqliteVectorError } from '../../errors.ts'
import {
  readSavedCodes,
  type SavedAbout,
  savedBytes,
  type SavedCodes,
} from '../../search/saved-codes.ts'
import type { OpenFile } from '../file/transaction.ts'
import type { ShardIndex } from './shard-index.ts'
import type { ShardRow } from '../feed/shards.ts'
import type { StoreEvent } from '../types.ts'

const TOKEN_BYTES = 16

interface SavedRow {
  readonly token: Uint8Array
  readonly cursor: number
}

/** The saved codes of one database. */
export class IndexFiles {
  readonly #core: OpenFile
  readonly #folder: string

  constructor(core: OpenFile) {
    this.#core = core
    this.#folder = paths.resolve(`${core.path}-index`)
  }

  /**
   * The codes that the file names, or null where there are none to be used. `fits` as in {@link
   * readSavedCodes}.
   */
  load(
    shard: ShardRow,
    fits: (about: SavedAbout) => string | null,
  ): Exclude<SavedCodes, { refused: string }> | null {
    const row = this.#named(shard.shard)
    if (row === null) return null
    const path = paths.join(this.#folder, fileName(shard.shard, row.token))
    const read = this.#read(path, (about) => {
      if (about.shard !== shard.shard || about.cursor !== row.cursor)
        return 'it is of another state'
      return fits(about)
    })
    if (read === null || 'arena' in read) return read
    this.refused(shard.shard_id, `${path}: ${read.refused}`)
    return null
  }

  /**
   * Saves an index piece by piece, at most four MiB a step. True when the database names the file.
   * Between steps the index may read the feed; if that moves rows, nothing is saved.
   */
  *save(shardId: string, index: ShardIndex): Generator<void, boolean> {
    const { shard, logId } = index.basis
    const { arena, cursor } = index
    const { dimension, metric, rows, count } = arena
    const calibration = must(index.calibration, 'codes are saved once they are calibrated')
    const { changedCount: changed } = index
    const state = { logId, shard, cursor, count, dimension, metric }
    const about = { ...state, ...codesOf(rows), calibration, changed }
    const token = this.#core.randomBytes(TOKEN_BYTES)
    const partial = paths.join(this.#folder, `${fileName(shard, token)}.partial`)
    let named = false
    try {
      files.makeFolder(this.#folder, 0o700)
      const file = files.open(partial, 'create', 0o600)
      try {
        const pieces = savedBytes(arena, about)
        for (let next = pieces.next(); ; next = pieces.next()) {
          if (next.done === true) {
            if (next.value === 'moved') return false
            break
          }
          files.write(file, next.value)
          yield
        }
      } finally {
        files.close(file)
      }
      this.#name(shard, token, cursor, partial)
      named = true
      return true
    } catch (error) {
      if (!isOfTheSystem(error)) throw error
      this.#tell({ type: 'index-not-saved', shardId, reason: error.message })
      return false
    } finally {
      // Also where the caller breaks off.
      if (!named) discard(partial)
    }
  }

  /** Says that saved codes are not to be used. */
  refused(shardId: string, reason: string): void {
    this.#tell({ type: 'index-refused', shardId, reason })
  }

  #named(shard: number): SavedRow | null {
    const sql = 'SELECT token, cursor FROM saved_indexes WHERE shard = ?'
    return (this.#core.db.prepare(sql).get(shard) as unknown as SavedRow | undefined) ?? null
  }

  #read(path: string, fits: (about: SavedAbout) => string | null): SavedCodes | null {
    let file: number
    try {
      file = files.open(path, 'read')
    } catch (error) {
      if (!isOfTheSystem(error)) throw error
      // A copy of the database comes without them; so does one whose files were deleted.
      return error.code === 'ENOENT' ? null : { refused: error.message }
    }
    try {
      return readSavedCodes(files.factsOfOpen(file).bytes, (into) => readWhole(file, into), fits)
    } catch (error) {
      // A refused memory allocation is not a fault of the file and must not fail a search.
      if (!isOfTheSystem(error) && !(error instanceof RangeError)) throw error
      return { refused: error.message }
    } finally {
      files.close(file)
    }
  }

  /** Names the file in the database, and takes away every file that it does not name. */
  #name(shard: number, token: Uint8Array, cursor: number, partial: string): void {
    this.#core.write(() => {
      const { db } = this.#core
      // In the transaction: what another process has put here and not yet named, it has not put
      // here yet.
      files.rename(partial, paths.join(this.#folder, fileName(shard, token)))
      db.exec('DELETE FROM saved_indexes WHERE shard NOT IN (SELECT shard FROM shard_metadata)')
      db.prepare(
        `INSERT INTO saved_indexes (shard, token, cursor) VALUES (?, ?, ?)
         ON CONFLICT (shard) DO UPDATE SET token = excluded.token, cursor = excluded.cursor`,
      ).run(shard, token, cursor)
      const rows = db.prepare('SELECT shard, token FROM saved_indexes').all()
      const named = new Set(
        rows.map((row) => fileName(Number(row['shard']), row['token'] as Uint8Array)),
      )
      for (const name of files.list(this.#folder)) {
        if (!named.has(name)) files.remove(paths.join(this.#folder, name))
      }
    })
  }

  #tell(event: StoreEvent): void {
    // Not from within a search's transaction, nor as its failure.
    queueMicrotask(() => this.#core.onEvent(event))
  }
}

function fileName(shard: number, token: Uint8Array): string {
  return `${shard}-${bytesToHex(token)}.codes`
}

function codesOf({ int8, bits }: { readonly int8: boolean; readonly bits: boolean }): {
  readonly int8: boolean
  readonly bits: boolean
} {
  return { int8, bits }
}

/** True for errors of the file system or SQLite, false for our own bugs. */
function isOfTheSystem(error: unknown): error is Error & { readonly code: string } {
  if (error instanceof SqliteVectorError) return true
  return error instanceof Error && 'syscall' in error && 'code' in error
}

/**
 * Takes a file away that came to nothing; what cannot be taken away goes with the next file that is
 * named.
 */
function discard(path: string): void {
  try {
    files.remove(path)
  } catch (error) {
    if (!isOfTheSystem(error)) throw error
  }
}

/** Fills `into`; false when the file ends before. */
function readWhole(file: number, into: Uint8Array): boolean {
  for (let at = 0; at < into.length;) {
    const read = files.read(file, into.subarray(at))
    if (read === 0) return false
    at += read
  }
  return true
}
