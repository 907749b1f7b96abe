/**
 * Decides which events of the store and of sync are logged, and at which level.
 */
import type { StoreEvent } from '@agentic-flow/sqlite-vector'
import type { SyncEvent } from '@agentic-flow/sqlite-vector/sync'
import type { LogLevel } from './config/types.ts'
import type { Log } from './log.ts'
import type { Repeats } from './repeats.ts'

/** Every store event is logged: the store acted without being asked. */
const STORE: Readonly<Partial<Record<StoreEvent['type'], LogLevel>>> = {
  // Sync reports it as well.
  'clock-skew': 'debug',
  'strategy-failed': 'error',
  'record-damaged': 'error',
}

/** Events of every commit are left to the metrics. */
const SYNC: Readonly<Partial<Record<SyncEvent['type'], LogLevel>>> = {
  'session-ended': 'debug',
  'peer-refused': 'warn',
  skew: 'warn',
  repair: 'warn',
  doubt: 'warn',
  'key-shared': 'error',
  conflict: 'info',
  quarantine: 'warn',
  peer: 'info',
  sync: 'info',
  error: 'warn',
}

/** Ids that one line names; the rest are counted. */
const IDS_SHOWN = 20

export function logStoreEvent(log: Log, event: StoreEvent): void {
  const { type, ...fields } = event
  const level = STORE[type] ?? 'warn'
  if (event.type === 'records-dropped') {
    const { ids } = event
    log(level, `store-${type}`, { ...fields, ids: ids.slice(0, IDS_SHOWN), count: ids.length })
  } else {
    log(level, `store-${type}`, fields)
  }
}

export function logSyncEvent(log: Log, repeats: Repeats, event: SyncEvent): void {
  const { type, ...fields } = event
  const level = SYNC[type]
  if (level === undefined) return
  const cause = causeOf(event)
  if (cause === null) log(level, `sync-${type}`, fields)
  else repeats.log(cause, level, `sync-${type}`, fields)
}

/** The cause that events have in common, whatever their shard; null when each is worth a line. */
function causeOf(event: SyncEvent): string | null {
  if (event.type === 'error') {
    const code = 'code' in event.error ? String(event.error.code) : event.error.message
    return `${event.address ?? ''} ${code}`
  }
  if (event.type === 'sync') return `${event.address} ${event.status}`
  if (event.type === 'key-shared') return event.peer
  if (event.type === 'peer-refused') return `${event.address} ${event.fingerprint ?? ''}`
  const isOfShard =
    event.type === 'skew' ||
    event.type === 'conflict' ||
    event.type === 'quarantine' ||
    event.type === 'doubt'
  return isOfShard ? `${event.peer} ${event.shardId}` : null
}
