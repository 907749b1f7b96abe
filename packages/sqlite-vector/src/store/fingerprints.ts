/**
 * The fingerprint of a shard counted anew from its rows, to hold the kept one against.
 *
 * Not here: the sum itself (fingerprint.ts) and keeping it (register.ts).
 */
import type { StoreCore } from './core.ts'
import { exchange, fingerprintToHex, FINGERPRINT_ZERO, recordHash } from './fingerprint.ts'
import { idOf, rowToState } from './register.ts'
import type { ShardRow } from './shards.ts'
import type { ChangelogRow } from './statements.ts'

const PAGE_ROWS = 1_000

/** Sixteen hexadecimal digits. O(records), a page of the feed at a time. Inside a read transaction. */
export function recomputeFingerprint(core: StoreCore, shard: ShardRow): string {
  let sum = FINGERPRINT_ZERO
  let after = 0
  for (;;) {
    const rows = core.sql.readFeed.all(shard.shard, after, PAGE_ROWS) as unknown as ChangelogRow[]
    for (const row of rows) {
      const { siblings } = rowToState(core, row)
      sum = exchange(sum, 0n, recordHash(core.hash64, idOf(core, row.record), siblings))
      after = row.change_id
    }
    if (rows.length < PAGE_ROWS) return fingerprintToHex(sum)
  }
}
