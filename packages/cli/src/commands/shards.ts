/**
 * `sqlite-vector shards`: list, create and drop shards; and `stats`, which says more of the whole file.
 */
import type { Metric } from '@agentic-flow/sqlite-vector'
import { type Call, type Command, EXIT, oneOfWords, type Option, UsageError } from '../command.ts'
import { withNode } from '../node/open.ts'
import type { ShardSummary } from '../node/types.ts'
import { formatBytes, formatCount, formatTable } from '../terminal.ts'

const METRICS = ['cosine', 'l2', 'dot'] as const satisfies readonly Metric[]

/** What a shard is made with. */
export const SHARD_OPTIONS: readonly Option[] = [
  { name: 'dimension', value: 'COUNT', summary: 'components of every vector of the shard' },
  {
    name: 'metric',
    value: 'NAME',
    summary: 'how distance is measured',
    default: 'cosine',
    choices: METRICS,
  },
  { name: 'model', value: 'ID', summary: 'names the model of the vectors, so that two never mix' },
]

/** The options of a shard to be made. @throws UsageError */
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
  summary: 'List the shards and what they hold.',
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
  summary: 'Create a shard, or check that the one there is the same.',
  target: 'node',
  arguments: [{ name: 'shard', summary: 'its name' }],
  options: SHARD_OPTIONS,
  run: (call) =>
    withNode(call, async (node) => {
      const shardId = call.argument('shard')
      const options = shardOptionsOf(call)
      await node.createShard(shardId, options)
      call.print({ shardId, ...options }, () => `shard ${shardId} is there`)
      return EXIT.done
    }),
}

export const shardsDropCommand: Command = {
  words: ['shards', 'drop'],
  summary: 'Take a shard out of this file; the copies of peers stay.',
  target: 'node',
  arguments: [{ name: 'shard', summary: 'its name' }],
  options: [{ name: 'yes', summary: 'really do it' }],
  run: (call) =>
    withNode(call, async (node) => {
      const shardId = call.argument('shard')
      if (!call.flag('yes')) {
        const found = (await node.shards()).find((shard) => shard.shardId === shardId)
        const count = formatCount(found?.recordCount ?? 0)
        throw new UsageError(`this removes ${count} records of ${shardId} from the file; say --yes`)
      }
      const dropped = await node.dropShard(shardId)
      call.print({ shardId, dropped }, () =>
        dropped ? `dropped ${shardId}` : `no shard ${shardId}`,
      )
      return dropped ? EXIT.done : EXIT.failed
    }),
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
            ? `${String(path)}: ${formatBytes(fileBytes)}, ${formatBytes(freeBytes)} of them free\n`
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
