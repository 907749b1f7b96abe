/**
 * Which events of store and sync are worth a line in the log, and how important each is.
 */
import type { StoreEvent } from '@agentic-flow/sqlite-vector'
import type { SyncEvent } from '@agentic-flow/sqlite-vector/sync'
import type { LogLevel } from './config/types.ts'
import type { Log } from './log.ts'

/** Of the store everything is: it did something that nobody asked for. */
const STORE: Readonly<Partial<Record<StoreEvent['type'], LogLevel>>> = {
  // Sync tells of it, too.
  'clock-skew': 'debug',
  'strategy-failed': 'error',
}

/** What happens with every commit is metrics' business. */
const SYNC: Readonly<Partial<Record<SyncEvent['type'], LogLevel>>> = {
  'session-ended': 'debug',
  'peer-refused': 'warn',
  skew: 'warn',
  repair: 'warn',
  conflict: 'info',
  quarantine: 'warn',
  peer: 'info',
  sync: 'info',
  error: 'warn',
}

export function logStoreEvent(log: Log, { type, ...fields }: StoreEvent): void {
  log(STORE[type] ?? 'warn', `store-${type}`, fields)
}

export function logSyncEvent(log: Log, { type, ...fields }: SyncEvent): void {
  const level = SYNC[type]
  if (level !== undefined) log(level, `sync-${type}`, fields)
}
