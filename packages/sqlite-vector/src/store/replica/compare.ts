/**
 * Comparing a shard with a peer's by ranges of ids, and repairing the differences.
 *
 * Not here: the order of questions (sync/session/puller.ts). Only records with a put count, as in
 * the digest: tombstones are collected at different times on different replicas.
 *
 * Three reasons to compare, three rules:
 * - `floor`: the sender forgot deletes that we never saw. A record of which it lists no put is
 *   asked for: it may be deleted there and not forgotten. A record that it covers and does not have
 *   at all was deleted there: we drop it. A sibling of ours that it covers and has not was
 *   superseded there: we drop that, too.
 * - `equal`: equal version vectors, different rows: something was lost. Each side gets the other's
 *   records back.
 * - `payloads`: equal names, and are they the same writes? Nothing is changed where they differ:
 *   neither side can tell which one is damaged.
 *
 * Time passes while rows are compared, and other sessions go on: what they bring meanwhile, the
 * sender may have deleted and forgotten ({@link doubtfulSince}); what we forget meanwhile must not
 * be taken for lost (`floor` of {@link Findings}).
 */
import { DamagedRecord } from '../file/damage.ts'
import { must } from '../../assert.ts'
import { bytesEqual, viewToBytes } from '../../bytes.ts'
import { CLOCK_DRIFT_MS_MAX, COMPARE_NEED_MAX } from '../../limits.ts'
import { receiveHlc, skewMs } from '../../clock/hlc.ts'
import { contextOf } from '../../model/merge.ts'
import type { Change, RecordState, RecordValue, VersionVector, Sibling } from '../../model/types.ts'
import { covers, dominates, EMPTY_VECTOR, sameDot } from '../../model/version-vector.ts'
import { applyWhole, type ApplyTally, emptyTally } from './apply.ts'
import { noteDrops } from './drops.ts'
import { raiseFloor } from './tombstones.ts'
import type { OpenFile, WriteTransaction } from '../file/transaction.ts'
import { exchange, DIGEST_ZERO, digestToHex } from '../feed/digest.ts'
import { changeOf } from '../feed/reader.ts'
import { HashScan } from './hash-scan.ts'
import { guardOwnDots } from './own-writes.ts'
import { RangeSum } from './range-sum.ts'
import { noteMoved } from '../feed/recent-writes.ts'
import {
  findRecord,
  findStored,
  idOf,
  removeRecord,
  replaceRecord,
  rowToRecordState,
  withPayload,
} from '../feed/register.ts'
import { loadShard, ownVector, shardRow } from '../feed/shards.ts'
import type { ChangelogRow } from '../file/statements.ts'
import { type OpenShard } from '../file/open-shard.ts'
import {
  type CompareMode,
  type Comparison,
  type IdRange,
  type ListedRecord,
  type RangeAnswer,
  type RangePart,
  type RecordsRead,
  type RepairResult,
} from './types.ts'
import { type Sliced } from '../file/sliced.ts'

/** Rows of the feed read at a time. */
const PAGE_ROWS = 1_000

/**
 * The shard's rows in the ranges: a list of a small range, sums over the parts of a large one. In
 * slices: each record counts as it was at some time since the peer said what it holds, which is all
 * that either rule needs.
 */
export function* summarizeRanges(
  core: OpenFile,
  shardId: string,
  ranges: readonly IdRange[],
  payloads: boolean,
): Sliced<readonly RangeAnswer[]> {
  const scan = scanOf(core, shardId, payloads)
  const answers: RangeAnswer[] = []
  for (const range of ranges) {
    const sum = new RangeSum()
    yield* scan.each(range, (id, hash) => {
      sum.add(id, hash)
      return true
    })
    answers.push(sum.answer(range.to))
  }
  return answers
}

/**
 * Compares our rows with a peer's answers about `asked`, in slices like {@link summarizeRanges}.
 */
export function* compareRanges(
  core: OpenFile,
  shardId: string,
  asked: readonly IdRange[],
  answers: readonly RangeAnswer[],
  mode: CompareMode,
): Sliced<Comparison> {
  const scan = scanOf(core, shardId, mode === 'payloads')
  const found: Found = { descend: [], need: [], extra: 0 }
  for (const [index, range] of asked.entries()) {
    const answer = must(answers[index], 'an answer for every range')
    if (answer.type === 'parts') yield* compareParts(scan, range, answer.parts, found)
    else if (mode !== 'floor') yield* compareEqual(scan, range, answer.records, found)
    else yield* compareFloor(scan, range, answer.records, found)
  }
  return found
}

