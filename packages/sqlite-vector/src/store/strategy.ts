/**
 * The conflict strategy of a shard: the name the file keeps, and the function a caller registered.
 *
 * Not here: the views themselves (sync/strategies.ts). A function cannot be kept in a file: it is
 * registered after every open, and until then the shard shows the last write.
 */
import { must } from '../assert.ts'
import type { ConflictStrategyName, RecordValue, Sibling } from '../sync/types.ts'
import { CONFLICT_STRATEGIES, viewOf } from '../sync/strategies.ts'
import type { StoreCore } from './core.ts'
import type { OpenShard } from './shards.ts'

/** What a shard shows of a record with several siblings. */
export function visibleValue(
  _core: StoreCore,
  shard: OpenShard,
  _id: string,
  siblings: readonly Sibling[],
): RecordValue | null {
  return viewOf(strategyName(shard.strategy), siblings, shard.metric === 'cosine')
}

/** The named strategy that the file keeps for a shard; the last write wins where it keeps none. */
export function strategyName(kept: string | null): ConflictStrategyName {
  if (kept === null) return 'last-write-wins'
  return must(
    CONFLICT_STRATEGIES.find((name) => name === kept),
    `a known strategy, got ${kept}`,
  )
}
