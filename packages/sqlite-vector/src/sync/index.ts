/**
 * The sync's public face: keep shards in step with peers.
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
} from './conflict-tracker.ts'
export type { Access, AccessSubject, Grant } from './access.ts'
export { Permissions } from './shell/permissions.ts'
export type * from './shell/types.ts'
export type { Compression } from './compression.ts'
export type * from './types.ts'
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
export { peersToDial, type Topology } from './topology.ts'
export type { Member, MemberStatus } from './shell/member-book.ts'
export type { PeerInput, PeerSource, PeerState, PeerStatus } from './shell/peer-book.ts'
export type { CoordinatorStats, SyncTotals } from './shell/statistics.ts'
export type { SyncTask } from './shell/task-queue.ts'
export type { DroppedEvent } from './shell/event-stream.ts'
