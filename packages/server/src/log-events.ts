/**
 * Decides which events of the store and of sync are logged, and at which level.
 */
import type { StoreEvent } from '@agentic-flow/sqlite-vector'
import type { SyncEvent } from '@agentic-flow/sqlite-vector/sync'
import type { LogLevel } from './config/types.ts'
import type { Log } from './log.ts'

/** Every store event is logged: the store acted without being asked. */
const STORE: Readonly<Partial<Record<StoreEvent['type'], LogLevel>>> = {
  // Sync reports it as well.
  'clock-skew': 'debug',
  'strategy-failed': 'error',
}

/** Events of every commit are left to the metrics. */
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
