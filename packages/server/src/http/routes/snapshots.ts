/**
 * Routes for snapshots: copies of the file in use, in the folder that the configuration names.
 *
 * Names consist of letters, digits, dots, dashes and underscores, so they cannot leave the folder.
 * Snapshots are never overwritten or deleted.
 */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { NodeContext } from '../context.ts'
import { HttpError } from '../errors.ts'
import type { Route } from '../route.ts'
import { count, listOf, object, text } from '../schemas.ts'

const NAME = '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$'

const snapshot = object({ name: text, bytes: count, atMs: { type: 'number' } })

export function snapshotRoutes(context: NodeContext): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/v1/snapshots',
      id: 'listSnapshots',
      tag: 'snapshots',
      summary: 'Lists the snapshots in the folder.',
      access: 'read',
      answer: {
        status: 200,
        description: 'The snapshots, by name.',
        schema: object({ snapshots: listOf(snapshot) }),
      },
      errors: ['HTTP_SNAPSHOTS_OFF'],
      run: () => ({ snapshots: listSnapshots(folderOf(context)) }),
    },
    {
      method: 'POST',
      path: '/v1/snapshots',
      id: 'takeSnapshot',
      isUnbounded: true,
      tag: 'snapshots',
      summary: 'Copies the database, checks the copy, and answers when both are done.',
      access: 'write',
      body: object({
        name: { type: 'string', pattern: NAME, description: 'Name of the snapshot file.' },
      }),
      answer: {
        status: 201,
        description: 'The copy.',
        schema: object({ name: text, bytes: count }),
      },
      errors: ['HTTP_SNAPSHOTS_OFF', 'HTTP_SNAPSHOT_EXISTS', 'STORE_IO'],
      run: async ({ body, signal }) => {
        const { name } = body as { readonly name: string }
        const path = join(folderOf(context), name)
        if (existsSync(path)) {
          throw new HttpError('HTTP_SNAPSHOT_EXISTS', `a snapshot named ${name} exists`)
        }
        return { name, bytes: await context.db.snapshot(path, { signal }) }
      },
    },
  ]
}

function folderOf({ config }: NodeContext): string {
  const { folder } = config.snapshots
  if (folder !== null) return folder
  throw new HttpError('HTTP_SNAPSHOTS_OFF', 'snapshots.folder is off on this node')
}

function listSnapshots(folder: string): unknown {
  const pattern = new RegExp(NAME)
  return readdirSync(folder, { withFileTypes: true })
    .filter(
      (entry) => entry.isFile() && pattern.test(entry.name) && !entry.name.endsWith('.partial'),
    )
    .map(({ name }) => {
      const { size, mtimeMs } = statSync(join(folder, name))
      return { name, bytes: size, atMs: mtimeMs }
    })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
}
