/**
 * `sqlite-vector export`: writes the records of a shard to a file or stdout, in the order of their
 * ids.
 *
 * A field that the format cannot carry is an error that names the record, unless `--drop` allows
 * its loss. The file appears under its name when it is complete; an interruption leaves nothing.
 * Records are read page by page, so a record written meanwhile may or may not be included; export a
 * snapshot when that matters.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { type Call, type Command, EXIT, oneOfWords, UsageError } from '../command.ts'
import { fileSink, stdoutSink } from '../formats/bytes.ts'
import type { ByteSink } from '../formats/types.ts'
import { FORMATS, formatOf } from '../formats/formats.ts'
import { type Field, FIELDS, type Format, type RecordWriter } from '../formats/types.ts'
import { withNode } from '../node/open.ts'
import type { NodeClient, ShownRecord } from '../node/types.ts'
import { formatCount } from '../terminal.ts'
import { InputError } from '../formats/input-error.ts'

const PAGE_VECTOR_BYTES = 4_194_304
const PAGE_RECORDS_MAX = 1_000

export const exportCommand: Command = {
  words: ['export'],
  summary: 'Write the records of a shard to a file or stdout.',
  details: `Formats: ${FORMATS.map(({ name, carries }) => `${name} ${carries.length === FIELDS.length ? 'everything' : 'vectors'}`).join(', ')}. A field that the format cannot carry is an error unless --drop allows its loss.`,
  target: 'node',
  arguments: [
    { name: 'shard', summary: 'the shard' },
    { name: 'file', summary: 'output file; - writes to stdout', choices: 'file' },
  ],
  options: [
    {
      name: 'format',
      value: 'NAME',
      summary: 'output format',
      default: 'by file extension',
      choices: FORMATS.map(({ name }) => name),
    },
    {
      name: 'ids',
      value: 'FILE',
      summary: 'file for ids, one per line, for formats that carry no ids',
      choices: 'file',
    },
    { name: 'drop', value: 'FIELD', many: true, summary: 'leave out this field', choices: FIELDS },
    { name: 'force', summary: 'replace existing files' },
  ],
  run: (call) => withNode(call, (node) => exportRecords(call, node)),
}

async function exportRecords(call: Call, node: NodeClient): Promise<number> {
  const shardId = call.argument('shard')
  const path = call.argument('file')
  const format = formatOf(path, call.text('format'))
  const drop = call.texts('drop').map((field) => oneOfWords('--drop', field, FIELDS))
  const shard = (await node.shards()).find((candidate) => candidate.shardId === shardId)
  if (shard === undefined) throw new UsageError(`unknown shard ${shardId}`)
  refuseWhatIsLost(call, format, drop)
  const { dimension, recordCount } = shard
  const isForced = call.flag('force')
  const sink = path === '-' ? stdoutSink() : await fileSink(path, isForced)
  let ids: ByteSink | null = null
  let exported = 0
  try {
    const idsPath = call.text('ids')
    ids = idsPath === undefined ? null : await fileSink(idsPath, isForced)
    const writer = format.openWriter({ sink, dimension, ids })
    for await (const record of recordsOf(node, shardId, dimension, call.signal)) {
      await writeRecord(writer, record, format, drop)
      exported += 1
      if (exported % 256 === 0)
        call.reporter.progress('export', exported, Math.max(exported, recordCount))
    }
    call.signal.throwIfAborted()
    await writer.end()
    await ids?.finish()
    await sink.finish()
  } catch (error) {
    await ids?.abandon()
    await sink.abandon()
    throw error
  }
  if (path !== '-')
    call.print({ shardId, file: path, exported }, () => `${path}: ${formatCount(exported)} records`)
  return EXIT.done
}

/** Checks that need no record. @throws UsageError */
function refuseWhatIsLost(
  call: Call,
  { name, carries, piped }: Format,
  drop: readonly Field[],
): void {
  if (call.argument('file') === '-' && !piped.write) {
    throw new UsageError(`${name} cannot be written to a pipe; give a file`)
  }
  const hasIds = carries.includes('id')
  if (hasIds && call.text('ids') !== undefined) {
    throw new UsageError(`${name} carries ids itself; remove --ids`)
  }
  if (!hasIds && call.text('ids') === undefined && !drop.includes('id')) {
    throw new UsageError(
      `${name} carries no ids: save them with --ids FILE, or allow their loss with --drop id`,
    )
  }
}

async function writeRecord(
  writer: RecordWriter,
  { id, embedding, metadata, text }: ShownRecord,
  { name, carries }: Format,
  drop: readonly Field[],
): Promise<void> {
  const isLost = (field: Field, isThere: boolean): boolean =>
    isThere && !carries.includes(field) && !drop.includes(field)
  const lost: Field[] = []
  if (isLost('metadata', Object.keys(metadata).length > 0)) lost.push('metadata')
  if (isLost('text', text !== null)) lost.push('text')
  if (lost.length > 0) {
    throw new InputError(
      `record ${JSON.stringify(id)} has ${lost.join(' and ')}, which ${name} cannot carry; use jsonl, csv or parquet, or add ${lost.map((field) => `--drop ${field}`).join(' ')}`,
    )
  }
  if (embedding === undefined)
    throw new InputError(`record ${JSON.stringify(id)} was read without its vector`)
  await writer.write({
    id,
    embedding,
    metadata: drop.includes('metadata') ? {} : metadata,
    text: drop.includes('text') ? null : text,
  })
}

async function* recordsOf(
  node: NodeClient,
  shardId: string,
  dimension: number,
  signal: AbortSignal,
): AsyncGenerator<ShownRecord> {
  const limit = Math.max(
    1,
    Math.min(PAGE_RECORDS_MAX, Math.floor(PAGE_VECTOR_BYTES / (4 * dimension))),
  )
  let cursor: string | null = null
  do {
    const page = await node.list(shardId, { cursor, limit })
    yield* page.records
    cursor = page.nextCursor
    // Signals and the reader of a pipe get their turn.
    await turn()
  } while (cursor !== null && !signal.aborted)
}
