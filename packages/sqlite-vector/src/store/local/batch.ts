/**
 * Batch inserts: checked, then committed in transactions of a bounded size, letting the process do
 * other work between two of them.
 *
 * A transaction is all or nothing. After an error or an abort the transactions before it stay.
 */
import { turns } from '#platform'

import { SqliteVectorError } from '../../errors.ts'
import { BATCH_ATOMIC_RECORDS_MAX } from '../../limits.ts'
import { shown } from '../../options.ts'
import type { OpenFile } from '../file/transaction.ts'
import { insertRecords } from './bulk.ts'
import { prepareRecordAt } from '../input.ts'
import { resolveBatchOptions } from '../options.ts'
import { loadShard } from '../feed/shards.ts'
import type { BatchOptions, RecordInput } from '../types.ts'
import { upsertRecord } from './writes.ts'

/** Commits `records`; the number of them. */
export async function insertBatch(
  core: OpenFile,
  shardId: string,
  records: readonly RecordInput[],
  options: BatchOptions,
): Promise<number> {
  const { mode, onProgress, signal } = resolveBatchOptions(options)
  if (!Array.isArray(records)) {
    throw new TypeError(`records must be an array, got ${shown(records)}`)
  }
  if (core.writing) throw new TypeError('insertBatch() cannot run inside transaction() or group()')
  const total = records.length
  let done = 0
  do {
    signal?.throwIfAborted()
    const end = Math.min(done + BATCH_ATOMIC_RECORDS_MAX, total)
    const start = done
    try {
      core.write((transaction) => {
        const shard = loadShard(transaction, shardId)
        if (mode === 'insert') {
          insertRecords(transaction, shard, records, start, end)
          return
        }
        for (let index = start; index < end; index += 1) {
          upsertRecord(transaction, shard, prepareRecordAt(shard, records, index))
        }
      })
    } catch (error) {
      throw done === 0 ? error : afterSome(error, done)
    }
    done = end
    onProgress?.({ done, total })
    if (done < total) await turns.next()
  } while (done < total)
  return done
}

/** The same error, saying that some records are committed. */
function afterSome(error: unknown, done: number): unknown {
  if (!(error instanceof Error)) return error
  const message = `${error.message} (the ${done} records before records[${done}] are committed)`
  if (error instanceof SqliteVectorError)
    return new SqliteVectorError(error.code, message, { cause: error })
  if (error instanceof TypeError) return new TypeError(message, { cause: error })
  if (error instanceof RangeError) return new RangeError(message, { cause: error })
  return error
}
