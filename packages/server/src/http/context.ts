/**
 * What routes may use of the node. Types only; node.ts makes it.
 */
import type { SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import type { ShardCoordinator } from '@agentic-flow/sqlite-vector/sync'
import type { NodeConfig } from '../config/types.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics/metrics.ts'

export type NodeState = 'starting' | 'ready' | 'stopping'

export interface NodeContext {
  readonly config: NodeConfig
  readonly db: SQLiteVectorDB
  readonly coordinator: ShardCoordinator
  readonly metrics: Metrics
  readonly log: Log
  readonly state: NodeState
  /** Ends when the node is told to end. */
  readonly stopping: AbortSignal
  /** Keeps in sync what came to be: a shard or a peer. */
  readonly keepInSync: () => void
}
