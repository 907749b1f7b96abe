/**
 * The end of quarantined changes: applied again, by command or after an upgrade, or discarded.
 *
 * Discarding is a write: what the record is here now supersedes the change that could not be
 * applied, on all replicas. Merely to forget it here would leave equal version vectors over
 * different rows for good.
 */
import { compareSiblings, contextOf } from '../../model/merge.ts'
import type { Sibling } from '../../model/types.ts'
import { compareDots, covers, joinVectors, withDot } from '../../model/version-vector.ts'
import { applyWhole, emptyTally } from './apply.ts'
import type { OpenFile, WriteTransaction } from '../file/transaction.ts'
import { isQuarantined, quarantined, releaseCovered, removeEntry } from './quarantine.ts'
import { addRecord, findRecord, replaceRecord, withPayload } from '../feed/register.ts'
import { SCHEMA_VERSION } from '../file/schema.ts'
import { loadShard, nextDot, ownVector, type ShardRow } from '../feed/shards.ts'
import { nextStamp, withForgotten } from '../local/writes.ts'
import { type OpenShard } from '../file/open-shard.ts'

/** Entries looked at in one go. */
const PAGE_ROWS = 100

/**
 * The version of the rules that {@link retryEntry} applies: raised when a release applies what an
 * earlier one refused.
 */
const RULES_VERSION = 1

/**
 * Applies the entry again. False when it came back into quarantine, or when nothing of it was news
 * any more.
 */
export function retryEntry(
  transaction: WriteTransaction,
  shard: OpenShard,
  entry: number,
): boolean {
  const { peer, change } = removeEntry(transaction, shard, entry)
  const tally = emptyTally()
  applyWhole(transaction, shard, ownVector(shard, transaction.actor), change, peer, tally)
  return tally.applied > 0
}

/** Lets the record stand as it is here, over the change that could not be applied. */
export function discardEntry(transaction: WriteTransaction, shard: OpenShard, entry: number): void {
  const { core } = transaction
  const { change } = removeEntry(transaction, shard, entry)
  const record = findRecord(core, shard, change.id)
  if (record === null) {
    const dot = nextDot(transaction, shard)
    const stamp = nextStamp(transaction, shard)
    const context = withDot(withForgotten(transaction, shard, contextOf(change)), dot)
    const state = { siblings: [{ dot, stamp, value: null }], context }
    addRecord(transaction, shard, change.id, state)
    releaseCovered(transaction, shard, { id: change.id, ...state })
    return
  }
  const state = withPayload(core, record).state
  // A record in conflict stays in conflict: only the change is void. The writes that it superseded
  // get new dots, or a peer that has the change would drop them; without such, the last one does,
  // so that peers hear of it.
  const overruled = contextOf(change)
  const siblings = state.siblings.toSorted(compareSiblings)
  const isRenamed = (sibling: Sibling): boolean =>
    covers(overruled, sibling.dot) ||
    (sibling === siblings.at(-1) && !siblings.some((other) => covers(overruled, other.dot)))
  let context = withForgotten(transaction, shard, joinVectors(contextOf(state), overruled))
  const renamed = siblings.map((sibling) => {
    if (!isRenamed(sibling)) return sibling
    const dot = nextDot(transaction, shard)
    context = withDot(context, dot)
    return { ...sibling, dot, stamp: nextStamp(transaction, shard) }
  })
  const decided = { siblings: renamed.toSorted((a, b) => compareDots(a.dot, b.dot)), context }
  replaceRecord(transaction, shard, change.id, record, decided)
  releaseCovered(transaction, shard, { id: change.id, ...decided })
}

/** Applies everything in quarantine again when the file was last open under another release. */
export function retryAfterUpgrade(core: OpenFile): void {
  const release = `${SCHEMA_VERSION}.${RULES_VERSION}`
  const before = core.db.prepare('SELECT release FROM database_metadata').get()?.['release']
  if (before === release) return
  core.write((transaction) => {
    core.db.prepare('UPDATE database_metadata SET release = ?').run(release)
    for (const row of core.sql.listShards.all() as unknown as ShardRow[]) {
      if (row.quarantine_count > 0) retryShard(transaction, loadShard(transaction, row.shard_id))
    }
  })
}

/** Applies every entry of the shard again; how many were applied, and how many are left. */
export function retryShard(
  transaction: WriteTransaction,
  shard: OpenShard,
): { readonly applied: number; readonly left: number } {
  const entries = allEntries(transaction.core, shard.shard)
  let applied = 0
  for (const entry of entries) {
    // One that was applied takes those of its record along that it covers.
    if (!isQuarantined(transaction.core, shard, entry)) continue
    if (retryEntry(transaction, shard, entry)) applied += 1
  }
  return { applied, left: shard.quarantineCount }
}

function allEntries(core: OpenFile, shard: number): number[] {
  const entries: number[] = []
  for (;;) {
    const page = quarantined(core, shard, entries.at(-1) ?? 0, PAGE_ROWS)
    entries.push(...page.map(({ entry }) => entry))
    if (page.length < PAGE_ROWS) return entries
  }
}
