/**
 * The conflict strategy of a shard: the name the file keeps, and the function a caller registered.
 *
 * Not here: the views themselves (model/strategies.ts). A function cannot be kept in a file: it is
 * registered after every open, and until then the shard shows the last write. A function that
 * throws or gives no valid value is reported, and the last write is shown: one bad record must not
 * stop a sync.
 */
import { parseMetadata, stored } from '../file/damage.ts'
import { must } from '../../assert.ts'
import { bytesEqual, viewToBytes } from '../../bytes.ts'
import { objectGiven, oneOf, shown, rejectUnknownKeys } from '../../options.ts'
import { lastWrite } from '../../model/merge.ts'
import { CONFLICT_STRATEGIES, viewOf } from '../../model/strategies.ts'
import type { Dot, RecordValue, Sibling } from '../../model/types.ts'
import type { WriteTransaction } from '../file/transaction.ts'
import { metadataToText, prepareText, prepareVector } from '../input.ts'
import type {
  ConflictFunction,
  ConflictSibling,
  ConflictStrategy,
  ConflictValue,
} from '../types.ts'
import { type OpenShard } from '../file/open-shard.ts'
import { type ShardInfo } from '../../model/records.ts'

/** How the file names a strategy that is a function. */
export const CUSTOM_STRATEGY = 'custom'

/** The visible value of a record with several siblings; null is a delete. */
export function visibleValue(
  transaction: WriteTransaction,
  shard: OpenShard,
  id: string,
  siblings: readonly Sibling[],
): RecordValue | null {
  const resolve = transaction.core.strategyFunctions.get(shard.shardId)
  if (shard.strategy !== CUSTOM_STRATEGY || resolve === undefined) {
    return viewOf(namedStrategy(shard.strategy), siblings, shard.metric === 'cosine')
  }
  const last = lastWrite(siblings)
  try {
    const value = resolve(siblings.map(toConflictSibling))
    return value === null ? null : toRecordValue(shard, value, last.dot)
  } catch (error) {
    transaction.events.push({ type: 'strategy-failed', shardId: shard.shardId, id, error })
    return last.value
  }
}

/** How the file names `strategy`. @throws TypeError when it is none */
export function strategyToName(strategy: ConflictStrategy): string {
  if (typeof strategy === 'function') return CUSTOM_STRATEGY
  oneOf('strategy', strategy, CONFLICT_STRATEGIES)
  return strategy
}

/** A sibling as callers see it. Embeddings are not copies: do not write to them. */
export function toConflictSibling({ dot, stamp, value }: Sibling): ConflictSibling {
  if (value === null) return { dot, stamp, value: null }
  const { metadata, text } = value
  const embedding = stored(value.embedding, 'the embedding of a sibling is missing')
  return { dot, stamp, value: { embedding, metadata: parseMetadata(metadata), text } }
}

/** A caller's value, checked like a record's; `dot` names the write that brings the embedding. */
export function toRecordValue(shard: ShardInfo, value: ConflictValue, dot: Dot): RecordValue {
  objectGiven('value', value)
  rejectUnknownKeys('value', value, ['embedding', 'metadata', 'text'])
  const { embedding, metadata, text } = value
  return {
    embedding: prepareVector(shard, embedding, 'value.embedding'),
    embeddingDot: dot,
    metadata: metadata === undefined ? '{}' : metadataToText(metadata, 'value.metadata'),
    text: text === undefined || text === null ? null : prepareText(text, 'value.text'),
  }
}

/** True when both would be shown alike. */
export function sameShown(a: RecordValue | null, b: RecordValue | null): boolean {
  if (a === null || b === null) return a === b
  if (a.metadata !== b.metadata || a.text !== b.text) return false
  const ours = must(a.embedding, 'an embedding that is shown')
  const theirs = must(b.embedding, 'an embedding that is shown')
  return bytesEqual(viewToBytes(ours), viewToBytes(theirs))
}

/** Registers the function of a shard, or takes it away when the strategy is a name. */
export function registerStrategy(
  functions: Map<string, ConflictFunction>,
  shardId: string,
  strategy: ConflictStrategy,
): void {
  if (typeof strategy !== 'function') functions.delete(shardId)
  else {
    functions.set(shardId, strategy)
  }
}

function namedStrategy(kept: string | null): (typeof CONFLICT_STRATEGIES)[number] {
  // A function that is not registered yet: its shard shows the last write until it is.
  if (kept === null || kept === CUSTOM_STRATEGY) return 'last-write-wins'
  return stored(
    CONFLICT_STRATEGIES.find((name) => name === kept),
    `${shown(kept)} is not a conflict strategy`,
  )
}
