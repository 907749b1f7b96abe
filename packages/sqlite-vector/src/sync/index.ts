/**
 * The sync's public face: keep shards in sync with peers.
 */
export { createVectorSync, VectorSync } from './quic-sync.ts'
export {
  ConflictResolver,
  ConflictTracker,
  type ConflictDatabase,
  type ConflictPreview,
  type Decision,
  type Resolution,
  type TrackedConflict,
  type TrackedPage,
  type TrackedSibling,
} from './conflict.ts'
export type { Access, AccessSubject, Grant } from './access/rules.ts'
export { Permissions } from './access/permissions.ts'
export type * from './types.ts'
export type { Compression } from './wire/compression.ts'
export type * from '../model/types.ts'
export {
  createShardCoordinator,
  ShardCoordinator,
  type CoordinatedShard,
  type CoordinatorConfig,
  type CoordinatorSession,
  type Health,
  type PeerHealth,
  type TaskResult,
} from './coordinator.ts'
export { peersToDial, type Topology } from './coordination/topology.ts'
export type { Member, MemberStatus } from './members/member-book.ts'
export type { PeerInput, PeerSource, PeerState, PeerStatus } from './coordination/peer-book.ts'
export type { CoordinatorStats, SyncTotals } from './coordination/statistics.ts'
export type { SyncTask } from './coordination/task-queue.ts'
export type { DroppedEvent } from './node/event-stream.ts'
