/**
 * Ingestion of files into a shard: what changed is split, embedded and committed file by file; what
 * is unchanged is skipped; passages of deleted files are removed.
 *
 * Passages of a file are replaced in one transaction, so a file is in the shard whole or as it was
 * before, whenever the process ends. A passage whose text was there keeps its vector.
 */
import type { RecordInput, SQLiteVectorDB, VectorInput } from '@agentic-flow/sqlite-vector'
import { SqliteVectorError } from '@agentic-flow/sqlite-vector/errors'
import { ID_BYTES_MAX } from '@agentic-flow/sqlite-vector/limits'
import {
  type Embedder,
  embedTexts,
  type EmbedTextsOptions,
} from '@agentic-flow/sqlite-vector-embeddings'
import { UsageError } from '../command.ts'
import { type FoundFiles, readSource, type SourceFile } from './files.ts'
import { type Passage, type PassageOptions, passagesOfFile } from './passages.ts'
import { type PassageMetadata, type StoredSource, storedSources } from './stored-sources.ts'

/** One pass over the files. */
export interface IngestRequest {
  readonly db: SQLiteVectorDB
  readonly shardId: string
  readonly embedder: Embedder
  readonly found: FoundFiles
  readonly passages: PassageOptions
  readonly sending: Omit<EmbedTextsOptions, 'signal' | 'onProgress'>
  readonly signal: AbortSignal
  readonly onProgress: (done: number, total: number) => void
}

/** The result of a pass. */
export interface IngestReport {
  readonly files: number
  readonly unchanged: number
  readonly ingested: number
  readonly removed: number
  /** Passages written, of which so many needed a new vector. */
  readonly passages: number
  readonly embedded: number
  /** Files that are not in the shard as they are on disk, each with the reason. */
  readonly failed: readonly { readonly source: string; readonly reason: string }[]
  /** Files without text: binary, or above the limit. */
  readonly skipped: number
}

/**
 * Texts that are gathered before they are sent: enough for all calls at a time, few enough for
 * memory.
 */
const GROUP_TEXTS = 512

interface Pending {
  readonly file: SourceFile
  readonly hash: string
  readonly passages: readonly Passage[]
  readonly before: StoredSource | undefined
  /** Vectors that the shard has already, by the text they were made from. */
  readonly known: ReadonlyMap<string, VectorInput>
}

interface Tally {
  unchanged: number
  ingested: number
  removed: number
  passages: number
  embedded: number
  skipped: number
  readonly failed: { source: string; reason: string }[]
}

/**
 * Brings the shard up to date with the files. Files committed before a failure or an abort stay;
 * the next pass goes on after them.
 * @throws SqliteVectorError `EMBEDDER_FAILED` when an embedder stays away for all attempts,
 *   `STORE_…`
 */
export async function ingest(request: IngestRequest): Promise<IngestReport> {
  const { db, shardId, found, signal, onProgress } = request
  const stored = storedSources(db, shardId)
  refuseEmptied(found, stored)
  const tally: Tally = {
    unchanged: 0,
    ingested: 0,
    removed: 0,
    passages: 0,
    embedded: 0,
    skipped: 0,
    failed: [...found.unreadable],
  }
  let group: Pending[] = []
  let texts = 0
  for (const [index, file] of found.files.entries()) {
    signal.throwIfAborted()
    const pending = prepare(request, file, stored.get(file.source), tally)
    if (pending !== null) {
      group.push(pending)
      texts += pending.passages.length
    }
    if (texts >= GROUP_TEXTS) {
      await commitGroup(request, group, tally)
      ;[group, texts] = [[], 0]
      onProgress(index + 1, found.files.length)
    }
  }
  await commitGroup(request, group, tally)
  tally.removed = removeDeleted(request, stored)
  onProgress(found.files.length, found.files.length)
  return { files: found.files.length, ...tally }
}

