/**
 * The work of replication around every write transaction: confirming own writes, keeping recent
 * ones, deferring flushes.
 *
 * Not here: the transactions (file/transaction.ts) and the store that sync sees (replica.ts), which
 * shares these parts.
 */
import type { SqliteDatabase } from '#platform'

import { RecentWrites } from '../feed/recent-writes.ts'
import { DeferredFlush } from '../file/flush.ts'
import type { OpenShard } from '../file/open-shard.ts'
import type { TransactionHooks, WriteTransaction } from '../file/transaction.ts'
import { confirmOwnWrites } from './own-writes.ts'

/** The hooks of one open file. */
export class CommitHooks implements TransactionHooks {
  readonly recent: RecentWrites
  readonly flush: DeferredFlush
  /** Changes when another connection commits, never by our own commits. */
  readonly dataVersion: () => number

  constructor(db: SqliteDatabase, path: string) {
    const statement = db.prepare('PRAGMA data_version')
    this.dataVersion = () => Number(statement.get()?.['data_version'])
    this.recent = new RecentWrites(this.dataVersion)
    this.flush = new DeferredFlush(db, path, this.dataVersion)
  }

  beforeBegin(): void {
    this.flush.beginning()
  }

  beforeCommit(transaction: WriteTransaction, shard: OpenShard): void {
    // One transaction, and one flush to disk, for a write and for the note that it is about to be
    // sent.
    if (transaction.core.exposed.has(shard.shardId)) confirmOwnWrites(transaction, shard)
  }

  afterCommit(transaction: WriteTransaction): void {
    if (transaction.core.exposed.size > 0) this.recent.committed(transaction)
    // Without a change there was nothing to write, nor to flush.
    this.flush.committed([...transaction.shards.values()].some(({ notice }) => notice))
  }
}
