/**
 * A node of the demo, as a process of its own. It owns one database file and serves requests from
 * its parent's pipe (messages.ts). Records travel to other nodes over QUIC alone.
 *
 * Ends when asked to close, or when the parent is gone. A request that fails is answered with its
 * message; nothing is retried or hidden here.
 */
import {
  createVectorDB,
  type JsonValue,
  type RecordInput,
  type SQLiteVectorDB,
} from '@agentic-flow/sqlite-vector'
import {
  attachEmbedder,
  fitLsaEmbedder,
  loadLsaEmbedder,
  type LsaEmbedder,
  saveLsaEmbedder,
} from '@agentic-flow/sqlite-vector-embeddings'
import { createVectorSync, type VectorSync } from '@agentic-flow/sqlite-vector/sync'
import type {
  Answer,
  CallName,
  Calls,
  EditResult,
  IngestResult,
  NodeMessage,
  RequestMessage,
} from './messages.ts'
import { DEMO_PASSAGES_MIN, documentsOf, passagesOf, textFiles, type Passage } from './passages.ts'

/** This module, for the parent to fork. */
export const NODE_PROCESS_PATH: string = import.meta.filename

/** Passages embedded between two reports of progress. */
const EMBED_CHUNK = 200
/** Passages inserted in one transaction, and reported once. */
const INSERT_CHUNK = 250
const SAMPLE_PASSAGES = 3
/** Passages that the embedder is fitted on, at most: a few seconds. */
const FIT_PASSAGES_MAX = 4_000

interface OpenNode {
  readonly db: SQLiteVectorDB
  readonly sync: VectorSync
}

type Handlers = {
  [Name in CallName]: (
    request: Calls[Name]['request'],
  ) => Calls[Name]['answer'] | Promise<Calls[Name]['answer']>
}

function nodeHandlers(progress: (label: string, done: number, total: number) => void): Handlers {
  let open: OpenNode | null = null
  let expected: number | null = null
  const node = (): OpenNode => {
    if (open === null) throw new Error('open comes first')
    return open
  }
  return {
    async open({ path, nodeId }) {
      const db = await createVectorDB({ path })
      const sync = createVectorSync(db, nodeId, {
        onEvent(event) {
          if (event.type !== 'progress' || event.direction !== 'pull' || expected === null) return
          progress('applies', event.changes, expected)
        },
      })
      open = { db, sync }
      return { fingerprint: sync.fingerprint, certificatePem: sync.certificatePem }
    },
    ingest: ({ shardId, folder, packages }) =>
      ingest(node().db, shardId, folder, packages, progress),
    trust({ nodeId, certificatePem }) {
      node().sync.trust.add(certificatePem, nodeId)
      return null
    },
    async listen({ address }) {
      return { address: await node().sync.listen(address) }
    },
    async sync({ shardId, address, expected: coming }) {
      expected = coming
      const result = await node().sync.sync(shardId, address)
      return {
        applied: result.applied,
        sent: result.sent,
        conflicts: result.conflicts,
        wireBytes: result.wireBytes,
        durationMs: result.durationMs,
      }
    },
    ask: (request) => ask(node().db, request),
    has: ({ shardId, id }) => node().db.get(shardId, id) !== null,
    edit: ({ shardId, edits }) => edit(node().db, shardId, edits),
    state({ shardId }) {
      const state = node().db.replica.shardState(shardId)
      return {
        rows: state.recordCount,
        tombstones: state.tombstoneCount,
        conflicts: state.conflictCount,
        digest: state.digest,
        versionVector: Object.fromEntries(
          [...state.versionVector].toSorted(([a], [b]) => (a < b ? -1 : 1)),
        ),
      }
    },
    async close() {
      const { db, sync } = node()
      await sync.close()
      db.close()
      return null
    },
  }
}

async function ingest(
  db: SQLiteVectorDB,
  shardId: string,
  folder: string,
  packages: boolean,
  progress: (label: string, done: number, total: number) => void,
): Promise<IngestResult> {
  const files = packages ? documentsOf(folder) : textFiles(folder)
  const passages = passagesOf(folder, files)
  if (passages.length < DEMO_PASSAGES_MIN) {
    const nothing = { embedMs: 0, insertMs: 0, embedder: 'none', dimension: 0, words: 0 }
    return { files: files.length, passages: passages.length, sample: [], ...nothing }
  }
  const embedStarted = performance.now()
  const embedder = await fitted(db, shardId, passages)
  const records: RecordInput[] = []
  for (let start = 0; start < passages.length; start += EMBED_CHUNK) {
    records.push(...recordsOf(embedder, passages.slice(start, start + EMBED_CHUNK)))
    progress('embeds', records.length, passages.length)
  }
  const insertStarted = performance.now()
  db.createShard(shardId, { dimension: embedder.dimension, modelId: embedder.modelId })
  for (let start = 0; start < records.length; start += INSERT_CHUNK) {
    await db.insertBatch(shardId, records.slice(start, start + INSERT_CHUNK))
    progress('inserts', Math.min(start + INSERT_CHUNK, records.length), records.length)
  }
  return {
    files: files.length,
    passages: passages.length,
    embedMs: insertStarted - embedStarted,
    insertMs: performance.now() - insertStarted,
    embedder: `LSA fitted on the passages, ${embedder.dimension}-d: no model, no network`,
    dimension: embedder.dimension,
    words: embedder.words.size,
    sample: passages.slice(0, SAMPLE_PASSAGES),
  }
}

