/**
 * The names that peers give themselves, by their actors.
 *
 * A name is a claim. The first peer that names an actor is the only one that may rename it, and
 * names of this file's own actors are never taken from a peer. Only actors of which writes are
 * known are named: names bring no rows of their own.
 */
import { hexToBytes } from '../../bytes.ts'
import { readSyncState, writeSyncState } from '../file/sync-state.ts'
import type { WriteTransaction } from '../file/transaction.ts'
import type { ActorName } from './types.ts'

/** True when the name was taken. */
export function nameActor(
  { core, actor: own }: WriteTransaction,
  { actor, nodeId, peer }: ActorName,
): boolean {
  const bytes = hexToBytes(actor)
  if (actor === own || core.sql.findActor.get(bytes) === undefined) return false
  if (core.sql.isOwnActor.get(bytes) !== undefined) return false
  const key = `named-by:${actor}`
  const owner = readSyncState(core, key)
  if (owner !== null && owner !== peer) return false
  if (owner === null) writeSyncState(core, key, peer)
  core.sql.nameActor.run(bytes, nodeId)
  return true
}

/** Notes what this node calls itself. */
export function nameOwnActor({ core, actor }: WriteTransaction, nodeId: string): void {
  core.sql.nameActor.run(hexToBytes(actor), nodeId)
}
