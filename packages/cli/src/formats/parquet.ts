/**
 * Parquet: columns `id` (string), `embedding` (list of float), `metadata` (JSON in a string),
 * `text` (string, may be null). Carries everything.
 *
 * Written in groups of {@link GROUP_ROWS} rows; read a group at a time, so a file of one huge group
 * takes that much memory. Columns of other names become keys of the metadata. Reading jumps about
 * in the file: a pipe is refused.
 */
import type { AsyncBuffer, FileMetaData, SchemaElement } from 'hyparquet'
import { recordOf } from './fields.ts'
import { type Format } from './types.ts'
import type { ByteSink } from './types.ts'
import { InputError } from './input-error.ts'

const GROUP_ROWS = 1_000
const ROWS_READ_AT_ONCE = 1_000

/** Digits of a decimal that a number of JavaScript holds exactly. */
const DECIMAL_DIGITS_MAX = 15

const SCHEMA: SchemaElement[] = [
  { name: 'root', num_children: 4 },
  { name: 'id', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
  { name: 'embedding', num_children: 1, converted_type: 'LIST', repetition_type: 'REQUIRED' },
  { name: 'list', num_children: 1, repetition_type: 'REPEATED' },
  { name: 'element', type: 'FLOAT', repetition_type: 'REQUIRED' },
  { name: 'metadata', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
  { name: 'text', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
]

interface Columns {
  id: string[]
  embedding: number[][]
  metadata: string[]
  text: (string | null)[]
}

export const parquetFormat: Format = {
  name: 'parquet',
  endings: ['.parquet'],
  summary: 'Parquet with a list of floats; carries everything',
  carries: ['id', 'metadata', 'text'],
  piped: { read: false, write: true },
  async *read(source, options) {
    const { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } =
      await import('hyparquet')
    const { compressors } = await import('hyparquet-compressors')
    // The library's own decoder swallows a byte order mark at the start of a text, and puts U+FFFD
    // in place of bytes that are not UTF-8, as of a BLOB.
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true })
    const parsers = {
      stringFromBytes: (bytes: Uint8Array) => decoder.decode(bytes),
    }
    let file: AsyncBuffer
    let metadata: FileMetaData
    try {
      file = await asyncBufferFromFile(source.path ?? '')
      metadata = await parquetMetadataAsync(file)
    } catch (error) {
      throw new InputError(`${source.name}: ${(error as Error).message}`, { cause: error })
    }
    refuseDecimals(metadata, source.name)
    const rows = Number(metadata.num_rows)
    let groupStart = 0
    for (const group of metadata.row_groups) {
      const groupEnd = groupStart + Number(group.num_rows)
      for (let rowStart = groupStart; rowStart < groupEnd; rowStart += ROWS_READ_AT_ONCE) {
        const rowEnd = Math.min(groupEnd, rowStart + ROWS_READ_AT_ONCE)
        let objects: Record<string, unknown>[]
        try {
          objects = await parquetReadObjects({
            file,
            metadata,
            rowStart,
            rowEnd,
            compressors,
            parsers,
          })
        } catch (error) {
          const place = `rows ${rowStart} to ${rowEnd - 1} of ${rows}`
          throw new InputError(`${source.name}: ${place}: ${(error as Error).message}`, {
            cause: error,
          })
        }
        for (const [index, object] of objects.entries()) {
          yield await recordOf(
            object,
            `${source.name}: row ${rowStart + index}`,
            `row ${rowStart + index}`,
            options,
          )
        }
      }
      groupStart = groupEnd
    }
  },
  openWriter({ sink }) {
    return parquetWriter(sink)
  },
}

/** Decimals of more digits than a number of JavaScript holds would be rounded by the library. */
function refuseDecimals({ schema }: FileMetaData, name: string): void {
  for (const {
    name: column,
    converted_type: converted,
    logical_type: logical,
    precision,
  } of schema) {
    const isDecimal = converted === 'DECIMAL' || logical?.type === 'DECIMAL'
    if (!isDecimal || (precision ?? 0) <= DECIMAL_DIGITS_MAX) continue
    throw new InputError(
      `${name}: column ${column}: a DECIMAL of ${precision} digits would be rounded; write it as a string`,
    )
  }
}

function parquetWriter(sink: ByteSink): ReturnType<Format['openWriter']> {
  let columns: Columns = { id: [], embedding: [], metadata: [], text: [] }
  let isBegun: Promise<Encoder> | null = null
  const encoder = (): Promise<Encoder> => {
    isBegun ??= openEncoder(sink)
    return isBegun
  }
  return {
    async write({ id, embedding, metadata, text }) {
      columns.id.push(id)
      columns.embedding.push([...embedding])
      columns.metadata.push(JSON.stringify(metadata))
      columns.text.push(text)
      if (columns.id.length < GROUP_ROWS) return
      await (await encoder()).group(columns)
      columns = { id: [], embedding: [], metadata: [], text: [] }
    },
    async end() {
      const last = await encoder()
      if (columns.id.length > 0) await last.group(columns)
      await last.end()
    },
  }
}

interface Encoder {
  group(columns: Columns): Promise<void>
  end(): Promise<void>
}

/** The library's writer over a buffer that is emptied into the sink after each group. */
async function openEncoder(sink: ByteSink): Promise<Encoder> {
  const { ByteWriter, ParquetWriter } = await import('hyparquet-writer')
  const buffer = new ByteWriter()
  const flush = async (): Promise<void> => {
    const bytes = buffer.getBytes().slice()
    // The total, `offset`, continues; the buffer starts again at 0.
    buffer.index = 0
    await sink.write(bytes)
  }
  const writer = new ParquetWriter({ writer: buffer, schema: SCHEMA, statistics: false })
  return {
    async group(columns) {
      await writer.write({
        columnData: [
          { name: 'id', data: columns.id },
          // A dictionary would take 0 and -0 for one value.
          { name: 'embedding', data: columns.embedding, encoding: 'PLAIN' },
          { name: 'metadata', data: columns.metadata },
          { name: 'text', data: columns.text },
        ],
        rowGroupSize: GROUP_ROWS,
      })
      await flush()
    },
    async end() {
      await writer.finish()
      await flush()
    },
  }
}
