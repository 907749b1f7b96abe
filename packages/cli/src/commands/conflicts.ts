/**
 * `sqlite-vector conflicts`: lists, shows, resolves and restores records with concurrent writes.
 */
import { writeFileSync } from 'node:fs'
import { type Call, type Command, EXIT, oneOfWords, readText, UsageError } from '../command.ts'
import { plainValue } from '../node/local.ts'
import { withNode } from '../node/open.ts'
import type { DecisionRequest, ResolutionToken } from '../node/types.ts'

const SHARD = { name: 'shard', summary: 'the shard' }
const ID = { name: 'id', summary: 'the record' }
const STRATEGIES = ['last-write-wins', 'first-write-wins', 'merge'] as const
const PAGE = 1_000

export const conflictsListCommand: Command = {
  words: ['conflicts', 'list'],
  summary: 'List the records of a shard with open conflicts.',
  target: 'node',
  arguments: [SHARD],
  options: [],
  run: (call) =>
    withNode(call, async (node) => {
      let found = 0
      let cursor: string | null = null
      do {
        const page = await node.conflicts(call.argument('shard'), { cursor, limit: PAGE })
        for (const conflict of page.conflicts) {
          found += 1
          const line = `${conflict.id}  ${conflict.siblingCount} writes${conflict.visible ? '' : ', shown as deleted'}`
          process.stdout.write(`${call.json ? JSON.stringify(conflict) : line}\n`)
        }
        cursor = page.nextCursor
      } while (cursor !== null && !call.signal.aborted)
      return found === 0 ? EXIT.done : EXIT.found
    }),
}

export const conflictsShowCommand: Command = {
  words: ['conflicts', 'show'],
  summary: 'Show the writes of a record in conflict, with their nodes and times.',
  target: 'node',
  arguments: [SHARD, ID],
  options: [],
  run: (call) =>
    withNode(call, async (node) => {
      const conflict = await node.conflict(call.argument('shard'), call.argument('id'))
      if (conflict === null) {
        process.stderr.write(`${call.argument('id')} has no open conflict\n`)
        return EXIT.failed
      }
      if (call.json) {
        process.stdout.write(`${JSON.stringify(conflict, plainValue)}\n`)
        return EXIT.done
      }
      for (const { dot, nodeId, atMs, value } of conflict.siblings) {
        process.stdout.write(
          `${dot}  ${nodeId ?? 'unknown node'}  ${new Date(atMs).toISOString()}\n`,
        )
        process.stdout.write(
          value === null
            ? '        deleted\n'
            : `        ${JSON.stringify(value.metadata)}\n        ${value.text ?? ''}`.trimEnd() +
                '\n',
        )
      }
      return EXIT.done
    }),
}

export const conflictsResolveCommand: Command = {
  words: ['conflicts', 'resolve'],
  summary: 'Resolve a conflict with a write that supersedes all sides and replicates.',
  details: '--undo-file saves the input of `conflicts undo`.',
  target: 'node',
  arguments: [SHARD, ID],
  options: [
    { name: 'choose', value: 'WRITE', summary: 'this write, as `conflicts show` prints it' },
    {
      name: 'strategy',
      value: 'NAME',
      summary: 'the result of this strategy',
      choices: STRATEGIES,
    },
    { name: 'delete', summary: 'delete the record' },
    {
      name: 'undo-file',
      value: 'FILE',
      summary: 'file to save the input of `conflicts undo` in',
      choices: 'file',
    },
  ],
  run: (call) =>
    withNode(call, async (node) => {
      const shardId = call.argument('shard')
      const id = call.argument('id')
      const resolution = await node.resolveConflict(shardId, id, decisionOf(call))
      const undoFile = call.text('undo-file')
      if (undoFile !== undefined) {
        writeFileSync(undoFile, `${JSON.stringify(resolution)}\n`, { mode: 0o600 })
      }
      call.print({ resolution }, () => `decided ${id}`)
      return EXIT.done
    }),
}

export const conflictsUndoCommand: Command = {
  words: ['conflicts', 'undo'],
  summary: 'Restore the record as it was before a decision, with a new write.',
  target: 'node',
  arguments: [
    { name: 'file', summary: 'file that --undo-file wrote; - reads stdin', choices: 'file' },
  ],
  options: [],
  run: (call) =>
    withNode(call, async (node) => {
      const undone = await node.undoConflict(tokenOf(call.argument('file')))
      call.print({ undone }, () =>
        undone
          ? 'undone'
          : 'not undone: the record was written after the decision, and that write stands',
      )
      return undone ? EXIT.done : EXIT.failed
    }),
}

function decisionOf(call: Call): DecisionRequest {
  const choose = call.text('choose')
  const strategy = call.text('strategy')
  const decisions = [choose !== undefined, strategy !== undefined, call.flag('delete')]
  if (decisions.filter(Boolean).length !== 1) {
    throw new UsageError('give one of --choose, --strategy and --delete')
  }
  if (choose !== undefined) return { choose }
  if (strategy !== undefined) return { strategy: oneOfWords('--strategy', strategy, STRATEGIES) }
  return { delete: true }
}

function tokenOf(path: string): ResolutionToken {
  try {
    const value: unknown = JSON.parse(readText(path))
    const isToken =
      typeof value === 'object' &&
      value !== null &&
      'dot' in value &&
      'shardId' in value &&
      'id' in value
    if (isToken) return value as ResolutionToken
  } catch (error) {
    if (error instanceof UsageError) throw error
  }
  throw new UsageError(`${path} was not written by --undo-file`)
}
