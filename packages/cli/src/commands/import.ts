/**
 * `sqlite-vector import`: reads records from a file or stdin into a shard.
 *
 * Batches are committed as they are read. An interruption or a bad record leaves the records before
 * it committed, and the command prints the `--skip` to resume with.
 */
import { setImmediate as turn } from 'node:timers/promises'
import type { RecordInput } from '@agentic-flow/sqlite-vector'
import { type Call, type Command, EXIT, oneOfWords, UsageError } from '../command.ts'
import { sourceOf } from '../formats/bytes.ts'
import { FORMATS, formatOf } from '../formats/formats.ts'
import { idsFrom } from '../formats/ids.ts'
import { DEFAULT_COLUMNS, type PlacedRecord, type ReadOptions } from '../formats/types.ts'
import { Lanes } from '../node/lanes.ts'
import { withNode } from '../node/open.ts'
import type { NodeClient } from '../node/types.ts'
import { formatCount } from '../terminal.ts'
import { SHARD_OPTIONS } from './shards.ts'
import { InputError } from '../formats/input-error.ts'

const MODES = ['upsert', 'insert'] as const
const COLUMNS = ['id', 'embedding', 'metadata', 'text'] as const

/** Records that a dry run shows. */
const DRY_RUN_RECORDS = 3

/** `--vector-column` for the embedding, as people call it. */
function optionOf(field: (typeof COLUMNS)[number]): string {
  return `${field === 'embedding' ? 'vector' : field}-column`
}

export const importCommand: Command = {
  words: ['import'],
  summary: 'Read records from a file or stdin into a shard.',
  details:
    'Records are committed in batches. After an interruption or a bad record, earlier records stay committed and the command prints the --skip to resume with. --create creates a missing shard with the dimension of the first record.',
  target: 'node',
  arguments: [
    { name: 'shard', summary: 'the shard' },
    { name: 'file', summary: 'input file; - reads stdin', choices: 'file' },
  ],
  options: [
    {
      name: 'format',
      value: 'NAME',
      summary: 'input format',
      default: 'by file extension',
      choices: FORMATS.map(({ name }) => name),
    },
    {
      name: 'mode',
      value: 'NAME',
      summary: 'replace existing records, or fail on them',
      default: 'upsert',
      choices: MODES,
    },
    { name: 'skip', value: 'COUNT', summary: 'skip this many records, as an earlier run advised' },
    {
      name: 'ids',
      value: 'FILE',
      summary: 'file with one id per line; row numbers the rows, hash makes ids of the content',
      choices: 'file',
    },
    {
      name: 'id-prefix',
      value: 'TEXT',
      summary: 'prefix of ids that are row numbers or hashes',
    },
    {
      name: 'column',
      value: 'FIELD=NAME',
      many: true,
      summary: `the file's name for one of ${COLUMNS.join(', ')}`,
    },
    ...COLUMNS.map((field) => ({
      name: optionOf(field),
      value: 'NAME',
      summary: `the file's name for the ${field}`,
    })),
    { name: 'dry-run', summary: 'show how the first records are read, and write nothing' },
    { name: 'create', summary: 'create the shard when it is missing' },
    ...SHARD_OPTIONS,
  ],
  run: (call) => withNode(call, (node) => importRecords(call, node)),
}

interface Progress {
  /** Committed records, including skipped ones. */
  done: number
}

