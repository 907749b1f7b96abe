/**
 * Recomputes row hashes for a shard, or a range of ids, so that the stored sum or a peer's can be
 * checked.
 *
 * Not here: the sum itself (digest.ts), keeping it (register.ts), and what is counted besides
 * (recount.ts).
 *
 * Rows are read in slices, each in a transaction of its own. Written to meanwhile, a record counts
 * as it was at some time of the reading, and exactly once: ids are read in their order, and no
 * record changes its id.
 */
import type { Dot } from '../../model/types.ts'
import { DamagedRecord } from '../file/damage.ts'
import type { OpenFile } from '../file/transaction.ts'
import { payloadHash, putHash, recordHash } from '../feed/digest.ts'
import { conflictSiblings, OPERATION, readPayload } from '../feed/register.ts'
import { type IdRange } from './types.ts'
import { type Sliced } from '../file/sliced.ts'

interface RangeRow {
  readonly vector_id: string
  readonly rowid: number
  readonly operation: number
  readonly actor: number
  readonly counter: number
}

/** Above every text. */
const NO_BOUND: Uint8Array = new Uint8Array(0)

/** All ids. */
export const WHOLE_RANGE: IdRange = { from: '', to: null }

/** Rows that are hashed by name in the time in which one is read and hashed with what it wrote. */
const PAYLOAD_COST = 4

/** Told of a record; false ends the reading. */
export type HashVisitor = (id: string, hash: bigint) => boolean

/** Reads ranges of one shard; what a slice may cost is shared by ranges that follow one another. */
export class HashScan {
  readonly #core: OpenFile
  readonly #shard: number
  readonly #payloads: boolean
  readonly #rowsMax: number
  #left: number

  /** With `payloads` the hashes cover what was written, else only the names of the writes. */
  constructor(core: OpenFile, shard: number, payloads = false) {
    this.#core = core
    this.#shard = shard
    this.#payloads = payloads
    this.#rowsMax = payloads ? Math.ceil(core.sliceRows / PAYLOAD_COST) : core.sliceRows
    this.#left = this.#rowsMax
  }

  /**
   * Tells `visit` of the records of the range that have a put, in the order of the bytes of their
   * ids.
   */
  *each({ from, to }: IdRange, visit: HashVisitor): Sliced<void> {
    const { sliceRows } = this.#core
    let after = from
    for (;;) {
      const limit = this.#left
      const rows = this.#page(after, to, limit)
      for (const { id, hash } of rows.hashed) if (!visit(id, hash)) return
      // To find that there is nothing costs as much as a row.
      this.#left -= Math.max(1, rows.count)
      if (this.#left <= 0) {
        yield sliceRows
        this.#left = this.#rowsMax
      }
      if (rows.count < limit) return
      after = rows.next
    }
  }

  #page(
    from: string,
    to: string | null,
    limit: number,
  ): {
    readonly hashed: readonly { readonly id: string; readonly hash: bigint }[]
    readonly count: number
    readonly next: string
  } {
    const core = this.#core
    return core.read(() => {
      const rows = core.sql.readRange.all(
        this.#shard,
        from,
        to ?? NO_BOUND,
        limit,
      ) as unknown as RangeRow[]
      const hashed: { id: string; hash: bigint }[] = []
      for (const row of rows) {
        const hash = this.#payloads ? wholeHashOf(core, row) : hashOf(core, row)
        if (hash !== null) hashed.push({ id: row.vector_id, hash })
      }
      // The least text above the last: ids hold no NUL.
      return { hashed, count: rows.length, next: `${rows.at(-1)?.vector_id ?? from}\u0000` }
    })
  }
}

const NO_DOT: Dot = { actor: '', counter: 0 }

/** Null for a record that has no put. */
function hashOf(core: OpenFile, row: RangeRow): bigint | null {
  const { vector_id: id, rowid, operation, actor, counter } = row
  if (operation === OPERATION.put)
    return putHash(core.hash64, id, core.keys.actorOf(actor), counter)
  const siblings = conflictSiblings(core, rowid)
  return siblings.some(({ value }) => value !== null) ? recordHash(core.hash64, id, siblings) : null
}

/** The same with what was written. */
function wholeHashOf(core: OpenFile, row: RangeRow): bigint | null {
  const names = hashOf(core, row)
  if (names === null) return null
  if (row.operation === OPERATION.put) {
    try {
      return payloadHash(core.hash64, names, [readPayload(core, row.rowid, NO_DOT)])
    } catch (error) {
      // A damaged record has a hash that no whole one has: the comparison finds it and goes on.
      if (error instanceof DamagedRecord) return payloadHash(core.hash64, names, [])
      throw error
    }
  }
  const values = conflictSiblings(core, row.rowid).map(({ value }) => value)
  return payloadHash(core.hash64, names, values)
}
