/**
 * `sqlite-vector get`, `delete`, `count`, `query` and `watch`: the records of a shard.
 */
import type { Filter, VectorInput } from '@agentic-flow/sqlite-vector'
import { type Call, type Command, EXIT, type Option, UsageError } from '../command.ts'
import { plainValue } from '../node/local.ts'
import { withNode } from '../node/open.ts'
import type { NodeClient, QueryRequest, ShownRecord } from '../node/types.ts'

const SHARD = { name: 'shard', summary: 'the shard' }
const FILTER: Option = {
  name: 'filter',
  value: 'JSON',
  summary: 'only records whose metadata matches; @FILE reads a file',
}

const QUERY_OPTIONS: readonly Option[] = [
  {
    name: 'vector',
    value: 'JSON',
    summary: 'search with this array of numbers; @FILE reads a file, - stdin',
  },
  { name: 'like', value: 'ID', summary: "search with this record's vector" },
  {
    name: 'text',
    value: 'WORDS',
    summary: 'search the texts of records; with a vector, both rankings are fused',
  },
  {
    name: 'embed',
    value: 'WORDS',
    summary: "search with the vector that the shard's own embedder makes of these words",
  },
  FILTER,
  { name: 'k', value: 'COUNT', summary: 'number of results', default: '10' },
  { name: 'threshold', value: 'DISTANCE', summary: 'largest distance of a result' },
  { name: 'exact', summary: 'compare every record; recall is 1' },
  { name: 'include-vectors', summary: 'also print vectors' },
]

export const getCommand: Command = {
  words: ['get'],
  summary: 'Print records by id, as JSON lines.',
  target: 'node',
  arguments: [SHARD, { name: 'id', summary: 'ids of records', many: true }],
  options: [],
  run: (call) =>
    withNode(call, async (node) => {
      const missing: string[] = []
      for (const id of idsOf(call)) {
        const record = await node.get(call.argument('shard'), id)
        if (record === null) missing.push(id)
        else printLine(record)
      }
      for (const id of missing) process.stderr.write(`no record ${JSON.stringify(id)}\n`)
      return missing.length === 0 ? EXIT.done : EXIT.failed
    }),
}

export const deleteCommand: Command = {
  words: ['delete'],
  summary: 'Delete records by id, or all that match a filter.',
  target: 'node',
  arguments: [SHARD, { name: 'id', summary: 'ids of records', many: true, optional: true }],
  options: [FILTER],
  run: (call) =>
    withNode(call, async (node) => {
      const deleted = await deleteGiven(call, node)
      call.print({ deleted }, () => `deleted ${deleted}`)
      return EXIT.done
    }),
}

async function deleteGiven(call: Call, node: NodeClient): Promise<number> {
  const shardId = call.argument('shard')
  const filter = filterOf(call)
  const ids = call.rest()
  if ((filter === undefined) === (ids.length === 0)) throw new UsageError('give ids, or --filter')
  if (filter !== undefined) return node.deleteWhere(shardId, filter)
  let deleted = 0
  for (const id of ids) if (await node.delete(shardId, id)) deleted += 1
  return deleted
}

export const countCommand: Command = {
  words: ['count'],
  summary: 'Count the records of a shard, or those that match a filter.',
  target: 'node',
  arguments: [SHARD],
  options: [FILTER],
  run: (call) =>
    withNode(call, async (node) => {
      const shardId = call.argument('shard')
      const count = await node.count(shardId, filterOf(call))
      call.print({ shardId, count }, () => String(count))
      return EXIT.done
    }),
}

export const queryCommand: Command = {
  words: ['query'],
  summary: 'Search a shard by vector, by words, or both.',
  target: 'node',
  arguments: [SHARD],
  options: [
    ...QUERY_OPTIONS,
    { name: 'explain', summary: 'print the plan of the search instead of running it' },
  ],
  run: (call) =>
    withNode(call, async (node) => {
      const shardId = call.argument('shard')
      const request = await requestOf(call, node)
      if (call.flag('explain')) {
        const plan = await node.explain(shardId, request)
        call.print(plan, () => JSON.stringify(plan, null, 2))
        return EXIT.done
      }
      const results = await node.query(shardId, request)
      if (call.json) process.stdout.write(`${JSON.stringify({ results }, plainValue)}\n`)
      else for (const record of results) process.stdout.write(recordLines(record))
      return EXIT.done
    }),
}

