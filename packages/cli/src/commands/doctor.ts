/**
 * `sqlite-vector doctor`: checks a node and names remedies; the checks are in doctor/checks.ts.
 * Also `vacuum`, the remedy of several checks.
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
  endsAtOnce: true,
  words: ['doctor'],
  summary:
    'Check file, log, permissions, clock, peers, certificates, indexes and disk, and name remedies.',
  details: 'Reads the whole file and changes nothing. Exit code 3 when a check needs attention.',
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
  endsAtOnce: true,
  words: ['vacuum'],
  summary:
    'Collect the tombstones that every known peer holds, and return free pages to the file system.',
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
      () => `collected ${tombstones} tombstones, freed ${formatBytes(bytes)}`,
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
  // A damaged file is never opened for writing.
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
