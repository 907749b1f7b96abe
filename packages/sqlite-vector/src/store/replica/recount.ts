/**
 * Counts a shard and its digest again from the rows, and corrects the stored figures.
 *
 * Not here: keeping them from write to write (register.ts), and comparing rows with a peer's
 * (compare.ts).
 *
 * Counting a large shard takes long, so it is done in slices, and holds only if the shard stood
 * still from the first to the last: every write moves its head, a collection its counts. If it
 * moved, the count starts again, a few times; {@link recount} counts in one transaction, whatever
 * that blocks.
 */
import { damagedIds } from './damaged-ids.ts'
import { bytesEqual } from '../../bytes.ts'
import { RECOUNT_ATTEMPTS_MAX } from '../../limits.ts'
import type { ActorId, VersionVector } from '../../model/types.ts'
import { beyond, covers, vectorsEqual } from '../../model/version-vector.ts'
import type { OpenFile, WriteTransaction } from '../file/transaction.ts'
import { bytesToDigest, exchange, digestToHex, DIGEST_ZERO } from '../feed/digest.ts'
import { HashScan, WHOLE_RANGE } from './hash-scan.ts'
import { loadShard, rowToTextShard, type ShardRow, shardRow, storedVector } from '../feed/shards.ts'
import { inOneGo } from '../file/sliced.ts'
import type { Recount } from '../types.ts'
import { type Sliced } from '../file/sliced.ts'

/** Rows that SQLite counts by itself in the time in which one is hashed. */
const COUNTED_PER_HASHED = 10

/** The figures of the rows. */
interface Found {
  readonly sum: bigint
  readonly recordCount: number
  readonly tombstoneCount: number
  readonly conflictCount: number
  /** Per actor the last write that a row has, deletes included. */
  readonly held: VersionVector
  /** False when the full-text index does not hold the texts of the rows. */
  readonly textsSound: boolean
}

/** Counts in one transaction. O(records). */
export function recount(core: OpenFile, shardId: string): Recount {
  const [row, found] = core.read(() => countNow(core, shardId))
  const damaged = inOneGo(damagedIds(core, shardId))
  if (isKept(row, found) || core.readOnly) return naming(judged(row, found), damaged)
  return naming(
    core.write((transaction) => correctCounts(transaction, shardId)),
    damaged,
  )
}

/**
 * Counts again in the running transaction, and stores the figures; `correct`: the stored ones were
 * the same.
 */
export function correctCounts(transaction: WriteTransaction, shardId: string): Recount {
  const [before, found] = countNow(transaction.core, shardId)
  keep(transaction, before, found)
  return judged(before, found)
}

/** Sixteen hexadecimal digits. O(records). */
export function recomputeDigest(core: OpenFile, shardId: string): string {
  return core.read(() => digestToHex(countNow(core, shardId)[1].sum))
}

function countNow(core: OpenFile, shardId: string): readonly [ShardRow, Found] {
  const row = shardRow(core, shardId)
  return [row, inOneGo(countRows(core, row.shard))]
}

/**
 * The same in slices. Null when the shard did not stand still for as long as that takes: nothing is
 * known then.
 */
export function* recountInSlices(core: OpenFile, shardId: string): Sliced<Recount | null> {
  for (let attempt = 1; attempt <= RECOUNT_ATTEMPTS_MAX; attempt += 1) {
    const before = core.read(() => shardRow(core, shardId))
    const found = yield* countRows(core, before.shard)
    const counted = settle(core, before, found)
    if (counted !== null) return naming(counted, yield* damagedIds(core, shardId))
  }
  return null
}

function naming(counted: Recount, damaged: readonly string[]): Recount {
  return { ...counted, damaged, correct: counted.correct && damaged.length === 0 }
}

/** The counted figures, stored where they differ; null when the shard moved meanwhile. */
function settle(core: OpenFile, before: ShardRow, found: Found): Recount | null {
  const { shard_id: shardId } = before
  const row = core.read(() => shardRow(core, shardId))
  if (!isSame(before, row)) return null
  if (isKept(row, found) || core.readOnly) return judged(row, found)
  return core.write((transaction) => {
    const now = shardRow(core, shardId)
    if (!isSame(before, now)) return null
    keep(transaction, now, found)
    return judged(now, found)
  })
}

/** Nothing was written to the rows since: what is kept of them is the same. */
function isSame(before: ShardRow, now: ShardRow): boolean {
  return (
    before.shard === now.shard &&
    before.head === now.head &&
    before.record_count === now.record_count &&
    before.tombstone_count === now.tombstone_count &&
    before.conflict_count === now.conflict_count &&
    bytesEqual(before.digest, now.digest)
  )
}

