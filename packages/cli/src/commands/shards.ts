/**
 * `sqlite-vector shards`: lists, creates and drops shards. Also `stats`, for the whole file.
 */
import type { Metric } from '@agentic-flow/sqlite-vector'
import {
  type Call,
  type Command,
  EXIT,
  existingDatabase,
  oneOfWords,
  type Option,
  UsageError,
} from '../command.ts'
import { withNode } from '../node/open.ts'
import type { ShardSummary } from '../node/types.ts'
import { formatBytes, formatCount, formatTable } from '../terminal.ts'

const METRICS = ['cosine', 'l2', 'dot'] as const satisfies readonly Metric[]

/** Options of a new shard. */
export const SHARD_OPTIONS: readonly Option[] = [
  { name: 'dimension', value: 'COUNT', summary: 'length of every vector of the shard' },
  {
    name: 'metric',
    value: 'NAME',
    summary: 'distance metric',
    default: 'cosine',
    choices: METRICS,
  },
  { name: 'model', value: 'ID', summary: 'model of the vectors; vectors of two models never mix' },
]

/** Reads the options of a new shard. @throws UsageError */
export function shardOptionsOf(call: Call): {
  dimension: number
  metric: Metric
  modelId?: string
} {
  if (call.text('dimension') === undefined) throw new UsageError('--dimension COUNT is missing')
  const modelId = call.text('model')
  return {
    dimension: call.count('dimension', 1),
    metric: oneOfWords('--metric', call.text('metric') ?? 'cosine', METRICS),
    ...(modelId === undefined ? {} : { modelId }),
  }
}

export const shardsCommand: Command = {
  words: ['shards'],
  summary: 'List the shards and their contents.',
  target: 'node',
  arguments: [],
  options: [],
  run: (call) =>
    withNode(call, async (node) => {
      const shards = await node.shards()
      call.print({ shards: shards.map(summaryOf) }, () =>
        shards.length === 0 ? 'no shards' : shardTable(shards),
      )
      return EXIT.done
    }),
}

export const shardsCreateCommand: Command = {
  words: ['shards', 'create'],
  summary: 'Create a shard, or check that the existing one is the same.',
  target: 'node',
  arguments: [{ name: 'shard', summary: 'name of the shard' }],
  options: SHARD_OPTIONS,
  run: (call) =>
    withNode(call, async (node) => {
      const shardId = call.argument('shard')
      const options = shardOptionsOf(call)
      await node.createShard(shardId, options)
      call.print({ shardId, ...options }, () => `shard ${shardId} exists`)
      return EXIT.done
    }),
}

export const shardsDropCommand: Command = {
  words: ['shards', 'drop'],
  summary: 'Drop a shard from this file; peers keep their copies.',
  target: 'node',
  arguments: [{ name: 'shard', summary: 'name of the shard' }],
  options: [{ name: 'yes', summary: 'confirm the drop' }],
  run: (call) =>
    withNode(call, async (node) => {
      const shardId = call.argument('shard')
      if (!call.flag('yes')) {
        const found = (await node.shards()).find((shard) => shard.shardId === shardId)
        const count = formatCount(found?.recordCount ?? 0)
        throw new UsageError(
          `this would delete ${count} records of ${shardId}; pass --yes to confirm`,
        )
      }
      const dropped = await node.dropShard(shardId)
      call.print({ shardId, dropped }, () =>
        dropped ? `dropped ${shardId}` : `no shard ${shardId}`,
      )
      return dropped ? EXIT.done : EXIT.failed
    }),
}

const STRATEGIES = ['last-write-wins', 'first-write-wins', 'merge', 'manual'] as const

export const shardsStrategyCommand: Command = {
  words: ['shards', 'strategy'],
  summary: 'Set how this node shows conflicts of a shard; replicated state is unchanged.',
  target: 'node',
  arguments: [
    { name: 'shard', summary: 'name of the shard' },
    { name: 'strategy', summary: 'the strategy', choices: STRATEGIES },
  ],
  options: [],
  run: (call) =>
    withNode(call, async (node) => {
      const shardId = call.argument('shard')
      const strategy = oneOfWords('STRATEGY', call.argument('strategy'), STRATEGIES)
      await node.setStrategy(shardId, strategy)
      call.print({ shardId, strategy }, () => `${shardId} shows conflicts by ${strategy}`)
      return EXIT.done
    }),
}

export const shardsIndexCommand: Command = {
  words: ['shards', 'index'],
  summary:
    'Index a metadata path for faster filters in all shards of the file; without a path, list the indexes.',
  target: 'file',
  arguments: [{ name: 'path', summary: 'metadata path, such as author.name', optional: true }],
  options: [{ name: 'remove', summary: 'drop the index of this path' }],
  async run(call) {
    const { createVectorDB } = await import('@agentic-flow/sqlite-vector')
    using db = await createVectorDB({ path: existingDatabase(call) })
    const path = call.optional('path')
    if (path === undefined) {
      if (call.flag('remove')) throw new UsageError('PATH is missing')
    } else if (call.flag('remove')) {
      if (!db.dropMetadataIndex(path)) throw new UsageError(`${path} has no index`)
    } else {
      db.createMetadataIndex(path)
    }
    const indexes = db.metadataIndexes()
    call.print({ indexes }, () => (indexes.length === 0 ? 'no indexes' : indexes.join('\n')))
    return EXIT.done
  },
}

export const statsCommand: Command = {
  words: ['stats'],
  summary: 'Print sizes, identity and the state of every shard.',
  target: 'node',
  arguments: [],
  options: [],
  run: (call) =>
    withNode(call, async (node) => {
      const stats = await node.stats()
      const shards = await node.shards()
      call.print(stats, () => {
        const { fileBytes, freeBytes, path } = stats as Record<string, string | number>
        const size =
          typeof fileBytes === 'number' && typeof freeBytes === 'number'
            ? `${String(path)}: ${formatBytes(fileBytes)}, ${formatBytes(freeBytes)} free\n`
            : ''
        return size + (shards.length === 0 ? 'no shards' : shardTable(shards))
      })
      return EXIT.done
    }),
}

function summaryOf({
  shardId,
  dimension,
  metric,
  modelId,
  recordCount,
  tombstoneCount,
  conflictCount,
  quarantineCount,
  digest,
}: ShardSummary): ShardSummary {
  return {
    shardId,
    dimension,
    metric,
    modelId,
    recordCount,
    tombstoneCount,
    conflictCount,
    quarantineCount,
    digest,
  }
}

function shardTable(shards: readonly ShardSummary[]): string {
  const titles = [
    'shard',
    'records',
    'tombstones',
    'conflicts',
    'quarantined',
    'dimension',
    'metric',
    'model',
    'digest',
  ]
  return formatTable([
    titles,
    ...shards.map((shard) => [
      shard.shardId,
      formatCount(shard.recordCount),
      formatCount(shard.tombstoneCount),
      formatCount(shard.conflictCount),
      formatCount(shard.quarantineCount),
      String(shard.dimension),
      shard.metric,
      shard.modelId ?? '–',
      shard.digest,
    ]),
  ])
}