interface Found {
  readonly descend: IdRange[]
  readonly need: string[]
  extra: number
}

function scanOf(core: OpenFile, shardId: string, payloads: boolean): HashScan {
  return new HashScan(core, core.read(() => shardRow(core, shardId)).shard, payloads)
}

/** Records that one side lacks, or that differ. */
function* compareEqual(
  scan: HashScan,
  range: IdRange,
  records: readonly ListedRecord[],
  found: Found,
): Sliced<void> {
  const theirs = new Map(records.map(({ id, hash }) => [id, hash]))
  yield* scan.each(range, (id, hash) => {
    const listed = theirs.get(id)
    if (listed === undefined) found.extra += 1
    else if (listed === digestToHex(hash)) theirs.delete(id)
    return true
  })
  found.need.push(...theirs.keys())
}

/**
 * Records of ours that the peer does not list, or lists with another hash. Beyond a bound, the rest
 * is asked about later.
 */
function* compareFloor(
  scan: HashScan,
  range: IdRange,
  records: readonly ListedRecord[],
  found: Found,
): Sliced<void> {
  const theirs = new Map(records.map(({ id, hash }) => [id, hash]))
  yield* scan.each(range, (id, hash) => {
    if (theirs.get(id) === digestToHex(hash)) return true
    if (found.need.length >= COMPARE_NEED_MAX) {
      found.descend.push({ from: id, to: range.to })
      return false
    }
    found.need.push(id)
    return true
  })
}

function* compareParts(
  scan: HashScan,
  range: IdRange,
  parts: readonly RangePart[],
  found: Found,
): Sliced<void> {
  let { from } = range
  for (const { to, count, digest } of parts) {
    const part = { from, to }
    let held = 0
    let sum = DIGEST_ZERO
    yield* scan.each(part, (_, hash) => {
      held += 1
      sum = exchange(sum, 0n, hash)
      return true
    })
    if (held !== count || digestToHex(sum) !== digest) found.descend.push(part)
    if (to === null) break
    from = to
  }
}

/** Ids of `changes` of which a write is here, too, and wrote something else. */
export function damagedAmong(
  core: OpenFile,
  shardId: string,
  changes: readonly Change[],
): readonly string[] {
  const { shard } = shardRow(core, shardId)
  return changes.flatMap(({ id, siblings: theirs }) => {
    const ours = siblingsOrNull(core, shard, id)
    if (ours === null) return [id]
    const isDamaged = theirs.some((sibling) => {
      const own = ours.find((other) => sameDot(other.dot, sibling.dot))
      return own !== undefined && !sameValue(own.value, sibling.value)
    })
    return isDamaged ? [id] : []
  })
}

/** The siblings of a record, none without one; null when they are damaged. */
function siblingsOrNull(core: OpenFile, shard: number, id: string): readonly Sibling[] | null {
  try {
    const record = findStored(core, shard, id)
    return record === null ? [] : withPayload(core, record).state.siblings
  } catch (error) {
    if (error instanceof DamagedRecord) return null
    throw error
  }
}

function sameValue(a: RecordValue | null, b: RecordValue | null): boolean {
  if (a === null || b === null) return a === b
  if (a.metadata !== b.metadata || a.text !== b.text) return false
  if (a.embedding === null || b.embedding === null) return a.embedding === b.embedding
  return bytesEqual(viewToBytes(a.embedding), viewToBytes(b.embedding))
}

/** The findings of a comparison, and their basis. */
export interface Findings {
  /** Asked for, and the peer has not even a delete of it. */
  readonly gone: readonly string[]
  readonly mode: CompareMode
  /** The peer's vector when the comparison began. */
  readonly peerVector: VersionVector
  readonly peer: string
  /** Our own floor when the comparison began. */
  readonly floor: VersionVector
}

/**
 * Records that changed since the head of our feed was `since`, by writes that `peerVector` covers
 * and our vector does not: a comparison that began then may not have seen them, and joining
 * `peerVector` would claim that they are to stay.
 */
