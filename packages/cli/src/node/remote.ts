/**
 * A node that is a server, called through its HTTP API. Each method is one request, except `watch`,
 * which follows the events of a shard and queries again after each.
 *
 * Errors of the API keep their codes. For a file a peer is given by address, for a server by the
 * name under which the server knows it. Minus zero in a vector arrives as zero, because the API's
 * JSON has one zero.
 */
import { readFileSync } from 'node:fs'
import type {
  Filter,
  JsonValue,
  QuarantineEntry,
  QuarantineRetry,
  RecordInput,
} from '@agentic-flow/sqlite-vector'
import { UsageError } from '../command.ts'
import { vectorToJson } from '../formats/jsonl.ts'
import { RemoteError } from './remote-error.ts'
import type {
  CheckSummary,
  ConflictDetail,
  DecisionRequest,
  NodeClient,
  PeerSummary,
  QueryRequest,
  RecordPage,
  ResolutionToken,
  ShardSummary,
  ShownRecord,
  SyncSummary,
  VerifySummary,
} from './types.ts'

/** URL and key of a server. */
export interface RemoteOptions {
  readonly url: string
  readonly keyFile: string | undefined
  /** The key itself, from the environment. */
  readonly key: string | undefined
}

type Method = 'GET' | 'PUT' | 'POST' | 'DELETE'

/** Sends a request; `body` is an object or JSON text. */
type Ask = <T>(
  method: Method,
  path: string,
  body?: object | string,
  signal?: AbortSignal,
) => Promise<T>

/**
 * Opens a client without contacting the server. @throws UsageError for a wrong URL or an unreadable
 * key file
 */
