/**
 * `ingest` and `ask` as a person runs them: real processes, a real embedding service on the loopback interface.
 */
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { chmodSync, mkdirSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { httpEmbedder } from '@agentic-flow/sqlite-vector-embeddings'
import { expect, test } from 'vitest'
import {
  DIMENSION,
  MODEL,
  startEmbeddingService,
} from '../../../embeddings/tests/helpers/embedding-service.ts'
import { findFiles } from '../../src/ingest/files.ts'
import { ingest } from '../../src/ingest/ingest.ts'
import { start, startProcess, type Finished, temporaryFolder } from '../helpers.ts'

interface Report {
  readonly files: number
  readonly ingested: number
  readonly unchanged: number
  readonly removed: number
  readonly passages: number
  readonly embedded: number
  readonly skipped: number
  readonly retries: number
  readonly failed: readonly { readonly source: string; readonly reason: string }[]
}

const topics = ['harbour', 'orchard', 'glacier', 'railway', 'library', 'volcano']

function writeDocuments(folder: string, perTopic = 4): void {
  for (const topic of topics) {
    mkdirSync(join(folder, topic), { recursive: true })
    for (let index = 0; index < perTopic; index += 1) {
      const text = `# The ${topic}\n\nGate ${index} of the ${topic} opens at ${index + 5} o'clock.\n`
      writeFileSync(join(folder, topic, `gate-${index}.md`), text)
    }
  }
}

const cli = (args: readonly string[]): Promise<Finished> => startProcess(args)

async function ingested(args: readonly string[]): Promise<Report> {
  const { status, stdout, stderr } = await cli(['ingest', ...args, '--json'])
  expect({ status, stderr }).toEqual({ status: 0, stderr: expect.any(String) })
  return JSON.parse(stdout) as Report
}

test('a second run skips what is unchanged, takes over what changed, and removes what is gone', async () => {
  using folder = temporaryFolder()
  await using service = await startEmbeddingService()
  const docs = join(folder.path, 'docs')
  const database = join(folder.path, 'a.db')
  writeDocuments(docs)
  writeFileSync(join(docs, 'picture.md'), Buffer.from([0x89, 0x50, 0, 1]))
  const args = ['notes', docs, '-d', database, '--embed', service.url, '--model', MODEL]

  expect(await ingested(args)).toMatchObject({
    files: 25,
    ingested: 24,
    embedded: 24,
    skipped: 1,
    failed: [],
  })
  const before = service.requests
  // The service is remembered, so later runs need no options.
  expect(await ingested(['notes', docs, '-d', database])).toMatchObject({
    ingested: 0,
    unchanged: 24,
    embedded: 0,
  })
  // One request more asks for the dimension.
  expect(service.requests).toBe(before + 1)

  writeFileSync(
    join(docs, 'harbour', 'gate-0.md'),
    `${readFileSync(join(docs, 'harbour', 'gate-0.md'), 'utf8')}\n## More\n\nThe harbour has a lighthouse.\n`,
  )
  unlinkSync(join(docs, 'volcano', 'gate-3.md'))
  rmSync(join(docs, 'railway'), { recursive: true })
  expect(await ingested(['notes', docs, '-d', database])).toMatchObject({
    ingested: 1,
    passages: 2,
    embedded: 1, // the first passage kept its vector
    removed: 5,
  })
  using db = await createVectorDB({ path: database })
  expect(db.count('notes')).toBe(20)
  // A passage that is missing, such as one that a peer deleted, comes back with its file.
  db.delete('notes', 'docs/harbour/gate-0.md#2')
  expect(await ingested(['notes', docs, '-d', database])).toMatchObject({
    ingested: 1,
    embedded: 1,
  })
  expect(db.get('notes', 'docs/harbour/gate-0.md#2')?.metadata).toMatchObject({
    source: 'docs/harbour/gate-0.md',
    heading: 'The harbour › More',
    part: 2,
    parts: 2,
  })
})

/** Timers that fire at once. */
const instantClock = {
  schedule(_: number, callback: () => void) {
    queueMicrotask(callback)
    return () => undefined
  },
}

async function ingestHere(docs: string, url: string) {
  const db = await createVectorDB({ path: ':memory:' })
  const embedder = await httpEmbedder({ url, model: MODEL, dimension: DIMENSION })
  db.createShard('notes', { dimension: DIMENSION, modelId: MODEL })
  const retries: string[] = []
  const report = await ingest({
    db,
    shardId: 'notes',
    embedder,
    found: findFiles([docs]),
    passages: { tokens: 200, overlap: 40 },
    sending: {
      batchTexts: 4,
      concurrency: 1,
      clock: instantClock,
      onRetry: ({ error }) => retries.push(error.message),
    },
    signal: new AbortController().signal,
    onProgress: () => undefined,
  })
  return { db, report, retries }
}

test('a rate-limited, failing, slow service is asked again, told of, and loses nothing', async () => {
  using folder = temporaryFolder()
  await using service = await startEmbeddingService((request) =>
    request % 3 === 0 ? null : request % 3 === 1 ? { status: 429 } : { drops: true },
  )
  const docs = join(folder.path, 'docs')
  writeDocuments(docs, 2)

  const { db, report, retries } = await ingestHere(docs, service.url)

  expect(report).toMatchObject({ ingested: 12, embedded: 12, failed: [] })
  expect(retries).toHaveLength(6)
  expect(retries.filter((message) => message.includes('HTTP 429'))).toHaveLength(3)
  expect(db.count('notes')).toBe(12)
  db.close()
})

test('a text that the service refuses leaves only its file behind, by name', async () => {
  using folder = temporaryFolder()
  await using service = await startEmbeddingService((_, texts) =>
    texts.some((text) => text.includes('Gate 1 of the orchard')) ? { status: 400 } : null,
  )
  const docs = join(folder.path, 'docs')
  writeDocuments(docs, 2)

  const { db, report } = await ingestHere(docs, service.url)

  expect(report).toMatchObject({
    ingested: 11,
    failed: [{ source: 'docs/orchard/gate-1.md', reason: expect.stringContaining('HTTP 400') }],
  })
  expect(db.count('notes')).toBe(11)
  db.close()
})

test('a process killed in the middle leaves whole files, and the next run adds the rest once', async () => {
  using folder = temporaryFolder()
  const docs = join(folder.path, 'docs')
  const database = join(folder.path, 'a.db')
  writeDocuments(docs, 120) // 720 files: more than one group is committed
  let running: ReturnType<typeof startProcess> | null = null
  await using service = await startEmbeddingService((request) => {
    // By this request the first group is committed and the second is under way.
    if (request === 20) running?.kill()
    return null
  })
  const args = [
    'ingest',
    'notes',
    docs,
    '-d',
    database,
    '--embed',
    service.url,
    '--model',
    MODEL,
    '--json',
  ]
  running = startProcess(args)
  const killed = await running
  expect(killed.status).toBeNull()
  const done = new Set(service.answered.flat())

  const again = JSON.parse((await cli(args)).stdout) as Report

  expect(again.unchanged).toBeGreaterThanOrEqual(512)
  expect(again.unchanged + again.ingested).toBe(720)
  expect(done.size).toBeGreaterThan(512)
  using db = await createVectorDB({ path: database })
  expect(db.count('notes')).toBe(720)
  const { records } = db.list('notes', { limit: 1_000 })
  const texts = new Set(records.map(({ text }) => text))
  expect(texts.size).toBe(720)
})

test('offline: the embedder is fitted on the files; a folder suddenly empty or gone removes nothing', async () => {
  using folder = temporaryFolder()
  const docs = join(folder.path, 'docs')
  const database = join(folder.path, 'a.db')
  writeDocuments(docs, 2)
  await ingested(['notes', docs, '-d', database, '--embed', 'lsa'])

  const question = 'When does gate 1 of the glacier open?'
  const { stdout, stderr } = await cli(['ask', 'notes', question, '-d', database, '--json'])
  const answer = JSON.parse(stdout) as { ranking: string; results: { id: string }[] }
  expect({ stderr, ranking: answer.ranking }).toEqual({ stderr: '', ranking: 'hybrid' })
  expect(answer.results[0]?.id).toBe('docs/glacier/gate-1.md#1')

  for (const topic of topics) rmSync(join(docs, topic), { recursive: true })
  const empty = await cli(['ingest', 'notes', docs, '-d', database])
  expect(empty.status).toBe(2)
  expect(empty.stderr).toContain('docs holds no file to read, and the shard has passages of 12')
  rmSync(docs, { recursive: true })
  const missing = await cli(['ingest', 'notes', docs, '-d', database])
  expect(missing.status).toBe(2)

  using db = await createVectorDB({ path: database })
  expect(db.count('notes')).toBe(12)
})

test.skipIf(process.getuid?.() === 0)(
  'a folder that cannot be read keeps its passages, and is told of',
  async () => {
    using folder = temporaryFolder()
    const docs = join(folder.path, 'docs')
    const database = join(folder.path, 'a.db')
    writeDocuments(docs, 1)
    await ingested(['notes', docs, '-d', database, '--embed', 'lsa'])
    chmodSync(join(docs, 'library'), 0)

    const { status, stdout } = await cli(['ingest', 'notes', docs, '-d', database, '--json'])
    chmodSync(join(docs, 'library'), 0o700)

    expect(status).toBe(3)
    expect(JSON.parse(stdout)).toMatchObject({ removed: 0, failed: [{ source: 'docs/library' }] })
  },
)

test('another model is refused; a service that is away is told of, and words answer', async () => {
  using folder = temporaryFolder()
  await using service = await startEmbeddingService()
  const docs = join(folder.path, 'docs')
  const database = join(folder.path, 'a.db')
  writeDocuments(docs, 1)
  await ingested(['notes', docs, '-d', database, '--embed', service.url, '--model', MODEL])

  const { status, stderr } = await cli([
    'ingest',
    'notes',
    docs,
    '-d',
    database,
    '--embed',
    service.url,
    '--model',
    'other',
  ])

  expect(status).toBe(1)
  expect(stderr).toContain('STORE_SHARD_MISMATCH')
  expect((await cli(['ingest', 'notes', '-d', database])).status).toBe(2)
  const away = ['--embed', 'http://127.0.0.1:9/v1', '--model', MODEL]
  const answer = await cli(['ask', 'notes', 'glacier', '-d', database, ...away, '--json'])
  expect(answer.status).toBe(0)
  expect(answer.stderr).toContain('ranking by words alone')
  expect(JSON.parse(answer.stdout)).toMatchObject({ ranking: 'text' })
  expect((await cli(['ingest', 'fresh', docs, '-d', database])).stderr).toContain('--embed lsa')
})

test('--watch ingests again after a change, until it is stopped', async () => {
  using folder = temporaryFolder()
  const docs = join(folder.path, 'docs')
  const database = join(folder.path, 'a.db')
  writeDocuments(docs, 1)
  await using watching = start([
    'ingest',
    'notes',
    docs,
    '-d',
    database,
    '--embed',
    'lsa',
    '--watch',
    '--json',
  ])
  expect(JSON.parse(await watching.line())).toMatchObject({ ingested: 6 })

  let report: Report
  // The watch may begin a moment after the first pass; a file that is written again is noticed in the end.
  let round = 0
  const writing = setInterval(() => {
    round += 1
    writeFileSync(
      join(docs, 'harbour', 'gate-0.md'),
      `# The harbour\n\nRound ${round} of the harbour.\n`,
    )
  }, 50)
  try {
    do report = JSON.parse(await watching.line()) as Report
    while (report.ingested === 0)
  } finally {
    clearInterval(writing)
  }

  expect(report).toMatchObject({ ingested: 1, unchanged: 5 })
  expect(await watching.stop()).toBe(0)
})
