/**
 * Comparing a shard with a peer's by ranges of ids, and mending what differs.
 *
 * Not here: who asks whom, and when (sync/session-puller.ts). Only records with a put count, as in the
 * fingerprint: tombstones are collected at different times on different replicas.
 *
 * Two reasons to compare, two rules:
 * - `floor`: the sender forgot deletes that we never saw. A record of which it lists no put is asked for: it may
 *   be deleted there and not forgotten. What it covers and then does not have at all was deleted there: we drop
 *   it. A sibling of ours that it covers and has not was superseded there: we drop that, too.
 * - `equal`: equal version vectors, different rows: something was lost. What either side has is restored.
 *
 * Time passes while rows are compared, and other sessions go on: what they bring meanwhile, the sender may have deleted
 * and forgotten ({@link doubtfulSince}); what we forget meanwhile must not be taken for lost (`floor` of {@link Findings}).
 */
import { must } from '../assert.ts'
import { CLOCK_DRIFT_MS_MAX, RANGE_LEAF_RECORDS, RANGE_PARTS } from '../limits.ts'
import { receiveHlc, skewMs } from '../clock/hlc.ts'
import { contextOf } from '../sync/conflict.ts'
import type { Change, RecordState, VersionVector, Sibling } from '../sync/types.ts'
import { covers, dominates, EMPTY_VECTOR } from '../sync/version-vector.ts'
import { applyWhole, type ApplyTally, emptyTally } from './apply.ts'
import { raiseFloor } from './collect.ts'
import type { StoreCore, WriteTransaction } from './core.ts'
import { exchange, FINGERPRINT_ZERO, fingerprintToHex } from './fingerprint.ts'
import { changeOf } from './changelog.ts'
import { hashesOf, NO_BOUND } from './fingerprints.ts'
import { guardOwnDots } from './own-writes.ts'
import {
  findRecord,
  findStored,
  idOf,
  removeRecord,
  replaceRecord,
  rowToState,
  withPayload,
} from './register.ts'
import { loadShard, type OpenShard, ownVector, shardRow } from './shards.ts'
import type { ChangelogRow } from './statements.ts'
import type {
  CompareMode,
  Comparison,
  IdRange,
  RangeAnswer,
  RangePart,
  RecordsRead,
  RepairResult,
} from './types.ts'

/** Rows of the feed read at a time. */
const PAGE_ROWS = 1_000

/** What the shard holds of a range: all of it when that is little, else sums over parts of it. */
export function summarize(core: StoreCore, shard: number, range: IdRange): RangeAnswer {
  const count = countRange(core, shard, range)
  if (count <= RANGE_LEAF_RECORDS) {
    const list = [...hashesOf(core, shard, range)]
    return {
      type: 'list',
      records: list.map(({ id, hash }) => ({ id, hash: fingerprintToHex(hash) })),
    }
  }
  const perPart = Math.ceil(count / RANGE_PARTS)
  const parts: RangePart[] = []
  let sum = FINGERPRINT_ZERO
  let held = 0
  for (const { id, hash } of hashesOf(core, shard, range)) {
    if (held === perPart && parts.length < RANGE_PARTS - 1) {
      parts.push({ to: id, count: held, fingerprint: fingerprintToHex(sum) })
      sum = FINGERPRINT_ZERO
      held = 0
    }
    sum = exchange(sum, 0n, hash)
    held += 1
  }
  parts.push({ to: range.to, count: held, fingerprint: fingerprintToHex(sum) })
  return { type: 'parts', parts }
}

/** Holds our rows against a peer's answers about `asked`. */
export function compareRanges(
  core: StoreCore,
  shardId: string,
  asked: readonly IdRange[],
  answers: readonly RangeAnswer[],
  mode: CompareMode,
): Comparison {
  const { shard } = shardRow(core, shardId)
  const descend: IdRange[] = []
  const need: string[] = []
  let extra = 0
  for (const [index, range] of asked.entries()) {
    const answer = must(answers[index], 'an answer for every range')
    if (answer.type === 'parts') {
      descend.push(...differingParts(core, shard, range, answer.parts))
      continue
    }
    const ours = new Map([...hashesOf(core, shard, range)].map(({ id, hash }) => [id, hash]))
    for (const { id, hash } of answer.records) {
      const own = ours.get(id)
      ours.delete(id)
      if (own === undefined ? mode === 'equal' : fingerprintToHex(own) !== hash) need.push(id)
    }
    if (mode === 'equal') extra += ours.size
    else need.push(...ours.keys())
  }
  return { descend, need, extra }
}

/** What a comparison found, and what it rests on. */
export interface Findings {
  /** Asked for, and the peer has not even a delete of it. */
  readonly gone: readonly string[]
  readonly mode: CompareMode
  /** The peer's vector when the comparison began. */
  readonly theirs: VersionVector
  readonly peer: string
  /** Our own floor when the comparison began. */
  readonly floor: VersionVector
}

/**
 * Records that changed since the head of our feed was `since`, by writes that `theirs` covers and our vector does
 * not: a comparison that began then may not have seen them, and joining `theirs` would claim that they are to stay.
 */
export function doubtfulSince(
  transaction: WriteTransaction,
  shard: OpenShard,
  theirs: VersionVector,
  since: number,
): readonly string[] {
  const { core } = transaction
  const own = ownVector(shard, transaction.actor)
  const doubtful: string[] = []
  let after = since
  for (;;) {
    const rows = core.sql.readFeed.all(shard.shard, after, PAGE_ROWS) as unknown as ChangelogRow[]
    for (const row of rows) {
      after = row.change_id
      const { siblings } = rowToState(core, row)
      const isNews = ({ dot, value }: Sibling): boolean =>
        value !== null && covers(theirs, dot) && !covers(own, dot)
      if (siblings.some(isNews)) doubtful.push(idOf(core, row.record))
    }
    if (rows.length < PAGE_ROWS) return doubtful
  }
}