export function doubtfulSince(
  transaction: WriteTransaction,
  shard: OpenShard,
  peerVector: VersionVector,
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
      const { siblings } = rowToRecordState(core, row)
      const isNews = ({ dot, value }: Sibling): boolean =>
        value !== null && covers(peerVector, dot) && !covers(own, dot)
      if (siblings.some(isNews)) doubtful.push(idOf(core, row.rowid))
    }
    if (rows.length < PAGE_ROWS) return doubtful
  }
}

/**
 * Merges whole records that were asked for by id; `gone` are those that the peer has not even a
 * delete of. See the head of this file for the two rules. Null when they show that another file
 * writes under our actor.
 */
export function repairRecords(
  transaction: WriteTransaction,
  shardId: string,
  changes: readonly Change[],
  findings: Findings,
): RepairResult | null {
  const { gone, mode, peerVector } = findings
  const shard = loadShard(transaction, shardId)
  if (guardOwnDots(transaction, shard, changes, findings.peer)) return null
  const tally = emptyTally()
  const recordsBefore = shard.recordCount
  const dropped: string[] = []
  const drop = (id: string, held: RecordState | null): void => {
    if (dropCovered(transaction, shard, id, peerVector, held)) dropped.push(id)
  }
  let extra = 0
  for (const change of changes) {
    for (const { stamp } of change.siblings) {
      tally.skewMsMax = Math.max(tally.skewMsMax, skewMs(stamp, transaction.nowMs))
      shard.clock = receiveHlc(shard.clock, stamp, transaction.nowMs, CLOCK_DRIFT_MS_MAX)
    }
    if (mode === 'floor') drop(change.id, change)
    repairRecord(transaction, shard, change, findings, tally)
    if (hasMore(transaction, shard, change)) extra += 1
  }
  if (mode === 'floor') for (const id of gone) drop(id, null)
  noteDrops(transaction, shard, findings.peer, dropped, recordsBefore)
  if (dropped.length > 0) voidReaders(transaction, shard)
  return { ...tally, lacking: [], dropped: dropped.length, extra }
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
  return ours.some(({ dot }) => !change.siblings.some((other) => sameDot(other.dot, dot)))
}

/**
 * Drops the siblings of a record that `peerVector` covers and the peer does not hold: they were
 * superseded or deleted there. True when anything went. `held` null: the peer has no such record.
 * Our deletes stay beside writes that they have not met, also where the peer forgot them.
 */
function dropCovered(
  transaction: WriteTransaction,
  shard: OpenShard,
  id: string,
  peerVector: VersionVector,
  held: RecordState | null,
): boolean {
  const { core } = transaction
  const record = findRecord(core, shard, id)
  if (record === null) return false
  // Merging drops the siblings that their context covers and they do not hold.
  const context = held === null ? EMPTY_VECTOR : contextOf(held)
  const isHeld = ({ dot, value }: Sibling): boolean => value === null || covers(context, dot)
  const kept = record.state.siblings.filter(
    (sibling) => !covers(peerVector, sibling.dot) || isHeld(sibling),
  )
  if (kept.length === record.state.siblings.length) return false
  if (kept.length === 0) {
    removeRecord(transaction, shard, id, record)
    return true
  }
  const whole = withPayload(core, record)
  const siblings = whole.state.siblings.filter((sibling) =>
    kept.some(({ dot }) => sameDot(dot, sibling.dot)),
  )
  replaceRecord(transaction, shard, id, record, { siblings, context: contextOf(record.state) })
  noteMoved(transaction, shard, record.state)
  return true
}

/** Rows vanished without a row in the feed: readers of it in this file start again. */
function voidReaders(transaction: WriteTransaction, shard: OpenShard): void {
  shard.head += 1
  raiseFloor(transaction, shard, EMPTY_VECTOR, shard.head)
}

/**
 * Whole records by id, tombstones included, as many as fit `bytesMax`; at least one when there is
 * any.
 */
export function readRecords(
  core: OpenFile,
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
    const change = changeOf(core, id, record, row.dimension)
    bytes += change.bytes
    if (changes.length > 0 && bytes > bytesMax) break
    changes.push(change.change)
  }
  return { changes, dimension: row.dimension }
}