function* countRows(core: OpenFile, shard: number): Sliced<Found> {
  let sum = DIGEST_ZERO
  yield* new HashScan(core, shard).each(WHOLE_RANGE, (_, hash) => {
    sum = exchange(sum, 0n, hash)
    return true
  })
  const { held, conflictCount } = yield* readChanges(core, shard)
  const recordCount = yield* countIds(core, shard, 'visibleIds')
  const tombstoneCount = yield* countIds(core, shard, 'hiddenIds')
  const textsSound = yield* checkTexts(core, shard)
  return { sum, held, recordCount, tombstoneCount, conflictCount, textsSound }
}

/** Each text is cut again, and its index must have as many tokens. */
function* checkTexts(core: OpenFile, shard: number): Sliced<boolean> {
  const row = core.read(() => core.sql.getShardByKey.get(shard) as unknown as ShardRow | undefined)
  if (row === undefined) return true
  const texts = rowToTextShard(row)
  let counted = 0
  for (let after = 0; ;) {
    const page = core.read(() => core.texts.checkPage(texts, after, core.sliceRows))
    if (page === null) return false
    counted += page.count
    if (page.count < core.sliceRows) return core.read(() => core.texts.count(texts) === counted)
    after = page.last
    yield core.sliceRows
  }
}

/** The changelog: conflicts, and whose writes are held up to where. */
function* readChanges(
  core: OpenFile,
  shard: number,
): Sliced<Pick<Found, 'held' | 'conflictCount'>> {
  const pageRows = core.sliceRows * COUNTED_PER_HASHED
  const held = new Map<ActorId, number>()
  let conflictCount = 0
  for (let after = 0; ;) {
    const { rows, last } = core.read(() => {
      const page = core.sql.changesPage.get(shard, after, pageRows) as Record<string, number | null>
      for (const row of core.sql.maxCounters.all(shard, after, page['last'] ?? after)) {
        const dot = {
          actor: core.keys.actorOf(Number(row['actor'])),
          counter: Number(row['counter']),
        }
        if (!covers(held, dot)) held.set(dot.actor, dot.counter)
      }
      conflictCount += page['conflicts'] ?? 0
      return { rows: page['rows'] ?? 0, last: page['last'] ?? after }
    })
    if (rows < pageRows) return { held, conflictCount }
    after = last
    yield core.sliceRows
  }
}

function* countIds(
  core: OpenFile,
  shard: number,
  statement: 'visibleIds' | 'hiddenIds',
): Sliced<number> {
  const pageRows = core.sliceRows * COUNTED_PER_HASHED
  let count = 0
  for (let after = ''; ;) {
    const page = core.read(() => core.sql[statement].get(shard, after, pageRows))
    const rows = Number(page?.['rows'])
    count += rows
    if (rows < pageRows) return count
    after = String(page?.['last'])
    yield core.sliceRows
  }
}

function judged(row: ShardRow, found: Found): Recount {
  const { recordCount, tombstoneCount, conflictCount } = found
  const digest = digestToHex(found.sum)
  const correct =
    found.sum === bytesToDigest(row.digest) &&
    recordCount === row.record_count &&
    tombstoneCount === row.tombstone_count &&
    conflictCount === row.conflict_count &&
    found.textsSound
  return { correct, digest, recordCount, tombstoneCount, conflictCount, damaged: [] }
}

/** The writes that the rows hold beyond the version vector, deletes included. */
function uncoveredOf(row: ShardRow, { held }: Found): VersionVector {
  return beyond(held, storedVector(row.version_vector))
}

/**
 * Also false when a write is still held to be ahead that no row has any more, because another
 * superseded it: no fault, but it keeps digests from being compared.
 */
function isKept(row: ShardRow, found: Found): boolean {
  return (
    judged(row, found).correct &&
    vectorsEqual(uncoveredOf(row, found), storedVector(row.ahead_vector))
  )
}

function keep(transaction: WriteTransaction, row: ShardRow, found: Found): void {
  if (!found.textsSound) transaction.core.texts.rebuild(rowToTextShard(row))
  const shard = loadShard(transaction, row.shard_id)
  shard.digest = found.sum
  shard.recordCount = found.recordCount
  shard.tombstoneCount = found.tombstoneCount
  shard.conflictCount = found.conflictCount
  shard.uncoveredVector = uncoveredOf(row, found)
  shard.touched = true
}
