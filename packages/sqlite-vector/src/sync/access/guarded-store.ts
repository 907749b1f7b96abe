/**
 * The store as sessions with one peer see it: a shard that the peer may not read is not there, and
 * one that it may not write takes nothing from it. Every call checks again, so a withdrawn grant
 * takes effect with the next batch.
 *
 * Sessions reach the store only through here (driver.ts knows nothing else of it), so no path leads
 * around the guard.
 */
import { SqliteVectorError } from '../../errors.ts'
import type { Access, AccessSubject } from './rules.ts'
import { allows } from './rules.ts'
import type { SessionStore } from '../session/driver.ts'

/** Decides about each access. */
export interface AccessRule {
  accessOf(peer: AccessSubject, shardId: string): Access
}

/** `store` as far as `peer` may see and change it. */
export function guardedStore(
  store: SessionStore,
  rule: AccessRule,
  peer: AccessSubject,
): SessionStore {
  const isWriter = (shardId: string): boolean => allows(rule.accessOf(peer, shardId), 'write')
  const need = (shardId: string, want: 'read' | 'write'): void => {
    requireAccess(rule, peer, shardId, want)
  }
  return {
    identity: () => store.identity(),
    nameActor: (shardId, name) => {
      if (!isWriter(shardId)) return
      // A name that the connection proved counts more than one that the peer gives itself.
      store.nameActor(shardId, { ...name, nodeId: peer.nodeId ?? name.nodeId })
    },
    shards: () =>
      store.shards().filter(({ shardId }) => allows(rule.accessOf(peer, shardId), 'read')),
    ...reading(store, need, isWriter),
    ...writing(store, need),
  }
}

/** @throws SqliteVectorError `SYNC_FORBIDDEN` */
export function requireAccess(
  rule: AccessRule,
  peer: AccessSubject,
  shardId: string,
  want: 'read' | 'write',
): void {
  if (allows(rule.accessOf(peer, shardId), want)) return
  throw new SqliteVectorError(
    'SYNC_FORBIDDEN',
    `${peer.nodeId ?? peer.fingerprint} may not ${want} shard ${JSON.stringify(shardId)} here`,
  )
}

type Need = (shardId: string, want: 'read' | 'write') => void

/** Calls that show the peer something of a shard. */
function reading(
  store: SessionStore,
  need: Need,
  isWriter: (shardId: string) => boolean,
): Pick<
  SessionStore,
  | 'shardState'
  | 'readDelta'
  | 'summarizeRanges'
  | 'readRecords'
  | 'claimedVector'
  | 'uncoveredVector'
  | 'peerCursor'
  | 'recordAck'
  | 'meet'
  | 'isDoubted'
> {
  return {
    shardState(shardId) {
      need(shardId, 'read')
      return store.shardState(shardId)
    },
    readDelta(shardId, query) {
      need(shardId, 'read')
      return store.readDelta(shardId, query)
    },
    summarizeRanges(shardId, ranges, payloads) {
      need(shardId, 'read')
      return store.summarizeRanges(shardId, ranges, payloads)
    },
    readRecords(shardId, ids, bytesMax) {
      need(shardId, 'read')
      return store.readRecords(shardId, ids, bytesMax)
    },
    claimedVector(shardId, from) {
      need(shardId, 'read')
      return store.claimedVector(shardId, from)
    },
    isDoubted(shardId, from) {
      need(shardId, 'read')
      return store.isDoubted(shardId, from)
    },
    uncoveredVector(shardId) {
      need(shardId, 'read')
      return store.uncoveredVector(shardId)
    },
    peerCursor(shardId, from) {
      need(shardId, 'read')
      return store.peerCursor(shardId, from)
    },
    recordAck(shardId, from, cursor, versionVector) {
      need(shardId, 'read')
      store.recordAck(shardId, from, cursor, versionVector, isWriter(shardId))
    },
    meet(shardId, from, claims) {
      need(shardId, 'read')
      // A peer that may only read cannot show rows, so its claims prove nothing and change nothing.
      return isWriter(shardId) ? store.meet(shardId, from, claims) : 'credible'
    },
  }
}

/** Calls by which a peer's frames change the shard. */
function writing(
  store: SessionStore,
  need: Need,
): Pick<
  SessionStore,
  | 'ensureShard'
  | 'applyDelta'
  | 'joinVector'
  | 'joinCompared'
  | 'behindFloor'
  | 'comparePayloads'
  | 'compareRanges'
  | 'repairRecords'
  | 'recountInSlices'
> {
  return {
    ensureShard(info) {
      need(info.shardId, 'write')
      store.ensureShard(info)
    },
    applyDelta(shardId, changes, source, join) {
      need(shardId, 'write')
      return store.applyDelta(shardId, changes, source, join)
    },
    joinVector(shardId, source, versionVector, gcFloor) {
      need(shardId, 'write')
      return store.joinVector(shardId, source, versionVector, gcFloor)
    },
    joinCompared(shardId, source, versionVector, gcFloor, since) {
      need(shardId, 'write')
      return store.joinCompared(shardId, source, versionVector, gcFloor, since)
    },
    behindFloor(shardId, gcFloor, digest) {
      need(shardId, 'write')
      return store.behindFloor(shardId, gcFloor, digest)
    },
    compareRanges(shardId, ranges, answers, mode) {
      need(shardId, 'write')
      return store.compareRanges(shardId, ranges, answers, mode)
    },
    comparePayloads(shardId, changes) {
      need(shardId, 'write')
      return store.comparePayloads(shardId, changes)
    },
    repairRecords(shardId, changes, gone, mode, theirs, from, floor) {
      need(shardId, 'write')
      return store.repairRecords(shardId, changes, gone, mode, theirs, from, floor)
    },
    recountInSlices(shardId) {
      need(shardId, 'write')
      return store.recountInSlices(shardId)
    },
  }
}
