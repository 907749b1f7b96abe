/**
 * `sqlite-vector snapshot` and `restore`: copies a database in use, and replaces a database with a
 * copy.
 */
import { existsSync, copyFileSync, mkdirSync, renameSync, rmSync, constants } from 'node:fs'
import { dirname } from 'node:path'
import { type Call, type Command, databaseOf, EXIT, UsageError } from '../command.ts'
import { withNode } from '../node/open.ts'
import { formatBytes, formatCount } from '../terminal.ts'

export const snapshotCommand: Command = {
  words: ['snapshot'],
  summary: 'Copy the database while it is in use, and check the copy.',
  details: 'The copy appears under its name when it is complete.',
  target: 'node',
  arguments: [
    {
      name: 'file',
      summary:
        "the copy; existing files are never replaced. With --url a name in the server's snapshot folder",
      choices: 'file',
    },
  ],
  options: [],
  run: (call) =>
    withNode(call, async (node) => {
      const file = call.argument('file')
      const bytes = await node.snapshot(file, call.signal)
      call.print({ file, bytes }, () => `${file}: ${formatBytes(bytes)}`)
      return EXIT.done
    }),
}

export const restoreCommand: Command = {
  words: ['restore'],
  summary: 'Replace a database that no process has open with a snapshot.',
  details:
    'The copy is opened and checked first. With --replace the existing file is kept as FILE.replaced. The node keeps its key and trust list and writes under a new actor id. Peers send back the writes made since the snapshot.',
  target: 'file',
  arguments: [{ name: 'snapshot', summary: 'the file that `snapshot` wrote', choices: 'file' }],
  options: [{ name: 'replace', summary: 'replace an existing database' }],
  run: restore,
}

async function restore(call: Call): Promise<number> {
  const source = call.argument('snapshot')
  const target = databaseOf(call)
  if (!existsSync(source)) throw new UsageError(`${source} does not exist`)
  const kept = `${target}.replaced`
  if (existsSync(target)) {
    if (!call.flag('replace'))
      throw new UsageError(`${target} exists; pass --replace to keep it as ${kept} and replace it`)
    if (existsSync(kept))
      throw new UsageError(`${kept} exists from an earlier restore; move it away`)
    await refuseOpenFile(target)
  }
  const { createVectorDB } = await import('@agentic-flow/sqlite-vector')
  mkdirSync(dirname(target), { recursive: true })
  const copy = `${target}.restoring`
  removeFile(copy)
  copyFileSync(source, copy, constants.COPYFILE_EXCL)
  let records = 0
  try {
    const db = await createVectorDB({ path: copy })
    try {
      for (const { shardId } of db.shards()) records += db.recount(shardId).recordCount
    } finally {
      db.close()
    }
    moveFile(target, kept)
    renameSync(copy, target)
  } finally {
    removeFile(copy)
  }
  call.print({ database: target, records }, () => `${target}: ${formatCount(records)} records`)
  return EXIT.done
}

/**
 * The last process that closes a file removes its write-ahead log. A log left after this process
 * opened and closed the file belongs to another process. A damaged file cannot be opened and may be
 * replaced.
 */
async function refuseOpenFile(path: string): Promise<void> {
  const { createVectorDB } = await import('@agentic-flow/sqlite-vector')
  const { SqliteVectorError } = await import('@agentic-flow/sqlite-vector/errors')
  try {
    const db = await createVectorDB({ path })
    db.close()
  } catch (error) {
    if (!(error instanceof SqliteVectorError) || error.code !== 'STORE_CORRUPT') throw error
    return
  }
  if (!existsSync(`${path}-wal`)) return
  throw new UsageError(`another process has ${path} open; stop it first`)
}

/** The log moves with its file: left beside another file, it would be applied to that one. */
function moveFile(from: string, to: string): void {
  for (const suffix of ['-wal', '-shm', '']) {
    if (existsSync(`${from}${suffix}`)) renameSync(`${from}${suffix}`, `${to}${suffix}`)
  }
}

function removeFile(path: string): void {
  for (const suffix of ['', '-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true })
}