/**
 * Merges whole records that were asked for by id; `gone` are those that the peer has not even a delete of. See
 * the head of this file for the two rules. Null when they show that somebody else writes under our name.
 */
export function repairRecords(
  transaction: WriteTransaction,
  shardId: string,
  changes: readonly Change[],
  findings: Findings,
): RepairResult | null {
  const { gone, mode, theirs } = findings
  const shard = loadShard(transaction, shardId)
  if (guardOwnDots(transaction, shard, changes)) return null
  const tally = emptyTally()
  let dropped = 0
  let extra = 0
  for (const change of changes) {
    for (const { stamp } of change.siblings) {
      tally.skewMsMax = Math.max(tally.skewMsMax, skewMs(stamp, transaction.nowMs))
      shard.clock = receiveHlc(shard.clock, stamp, transaction.nowMs, CLOCK_DRIFT_MS_MAX)
    }
    if (mode === 'floor') dropped += dropCovered(transaction, shard, change.id, theirs, change)
    repairRecord(transaction, shard, change, findings, tally)
    if (hasMore(transaction, shard, change)) extra += 1
  }
  if (mode === 'floor') {
    for (const id of gone) dropped += dropCovered(transaction, shard, id, theirs, null)
  }
  if (dropped > 0) voidReaders(transaction, shard)
  return { ...tally, lacking: [], dropped, extra }
}

function repairRecord(
  transaction: WriteTransaction,
  shard: OpenShard,
  change: Change,
  { mode, peer, floor }: Findings,
  tally: ApplyTally,
): void {
  const isLost = mode === 'equal' && dominates(floor, shard.forgotten)
  const known = isLost ? EMPTY_VECTOR : ownVector(shard, transaction.actor)
  applyWhole(transaction, shard, known, change, peer, tally)
}

/** True when we hold writes of the record that the peer's state of it does not. */
function hasMore(transaction: WriteTransaction, shard: OpenShard, change: Change): boolean {
  const ours = findRecord(transaction.core, shard, change.id)?.state.siblings ?? []
  return ours.some(
    ({ dot }) =>
      !change.siblings.some(
        (other) => other.dot.actor === dot.actor && other.dot.counter === dot.counter,
      ),
  )
}

/**
 * Drops the siblings of a record that `theirs` covers and the peer does not hold: they were superseded or
 * deleted there. 1 when anything went. `held` null: the peer has no such record. Our deletes stay beside
 * writes that they have not met, also where the peer forgot them.
 */
function dropCovered(
  transaction: WriteTransaction,
  shard: OpenShard,
  id: string,
  theirs: VersionVector,
  held: RecordState | null,
): number {
  const { core } = transaction
  const record = findRecord(core, shard, id)
  if (record === null) return 0
  // What their context covers, and they do not hold, merging takes away.
  const context = held === null ? EMPTY_VECTOR : contextOf(held)
  const isHeld = ({ dot, value }: Sibling): boolean => value === null || covers(context, dot)
  const kept = record.state.siblings.filter(
    (sibling) => !covers(theirs, sibling.dot) || isHeld(sibling),
  )
  if (kept.length === record.state.siblings.length) return 0
  if (kept.length === 0) {
    removeRecord(transaction, shard, id, record)
    return 1
  }
  const whole = withPayload(core, record)
  const siblings = whole.state.siblings.filter((sibling) =>
    kept.some(
      ({ dot }) =>
        dot === sibling.dot ||
        (dot.actor === sibling.dot.actor && dot.counter === sibling.dot.counter),
    ),
  )
  replaceRecord(transaction, shard, id, record, { siblings, context: contextOf(record.state) })
  return 1
}

/** Rows vanished without a row in the feed: readers of it in this file start anew. */
function voidReaders(transaction: WriteTransaction, shard: OpenShard): void {
  shard.head += 1
  raiseFloor(transaction, shard, EMPTY_VECTOR, shard.head)
}

/** Whole records by id, tombstones included, as many as fit `bytesMax`; at least one when there is any. */
export function readRecords(
  core: StoreCore,
  shardId: string,
  ids: readonly string[],
  bytesMax: number,
): RecordsRead {
  const row = shardRow(core, shardId)
  const changes: Change[] = []
  let bytes = 0
  for (const id of ids) {
    const record = findStored(core, row.shard, id)
    if (record === null) continue
    const change = changeOf(core, id, record)
    bytes += change.bytes
    if (changes.length > 0 && bytes > bytesMax) break
    changes.push(change.change)
  }
  return { changes, dimension: row.dimension }
}

function differingParts(
  core: StoreCore,
  shard: number,
  range: IdRange,
  parts: readonly RangePart[],
): IdRange[] {
  const differing: IdRange[] = []
  let { from } = range
  for (const { to, count, fingerprint } of parts) {
    const part = { from, to }
    const ours = sumOf(core, shard, part)
    if (ours.count !== count || fingerprintToHex(ours.sum) !== fingerprint) differing.push(part)
    if (to === null) break
    from = to
  }
  return differing
}

function sumOf(
  core: StoreCore,
  shard: number,
  range: IdRange,
): { readonly count: number; readonly sum: bigint } {
  let count = 0
  let sum = FINGERPRINT_ZERO
  for (const { hash } of hashesOf(core, shard, range)) {
    count += 1
    sum = exchange(sum, 0n, hash)
  }
  return { count, sum }
}

function countRange(core: StoreCore, shard: number, { from, to }: IdRange): number {
  return Number(core.sql.countRange.get(shard, from, to ?? NO_BOUND)?.['records'])
}