export const watchCommand: Command = {
  words: ['watch'],
  summary: 'Print the result of a query now and after every change, until Ctrl-C.',
  details:
    'With a vector, the nearest records; without one, the first records by id that match the filter. --json prints one object per result.',
  target: 'node',
  arguments: [SHARD],
  options: QUERY_OPTIONS.filter(({ name }) => name !== 'text'),
  run: (call) =>
    withNode(call, async (node) => {
      const request = await requestOf(call, node)
      for await (const results of node.watch(call.argument('shard'), request, call.signal)) {
        if (call.json) process.stdout.write(`${JSON.stringify({ results }, plainValue)}\n`)
        else process.stdout.write(`${results.map(recordLines).join('')}—\n`)
      }
      return EXIT.done
    }),
}

async function requestOf(call: Call, node: NodeClient): Promise<QueryRequest> {
  const filter = filterOf(call)
  const text = call.text('text')
  const vector = await vectorOf(call, node)
  const threshold = call.number('threshold')
  return {
    k: call.count('k', 10),
    ...(vector === undefined ? {} : { vector }),
    ...(text === undefined ? {} : { text }),
    ...(filter === undefined ? {} : { filter }),
    ...(threshold === undefined ? {} : { threshold }),
    ...(call.flag('exact') ? { exact: true } : {}),
    includeVectors: call.flag('include-vectors'),
  }
}

async function vectorOf(
  call: Call,
  node: NodeClient,
): Promise<readonly number[] | Float32Array | undefined> {
  const given = call.jsonValue('vector')
  const like = call.text('like')
  const words = call.text('embed')
  if ([given, like, words].filter((value) => value !== undefined).length > 1) {
    throw new UsageError('give one of --vector, --like and --embed')
  }
  if (given !== undefined) {
    if (Array.isArray(given) && given.every((value) => typeof value === 'number')) return given
    throw new UsageError('--vector takes an array of numbers')
  }
  const shardId = call.argument('shard')
  if (words !== undefined) return embedded(words, call, node)
  if (like === undefined) return undefined
  const record = await node.get(shardId, like)
  if (record?.embedding === undefined) throw new UsageError(`no record ${like} in ${shardId}`)
  return record.embedding
}

/** Made by the shard's own embedder: vectors of another model would mean nothing. */
async function embedded(words: string, call: Call, node: NodeClient): Promise<VectorInput> {
  const { embedTexts } = await import('@agentic-flow/sqlite-vector-embeddings')
  const { embedderOfShard } = await import('../ingest/shard-embedder.ts')
  const shardId = call.argument('shard')
  const embedder = await embedderOfShard(call, node, shardId)
  if (embedder === null) {
    const shard = (await node.shards()).find((candidate) => candidate.shardId === shardId)
    throw new UsageError(
      `there is no embedder here for model ${shard?.modelId ?? 'none'} of shard ${shardId}; pass --vector`,
    )
  }
  const [vector] = await embedTexts(embedder, [words], 'query')
  if (vector === undefined) throw new Error('the embedder returned no vector')
  return vector
}

function filterOf(call: Call): Filter | undefined {
  const given = call.jsonValue('filter')
  if (given === undefined) return undefined
  if (typeof given === 'object' && given !== null && !Array.isArray(given)) return given as Filter
  throw new UsageError('--filter takes a JSON object')
}

function idsOf(call: Call): readonly string[] {
  const ids = call.rest()
  if (ids.length === 0) throw new UsageError('ID is missing')
  return ids
}

function printLine(record: ShownRecord): void {
  process.stdout.write(`${JSON.stringify(record, plainValue)}\n`)
}

function recordLines({ id, distance, score, text, metadata }: ShownRecord): string {
  const rank = distance ?? score
  const number = rank === undefined ? '' : `${rank.toFixed(4)}  `
  const words = text === null ? '' : `        ${text.replaceAll(/\s+/g, ' ').slice(0, 160)}\n`
  const keys = Object.keys(metadata).length === 0 ? '' : `        ${JSON.stringify(metadata)}\n`
  return `${number}${id}\n${words}${keys}`
}
