/**
 * The writing identity of a file: its actor (the writer in dots) and its log (the feed of a
 * cursor).
 *
 * Both are drawn again, always together, whenever commits that peers may have seen can be missing
 * from the file: a dot or a change_id must never be given to two writes.
 *
 * - An open that no clean close preceded, on another boot of the machine: power loss may have
 *   undone commits. On the same boot it cannot: what a killed process committed is with the kernel.
 * - The file is not the one that was open here last (replica/file-mark.ts): a backup or a copy was
 *   put in its place.
 * - A peer shows a row with a dot of our actor that we do not know, or know as another write: the
 *   same, noticed late. See own-writes.ts for what becomes of what was written meanwhile. A claim
 *   without rows renews nothing (file/doubts.ts).
 * - A shard was dropped: created again, it would count its dots from 1.
 *
 * `open_sessions` holds one row per open; a clean close takes it away.
 */
import { bytesToHex, hexToBytes } from '../../bytes.ts'
import type { OpenFile, WriteTransaction } from '../file/transaction.ts'
import type { Machine } from './machine.ts'
import { checkMixture, exchangeMarks } from './file-mark.ts'
import { flushShard } from '../feed/shards.ts'
import type { StoreEvent } from '../types.ts'
import { type ReplicaIdentity } from '../../model/records.ts'

const IDENTITY_BYTES = 16

export type RenewalReason = Extract<StoreEvent, { type: 'identity-renewed' }>['reason']

interface SessionRow {
  readonly session: Uint8Array
  readonly pid: number
  readonly boot_id: string | null
}

/** Gives a new file its identity. Inside the transaction that created the tables. */
export function createIdentity(core: Pick<OpenFile, 'db' | 'clock' | 'randomBytes'>): void {
  const { db, clock, randomBytes } = core
  if (db.prepare('SELECT 1 FROM database_metadata').get() !== undefined) return
  const row = db
    .prepare('INSERT INTO actors (actor_id) VALUES (?) RETURNING actor')
    .get(randomBytes(IDENTITY_BYTES))
  db.prepare(
    'INSERT INTO database_metadata (singleton, log_id, actor, created_at) VALUES (1, ?, ?, ?)',
  ).run(randomBytes(IDENTITY_BYTES), Number(row?.['actor']), clock.nowMs())
}

/**
 * Notes that the file is open, and renews the identity when the last open did not end well.
 * `hadLog`: there was a log beside the file. @throws SqliteVectorError `STORE_CORRUPT` where that
 * was another file's
 */
export function openSession(core: OpenFile, machine: Machine, hadLog: boolean): Uint8Array {
  const session = core.randomBytes(IDENTITY_BYTES)
  core.write((transaction) => {
    const rows = core.db.prepare('SELECT session, pid, boot_id FROM open_sessions').all()
    const stale = (rows as unknown as SessionRow[]).filter((row) => isStale(row, machine))
    if (exchangeMarks(core)) {
      if (hadLog) checkMixture(transaction)
      renewIdentity(transaction, 'file-replaced')
      // All that the file holds was written before the copy was made: it stands under its names.
      core.db.exec('DELETE FROM own_writes')
    } else if (stale.length > 0) {
      renewIdentity(transaction, 'unclean-open')
    }
    for (const row of stale) {
      core.db.prepare('DELETE FROM open_sessions WHERE session = ?').run(row.session)
    }
    core.db
      .prepare('INSERT INTO open_sessions (session, pid, boot_id, opened_at) VALUES (?, ?, ?, ?)')
      .run(session, machine.pid, machine.bootId, core.clock.nowMs())
  })
  return session
}

/** Notes that the file was closed well. */
export function closeSession(core: OpenFile, session: Uint8Array): void {
  core.writeLast(() => {
    core.db.prepare('DELETE FROM open_sessions WHERE session = ?').run(session)
  })
}

/**
 * Draws a new actor and a new log; what the transaction wrote before stays under the old actor.
 * `keepsActor`: the actor has no write yet, so a new log is enough.
 */
export function renewIdentity(
  transaction: WriteTransaction,
  reason: RenewalReason,
  keepsActor = false,
): ReplicaIdentity {
  const { core } = transaction
  for (const shard of transaction.shards.values()) flushShard(transaction, shard)
  const actor = keepsActor ? transaction.actor : bytesToHex(core.randomBytes(IDENTITY_BYTES))
  const logId = bytesToHex(core.randomBytes(IDENTITY_BYTES))
  core.sql.setIdentity.run(core.keys.actorKey(actor), hexToBytes(logId))
  core.sql.resetAcks.run()
  core.keys.forgetPulled()
  transaction.actor = actor
  transaction.logId = logId
  for (const shard of transaction.shards.values()) {
    shard.ownCounter = shard.versionVector.get(actor) ?? 0
  }
  const identity = { actor, logId }
  transaction.events.push({ type: 'identity-renewed', reason, identity })
  return identity
}

function isStale(row: SessionRow, machine: Machine): boolean {
  if (row.boot_id !== null && row.boot_id === machine.bootId) return false
  // Without boot ids a live process is the only proof that the machine did not restart.
  if (row.boot_id === null && machine.bootId === null) return !machine.processAlive(row.pid)
  return true
}