/** Reads a file; null when there is nothing to do, which the tally says why. */
function prepare(
  request: IngestRequest,
  file: SourceFile,
  before: StoredSource | undefined,
  tally: Tally,
): Pending | null {
  const { passages: options } = request
  try {
    const read = readSource(file)
    if ('skipped' in read) {
      tally.skipped += 1
      // A file that is not text any more has no passages any more.
      return before === undefined
        ? null
        : { file, hash: '', passages: [], before, known: new Map() }
    }
    const hash = `${read.hash}-${options.tokens}-${options.overlap}`
    if (before?.hash === hash) {
      tally.unchanged += 1
      return null
    }
    const passages = passagesOfFile(file.kind, read.text(), options)
    if (passages.length === 0 && before === undefined) {
      tally.unchanged += 1
      return null
    }
    const longest = `${file.source}#${passages.length}`
    if (Buffer.byteLength(longest) > ID_BYTES_MAX) {
      throw new RangeError(`its name is longer than ${ID_BYTES_MAX} bytes`)
    }
    return { file, hash, passages, before, known: knownVectors(request, before) }
  } catch (error) {
    tally.failed.push({ source: file.source, reason: messageOf(error) })
    return null
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function knownVectors(
  { db, shardId }: IngestRequest,
  before: StoredSource | undefined,
): ReadonlyMap<string, VectorInput> {
  const known = new Map<string, VectorInput>()
  for (const record of before === undefined ? [] : db.getMany(shardId, before.ids)) {
    if (record?.embedding === undefined || record.text === null) continue
    const heading = record.metadata['heading']
    if (typeof heading === 'string')
      known.set(embeddedText({ heading, text: record.text }), record.embedding)
  }
  return known
}

/** The text that a passage's vector is made from. */
export function embeddedText({ heading, text }: Passage): string {
  return heading === '' ? text : `${heading}\n${text}`
}

/**
 * Embeds and commits; where the embedder refuses a text, only the file that holds it stays behind.
 */
async function commitGroup(
  request: IngestRequest,
  group: readonly Pending[],
  tally: Tally,
): Promise<void> {
  if (group.length === 0) return
  const missing = [
    ...new Set(
      group.flatMap(({ passages, known }) =>
        passages.map(embeddedText).filter((text) => !known.has(text)),
      ),
    ),
  ]
  try {
    const { embedder, sending, signal } = request
    const vectors = await embedTexts(embedder, missing, 'document', { ...sending, signal })
    const made = new Map(missing.map((text, index) => [text, vectors[index]]))
    commit(request, group, made)
  } catch (error) {
    if (!isOfText(error)) throw error
    const [first] = group
    if (first !== undefined && group.length === 1) {
      tally.failed.push({ source: first.file.source, reason: messageOf(error) })
      return
    }
    const half = Math.ceil(group.length / 2)
    await commitGroup(request, group.slice(0, half), tally)
    await commitGroup(request, group.slice(half), tally)
    return
  }
  tally.embedded += missing.length
  for (const { passages } of group) {
    if (passages.length > 0) tally.ingested += 1
    tally.passages += passages.length
  }
}

/**
 * A refusal may be of one text, and so may a record that the store does not take; all else is of
 * the whole.
 */
function isOfText(error: unknown): boolean {
  if (error instanceof TypeError || error instanceof RangeError) return true
  return error instanceof SqliteVectorError && error.code === 'EMBEDDER_REFUSED'
}

function commit(
  { db, shardId }: IngestRequest,
  group: readonly Pending[],
  made: ReadonlyMap<string, VectorInput | undefined>,
): void {
  db.transaction(() => {
    for (const { file, hash, passages, before, known } of group) {
      const ids = new Set<string>()
      for (const [index, passage] of passages.entries()) {
        const text = embeddedText(passage)
        const embedding = known.get(text) ?? made.get(text)
        if (embedding === undefined) throw new Error(`no vector for ${file.source}#${index + 1}`)
        const metadata: PassageMetadata = {
          source: file.source,
          root: file.root,
          heading: passage.heading,
          hash,
          part: index + 1,
          parts: passages.length,
        }
        const record: RecordInput = {
          id: `${file.source}#${index + 1}`,
          embedding,
          text: passage.text,
          metadata: { ...metadata },
        }
        ids.add(record.id)
        db.upsert(shardId, record)
      }
      for (const id of before?.ids ?? []) if (!ids.has(id)) db.delete(shardId, id)
    }
  })
}

/** A folder that lost all its files is more often a disk that is not mounted than a decision. */
function refuseEmptied(found: FoundFiles, stored: ReadonlyMap<string, StoredSource>): void {
  for (const root of found.folders) {
    if (found.files.some((file) => file.root === root)) continue
    const count = [...stored.values()].filter((source) => source.root === root).length
    if (count === 0) continue
    throw new UsageError(
      `${root} holds no file to read, and the shard has passages of ${count}; delete them with: ` +
        `sqlite-vector delete SHARD --filter '{"root":${JSON.stringify(root)}}'`,
    )
  }
}

/**
 * Removes passages of files that are gone; how many files. A path that could not be read is not
 * gone.
 */
function removeDeleted(
  { db, shardId, found }: IngestRequest,
  stored: ReadonlyMap<string, StoredSource>,
): number {
  const present = new Set(found.files.map(({ source }) => source))
  const isUnreadable = (source: string): boolean =>
    found.unreadable.some((path) => source === path.source || source.startsWith(`${path.source}/`))
  const gone = [...stored].filter(
    ([source, { root }]) =>
      found.folders.includes(root) && !present.has(source) && !isUnreadable(source),
  )
  db.transaction(() => {
    for (const [, { ids }] of gone) for (const id of ids) db.delete(shardId, id)
  })
  return gone.length
}
