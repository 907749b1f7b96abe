/**
 * The change feed of a shard as server-sent events, in commit order, from any position on.
 *
 * The id of each event is a position, `<log>.<change id>`. A reader that reconnects with it
 * (`Last-Event-ID`) misses nothing: the feed holds one row per record, so the reader receives the
 * latest state of each record changed meanwhile, possibly twice. A position of another log is void,
 * because the file was restored: the reader receives `reset` and then the whole shard. A slow
 * reader costs one batch of memory.
 *
 * Reference: HTML Living Standard, server-sent events.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import { recordJson } from './json.ts'

/** Changes of one event. */
const CHANGES_PER_EVENT = 256

/** Payload bytes that end an event early. */
const BYTES_PER_EVENT = 1_048_576

/** Interval at which commits of other processes are looked for. */
const POLL_MS = 250

/** A comment line is sent at least this often, so that proxies keep the stream open. */
const KEEP_ALIVE_MS = 15_000

export interface FeedOptions {
  /** `<log>.<change id>`; null for now. */
  readonly after: string | null
  /** True: events carry whole records, not only ids. */
  readonly includeRecords: boolean
  readonly signal: AbortSignal
}

interface Position {
  readonly logId: string
  readonly changeId: number
}

/** Parses a position. @throws RangeError for any other text */
export function parsePosition(given: string): Position {
  const match = /^([0-9a-f]{32})\.(\d{1,15})$/.exec(given)
  if (match !== null) return { logId: match[1] ?? '', changeId: Number(match[2]) }
  throw new RangeError('Last-Event-ID must be the id of an event of this stream')
}

/** One event of a stream. */
export function sse(event: string, data: unknown, id?: string): string {
  const position = id === undefined ? '' : `id: ${id}\n`
  return `${position}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
}

/**
 * Events of the shard until `signal` ends. @throws SqliteVectorError `STORE_SHARD_UNKNOWN`, before
 * the first event
 */
export function shardFeed(
  db: SQLiteVectorDB,
  shardId: string,
  options: FeedOptions,
): AsyncIterable<string> {
  const state = db.replica.shardState(shardId)
  const given = options.after === null ? null : parsePosition(options.after)
  const start = given ?? { logId: state.logId, changeId: state.head }
  return follow(db, shardId, start, options)
}

async function* follow(
  db: SQLiteVectorDB,
  shardId: string,
  start: Position,
  { includeRecords, signal }: FeedOptions,
): AsyncGenerator<string, void> {
  const moves = new Moves(db, shardId, signal)
  let { logId, changeId } = start
  try {
    // Headers are sent with the first bytes, and the reader learns its position before any change.
    yield sse('open', { shardId }, `${logId}.${changeId}`)
    while (!signal.aborted) {
      moves.expect()
      const read = db.replica.readDelta(shardId, {
        after: changeId,
        countMax: CHANGES_PER_EVENT,
        bytesMax: BYTES_PER_EVENT,
        known: new Map(),
      })
      if (read.state.logId !== logId) {
        logId = read.state.logId
        changeId = 0
        yield sse('reset', { shardId }, `${logId}.0`)
        continue
      }
      changeId = read.through
      if (read.changes.length > 0) {
        const ids = read.changes.map(({ id }) => id)
        yield sse('changes', changesOf(db, shardId, ids, includeRecords), `${logId}.${changeId}`)
      }
      if (read.atHead && !(await moves.next())) yield ': alive\n\n'
    }
  } finally {
    moves.close()
  }
}

/** Reads the visible state of the records. */
function changesOf(
  db: SQLiteVectorDB,
  shardId: string,
  ids: readonly string[],
  includeRecords: boolean,
): unknown {
  const records = db.getMany(shardId, ids)
  const changes = ids.map((id, index) => {
    const record = records[index] ?? null
    const change = { id, deleted: record === null }
    return includeRecords && record !== null ? { ...change, record: recordJson(record) } : change
  })
  return { shardId, changes }
}

/** Watches for commits to the shard by any process. */
class Moves {
  readonly #db: SQLiteVectorDB
  readonly #signal: AbortSignal
  readonly #stopListening: () => void
  #wake: AbortController | null = null
  #hasMoved = false

  constructor(db: SQLiteVectorDB, shardId: string, signal: AbortSignal) {
    this.#db = db
    this.#signal = signal
    this.#stopListening = db.replica.onCommit((notice) => {
      if (notice.shardId !== shardId) return
      this.#hasMoved = true
      this.#wake?.abort()
    })
  }

  /** Forgets earlier commits. */
  expect(): void {
    this.#hasMoved = false
  }

  /** Waits for a commit; false when none came within the keep-alive interval. */
  async next(): Promise<boolean> {
    for (let waitedMs = 0; waitedMs < KEEP_ALIVE_MS; waitedMs += POLL_MS) {
      if (this.#hasMoved || this.#signal.aborted) return true
      this.#wake = new AbortController()
      const signal = AbortSignal.any([this.#signal, this.#wake.signal])
      await delay(POLL_MS, undefined, { signal }).catch(() => {})
      this.#wake = null
      if (!this.#hasMoved && !this.#signal.aborted) this.#db.replica.poll()
    }
    return this.#hasMoved || this.#signal.aborted
  }

  close(): void {
    this.#stopListening()
  }
}
