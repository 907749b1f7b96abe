/**
 * How much of our work the comparisons of one peer may cost: a peer that asks about ranges has us
 * sum our rows of them, and a question about everything costs a pass over the shard.
 *
 * A bucket of rows per peer, refilled with time. A question is answered while there is anything in
 * the bucket, and what it costs is taken out as its rows are read, if need be into debt: so a shard
 * of any size can be compared, and then the peer waits. Not here: what a question is
 * (store/replica/compare.ts).
 */
import type { Clock } from '../../clock/types.ts'
import { SqliteVectorError } from '../../errors.ts'
import { COMPARE_ROWS_BURST, COMPARE_ROWS_PER_SECOND } from '../../limits.ts'
import type { SessionStore } from '../session/driver.ts'
import { type RangeAnswer } from '../../store/replica/types.ts'
import { type Sliced } from '../../store/file/sliced.ts'

interface Bucket {
  rows: number
  atMs: number
}

/** The buckets of a node. Peers are authenticated, and a full bucket is forgotten. */
export class CompareBudget {
  readonly #clock: Clock
  readonly #buckets = new Map<string, Bucket>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** `store` as the sessions with `peer` see it. */
  bounded(store: SessionStore, peer: string): SessionStore {
    return {
      ...store,
      summarizeRanges: (shardId, ranges, payloads) => {
        this.#check(peer)
        return this.#charging(peer, store.summarizeRanges(shardId, ranges, payloads))
      },
    }
  }

  /** Charges as the work goes on: many questions at once are not cheaper. */
  *#charging(peer: string, work: Sliced<readonly RangeAnswer[]>): Sliced<readonly RangeAnswer[]> {
    let charged = 0
    for (;;) {
      const step = work.next()
      if (step.done === true) {
        const rows = step.value.reduce((sum, answer) => sum + rowsOf(answer), 0)
        this.#charge(peer, Math.max(0, rows - charged))
        return step.value
      }
      charged += step.value
      this.#charge(peer, step.value)
      yield step.value
    }
  }

  /** @throws SqliteVectorError `SYNC_COMPARE_LIMIT` */
  #check(peer: string): void {
    const bucket = this.#bucket(peer)
    if (bucket.rows > 0) return
    const seconds = Math.ceil((1 - bucket.rows) / COMPARE_ROWS_PER_SECOND)
    throw new SqliteVectorError(
      'SYNC_COMPARE_LIMIT',
      `rows were compared for this peer beyond its budget; again in ${seconds} s`,
    )
  }

  #charge(peer: string, rows: number): void {
    const bucket = this.#bucket(peer)
    bucket.rows -= rows
    this.#buckets.set(peer, bucket)
  }

  #bucket(peer: string): Bucket {
    const nowMs = this.#clock.monotonicMs()
    const { rows, atMs } = this.#buckets.get(peer) ?? { rows: COMPARE_ROWS_BURST, atMs: nowMs }
    const refilled = rows + ((nowMs - atMs) / 1_000) * COMPARE_ROWS_PER_SECOND
    if (refilled >= COMPARE_ROWS_BURST) this.#buckets.delete(peer)
    return { rows: Math.min(COMPARE_ROWS_BURST, refilled), atMs: nowMs }
  }
}

/**
 * Rows that were summed for the answer; an answer about nothing has cost a question all the same.
 */
function rowsOf(answer: RangeAnswer): number {
  if (answer.type === 'list') return answer.records.length + 1
  return answer.parts.reduce((sum, { count }) => sum + count, 1)
}
