/**
 * Notices that the open file is gone from its folder, or that another file has its name: SQLite
 * goes on writing to a file that nothing names any more, and every such write would be lost at the
 * last close.
 *
 * Invariant: at most PRESENCE_CHECK_MS pass between the removal and the first refused write.
 */
import { files } from '#platform'

import type { Clock } from '../../clock/types.ts'
import { SqliteVectorError } from '../../errors.ts'
import { PRESENCE_CHECK_MS } from '../../limits.ts'

/** The presence of one open file. */
export class FilePresence {
  readonly #path: string
  readonly #clock: Clock
  readonly #inode: bigint | null
  #checkedMs: number

  constructor(path: string, clock: Clock) {
    this.#path = path
    this.#clock = clock
    this.#inode = path === ':memory:' ? null : (files.facts(path)?.inode ?? null)
    this.#checkedMs = clock.monotonicMs()
  }

  /** @throws SqliteVectorError `STORE_IO` */
  check(): void {
    if (this.#inode === null) return
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#checkedMs < PRESENCE_CHECK_MS) return
    const inode = files.facts(this.#path)?.inode ?? null
    if (inode !== this.#inode) {
      const what = inode === null ? 'was removed' : 'was replaced by another file'
      throw new SqliteVectorError('STORE_IO', `${this.#path} ${what} while it was open`)
    }
    this.#checkedMs = nowMs
  }
}