async function importRecords(call: Call, node: NodeClient): Promise<number> {
  const shardId = call.argument('shard')
  const path = call.argument('file')
  const format = formatOf(path, call.text('format'))
  if (path === '-' && !format.piped.read) {
    throw new UsageError(`${format.name} cannot be read from a pipe; give a file`)
  }
  if (call.flag('dry-run')) return dryRun(call)
  const before = await recordCount(node, shardId)
  const skip = call.text('skip') === undefined ? 0 : call.count('skip', 0)
  const progress: Progress = { done: skip }
  const started = performance.now()
  try {
    const records = skipped(format.read(sourceOf(path, call.signal), readOptionsOf(call)), skip)
    await writeAll(call, node, records, progress)
  } catch (error) {
    if (!call.signal.aborted) throw explained(error, shardId, progress.done, skip)
  }
  const imported = progress.done - skip
  if (call.signal.aborted) {
    process.stderr.write(`interrupted; resume with: --skip ${progress.done}\n`)
    return EXIT.interrupted
  }
  const durationMs = performance.now() - started
  // As many as the shard did not gain had an id that was there, in the file or in the shard.
  const added = (await recordCount(node, shardId)) - before
  const replaced = Math.max(0, imported - Math.max(0, added))
  call.print({ shardId, imported, replaced, skipped: skip, durationMs }, () => {
    const perSecond = formatCount(imported / Math.max(0.001, durationMs / 1_000))
    const twice = replaced === 0 ? '' : `, ${formatCount(replaced)} of ids that were there already`
    return `imported ${formatCount(imported)} records${twice}, ${perSecond}/s`
  })
  return EXIT.done
}

async function recordCount(node: NodeClient, shardId: string): Promise<number> {
  const shard = (await node.shards()).find((candidate) => candidate.shardId === shardId)
  return shard?.recordCount ?? 0
}

/** Reads the first records and shows what becomes of their fields. */
async function dryRun(call: Call): Promise<number> {
  const path = call.argument('file')
  const format = formatOf(path, call.text('format'))
  const options = readOptionsOf(call)
  const records: PlacedRecord[] = []
  for await (const placed of format.read(sourceOf(path, call.signal), options)) {
    records.push(placed)
    if (records.length >= DRY_RUN_RECORDS) break
  }
  const shown = records.map(({ record, where }) => ({
    where,
    id: record.id,
    dimension: record.embedding.length,
    embedding: Array.from(record.embedding.slice(0, 3)),
    metadata: record.metadata ?? {},
    text: record.text ?? null,
  }))
  call.print({ format: format.name, records: shown }, () =>
    [
      `${format.name}: the first ${shown.length} records; nothing was written`,
      ...shown.map(
        ({ where, id, dimension, embedding, metadata, text }) =>
          `${where}: id ${JSON.stringify(id)}, ${dimension} dimensions [${embedding.join(', ')}…], ` +
          `metadata ${JSON.stringify(metadata)}, text ${JSON.stringify(text)}`,
      ),
    ].join('\n'),
  )
  return EXIT.done
}

async function writeAll(
  call: Call,
  node: NodeClient,
  records: AsyncIterable<PlacedRecord>,
  progress: Progress,
): Promise<void> {
  const shardId = call.argument('shard')
  const mode = oneOfWords('--mode', call.text('mode') ?? 'upsert', MODES)
  let batch: PlacedRecord[] = []
  let batchMax = 1
  let isShardThere = false
  const { recordsMax, vectorBytes, parallel } = node.batch
  // An insert that fails must leave no later records, which it would meet when it is resumed.
  const lanes = new Lanes(mode === 'upsert' ? parallel : 1, progress)
  const commit = async (): Promise<void> => {
    const sent = batch
    batch = []
    await lanes.send(new Set(sent.map(({ record }) => record.id)), (own) =>
      writeBatch(node, shardId, sent, mode, own),
    )
    call.reporter.progress('import', progress.done, null)
    await turn()
  }
  try {
    for await (const placed of records) {
      if (call.signal.aborted) return
      if (batch.length === 0) {
        const { length } = placed.record.embedding
        if (!isShardThere) await createShard(call, node, length)
        isShardThere = true
        batchMax = Math.max(1, Math.min(recordsMax, Math.floor(vectorBytes / (4 * length))))
      }
      batch.push(placed)
      if (batch.length >= batchMax) await commit()
    }
    if (batch.length > 0 && !call.signal.aborted) await commit()
    await lanes.drain()
  } finally {
    // Also after an error or Ctrl-C the count is that of what is committed.
    await lanes.settle()
    await lanes.drain().catch(() => undefined)
  }
  // An empty file makes the shard all the same.
  if (!isShardThere && call.text('dimension') !== undefined) {
    await createShard(call, node, call.count('dimension', 1))
  }
}

