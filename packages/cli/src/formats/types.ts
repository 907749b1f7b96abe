/**
 * What a file format of records is: a reader and a writer, both streaming. Types, and the error of bad input.
 *
 * Memory is bounded: readers hold one record (Parquet: one row group) and the chunk of bytes it came in, writers
 * hold what has not been taken over by the disk yet.
 */
import type { RecordInput } from '@agentic-flow/sqlite-vector'
import type { ShownRecord } from '../node/types.ts'

/** What a file may carry of a record besides its vector. */
export const FIELDS = ['id', 'metadata', 'text'] as const
export type Field = (typeof FIELDS)[number]

/** A record of a file, and where in it. */
export interface PlacedRecord {
  readonly record: RecordInput
  /** `line 7`, `row 3`: for messages. */
  readonly where: string
}

/** How a file is to be read. */
export interface ReadOptions {
  /** Names of the columns, where the format has any. */
  readonly columns: Readonly<Record<Field | 'embedding', string>>
  /** Ids in step with the rows, for formats without; null: row numbers after the prefix. */
  readonly ids: AsyncIterator<string> | null
  readonly idPrefix: string
}

/** How a file is to be written. */
export interface WriteOptions {
  readonly sink: ByteSink
  readonly dimension: number
  /** Takes ids where the format has no place for them; null: they are dropped. */
  readonly ids: ByteSink | null
}

/** Takes records one after the other. */
export interface RecordWriter {
  write(
    record: ShownRecord & { readonly embedding: Float32Array | readonly number[] },
  ): Promise<void>
  /** Writes what comes last. */
  end(): Promise<void>
}

export interface Format {
  readonly name: string
  /** Endings of file names that mean it. */
  readonly endings: readonly string[]
  readonly summary: string
  /** What it carries besides vectors. */
  readonly carries: readonly Field[]
  /** False where reading or writing jumps about in the file, which a pipe cannot. */
  readonly piped: { readonly read: boolean; readonly write: boolean }
  read(source: Source, options: ReadOptions): AsyncIterable<PlacedRecord>
  openWriter(options: WriteOptions): RecordWriter
}

/** Where bytes come from: a file by its path, or stdin. */
export interface Source {
  /** For messages. */
  readonly name: string
  /** null for stdin. */
  readonly path: string | null
  readonly chunks: () => AsyncIterable<Uint8Array>
}

/** Where bytes go. */
export interface ByteSink {
  write(bytes: Uint8Array | string): Promise<void>
  /** Overwrites what was written there; null where that is impossible, as in a pipe. */
  readonly patch: ((offset: number, bytes: Uint8Array) => Promise<void>) | null
  /** Makes it all there under its name. */
  finish(): Promise<void>
  /** Leaves nothing behind. Does nothing after {@link finish}. */
  abandon(): Promise<void>
}
