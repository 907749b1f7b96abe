/**
 * Ways to damage a database and its surroundings, for the tests of `doctor`.
 */
import { chownSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { temporaryFolder } from '../helpers.ts'

export function damage(path: string): void {
  const bytes = readFileSync(path)
  // Behind the first page, so that the header still reads.
  bytes.fill(0x5a, 8_192, bytes.length - 4_096)
  writeFileSync(path, bytes)
}

export function foreign(path: string): void {
  rmSync(path)
  using db = new DatabaseSync(path)
  db.exec('PRAGMA application_id = 77; CREATE TABLE t (x); INSERT INTO t VALUES (1)')
}

export function newer(path: string): void {
  using db = new DatabaseSync(path)
  db.exec('PRAGMA user_version = 999999')
}

export function chownPart(path: string): void {
  for (const name of ['', ...readdirSync(`${path}-node`)])
    chownSync(join(`${path}-node`, name), 1_234, 1_234)
}

export async function conflict({ path }: { readonly path: string }): Promise<void> {
  using home = temporaryFolder()
  using other = await createVectorDB({ path: join(home.path, 'b.db') })
  other.createShard('notes', { dimension: 2 })
  other.insert('notes', { id: 'x', embedding: [2, 1] })
  using db = await createVectorDB({ path })
  const query = { after: 0, countMax: 10, bytesMax: 1_000_000, known: new Map() }
  const { changes, state, through } = other.replica.readDelta('notes', query)
  db.replica.applyDelta('notes', changes, {
    peer: 'f'.repeat(64),
    logId: state.logId,
    cursor: through,
  })
}
