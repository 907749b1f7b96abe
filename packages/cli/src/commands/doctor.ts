/**
 * `sqlite-vector doctor`: looks at everything that tends to go wrong, and says what to do. The checks are in
 * doctor/checks.ts. And `vacuum`, which several of them advise.
 */
import {
  type Call,
  type Command,
  EXIT,
  existingDatabase,
  nameOfFile,
  nodeFolder,
} from '../command.ts'
import type { Finding } from '../doctor/checks.ts'
import { formatBytes } from '../terminal.ts'

const MARKS = { ok: 'ok     ', warning: 'warning', failed: 'FAILED ' } as const

export const doctorCommand: Command = {
  words: ['doctor'],
  summary:
    'Check file, log, permissions, clock, peers, certificates, indexes and disk; say what to do.',
  details: 'Reads the whole file. Changes nothing. Exit code 3 when something needs a person.',
  target: 'file',
  arguments: [],
  options: [{ name: 'offline', summary: 'contact no peer' }],
  async run(call) {
    const findings = await examine(call)
    call.print({ findings }, () => findings.map(lineOf).join('\n'))
    return findings.every(({ state }) => state === 'ok') ? EXIT.done : EXIT.found
  },
}

export const vacuumCommand: Command = {
  words: ['vacuum'],
  summary: 'Forget deletes that every known peer has, and give free pages back to the file system.',
  target: 'file',
  arguments: [],
  options: [],
  async run(call) {
    const { createVectorDB } = await import('@agentic-flow/sqlite-vector')
    using db = await createVectorDB({ path: existingDatabase(call) })
    let tombstones = 0
    for (const { shardId } of db.shards()) tombstones += db.collectTombstones(shardId)
    const bytes = db.vacuum()
    call.print(
      { tombstones, bytes },
      () => `forgot ${tombstones} deletes, gave back ${formatBytes(bytes)}`,
    )
    return EXIT.done
  },
}

async function examine(call: Call): Promise<readonly Finding[]> {
  const path = existingDatabase(call)
  const folder = nodeFolder(path)
  const checks = await import('../doctor/checks.ts')
  const nowMs = Date.now()
  const file = checks.checkFile(path)
  const around = [
    file,
    checks.checkWal(path),
    ...checks.checkFileModes(path, folder),
    await checks.checkDisk(path),
  ]
  // A damaged file is not opened for writing.
  if (file.state === 'failed') return around
  const { createVectorDB } = await import('@agentic-flow/sqlite-vector')
  try {
    using db = await createVectorDB({ path })
    const inside = [
      ...checks.checkShards(db),
      ...checks.checkIndexes(db),
      checks.checkClock(db, nowMs),
    ]
    const { createShardCoordinator } = await import('@agentic-flow/sqlite-vector/sync')
    await using coordinator = createShardCoordinator(db, nameOfFile(path))
    const certificates = checks.checkCertificates(folder, nowMs)
    const peers = call.flag('offline') ? [] : await checks.checkPeers(coordinator, call.signal)
    return [...around, ...inside, ...certificates, ...peers]
  } catch (error) {
    return [...around, checks.ofError('node', error)]
  }
}

function lineOf({ check, state, detail, advice }: Finding): string {
  const line = `${MARKS[state]}  ${check}: ${detail}`
  return advice === null ? line : `${line}\n           ${advice}`
}
