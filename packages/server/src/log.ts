/**
 * Log lines: one JSON object each, with a level, the time, an event's name and its fields.
 *
 * Not here: the choice of events (log-events.ts). Callers log names and codes, never secrets.
 */
import type { LogLevel } from './config/types.ts'

/** Writes one line. */
export type Log = (
  level: LogLevel,
  event: string,
  fields?: Readonly<Record<string, unknown>>,
) => void

const ORDER: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']

/** A log that drops lines below the level `least`; a function is asked at each line. */
export function jsonLog(least: LogLevel | (() => LogLevel), write: (line: string) => void): Log {
  const lowest = typeof least === 'string' ? () => least : least
  return (level, event, fields = {}) => {
    if (ORDER.indexOf(level) < ORDER.indexOf(lowest())) return
    const line = { at: new Date(Date.now()).toISOString(), level, event, ...fields }
    write(`${JSON.stringify(line, errorAsText)}\n`)
  }
}

/** Drops every line. */
export const silentLog: Log = () => {}

function errorAsText(_key: string, value: unknown): unknown {
  if (!(value instanceof Error)) return value
  const code = 'code' in value ? { code: value.code } : {}
  return { name: value.name, message: value.message, ...code }
}
