/**
 * Routes for records: write, read, list and count, by id and by filter.
 *
 * A successful answer means that the write is durable. Concurrent single writes share one commit.
 */
import type {
  Filter,
  ListOptions,
  RecordInput,
  RecordUpdate,
  SQLiteVectorDB,
  VectorRecord,
} from '@agentic-flow/sqlite-vector'
import { SqliteVectorError } from '@agentic-flow/sqlite-vector/errors'
import { ID_BYTES_MAX } from '@agentic-flow/sqlite-vector/limits'
import { nameGiven } from '@agentic-flow/sqlite-vector/options'
import type { NodeContext } from '../context.ts'
import { ANSWER_VECTOR_BYTES_MAX } from '../answer-budget.ts'
import { recordJson } from '../json.ts'
import { Items, type Parted } from '../json-parts.ts'
import type { Call, Route } from '../route.ts'
import {
  count,
  filter,
  flag,
  listOf,
  metadata,
  nullableText,
  object,
  page,
  record,
  recordInput,
  text,
  vector,
} from '../schemas.ts'

/** Most records per request: a transaction of about ten milliseconds. */
const RECORDS_MAX = 1_000

/** Most records that one slice of a long answer reads. */
const SLICE_RECORDS = 64

/** Most bytes of embeddings that one slice reads. */
const SLICE_VECTOR_BYTES = 1_048_576

const SHARD = '/v1/shards/{shard}'

interface WriteBody {
  readonly records: readonly RecordInput[]
  readonly mode: 'insert' | 'upsert'
}

const writeBody = object(
  {
    records: { ...listOf(recordInput, RECORDS_MAX), minItems: 1 },
    mode: { enum: ['insert', 'upsert'], default: 'upsert' },
  },
  ['records'],
)

const updateBody = {
  ...object(
    {
      embedding: vector,
      metadata,
      text: nullableText,
      metadataMode: { enum: ['merge', 'replace'], default: 'merge' },
    },
    [],
  ),
}

export function recordRoutes(context: NodeContext): readonly Route[] {
  return [
    ...writing(context),
    ...updating(context),
    ...deleting(context),
    ...byId(context),
    ...many(context),
  ]
}

function writing({ db, metrics }: NodeContext): readonly Route[] {
  return [
    {
      method: 'POST',
      path: `${SHARD}/records`,
      id: 'writeRecords',
      tag: 'records',
      summary: 'Writes up to 1,000 records in one transaction: all of them or none.',
      access: 'write',
      body: writeBody,
      answer: {
        status: 200,
        description: 'Number of records written; they are durable.',
        schema: object({ written: count }),
      },
      errors: [
        'STORE_SHARD_UNKNOWN',
        'STORE_DIMENSION_MISMATCH',
        'STORE_RECORD_EXISTS',
        'STORE_FULL',
      ],
      run: ({ params, body }) => {
        const { records, mode } = body as WriteBody
        const shard = params['shard'] ?? ''
        return metrics.store.write('write', async () => {
          if (records.length > 1) return { written: await db.insertBatch(shard, records, { mode }) }
          const [only] = records as [RecordInput]
          await db.group(() =>
            mode === 'insert' ? db.insert(shard, only) : db.upsert(shard, only),
          )
          return { written: 1 }
        })
      },
    },
  ]
}

function updating({ db, metrics }: NodeContext): readonly Route[] {
  return [
    {
      method: 'PATCH',
      path: `${SHARD}/records/{id}`,
      id: 'updateRecord',
      tag: 'records',
      summary: 'Updates parts of a record; metadata is merged key by key by default.',
      access: 'write',
      body: updateBody,
      answer: { status: 204, description: 'The update is durable.' },
      errors: ['STORE_RECORD_UNKNOWN'],
      run: ({ params, body }) =>
        metrics.store.write('update', () =>
          db.group(() =>
            db.update(params['shard'] ?? '', params['id'] ?? '', body as RecordUpdate),
          ),
        ),
    },
    {
      method: 'POST',
      path: `${SHARD}/update`,
      id: 'updateWhere',
      tag: 'records',
      summary: 'Updates all records that match a filter, in one transaction.',
      access: 'write',
      body: object({ filter, update: updateBody }),
      answer: {
        status: 200,
        description: 'Number of records updated.',
        schema: object({ updated: count }),
      },
      run: ({ params, body }) => {
        const { filter: passing, update } = body as { filter: Filter; update: RecordUpdate }
        return metrics.store.write('update-where', async () => ({
          updated: db.update(params['shard'] ?? '', { filter: passing }, update),
        }))
      },
    },
  ]
}

