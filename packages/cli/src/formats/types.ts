/**
 * A file format of records: a reader and a writer, both streaming. Types only.
 *
 * Memory is bounded: readers hold one record (Parquet: one row group) and the chunk of bytes it
 * came in, writers hold what has not been taken over by the disk yet.
 */
import type { RecordInput } from '@agentic-flow/sqlite-vector'
import type { ShownRecord } from '../node/types.ts'

/** Parts of a record that a file may carry besides its vector. */
export const FIELDS = ['id', 'metadata', 'text'] as const
export type Field = (typeof FIELDS)[number]

/** A record of a file, and where in it. */
export interface PlacedRecord {
  readonly record: RecordInput
  /** `line 7`, `row 3`: for messages. */
  readonly where: string
}

/** One value for each part of a record. */
export type Columns<T> = Readonly<Record<Field | 'embedding', T>>

/** The names of the parts, unless the caller gives others. */
export const DEFAULT_COLUMNS: Columns<string> = {
  id: 'id',
  embedding: 'embedding',
  metadata: 'metadata',
  text: 'text',
}

/** Options of a reader. */
export interface ReadOptions {
  /** Names of the columns, where the format has any. */
  readonly columns: Columns<string>
  /** One id per row, in place of the file's own. */
  readonly ids: AsyncIterator<string> | null
  readonly idPrefix: string
  /** Ids made of each record's content; left out: the file's, or row numbers where it has none. */
  readonly rowIds?: 'hash'
}

/** Options of a writer. */
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
  /** Parts of a record it carries besides vectors. */
  readonly carries: readonly Field[]
  /** False where reading or writing jumps about in the file, which a pipe cannot. */
  readonly piped: { readonly read: boolean; readonly write: boolean }
  read(source: Source, options: ReadOptions): AsyncIterable<PlacedRecord>
  openWriter(options: WriteOptions): RecordWriter
}

/** A source of bytes: a file by its path, or stdin. */
export interface Source {
  /** For messages. */
  readonly name: string
  /** null for stdin. */
  readonly path: string | null
  readonly chunks: () => AsyncIterable<Uint8Array>
}

/** A sink of bytes. */
export interface ByteSink {
  write(bytes: Uint8Array | string): Promise<void>
  /** Overwrites what was written there; null where that is impossible, as in a pipe. */
  readonly patch: ((offset: number, bytes: Uint8Array) => Promise<void>) | null
  /** Makes it all there under its name. */
  finish(): Promise<void>
  /** Leaves nothing behind. Does nothing after {@link finish}. */
  abandon(): Promise<void>
}
