/**
 * The parts of a node that routes use. Types only; built by node.ts.
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
  /** Aborts when the node is told to end. */
  readonly stopping: AbortSignal
  /** Starts syncing new shards and peers. */
  readonly keepInSync: () => void
}