export function openRemoteNode(options: RemoteOptions): NodeClient {
  const { base, headers } = settingsOf(options)
  const ask: Ask = async <T>(
    method: Method,
    path: string,
    body?: object | string,
    signal?: AbortSignal,
  ): Promise<T> => {
    const response = await reach(base, path, {
      method,
      headers: body === undefined ? headers : { ...headers, 'content-type': 'application/json' },
      ...(body === undefined
        ? {}
        : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    })
    if (!response.ok) throw await problemOf(response)
    return (response.status === 204 ? null : await response.json()) as T
  }
  return {
    batch: { recordsMax: 256, vectorBytes: 1_048_576, parallel: 4 },
    ...shardMethods(ask),
    ...recordMethods(ask),
    ...peerMethods(ask),
    ...conflictMethods(ask),
    async *watch(shardId, request, signal) {
      const follow = await reach(base, `${shardPath(shardId)}/events`, { headers, signal })
      if (!follow.ok) throw await problemOf(follow)
      const query = (): Promise<readonly ShownRecord[]> =>
        request.vector === undefined ? find(ask, shardId, request) : search(ask, shardId, request)
      let last = ''
      for await (const _ of events(follow, signal)) {
        const results = await query()
        const text = JSON.stringify(results)
        if (text === last) continue
        last = text
        yield results
      }
    },
    close: () => Promise.resolve(),
  }
}

function shardMethods(
  ask: Ask,
): Pick<
  NodeClient,
  'shards' | 'createShard' | 'dropShard' | 'setStrategy' | 'stats' | 'snapshot' | 'recount'
> {
  return {
    async shards() {
      return (await ask<{ shards: readonly ShardSummary[] }>('GET', '/v1/shards')).shards
    },
    async createShard(shardId, options) {
      await ask('PUT', shardPath(shardId), options)
    },
    async setStrategy(shardId, conflictStrategy) {
      await ask('PUT', `${shardPath(shardId)}/strategy`, { conflictStrategy })
    },
    async dropShard(shardId) {
      return (await ask<{ dropped: number }>('DELETE', shardPath(shardId))).dropped > 0
    },
    async stats() {
      return (await ask<{ stats: JsonValue }>('GET', '/v1/node')).stats
    },
    async snapshot(name, signal) {
      return (await ask<{ bytes: number }>('POST', '/v1/snapshots', { name }, signal)).bytes
    },
    async recount(shardId) {
      const check = await ask<CheckSummary>('POST', `${shardPath(shardId)}/verify`, {})
      return { ...check, shardId }
    },
  }
}

function recordMethods(
  ask: Ask,
): Pick<
  NodeClient,
  'get' | 'list' | 'count' | 'query' | 'explain' | 'write' | 'delete' | 'deleteWhere'
> {
  return {
    async get(shardId, id) {
      const { records } = await ask<{ records: readonly (ShownRecord | null)[] }>(
        'POST',
        `${shardPath(shardId)}/get`,
        { ids: [id] },
      )
      return records[0] ?? null
    },
    list(shardId, { cursor, limit }) {
      const query = new URLSearchParams({ limit: String(limit), includeVectors: 'true' })
      if (cursor !== null) query.set('cursor', cursor)
      return ask<RecordPage>('GET', `${shardPath(shardId)}/records?${query.toString()}`)
    },
    async count(shardId, filter) {
      const body = filter === undefined ? {} : { filter }
      return (await ask<{ count: number }>('POST', `${shardPath(shardId)}/count`, body)).count
    },
    query: (shardId, request) => search(ask, shardId, request),
    explain(shardId, { k, filter, exact }) {
      return ask<JsonValue>('POST', `${shardPath(shardId)}/explain`, defined({ k, filter, exact }))
    },
    async write(shardId, records, mode) {
      const body = `{"mode":"${mode}","records":[${records.map(recordToJson).join(',')}]}`
      await ask('POST', `${shardPath(shardId)}/records`, body)
    },
    async delete(shardId, id) {
      return (await deleted(ask, shardId, { ids: [id] })) > 0
    },
    deleteWhere: (shardId, filter) => deleted(ask, shardId, { filter }),
  }
}

function peerMethods(
  ask: Ask,
): Pick<
  NodeClient,
  'peers' | 'sync' | 'verify' | 'quarantine' | 'retryQuarantine' | 'discardQuarantine'
> {
  return {
    async peers(check) {
      if (check) await ask('POST', '/v1/peers/check', {})
      return (await ask<{ peers: readonly PeerSummary[] }>('GET', '/v1/peers')).peers
    },
    async sync(shard, peer, signal) {
      const { results } = await ask<{ results: readonly RemoteSync[] }>(
        'POST',
        '/v1/sync',
        { shard, peer },
        signal,
      )
      const [result] = results
      if (result === undefined)
        throw new RemoteError(
          'HTTP_PEER_UNKNOWN',
          `the server does not sync this shard with ${peer}`,
        )
      if (!result.ok) throw new RemoteError(result.error.code ?? 'FAILED', result.error.message)
      const { applied, sent, conflicts, quarantined, bytes, durationMs } = result
      const counts = { applied, sent, conflicts, quarantined, durationMs, wireBytes: bytes }
      return { shardId: shard, address: peer, peer, ...counts } satisfies SyncSummary
    },
    verify: (shardId, peer, payloads, signal) => {
      const body = payloads ? { peer, payloads } : { peer }
      return ask<VerifySummary>('POST', `${shardPath(shardId)}/verify`, body, signal)
    },
    async quarantine(shardId) {
      const path = `${shardPath(shardId)}/quarantine?limit=10000`
      return (await ask<{ entries: readonly QuarantineEntry[] }>('GET', path)).entries
    },
    retryQuarantine(shardId, entry) {
      return ask<QuarantineRetry>(
        'POST',
        `${shardPath(shardId)}/quarantine/retry`,
        defined({ entry }),
      )
    },
    async discardQuarantine(shardId, entry) {
      await ask('DELETE', `${shardPath(shardId)}/quarantine/${entry}`)
    },
  }
}

function conflictMethods(
  ask: Ask,
): Pick<NodeClient, 'conflicts' | 'conflict' | 'resolveConflict' | 'undoConflict'> {
  return {
    async conflicts(shardId, { cursor, limit }) {
      const query = new URLSearchParams({ limit: String(limit) })
      if (cursor !== null) query.set('cursor', cursor)
      const page = await ask<{ conflicts: readonly RemoteConflict[]; nextCursor: string | null }>(
        'GET',
        `${shardPath(shardId)}/conflicts?${query.toString()}`,
      )
      const conflicts = page.conflicts.map(({ id, siblings, shown }) => ({
        id,
        siblingCount: siblings.length,
        visible: shown !== null,
      }))
      return { conflicts, nextCursor: page.nextCursor }
    },
    async conflict(shardId, id) {
      try {
        const found = await ask<RemoteConflict>('GET', pathOf(shardId, id))
        const siblings = found.siblings.map(({ dot, ...rest }) => ({
          ...rest,
          dot: `${dot.actor}:${dot.counter}`,
        }))
        return { id, siblings, shown: found.shown } satisfies ConflictDetail
      } catch (error) {
        if (error instanceof RemoteError && error.code === 'STORE_CONFLICT_UNKNOWN') return null
        throw error
      }
    },
    resolveConflict: (shardId, id, decision) =>
      ask<ResolutionToken>('POST', `${pathOf(shardId, id)}/resolve`, decisionBody(decision)),
    async undoConflict(token) {
      try {
        await ask('POST', `${pathOf(textOf(token, 'shardId'), textOf(token, 'id'))}/undo`, token)
        return true
      } catch (error) {
        if (error instanceof RemoteError && error.code === 'HTTP_UNDO_REFUSED') return false
        throw error
      }
    },
  }
}

type RemoteSync =
  | ({ readonly ok: true; readonly bytes: number } & SyncSummary)
  | {
      readonly ok: false
      readonly error: { readonly code: string | null; readonly message: string }
    }

interface RemoteConflict {
  readonly id: string
  readonly siblings: readonly {
    readonly dot: { readonly actor: string; readonly counter: number }
    readonly nodeId: string | null
    readonly atMs: number
    readonly value: Omit<ShownRecord, 'id'> | null
  }[]
  readonly shown: ShownRecord | null
}

function decisionBody(decision: DecisionRequest): object {
  if ('delete' in decision) return { value: null }
  if (!('choose' in decision)) return decision
  const [actor = '', counter = ''] = decision.choose.split(':')
  return { choose: { actor, counter: Number(counter) } }
}

/** Searches by vector, by text, or both. */
async function search(
  ask: Ask,
  shardId: string,
  request: QueryRequest,
): Promise<readonly ShownRecord[]> {
  const { vector, text, k, filter, exact, threshold, weights, includeVectors } = request
  const near = vector === undefined ? undefined : [...vector]
  const [route, body] =
    near === undefined
      ? ['text', { text, k, filter }]
      : text === undefined
        ? ['query', { vector: near, k, filter, exact, threshold, includeVectors }]
        : ['hybrid', { vector: near, text, k, filter, exact, weights, includeVectors }]
  const path = `${shardPath(shardId)}/${route}`
  return (await ask<{ results: readonly ShownRecord[] }>('POST', path, defined(body))).results
}

/** Finds the first records by id that match the filter. */
async function find(
  ask: Ask,
  shardId: string,
  { k, filter }: QueryRequest,
): Promise<readonly ShownRecord[]> {
  const body = defined({ filter, limit: k })
  const path = `${shardPath(shardId)}/find`
  return (await ask<{ results: readonly ShownRecord[] }>('POST', path, body)).results
}

async function deleted(
  ask: Ask,
  shardId: string,
  which: { readonly ids: readonly string[] } | { readonly filter: Filter },
): Promise<number> {
  return (await ask<{ deleted: number }>('POST', `${shardPath(shardId)}/delete`, which)).deleted
}

function recordToJson({ id, embedding, metadata, text }: RecordInput): string {
  const rest = JSON.stringify(defined({ id, metadata, text }))
  // Whole arrays are written by the engine, in two thirds of the time; it knows no minus zero.
  const vector = [...embedding]
  const numbers = vector.some((value) => Object.is(value, -0))
    ? vectorToJson(embedding)
    : JSON.stringify(vector)
  return `{"embedding":${numbers},${rest.slice(1)}`
}

/** Removes undefined fields, which the API would reject. */
function defined(fields: object): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

function pathOf(shardId: string, id: string): string {
  return `${shardPath(shardId)}/conflicts/${encodeURIComponent(id)}`
}

function textOf(token: ResolutionToken, key: string): string {
  const value = token[key]
  return typeof value === 'string' ? value : ''
}

function shardPath(shardId: string): string {
  return `/v1/shards/${encodeURIComponent(shardId)}`
}

function settingsOf({ url, keyFile, key }: RemoteOptions): {
  base: string
  headers: Record<string, string>
} {
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
    throw new UsageError(`--url takes a URL such as http://127.0.0.1:8080, got ${url}`)
  }
  let given = key
  if (keyFile !== undefined) {
    try {
      given = readFileSync(keyFile, 'utf8').trim()
    } catch (error) {
      throw new UsageError(`cannot read the key of ${keyFile}: ${(error as Error).message}`, {
        cause: error,
      })
    }
  }
  const headers: Record<string, string> =
    given === undefined ? {} : { authorization: `Bearer ${given}` }
  return { base: url.replace(/\/+$/, ''), headers }
}

