/**
 * `sqlite-vector doctor`: checks a node and names remedies; the checks are in doctor/checks.ts.
 * Also `vacuum`, the remedy of several checks.
 */
import { type Command, databaseOf, EXIT, existingDatabase } from '../command.ts'
import type { Finding } from '../doctor/finding.ts'
import { formatBytes } from '../terminal.ts'

const MARKS = { ok: 'ok     ', warning: 'warning', failed: 'FAILED ' } as const

export const doctorCommand: Command = {
  endsAtOnce: true,
  words: ['doctor'],
  summary:
    'Check file, log, permissions, clock, peers, certificates, indexes and disk, and name remedies.',
  details:
    'Changes nothing: contents are checked in a private copy in the temporary folder. Exit code 3 when a check needs attention.',
  target: 'file',
  arguments: [],
  options: [{ name: 'offline', summary: 'contact no peer' }],
  async run(call) {
    const { examine } = await import('../doctor/examine.ts')
    const findings = await examine(databaseOf(call), {
      signal: call.signal,
      offline: call.flag('offline'),
    })
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

function lineOf({ check, state, detail, advice }: Finding): string {
  const line = `${MARKS[state]}  ${check}: ${detail}`
  return advice === null ? line : `${line}\n           ${advice}`
}
