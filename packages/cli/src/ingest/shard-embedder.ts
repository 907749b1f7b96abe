/**
 * The embedder of a shard: the service that `--embed` names, the offline one that the shard
 * carries, or the service that was used last, which is remembered beside the database in
 * `FILE-node/embedders.json`. API keys are never kept.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Embedder, httpEmbedder, lsaEmbedderOf } from '@agentic-flow/sqlite-vector-embeddings'
import { type Call, databaseOf, nodeFolder, type Option, UsageError } from '../command.ts'
import type { NodeClient } from '../node/types.ts'

export const EMBED_OPTIONS: readonly Option[] = [
  {
    name: 'embed',
    value: 'URL',
    summary: 'embedding service with /v1/embeddings, or `lsa` for the offline embedder',
    environment: 'SQLITE_VECTOR_EMBED',
  },
  {
    name: 'model',
    value: 'NAME',
    summary: 'model of the service; its key goes in SQLITE_VECTOR_EMBED_API_KEY',
    environment: 'SQLITE_VECTOR_EMBED_MODEL',
  },
]

interface Remembered {
  readonly url: string
  readonly model: string
}

/**
 * The service that the options name, or null when they name none. @throws UsageError, EmbedderError
 */
export async function serviceOf(call: Call, modelOfShard: string | null): Promise<Embedder | null> {
  const url = call.text('embed')
  if (url === undefined || url === 'lsa') return null
  const model = call.text('model') ?? modelOfShard
  if (model === null)
    throw new UsageError('--embed with a URL needs --model, the name of the model')
  return openService({ url, model })
}

function openService({ url, model }: Remembered): Promise<Embedder> {
  const apiKey = process.env['SQLITE_VECTOR_EMBED_API_KEY']
  return httpEmbedder({
    url,
    model,
    ...(apiKey === undefined || apiKey === '' ? {} : { apiKey }),
  })
}

/**
 * The embedder that a question to this shard needs, of `--embed` or its own; null where there is
 * none.
 */
export async function embedderOfCall(
  call: Call,
  node: NodeClient,
  shardId: string,
): Promise<Embedder | null> {
  const shard = (await node.shards()).find((candidate) => candidate.shardId === shardId)
  const service = shard === undefined ? null : await serviceOf(call, shard.modelId)
  if (shard === undefined || service === null) return embedderOfShard(call, node, shardId)
  if (shard.modelId !== null && shard.modelId !== service.modelId) {
    throw new UsageError(
      `shard ${shardId} holds vectors of model ${shard.modelId}; --model names ${service.modelId}`,
    )
  }
  return service
}

/**
 * The embedder that the shard carries, or the service used last for it; null where there is none.
 */
export async function embedderOfShard(
  call: Call,
  node: NodeClient,
  shardId: string,
): Promise<Embedder | null> {
  const shards = await node.shards()
  const shard = shards.find((candidate) => candidate.shardId === shardId)
  if (shard === undefined)
    throw new UsageError(`there is no shard ${shardId}; sqlite-vector shards lists them`)
  if (shard.modelId?.startsWith('lsa-') === true) return lsaOfShard(node, shardId, shard.modelId)
  if (call.text('url') !== undefined) return null
  const remembered = readServices(databaseOf(call))[shardId]
  return remembered?.model === shard.modelId ? openService(remembered) : null
}

/** The words that the shard's offline embedder was fitted on, from shard `NAME.words`. */
async function lsaOfShard(
  node: NodeClient,
  shardId: string,
  modelId: string,
): Promise<Embedder | null> {
  const name = `${shardId}.words`
  const info = (await node.shards()).find((shard) => shard.shardId === name)
  if (info === undefined) return null
  const words = new Map<string, Float32Array>()
  let cursor: string | null = null
  do {
    const page = await node.list(name, { cursor, limit: 1_000 })
    for (const { id, embedding } of page.records) {
      if (embedding !== undefined) words.set(id, Float32Array.from(embedding))
    }
    cursor = page.nextCursor
  } while (cursor !== null)
  const embedder = lsaEmbedderOf(words, info.dimension)
  return embedder.modelId === modelId ? embedder : null
}

function fileOf(database: string): string {
  return join(nodeFolder(database), 'embedders.json')
}

/** Keeps the service for later questions to the shard. */
export function rememberService(database: string, shardId: string, service: Remembered): void {
  if (database === ':memory:') return
  mkdirSync(nodeFolder(database), { recursive: true, mode: 0o700 })
  const known = readServices(database)
  known[shardId] = service
  writeFileSync(fileOf(database), `${JSON.stringify(known, null, 2)}\n`)
}

/**
 * The service that was used last for the shard, or null. @throws EmbedderError when it does not
 * answer
 */
export async function rememberedService(
  database: string,
  shardId: string,
): Promise<Embedder | null> {
  const remembered = readServices(database)[shardId]
  return remembered === undefined ? null : openService(remembered)
}

/** The file's content is input; a damaged one is named, not guessed at. */
function readServices(database: string): Record<string, Remembered> {
  const path = fileOf(database)
  if (!existsSync(path)) return {}
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new TypeError('not an object')
    const services: Record<string, Remembered> = {}
    for (const [shardId, entry] of Object.entries(value)) {
      const { url, model } = (entry ?? {}) as Partial<Remembered>
      if (typeof url !== 'string' || typeof model !== 'string') {
        throw new TypeError(`${shardId} has no url and model`)
      }
      services[shardId] = { url, model }
    }
    return services
  } catch (error) {
    throw new UsageError(
      `cannot use ${path}: ${(error as Error).message}; remove it or pass --embed`,
      {
        cause: error,
      },
    )
  }
}
