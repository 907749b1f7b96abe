/**
 * Routes for conflicts: list, preview, resolve, undo.
 *
 * The node stores no decision: the answer of `resolve` is the input of `undo`.
 */
import {
  ConflictResolver,
  ConflictTracker,
  type Decision,
  type Resolution,
} from '@agentic-flow/sqlite-vector/sync'
import { SqliteVectorError } from '@agentic-flow/sqlite-vector/errors'
import type { VectorRecord } from '@agentic-flow/sqlite-vector'
import type { NodeContext } from '../context.ts'
import { HttpError } from '../errors.ts'
import { plain } from '../json.ts'
import { Items, type Parted } from '../json-parts.ts'
import type { JsonSchema, Route } from '../route.ts'
import {
  dot,
  listOf,
  metadata,
  nullableText,
  object,
  page,
  record,
  strategy,
  text,
  vector,
} from '../schemas.ts'

const BASE = '/v1/shards/{shard}/conflicts'

const valueOrNull: JsonSchema = {
  anyOf: [
    object({ embedding: vector, metadata, text: nullableText }, ['embedding']),
    { type: 'null' },
  ],
}

const conflict: JsonSchema = {
  type: 'object',
  required: ['shardId', 'id', 'siblings', 'shown'],
  properties: {
    shardId: text,
    id: text,
    siblings: listOf({ type: 'object', required: ['dot', 'value', 'nodeId', 'atMs'] }),
    shown: { anyOf: [record, { type: 'null' }] },
  },
}

const decision: JsonSchema = {
  oneOf: [object({ choose: dot }), object({ value: valueOrNull }), object({ strategy })],
  description: 'One of the siblings, a value (null deletes), or the result of a strategy.',
}

const resolution: JsonSchema = object({
  shardId: text,
  id: text,
  dot,
  before: { anyOf: [record, { type: 'null' }] },
})

export function conflictRoutes({ db }: NodeContext): readonly Route[] {
  const tracker = new ConflictTracker(db)
  return [
    {
      method: 'GET',
      path: BASE,
      id: 'listConflicts',
      tag: 'conflicts',
      summary: 'Lists open conflicts with all their siblings, page by page.',
      access: 'read',
      query: object(page, []),
      answer: {
        status: 200,
        description: 'Conflicts in byte order of their ids.',
        schema: object({ conflicts: listOf(conflict), nextCursor: nullableText }),
      },
      run: ({ params, query }) => conflictPage(tracker, params['shard'] ?? '', query),
    },
    {
      method: 'GET',
      path: `${BASE}/{id}`,
      id: 'getConflict',
      tag: 'conflicts',
      summary: 'Gets the open conflict of one record.',
      access: 'read',
      answer: { status: 200, description: 'The conflict.', schema: conflict },
      errors: ['STORE_CONFLICT_UNKNOWN'],
      run: ({ params }) => {
        const found = tracker.get(params['shard'] ?? '', params['id'] ?? '')
        if (found !== null) return plain(found)
        throw new SqliteVectorError('STORE_CONFLICT_UNKNOWN', 'the record has no open conflict')
      },
    },
    ...deciding(new ConflictResolver(db)),
  ]
}

/** Conflicts that one slice of a page reads: each may hold 32 records. */
const SLICE_CONFLICTS = 8

/** A page that is read slice by slice while it is sent. */
function conflictPage(
  tracker: ConflictTracker,
  shardId: string,
  { cursor = null, limit = 100 }: { readonly cursor?: string | null; readonly limit?: number },
): Parted {
  const read = (from: string | null, left: number) =>
    tracker.list(shardId, { cursor: from, limit: Math.min(left, SLICE_CONFLICTS) })
  let current = read(cursor, limit)
  let left = limit - current.conflicts.length
  function* conflicts(): Generator {
    yield* current.conflicts
    while (current.nextCursor !== null && left > 0) {
      current = read(current.nextCursor, left)
      left -= current.conflicts.length
      yield* current.conflicts
    }
  }
  return { conflicts: new Items(conflicts(), plain), nextCursor: () => current.nextCursor }
}

function deciding(resolver: ConflictResolver): readonly Route[] {
  return [
    {
      method: 'POST',
      path: `${BASE}/{id}/preview`,
      id: 'previewConflict',
      tag: 'conflicts',
      summary: 'Shows the result of a decision without writing it.',
      access: 'read',
      body: decision,
      answer: {
        status: 200,
        description: 'The resulting value; null for a delete.',
        schema: object({ value: valueOrNull }),
      },
      errors: ['STORE_CONFLICT_UNKNOWN'],
      run: ({ params, body }) => ({
        value: plain(resolver.preview(params['shard'] ?? '', params['id'] ?? '', body as Decision)),
      }),
    },
    {
      method: 'POST',
      path: `${BASE}/{id}/resolve`,
      id: 'resolveConflict',
      tag: 'conflicts',
      summary: 'Resolves a conflict with a write that supersedes all siblings and replicates.',
      access: 'write',
      body: decision,
      answer: { status: 200, description: 'The input for undo.', schema: resolution },
      errors: ['STORE_CONFLICT_UNKNOWN'],
      run: ({ params, body }) =>
        plain(resolver.resolve(params['shard'] ?? '', params['id'] ?? '', body as Decision)),
    },
    {
      method: 'POST',
      path: `${BASE}/{id}/undo`,
      id: 'undoResolution',
      tag: 'conflicts',
      summary: 'Restores the value shown before a decision, unless the record was written since.',
      access: 'write',
      body: resolution,
      answer: {
        status: 204,
        description: 'The earlier value is shown again; the conflict stays closed.',
      },
      errors: ['HTTP_UNDO_REFUSED'],
      run: ({ params, body }) => {
        const given = resolutionOf(body as Resolution)
        if (given.shardId !== params['shard'] || given.id !== params['id']) {
          throw new HttpError('HTTP_INPUT_INVALID', 'the body is the resolution of another record')
        }
        if (resolver.undo(given)) return
        throw new HttpError('HTTP_UNDO_REFUSED', 'the decision is not what the record shows now')
      },
    },
  ]
}

/** Embeddings arrive as arrays of numbers. */
function resolutionOf(body: Resolution): Resolution {
  const { before } = body
  if (before?.embedding === undefined) return body
  const embedding = Float32Array.from(before.embedding)
  return { ...body, before: { ...before, embedding } satisfies VectorRecord }
}
