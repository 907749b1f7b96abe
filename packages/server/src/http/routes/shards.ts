/**
 * Routes for shards: list, create, drop, set the conflict strategy.
 */
import type { Metric } from '@agentic-flow/sqlite-vector'
import type { ConflictStrategyName } from '@agentic-flow/sqlite-vector/sync'
import type { NodeContext } from '../context.ts'
import { mayUseShard } from '../auth.ts'
import { plain } from '../json.ts'
import { type Call, type Route, Status } from '../route.ts'
import { count, listOf, metric, object, shardState, strategy, text } from '../schemas.ts'

interface ShardBody {
  readonly dimension: number
  readonly metric?: Metric
  readonly modelId?: string
  readonly conflictStrategy?: ConflictStrategyName
}

const shardBody = object(
  {
    dimension: { type: 'integer', minimum: 1, maximum: 8_192 },
    metric,
    modelId: text,
    conflictStrategy: strategy,
  },
  ['dimension'],
)

export function shardRoutes(context: NodeContext): readonly Route[] {
  return [...looking(context), ...changing(context)]
}

function looking({ db }: NodeContext): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/v1/shards',
      id: 'listShards',
      tag: 'shards',
      summary: 'Lists the shards that the key may use and their state, by name.',
      access: 'read',
      answer: {
        status: 200,
        description: 'The shards.',
        schema: object({ shards: listOf(shardState) }),
      },
      run: ({ key }) => ({
        shards: db.replica
          .shardStates()
          .filter(({ shardId }) => mayUseShard(key, shardId))
          .map(plain),
      }),
    },
    {
      method: 'GET',
      path: '/v1/shards/{shard}',
      id: 'getShard',
      tag: 'shards',
      summary: 'Gets the state of one shard.',
      access: 'read',
      answer: { status: 200, description: 'The shard.', schema: shardState },
      errors: ['STORE_SHARD_UNKNOWN'],
      run: ({ params }) => plain(db.replica.shardState(params['shard'] ?? '')),
    },
  ]
}

function changing(context: NodeContext): readonly Route[] {
  const { db } = context
  return [
    {
      method: 'PUT',
      path: '/v1/shards/{shard}',
      id: 'putShard',
      tag: 'shards',
      summary: 'Creates a shard, or checks that the existing one is the same.',
      access: 'write',
      body: shardBody,
      answer: {
        status: 200,
        description: 'The shard existed.',
        schema: shardState,
        also: { 201: 'The shard was created.' },
      },
      errors: ['STORE_SHARD_MISMATCH'],
      run: (call) => putShard(context, call),
    },
    {
      method: 'DELETE',
      path: '/v1/shards/{shard}',
      id: 'dropShard',
      tag: 'shards',
      summary: 'Drops the shard from this node. Peers keep their copies and may bring it back.',
      access: 'write',
      answer: {
        status: 200,
        description: 'How many there were.',
        schema: object({ dropped: count }),
      },
      run: ({ params }) => ({ dropped: db.dropShard(params['shard'] ?? '') ? 1 : 0 }),
    },
    {
      method: 'PUT',
      path: '/v1/shards/{shard}/strategy',
      id: 'setStrategy',
      tag: 'shards',
      summary: 'Sets how this node shows conflicts of the shard; replicated state is unchanged.',
      access: 'write',
      body: object({ conflictStrategy: strategy }),
      answer: { status: 200, description: 'The shard.', schema: shardState },
      errors: ['STORE_SHARD_UNKNOWN'],
      run: ({ params, body }) => {
        const { conflictStrategy } = body as Required<Pick<ShardBody, 'conflictStrategy'>>
        db.setConflictStrategy(params['shard'] ?? '', conflictStrategy)
        return plain(db.replica.shardState(params['shard'] ?? ''))
      },
    },
  ]
}

function putShard({ db, keepInSync }: NodeContext, { params, body }: Call): unknown {
  const shardId = params['shard'] ?? ''
  const { conflictStrategy, ...options } = body as ShardBody
  const isNew = !db.shards().some((shard) => shard.shardId === shardId)
  db.createShard(shardId, options)
  if (conflictStrategy !== undefined) db.setConflictStrategy(shardId, conflictStrategy)
  keepInSync()
  return new Status(isNew ? 201 : 200, plain(db.replica.shardState(shardId)))
}