function deleting({ db, metrics }: NodeContext): readonly Route[] {
  return [
    {
      method: 'DELETE',
      path: `${SHARD}/records/{id}`,
      id: 'deleteRecord',
      tag: 'records',
      summary: 'Deletes a record.',
      access: 'write',
      answer: {
        status: 200,
        description: 'How many there were.',
        schema: object({ deleted: count }),
      },
      run: ({ params }) =>
        metrics.store.write('delete', async () => {
          const had = await db.group(() => db.delete(params['shard'] ?? '', params['id'] ?? ''))
          return { deleted: had ? 1 : 0 }
        }),
    },
    {
      method: 'POST',
      path: `${SHARD}/delete`,
      id: 'deleteRecords',
      tag: 'records',
      summary: 'Deletes records by id, or all that match a filter, in one transaction.',
      access: 'write',
      body: {
        oneOf: [object({ ids: listOf(text, RECORDS_MAX) }), object({ filter })],
      },
      answer: {
        status: 200,
        description: 'How many there were.',
        schema: object({ deleted: count }),
      },
      run: ({ params, body }) => {
        const shard = params['shard'] ?? ''
        const given = body as { readonly ids: readonly string[] } | { readonly filter: Filter }
        return metrics.store.write('delete-where', async () => {
          if ('filter' in given) return { deleted: db.delete(shard, given) }
          return db.group(() => ({
            deleted: given.ids.filter((id) => db.delete(shard, id)).length,
          }))
        })
      },
    },
  ]
}

function byId({ db }: NodeContext): readonly Route[] {
  return [
    {
      method: 'GET',
      path: `${SHARD}/records/{id}`,
      id: 'getRecord',
      tag: 'records',
      summary: 'Gets one record with its embedding.',
      access: 'read',
      answer: { status: 200, description: 'The record.', schema: record },
      errors: ['STORE_RECORD_UNKNOWN'],
      run: ({ params }) => {
        const found = db.get(params['shard'] ?? '', params['id'] ?? '')
        if (found !== null) return recordJson(found)
        throw new SqliteVectorError('STORE_RECORD_UNKNOWN', 'no record has this id')
      },
    },
    {
      method: 'POST',
      path: `${SHARD}/get`,
      id: 'getRecords',
      tag: 'records',
      summary: 'Gets records by id, with their embeddings; null for each missing one.',
      access: 'read',
      body: object({ ids: listOf(text, RECORDS_MAX) }),
      answer: {
        status: 200,
        description: 'The records in the order of the ids.',
        schema: object({ records: listOf({ anyOf: [record, { type: 'null' }] }) }),
      },
      run: ({ params, body }) => {
        const { ids } = body as { readonly ids: readonly string[] }
        for (const [index, id] of ids.entries()) nameGiven(`ids[${index}]`, id, ID_BYTES_MAX)
        return {
          records: new Items(manyOf(db, params['shard'] ?? '', ids), (found: VectorRecord | null) =>
            found === null ? null : recordJson(found),
          ),
        }
      },
    },
  ]
}

function many({ db, metrics }: NodeContext): readonly Route[] {
  return [
    {
      method: 'GET',
      path: `${SHARD}/records`,
      id: 'listRecords',
      tag: 'records',
      summary: 'Lists records in byte order of their ids, page by page.',
      access: 'read',
      query: object({ ...page, includeVectors: flag }, []),
      answer: {
        status: 200,
        description:
          'One page, shorter than the limit where vectors would take over 16 MiB; nextCursor is null on the last.',
        schema: object({ records: listOf(record), nextCursor: nullableText }),
      },
      run: ({ params, query }: Call) => pageOf(db, params['shard'] ?? '', query),
    },
    {
      method: 'POST',
      path: `${SHARD}/count`,
      id: 'countRecords',
      tag: 'records',
      summary: 'Counts all records, or those that match a filter.',
      access: 'read',
      body: object({ filter }, []),
      answer: { status: 200, description: 'Number of records.', schema: object({ count }) },
      run: ({ params, body }) => {
        const { filter: passing } = body as { readonly filter?: Filter }
        return metrics.store.query('count', () => ({
          count: db.count(params['shard'] ?? '', passing),
        }))
      },
    },
  ]
}

/** A page that is read slice by slice while it is sent. */
function pageOf(
  db: SQLiteVectorDB,
  shardId: string,
  { cursor = null, limit = 100, includeVectors = false }: ListOptions,
): Parted {
  const { dimension } = db.replica.shardState(shardId)
  const vectorBytes = includeVectors ? dimension * 4 : 0
  const most =
    vectorBytes === 0 ? limit : Math.min(limit, Math.floor(ANSWER_VECTOR_BYTES_MAX / vectorBytes))
  const slice =
    vectorBytes === 0
      ? SLICE_RECORDS
      : Math.max(1, Math.min(SLICE_RECORDS, Math.floor(SLICE_VECTOR_BYTES / vectorBytes)))
  const read = (from: string | null, left: number) =>
    db.list(shardId, { cursor: from, limit: Math.min(left, slice), includeVectors })
  // The first slice is read before the answer begins, so that its errors have a status.
  let current = read(cursor, most)
  let left = most - current.records.length
  function* records(): Generator<VectorRecord> {
    yield* current.records
    while (current.nextCursor !== null && left > 0) {
      current = read(current.nextCursor, left)
      left -= current.records.length
      yield* current.records
    }
  }
  return { records: new Items(records(), recordJson), nextCursor: () => current.nextCursor }
}

/** Records by id, read slice by slice while they are sent. */
function* manyOf(
  db: SQLiteVectorDB,
  shardId: string,
  ids: readonly string[],
): Generator<VectorRecord | null> {
  for (let index = 0; index < ids.length; index += SLICE_RECORDS) {
    yield* db.getMany(shardId, ids.slice(index, index + SLICE_RECORDS))
  }
}
