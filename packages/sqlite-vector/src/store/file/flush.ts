/**
 * Commits that do not wait for the disk, and the one flush that many of them share, off the thread
 * that commits.
 *
 * For changes from peers only. Until such a commit is flushed, power loss may take it back, which
 * is no loss while the peer has not been told that we hold it. Code that tells a peer anything
 * awaits {@link DeferredFlush.whenDurable} first; our own writes are flushed by their own commit,
 * and with them all that was committed before, because the log is one file: then nothing is left to
 * wait for. A killed process loses nothing in either case: the kernel has the pages.
 *
 * Not here: what is committed (replica.ts). Invariant: `whenDurable` resolves only after a flush
 * that began when everything committed before the call was in the log; after a flush that failed it
 * never resolves again, because the kernel forgets which pages it could not write. Reference:
 * https://www.sqlite.org/pragma.html#pragma_synchronous
 */
import { files, type FlushableFile, type SqliteDatabase } from '#platform'

import { SqliteVectorError } from '../../errors.ts'

const SYNCHRONOUS_FULL = 2

/** The deferred commits of one open file. */
export class DeferredFlush {
  readonly #db: SqliteDatabase
  readonly #path: string
  /** True when commits wait for the disk at all: not in memory, not where the options say so. */
  readonly #isWanted: boolean
  readonly #dataVersion: () => number
  #users = 0
  /** While what runs need not wait, until it is committed. */
  #isDeferring = false
  #level: 'FULL' | 'NORMAL' = 'FULL'
  #log: Promise<FlushableFile> | null = null
  #committed = 0
  #flushed = 0
  #running: Promise<void> | null = null
  #failure: SqliteVectorError | null = null
  #versionSeen: number

  constructor(db: SqliteDatabase, path: string, dataVersion: () => number) {
    this.#db = db
    this.#path = path
    this.#dataVersion = dataVersion
    this.#versionSeen = dataVersion()
    const level = db.prepare('PRAGMA synchronous').get()?.['synchronous']
    this.#isWanted = path !== ':memory:' && level === SYNCHRONOUS_FULL
  }

  /**
   * From now on {@link commit} does not wait for the disk; the result ends that, and waits for it.
   */
  begin(): () => Promise<void> {
    this.#users += 1
    let isOver = false
    return async () => {
      if (isOver) return
      isOver = true
      this.#users -= 1
      if (this.#users > 0) return
      if (this.#db.isOpen && !this.#db.isTransaction) this.#setLevel('FULL')
      await this.#running?.catch(() => {
        // The callers that waited for that flush have its error; here the file is only closed.
      })
      const log = await this.#log?.catch(() => null)
      this.#log = null
      await log?.close()
    }
  }

  /** Runs `fn`, which commits; inside of {@link begin}, without waiting for the disk. */
  commit<T>(fn: () => T): T {
    if (!this.#isWanted || this.#users === 0 || this.#failure !== null || this.#db.isTransaction) {
      return fn()
    }
    this.#isDeferring = true
    try {
      this.#committed += 1
      return fn()
    } finally {
      this.#isDeferring = false
    }
  }

  /** To be called before each transaction that writes: decides whether it waits for the disk. */
  beginning(): void {
    if (this.#isWanted) this.#setLevel(this.#isDeferring ? 'NORMAL' : 'FULL')
  }

  /**
   * Call after each commit of the connection, before listeners hear of it: a listener may write,
   * and that write waits for the disk. `isChanged`: whether there was anything to write.
   */
  committed(isChanged: boolean): void {
    // The flush covered the waiting commits and everything committed before them in the same log.
    const isFlushed = isChanged && this.#level === 'FULL' && this.#failure === null
    if (isFlushed && this.#isWanted) this.#flushed = this.#committed
    this.#isDeferring = false
  }

  /** Batches that follow one another leave it as it is. */
  #setLevel(level: 'FULL' | 'NORMAL'): void {
    if (this.#level === level) return
    this.#db.exec(level === 'FULL' ? 'PRAGMA synchronous = FULL' : 'PRAGMA synchronous = NORMAL')
    this.#level = level
  }

  /**
   * Resolves once everything that this connection sees now would survive power loss. @throws
   * `STORE_IO`
   */
  async whenDurable(): Promise<void> {
    if (!this.#isWanted || this.#users === 0) return
    // Another process may have deferred what we have read from it.
    const version = this.#dataVersion()
    if (version !== this.#versionSeen) {
      this.#versionSeen = version
      this.#committed += 1
    }
    const wanted = this.#committed
    while (this.#flushed < wanted) {
      if (this.#failure !== null) throw this.#failure
      this.#running ??= this.#flush()
      await this.#running
    }
  }

  async #flush(): Promise<void> {
    const upTo = this.#committed
    try {
      this.#log ??= files.openFlushable(`${this.#path}-wal`)
      await (await this.#log).flush()
      this.#flushed = Math.max(this.#flushed, upTo)
    } catch (cause) {
      const message = `${this.#path}: changes of peers could not be flushed to disk`
      this.#failure = new SqliteVectorError('STORE_IO', message, { cause })
      throw this.#failure
    } finally {
      this.#running = null
    }
  }
}
