/**
 * Texts by key that sync keeps across restarts, beside cursors and vectors. The store does not read
 * them. A write here does not change a shard, so no listener hears of it.
 */
import { must } from '../../assert.ts'
import type { OpenFile } from './transaction.ts'

/** The text under `key`, or null. */
export function readSyncState(core: OpenFile, key: string): string | null {
  const row = core.db.prepare('SELECT value FROM sync_state WHERE key = ?').get(key)
  return row === undefined ? null : String(must(row['value'], 'a value'))
}

/** Keeps `value` under `key`; null removes it. */
export function writeSyncState(core: OpenFile, key: string, value: string | null): void {
  if (value === null) core.db.prepare('DELETE FROM sync_state WHERE key = ?').run(key)
  else {
    core.db
      .prepare(
        `INSERT INTO sync_state (key, value) VALUES (?, ?)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
      )
      .run(key, value)
  }
}