function recordsOf(embedder: LsaEmbedder, passages: readonly Passage[]): readonly RecordInput[] {
  const vectors = embedder.embed(passages.map(embeddedText))
  return passages.map(({ id, source, heading, text }, index) => {
    const embedding = vectors[index]
    if (embedding === undefined) throw new Error(`the embedder gave no vector for ${id}`)
    return { id, embedding, metadata: { source, heading }, text }
  })
}

async function ask(
  db: SQLiteVectorDB,
  { shardId, question, k, ranking = 'hybrid' }: Calls['ask']['request'],
): Promise<readonly Answer[]> {
  const found = await attachEmbedder(db, shardId, embedderOf(db, shardId)).ask(question, {
    k,
    ranking,
  })
  return found.map(({ id, text, metadata, distance }) => ({
    id,
    source: textOf(metadata['source']),
    heading: textOf(metadata['heading']),
    text: text ?? '',
    distance,
  }))
}

/**
 * Fits an embedder on the passages, or evenly chosen ones where they are many, and keeps it where B
 * can sync it.
 */
async function fitted(
  db: SQLiteVectorDB,
  shardId: string,
  passages: readonly Passage[],
): Promise<LsaEmbedder> {
  const step = Math.ceil(passages.length / FIT_PASSAGES_MAX)
  const sample = passages.filter((_, index) => index % step === 0)
  const embedder = await fitLsaEmbedder(sample.map(embeddedText))
  await saveLsaEmbedder(db, shardId, embedder)
  return embedder
}

function embeddedText({ heading, text }: Passage): string {
  return `${heading}\n${text}`
}

/** The embedder that lies in this node's own file; read once. */
function embedderOf(db: SQLiteVectorDB, shardId: string): LsaEmbedder {
  const known = loaded.get(db) ?? loadLsaEmbedder(db, shardId)
  if (known === null) throw new Error(`the words of ${shardId} have not arrived`)
  loaded.set(db, known)
  return known
}

const loaded = new WeakMap<SQLiteVectorDB, LsaEmbedder>()

/** A string of metadata, or '' where it holds something else. */
function textOf(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value : ''
}

async function edit(
  db: SQLiteVectorDB,
  shardId: string,
  { update, remove, add }: Calls['edit']['request']['edits'],
): Promise<EditResult> {
  db.update(shardId, update.id, { metadata: { note: update.note } })
  const deleted = db.delete(shardId, remove) ? 1 : 0
  const vectors = embedderOf(db, shardId).embed(add.map(({ text }) => text))
  for (const [index, { id, text }] of add.entries()) {
    const embedding = vectors[index]
    if (embedding === undefined) throw new Error(`the embedder gave no vector for ${id}`)
    db.insert(shardId, { id, embedding, metadata: { source: 'written in the demo' }, text })
  }
  return { updated: 1, deleted, inserted: add.length }
}

/** A parent that is gone has no use for the message; 'disconnect' ends this process then. */
function send(message: NodeMessage): void {
  if (process.connected) process.send?.(message)
}

function serve(): void {
  let closed = false
  const handlers = nodeHandlers((label, done, total) => {
    send({ type: 'progress', label, done, total })
  })
  const answer = async ({ number, call, request }: RequestMessage): Promise<void> => {
    try {
      send({ type: 'answer', number, answer: await handlers[call](request as never) })
      if (call !== 'close') return
      closed = true
      process.disconnect()
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      send({ type: 'failure', number, message })
    }
  }
  process.on('message', (message) => void answer(message as RequestMessage))
  // Closed in order, the process ends by itself, because nothing is left open.
  process.once('disconnect', () => {
    if (!closed) process.exit(1)
  })
}

// Forked, this module is the program; imported for its path, it does nothing.
if (process.argv[1] === NODE_PROCESS_PATH) serve()