/**
 * Writes one transaction. When it is rejected, commits the records before the first bad one and
 * names that one.
 */
async function writeBatch(
  node: NodeClient,
  shardId: string,
  batch: readonly PlacedRecord[],
  mode: (typeof MODES)[number],
  progress: Progress,
): Promise<void> {
  const write = (records: readonly RecordInput[]): Promise<void> =>
    node.write(shardId, records, mode)
  try {
    await write(batch.map(({ record }) => record))
    progress.done += batch.length
  } catch (error) {
    // A full disk or a busy file is not the fault of a record; a smaller batch would not help.
    if (!isOfRecord(error)) throw error
    const [first] = batch
    if (first === undefined || batch.length === 1) throw atRecord(error, first)
    const half = Math.ceil(batch.length / 2)
    await writeBatch(node, shardId, batch.slice(0, half), mode, progress)
    await writeBatch(node, shardId, batch.slice(half), mode, progress)
  }
}

function isOfRecord(error: unknown): error is Error {
  if (error instanceof TypeError || error instanceof RangeError) return true
  return (
    error instanceof Error &&
    'code' in error &&
    /^(STORE_(RECORD|DIMENSION)|HTTP_(INPUT_INVALID|BODY_TOO_LARGE))/.test(String(error.code))
  )
}

function atRecord(error: Error, placed: PlacedRecord | undefined): Error {
  if (placed === undefined) return error
  const { where, record } = placed
  const message = `${where} (id ${JSON.stringify(record.id)}): ${error.message}`
  return new InputError(message, { cause: error })
}

async function createShard(call: Call, node: NodeClient, dimension: number): Promise<void> {
  if (!call.flag('create')) return
  const shardId = call.argument('shard')
  if ((await node.shards()).some((shard) => shard.shardId === shardId)) return
  const metric = oneOfWords('--metric', call.text('metric') ?? 'cosine', ['cosine', 'l2', 'dot'])
  const modelId = call.text('model')
  await node.createShard(shardId, {
    dimension,
    metric,
    ...(modelId === undefined ? {} : { modelId }),
  })
}

/** Adds the number of committed records to an error. */
function explained(error: unknown, shardId: string, done: number, skip: number): unknown {
  const state =
    done === skip
      ? 'nothing was imported'
      : `${formatCount(done - skip)} earlier records are in ${shardId}; resume with --skip ${done}`
  if (error instanceof InputError)
    return new InputError(`${error.message}\n${state}`, { cause: error })
  process.stderr.write(`${state}\n`)
  return error
}

async function* skipped(
  records: AsyncIterable<PlacedRecord>,
  count: number,
): AsyncGenerator<PlacedRecord> {
  let left = count
  for await (const record of records) {
    if (left > 0) left -= 1
    else yield record
  }
}

function readOptionsOf(call: Call): ReadOptions {
  const columns = { ...DEFAULT_COLUMNS }
  for (const given of call.texts('column')) {
    const [, field = '', name = ''] = /^([^=]+)=(.+)$/.exec(given) ?? []
    columns[oneOfWords('--column', field, COLUMNS)] = name
  }
  for (const field of COLUMNS) {
    const name = call.text(optionOf(field))
    if (name !== undefined) columns[field] = name
  }
  const ids = call.text('ids')
  const idPrefix = call.text('id-prefix') ?? ''
  if (ids === 'hash') return { columns, ids: null, idPrefix, rowIds: 'hash' }
  if (ids === 'row') return { columns, ids: rowNumbers(idPrefix), idPrefix }
  return { columns, ids: ids === undefined ? null : idsFrom(sourceOf(ids)), idPrefix }
}

// oxlint-disable-next-line require-await
async function* rowNumbers(prefix: string): AsyncGenerator<string> {
  for (let row = 0; ; row += 1) yield `${prefix}${row}`
}
