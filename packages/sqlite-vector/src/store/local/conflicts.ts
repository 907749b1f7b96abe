/**
 * Conflicts as people meet them: which records have several siblings, what those are, and deciding.
 *
 * Not here: how siblings come about (apply.ts) and what is shown of them (feed/visible.ts). A
 * decision is a write like any other: one new sibling that covers all, and it replicates.
 */
import { stored } from '../file/damage.ts'
import { sameDot } from '../../model/version-vector.ts'
import { must } from '../../assert.ts'
import { SqliteVectorError } from '../../errors.ts'
import { objectGiven, rejectUnknownKeys, shown } from '../../options.ts'
import type { Dot, Sibling } from '../../model/types.ts'
import type { OpenFile, WriteTransaction } from '../file/transaction.ts'
import type { ResolvedListOptions } from '../options.ts'
import {
  findStored,
  OPERATION,
  readPayload,
  refreshVisible,
  type StoredRecord,
  withPayload,
} from '../feed/register.ts'
import { loadShard, type ShardRow } from '../feed/shards.ts'
import {
  registerStrategy,
  sameShown,
  strategyToName,
  toConflictSibling,
  toRecordValue,
  visibleValue,
} from '../feed/visible.ts'
import type { ConflictChoice, ConflictPage, ConflictSibling, ConflictStrategy } from '../types.ts'
import { supersede } from './writes.ts'
import { type OpenShard } from '../file/open-shard.ts'

interface ConflictListRow {
  readonly vector_id: string
  readonly siblings: number
  readonly visible: number
}

/** Records in conflict above the cursor, in the order of the bytes of their ids. */
export function listConflicts(
  core: OpenFile,
  shard: ShardRow,
  { cursor, limit }: ResolvedListOptions,
): ConflictPage {
  const rows = core.sql.listConflicts.all(shard.shard, cursor ?? '', limit + 1)
  const conflicts = (rows as unknown as ConflictListRow[])
    .slice(0, limit)
    .map(({ vector_id: id, siblings, visible }) => ({
      id,
      siblingCount: siblings,
      visible: visible === 1,
    }))
  const nextCursor = rows.length > limit ? must(conflicts.at(-1), 'a full page').id : null
  return { conflicts, nextCursor }
}

/** All siblings of a record in the order of their dots; none without such a record. */
export function conflictSiblings(
  core: OpenFile,
  shard: ShardRow,
  id: string,
): readonly ConflictSibling[] {
  const record = findStored(core, shard.shard, id)
  return record === null ? [] : withPayload(core, record).state.siblings.map(toConflictSibling)
}

/** Decides a conflict. @throws SqliteVectorError `STORE_CONFLICT_UNKNOWN` */
export function resolveConflict(
  transaction: WriteTransaction,
  shard: OpenShard,
  id: string,
  choice: ConflictChoice,
): void {
  objectGiven('choice', choice)
  rejectUnknownKeys('choice', choice, ['choose', 'value'])
  const { choose, value } = choice as { readonly choose?: Dot; readonly value?: unknown }
  if ((choose === undefined) === (value === undefined)) {
    throw new TypeError('choice must have exactly one of choose and value')
  }
  const record = findStored(transaction.core, shard.shard, id)
  if (record === null || record.operation !== OPERATION.conflict) {
    throw new SqliteVectorError(
      'STORE_CONFLICT_UNKNOWN',
      `record ${shown(id)} of shard ${shown(shard.shardId)} has no open conflict`,
    )
  }
  if (choose !== undefined) {
    const chosen = chosenSibling(record, id, choose).value
    supersede(transaction, shard, id, record, () => chosen)
    return
  }
  const given = (choice as Extract<ConflictChoice, { value: unknown }>).value
  if (given === null) {
    supersede(transaction, shard, id, record, () => null)
    return
  }
  // Checked before a dot is taken, so that a refusal leaves nothing behind.
  const checked = toRecordValue(shard, given, { actor: transaction.actor, counter: 0 })
  supersede(transaction, shard, id, record, (dot) => ({ ...checked, embeddingDot: dot }))
}

/** Sets how the shard shows its conflicts, and shows those it has accordingly. */
export function setConflictStrategy(
  transaction: WriteTransaction,
  shardId: string,
  strategy: ConflictStrategy,
): void {
  const { core } = transaction
  const shard = loadShard(transaction, shardId)
  shard.strategy = strategyToName(strategy)
  registerStrategy(core.strategyFunctions, shardId, strategy)
  let cursor = ''
  for (;;) {
    const rows = core.sql.listConflicts.all(shard.shard, cursor, PAGE_RECORDS)
    for (const row of rows as unknown as ConflictListRow[]) {
      cursor = row.vector_id
      const record = stored(
        findStored(core, shard.shard, cursor),
        `the feed lacks record ${shown(cursor)}`,
      )
      const value = visibleValue(transaction, shard, cursor, record.state.siblings)
      const before = shownValue(core, record)
      if (!sameShown(before, value)) refreshVisible(transaction, shard, cursor, record, value)
    }
    if (rows.length < PAGE_RECORDS) return
  }
}

const PAGE_RECORDS = 1_000

function shownValue(core: OpenFile, record: StoredRecord): ReturnType<typeof visibleValue> {
  if (!record.visible) return null
  return readPayload(core, record.rowid, { actor: '', counter: 0 })
}

function chosenSibling(record: StoredRecord, id: string, choose: Dot): Sibling {
  objectGiven('choice.choose', choose)
  const chosen = record.state.siblings.find(({ dot }) => sameDot(dot, choose))
  if (chosen !== undefined) return chosen
  throw new SqliteVectorError(
    'STORE_CONFLICT_UNKNOWN',
    `record ${shown(id)} has no sibling (${shown(choose.actor)}, ${shown(choose.counter)})`,
  )
}