async function reach(base: string, path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(base + path, init)
  } catch (error) {
    if (init.signal?.aborted === true) throw error
    const { cause } = error as { cause?: unknown }
    const reason =
      cause instanceof Error && cause.message !== '' ? cause.message : (error as Error).message
    throw new RemoteError(
      'HTTP_UNREACHABLE',
      `no server answers at ${base}: ${reason}`,
      'Is it running? Start one: sqlite-vector serve.',
    )
  }
}

async function problemOf(response: Response): Promise<RemoteError> {
  const text = await response.text()
  try {
    const { code, detail, title } = JSON.parse(text) as Readonly<Record<string, unknown>>
    if (typeof code === 'string' && typeof detail === 'string') {
      return new RemoteError(code, detail, typeof title === 'string' ? title : undefined)
    }
  } catch {
    // A proxy between this process and the server answered instead.
  }
  return new RemoteError('FAILED', `the server answered ${response.status}: ${text.slice(0, 200)}`)
}

/** Yields once per event of a stream, until the stream ends or the signal aborts. */
async function* events(response: Response, signal: AbortSignal): AsyncGenerator<void> {
  const decoder = new TextDecoder()
  let rest = ''
  try {
    for await (const chunk of response.body ?? []) {
      const blocks = (rest + decoder.decode(chunk, { stream: true })).split('\n\n')
      rest = blocks.pop() ?? ''
      if (blocks.some((block) => /^event:/m.test(block))) yield
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
