/**
 * One line for one cause: the first occurrence is logged at once, further ones are counted and
 * logged together when the window has passed. A dead peer with 100 shards is one cause.
 */
import type { LogLevel } from './config/types.ts'
import type { Log } from './log.ts'

/** Time in which occurrences of one cause are counted, in milliseconds. */
const WINDOW_MS = 60_000

/** Causes that are told apart; beyond them every occurrence is logged. */
const CAUSES_MAX = 1_000

interface Cause {
  readonly level: LogLevel
  readonly event: string
  readonly fields: Readonly<Record<string, unknown>>
  sinceMs: number
  more: number
}

export class Repeats {
  readonly #log: Log
  readonly #windowMs: number
  readonly #causes = new Map<string, Cause>()

  constructor(log: Log, windowMs: number = WINDOW_MS) {
    this.#log = log
    this.#windowMs = windowMs
  }

  /** Logs or counts an occurrence of the cause `key`. */
  log(
    key: string,
    level: LogLevel,
    event: string,
    fields: Readonly<Record<string, unknown>>,
    nowMs: number = performance.now(),
  ): void {
    const known = this.#causes.get(`${event} ${key}`)
    if (known !== undefined) {
      known.more += 1
      return
    }
    this.#log(level, event, fields)
    if (this.#causes.size >= CAUSES_MAX) return
    this.#causes.set(`${event} ${key}`, { level, event, fields, sinceMs: nowMs, more: 0 })
  }

  /** Logs the counts of causes whose window has passed. */
  flush(nowMs: number = performance.now()): void {
    for (const [key, cause] of this.#causes) {
      if (nowMs - cause.sinceMs < this.#windowMs) continue
      if (cause.more === 0) {
        this.#causes.delete(key)
        continue
      }
      const seconds = Math.round((nowMs - cause.sinceMs) / 1_000)
      this.#log(cause.level, cause.event, { ...cause.fields, repeated: cause.more, seconds })
      cause.sinceMs = nowMs
      cause.more = 0
    }
  }
}
