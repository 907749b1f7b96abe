/**
 * `sqlite-vector ingest`: documents of folders and files into a shard, and again whenever they
 * change.
 */
import { watch } from 'node:fs/promises'
import { createVectorDB, type SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import { LSA_TEXTS_MAX } from '@agentic-flow/sqlite-vector/limits'
import {
  type Embedder,
  fitLsaEmbedder,
  loadLsaEmbedder,
  saveLsaEmbedder,
} from '@agentic-flow/sqlite-vector-embeddings'
import { type Call, type Command, databaseOf, EXIT, UsageError } from '../command.ts'
import { findFiles, readSource } from '../ingest/files.ts'
import { embeddedText, ingest, type IngestReport } from '../ingest/ingest.ts'
import { type PassageOptions, passagesOfFile } from '../ingest/passages.ts'
import {
  EMBED_OPTIONS,
  rememberedService,
  rememberService,
  serviceOf,
} from '../ingest/shard-embedder.ts'
import { formatCount, formatMs } from '../terminal.ts'

export const ingestCommand: Command = {
  words: ['ingest'],
  summary: 'Read documents into a shard: split, embed, skip what is unchanged.',
  details:
    'Reads Markdown, HTML, text and source code below the folders, without hidden files and installed packages. Files whose bytes are unchanged are skipped, and passages of deleted files are removed. A file is in the shard whole or as it was before, so an interrupted run is simply repeated. Makes the file and the shard when they are missing. The exit code is 3 when a file could not be read or embedded.',
  target: 'file',
  arguments: [
    { name: 'shard', summary: 'where the passages go' },
    { name: 'path', summary: 'folders and files to read', many: true, choices: 'file' },
  ],
  options: [
    ...EMBED_OPTIONS,
    {
      name: 'passage-tokens',
      value: 'COUNT',
      summary: 'most words and marks of a passage',
      default: '200',
    },
    {
      name: 'overlap',
      value: 'COUNT',
      summary: 'words and marks that a passage repeats of the one before',
      default: '40',
    },
    { name: 'batch', value: 'COUNT', summary: 'texts of one request', default: '32' },
    { name: 'concurrency', value: 'COUNT', summary: 'requests at a time', default: '2' },
    {
      name: 'attempts',
      value: 'COUNT',
      summary: 'attempts for a request, with growing delays',
      default: '8',
    },
    { name: 'watch', summary: 'go on, and ingest again after every change, until Ctrl-C' },
  ],
  run: ingestPaths,
}

async function ingestPaths(call: Call): Promise<number> {
  const paths = call.rest()
  if (paths.length === 0) throw new UsageError('PATH is missing')
  const passages = passageOptionsOf(call)
  // Wrong paths are told before anything is made.
  findFiles(paths)
  const shardId = call.argument('shard')
  using db = await createVectorDB({ path: databaseOf(call) })
  const embedder = await embedderFor(call, db, shardId, paths, passages)
  const { dimension, modelId } = embedder
  if (db.shards().some((shard) => shard.shardId === shardId)) db.checkEmbedder(shardId, embedder)
  else db.createShard(shardId, { dimension, modelId })
  const pass = (): Promise<number> => onePass(call, db, embedder, passages)
  const code = await pass()
  if (!call.flag('watch')) return code
  for await (const _ of changesOf(paths, call.signal)) await pass()
  return EXIT.done
}

async function onePass(
  call: Call,
  db: SQLiteVectorDB,
  embedder: Embedder,
  passages: PassageOptions,
): Promise<number> {
  const started = performance.now()
  let retries = 0
  const report = await ingest({
    db,
    shardId: call.argument('shard'),
    embedder,
    found: findFiles(call.rest()),
    passages,
    sending: {
      batchTexts: call.count('batch', 32),
      concurrency: call.count('concurrency', 2),
      attempts: call.count('attempts', 8),
      onRetry({ attempt, delayMs, error }) {
        retries += 1
        process.stderr.write(`${error.message}; attempt ${attempt + 1} in ${formatMs(delayMs)}\n`)
      },
    },
    signal: call.signal,
    onProgress: (done, total) => call.reporter.progress('ingest', done, total),
  })
  const durationMs = performance.now() - started
  for (const { source, reason } of report.failed) process.stderr.write(`${source}: ${reason}\n`)
  call.print({ shardId: call.argument('shard'), ...report, retries, durationMs }, () =>
    summaryOf(report, durationMs),
  )
  return report.failed.length === 0 ? EXIT.done : EXIT.found
}

function summaryOf(report: IngestReport, durationMs: number): string {
  const { files, ingested, unchanged, removed, skipped, failed, passages, embedded } = report
  const parts = [
    `${formatCount(files)} files: ${formatCount(ingested)} ingested, ${formatCount(unchanged)} unchanged`,
    ...(removed === 0 ? [] : [`${formatCount(removed)} removed`]),
    ...(skipped === 0 ? [] : [`${formatCount(skipped)} without text`]),
    ...(failed.length === 0 ? [] : [`${formatCount(failed.length)} failed`]),
  ]
  return (
    `${parts.join(', ')}\n` +
    `${formatCount(passages)} passages, ${formatCount(embedded)} embedded, ${formatMs(durationMs)}`
  )
}

/**
 * A service, or the offline embedder, which is fitted on these files when the shard has none yet.
 */
async function embedderFor(
  call: Call,
  db: SQLiteVectorDB,
  shardId: string,
  paths: readonly string[],
  passages: PassageOptions,
): Promise<Embedder> {
  const shard = db.shards().find((candidate) => candidate.shardId === shardId)
  const service = await serviceOf(call, shard?.modelId ?? null)
  if (service !== null) {
    const url = call.text('embed') ?? ''
    if (shard !== undefined) db.checkEmbedder(shardId, service)
    rememberService(databaseOf(call), shardId, { url, model: service.modelId })
    return service
  }
  const kept = loadLsaEmbedder(db, shardId)
  if (kept !== null) return kept
  if (call.text('embed') === 'lsa') {
    const fitted = await fitLsaEmbedder(textsFor(paths, passages))
    await saveLsaEmbedder(db, shardId, fitted)
    return fitted
  }
  const remembered = await rememberedService(databaseOf(call), shardId)
  if (remembered !== null) return remembered
  throw new UsageError('give --embed URL and --model NAME, or --embed lsa for the offline embedder')
}

/** Texts to fit on: all passages, or evenly chosen ones where there are too many. */
function textsFor(paths: readonly string[], options: PassageOptions): readonly string[] {
  const texts: string[] = []
  for (const file of findFiles(paths).files) {
    const read = readableOrNull(file)
    if (read === null) continue
    for (const passage of passagesOfFile(file.kind, read, options))
      texts.push(embeddedText(passage))
  }
  const step = Math.ceil(texts.length / LSA_TEXTS_MAX)
  return step <= 1 ? texts : texts.filter((_, index) => index % step === 0)
}

/** A file that cannot be read is told when it is ingested. */
function readableOrNull(file: Parameters<typeof readSource>[0]): string | null {
  try {
    const read = readSource(file)
    return 'text' in read ? read.text() : null
  } catch {
    return null
  }
}

function passageOptionsOf(call: Call): PassageOptions {
  const tokens = call.count('passage-tokens', 200)
  const given = call.text('overlap')
  const overlap = given === '0' ? 0 : call.count('overlap', Math.min(40, Math.floor(tokens / 5)))
  if (tokens < 10 || tokens > 2_000)
    throw new UsageError(`--passage-tokens takes 10 to 2000, got ${tokens}`)
  if (overlap * 2 >= tokens) {
    throw new UsageError(
      `--overlap must be less than half of --passage-tokens, got ${overlap} of ${tokens}`,
    )
  }
  return { tokens, overlap }
}

/** One value after each burst of changes below the paths; ends with the signal. */
async function* changesOf(paths: readonly string[], signal: AbortSignal): AsyncGenerator<void> {
  let wake: (() => void) | null = null
  let isChanged = false
  let failure: unknown = null
  const note = (): void => {
    isChanged = true
    wake?.()
  }
  const follow = async (path: string): Promise<void> => {
    for await (const _ of watch(path, { recursive: true, signal })) note()
  }
  for (const path of paths) {
    follow(path).catch((error: unknown) => {
      failure = error
      note()
    })
  }
  while (!signal.aborted) {
    if (!isChanged) await new Promise<void>((resolve) => (wake = resolve))
    isChanged = false
    if (signal.aborted) return
    if (failure !== null) throw failure
    yield
  }
}
