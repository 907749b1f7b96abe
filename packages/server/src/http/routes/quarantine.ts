/**
 * Routes for quarantine: list, retry and reject changes from peers that could not be applied.
 */
import type { NodeContext } from '../context.ts'
import type { Route } from '../route.ts'
import { count, listOf, object, text } from '../schemas.ts'

const BASE = '/v1/shards/{shard}/quarantine'

const entry = object({ entry: count, id: text, peer: text, reason: text, atMs: count })

export function quarantineRoutes({ db }: NodeContext): readonly Route[] {
  return [
    {
      method: 'GET',
      path: BASE,
      id: 'listQuarantine',
      tag: 'quarantine',
      summary: 'Lists quarantined changes, oldest first.',
      access: 'read',
      query: object(
        { after: count, limit: { type: 'integer', minimum: 1, maximum: 10_000, default: 100 } },
        [],
      ),
      answer: { status: 200, description: 'Entries.', schema: object({ entries: listOf(entry) }) },
      run: ({ params, query }) => ({ entries: db.listQuarantine(params['shard'] ?? '', query) }),
    },
    {
      method: 'POST',
      path: `${BASE}/retry`,
      id: 'retryQuarantine',
      tag: 'quarantine',
      summary: 'Applies one entry, or all entries of the shard, again.',
      access: 'write',
      body: object({ entry: count }, []),
      answer: {
        status: 200,
        description: 'Entries applied and entries left.',
        schema: object({ applied: count, left: count }),
      },
      errors: ['STORE_QUARANTINE_UNKNOWN'],
      run: ({ params, body }) => {
        const { entry: one } = body as { readonly entry?: number }
        return db.retryQuarantine(params['shard'] ?? '', one)
      },
    },
    {
      method: 'DELETE',
      path: `${BASE}/{entry}`,
      id: 'discardQuarantine',
      tag: 'quarantine',
      summary: 'Rejects a quarantined change on every replica.',
      access: 'write',
      answer: { status: 204, description: 'The change is rejected.' },
      errors: ['STORE_QUARANTINE_UNKNOWN'],
      run: ({ params }) => {
        const number = params['entry'] ?? ''
        if (!/^\d{1,15}$/.test(number)) throw new TypeError('entry must be an integer')
        db.discardQuarantine(params['shard'] ?? '', Number(number))
      },
    },
  ]
}
