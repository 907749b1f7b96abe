#!/usr/bin/env node
/**
 * The `sqlite-vector` command: picks a subcommand, parses its options, runs it, sets the exit code.
 *
 * Exit codes: 0 done, 1 failed, 2 called wrongly. What a command does is in commands/.
 */
import { createRequire } from 'node:module'
import { parseArgs } from 'node:util'
import { SqliteVectorError } from '@agentic-flow/sqlite-vector/errors'
import { UsageError, type Command } from './command.ts'
import { demoCommand } from './commands/demo.ts'
import { listenCommand, syncCommand } from './commands/sync.ts'
import { fingerprintCommand, trustCommand } from './commands/trust.ts'
import { searchCommand, statsCommand } from './commands/read.ts'

const COMMANDS: readonly Command[] = [
  demoCommand,
  fingerprintCommand,
  trustCommand,
  listenCommand,
  syncCommand,
  statsCommand,
  searchCommand,
]

function overview(): string {
  const width = Math.max(...COMMANDS.map((command) => command.name.length))
  return [
    'usage: sqlite-vector COMMAND …',
    '',
    ...COMMANDS.map((command) => `  ${command.name.padEnd(width)}  ${command.summary}`),
    '',
    'sqlite-vector COMMAND --help says more about one. --version prints the version.',
    '',
  ].join('\n')
}

function helpOf(command: Command): string {
  return [
    `usage: sqlite-vector ${command.name} ${command.usage}`,
    '',
    command.summary,
    ...(command.optionHelp.length === 0
      ? []
      : ['', ...command.optionHelp.map((line) => `  ${line}`)]),
    '',
  ].join('\n')
}

function version(): string {
  const manifest = createRequire(import.meta.url)('../package.json') as { version: string }
  return manifest.version
}

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args
  if (name === '--version' || name === '-v') {
    process.stdout.write(`${version()}\n`)
    return 0
  }
  if (name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(overview())
    return 0
  }
  const command = COMMANDS.find((candidate) => candidate.name === name)
  if (command === undefined) {
    process.stderr.write(name === undefined ? overview() : `no command ${name}\n\n${overview()}`)
    return 2
  }
  if (rest.includes('--help') || rest.includes('-h')) {
    process.stdout.write(helpOf(command))
    return 0
  }
  return runCommand(command, rest)
}

async function runCommand(command: Command, args: readonly string[]): Promise<number> {
  try {
    const { positionals, values } = parseArgs({
      args: [...args],
      options: command.options,
      allowPositionals: true,
    })
    return await command.run(positionals, values)
  } catch (error) {
    if (error instanceof UsageError || isParseError(error)) {
      process.stderr.write(`${(error as Error).message}\n\n${helpOf(command)}`)
      return 2
    }
    process.stderr.write(`${describe(error)}\n`)
    return 1
  }
}

function isParseError(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return code.startsWith('ERR_PARSE_ARGS')
}

/** An operating error is said with its code and hint; a bug keeps its stack. */
function describe(error: unknown): string {
  if (error instanceof SqliteVectorError) return `${error.code}: ${error.message}\n${error.hint}`
  if (error instanceof TypeError || error instanceof RangeError) return error.message
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

process.exitCode = await main(process.argv.slice(2))
