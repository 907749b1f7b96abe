/**
 * The parts of a node that routes use. Types only; built by node.ts.
 */
import type { SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import type { ShardCoordinator } from '@agentic-flow/sqlite-vector/sync'
import type { Audit } from '../audit.ts'
import type { ApiKeyConfig, NodeConfig } from '../config/types.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { AnswerBudget } from './answer-budget.ts'
import type { Deadlines } from './deadlines.ts'

export type NodeState = 'starting' | 'ready' | 'draining' | 'stopping'

export interface NodeContext {
  readonly config: NodeConfig
  readonly db: SQLiteVectorDB
  readonly coordinator: ShardCoordinator
  readonly metrics: Metrics
  readonly log: Log
  readonly audit: Audit
  readonly answers: AnswerBudget
  readonly deadlines: Deadlines
  readonly state: NodeState
  /** Shards whose search index is still being built. */
  readonly warming: ReadonlySet<string>
  /** Aborts when the node is told to end. */
  readonly stopping: AbortSignal
  /** The keys in force; they change at a reload. */
  readonly apiKeys: () => readonly ApiKeyConfig[]
  /** Starts syncing new shards and peers. */
  readonly keepInSync: () => void
}
