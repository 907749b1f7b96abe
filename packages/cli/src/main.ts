#!/usr/bin/env node
/**
 * The `sqlite-vector` program: selects a command, parses its options, runs it, sets the exit code.
 *
 * The first Ctrl-C (or SIGTERM) asks the command to stop at a point from which it can resume; the
 * second ends the process at once. Exit codes are those of {@link EXIT}. Commands are in commands/.
 */
import { createRequire } from 'node:module'
import { MessageChannel } from 'node:worker_threads'
import { SqliteVectorError } from '@agentic-flow/sqlite-vector/errors'
import { type Command, EXIT, nameOf, UsageError } from './command.ts'
import { COMMANDS } from './command-table.ts'
import { RemoteError } from './node/remote-error.ts'
import { helpOf, overview, usageOf } from './help.ts'
import { chooseCommand, parseCall } from './parse.ts'
import { InputError } from './formats/input-error.ts'

function version(): string {
  const manifest = createRequire(import.meta.url)('../package.json') as { version: string }
  return manifest.version
}

/** The words of this call. */
const words = process.argv.slice(2)

/** The command under way. */
let running: Command | null = null

async function main(given: readonly string[]): Promise<number> {
  const [first] = given
  if (first === '--version' || first === '-v') return answer(`${version()}\n`)
  if (first === undefined) return complain(overview(COMMANDS))
  if (first === '--help' || first === '-h') return answer(overview(COMMANDS))
  const wantsHelp = first === 'help' || given.includes('--help') || given.includes('-h')
  const choice = chooseCommand(COMMANDS, first === 'help' ? given.slice(1) : given)
  switch (choice.type) {
    case 'command':
      return wantsHelp ? answer(helpOf(choice.command)) : runCommand(choice.command, choice.rest)
    case 'noun':
      return (wantsHelp ? answer : complain)(overview(choice.commands))
    case 'unknown':
      if (choice.word === '') return answer(overview(COMMANDS))
      return complain(`${unknownText(choice.word, choice.nearest)}\n\n${overview(COMMANDS)}`)
  }
  return unreachable(choice)
}

function unknownText(word: string, nearest: string | null): string {
  return `unknown command ${word}${nearest === null ? '' : `; did you mean ${nearest}?`}`
}

/** The compiler checks that every case is handled. */
function unreachable(value: never): never {
  throw new Error(`unexpected ${JSON.stringify(value)}`)
}

function answer(text: string): number {
  process.stdout.write(text)
  return EXIT.done
}

function complain(text: string): number {
  process.stderr.write(text)
  return EXIT.usage
}

async function runCommand(command: Command, rest: readonly string[]): Promise<number> {
  running = command
  const interrupt = new AbortController()
  const onSignal = (): void => {
    if (interrupt.signal.aborted) process.exit(EXIT.interrupted)
    interrupt.abort(new Error('interrupted'))
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  // The library's timers never keep a process alive, so a waiting command must.
  const alive = new MessageChannel()
  alive.port1.on('message', () => undefined)
  const isJson = rest.includes('--json')
  try {
    const call = parseCall(command, rest, interrupt.signal, process.env)
    return await command.run(call)
  } catch (error) {
    if (interrupt.signal.aborted) {
      process.stderr.write('interrupted; committed records are kept\n')
      return EXIT.interrupted
    }
    return failed(command, error, isJson)
  } finally {
    alive.port1.close()
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}

function failed(command: Command, error: unknown, isJson: boolean): number {
  const isUsage = error instanceof UsageError
  const exitCode = isUsage ? EXIT.usage : EXIT.failed
  if (isJson) {
    process.stderr.write(`${JSON.stringify({ error: describedAsJson(error, isUsage) })}\n`)
  } else if (isUsage) {
    const help = `${usageOf(command)}\nsqlite-vector ${nameOf(command)} --help describes it`
    process.stderr.write(`${error.message}\n\nusage: ${help}\n`)
  } else {
    process.stderr.write(`${describe(error)}\n`)
  }
  return exitCode
}

function describedAsJson(error: unknown, isUsage: boolean): object {
  if (isCoded(error)) {
    const { code, message, hint } = error
    return { code, message, ...(hint === undefined ? {} : { hint }) }
  }
  const message = error instanceof Error ? error.message : String(error)
  return { code: isUsage ? 'USAGE' : 'FAILED', message }
}

/** Formats an operating error with its code and hint, and a bug with its stack. */
function describe(error: unknown): string {
  if (isCoded(error))
    return `${error.code}: ${error.message}${error.hint === undefined ? '' : `\n${error.hint}`}`
  if (error instanceof TypeError || error instanceof RangeError) return error.message
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

interface Coded {
  readonly code: string
  readonly message: string
  readonly hint?: string | undefined
}

function isCoded(error: unknown): error is Coded {
  return (
    error instanceof SqliteVectorError ||
    error instanceof InputError ||
    error instanceof RemoteError
  )
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') {
    const message = `cannot write to stdout: ${error.message}`
    process.stderr.write(
      words.includes('--json')
        ? `${JSON.stringify({ error: { code: 'OUTPUT_FAILED', message } })}\n`
        : `OUTPUT_FAILED: ${message}\n`,
    )
    process.exit(EXIT.failed)
  }
  // The reader of the pipe has closed it, as in `export | head`.
  if (running?.outlivesReader !== true) process.exit(EXIT.done)
})
process.stderr.on('error', () => {
  // Messages have no reader any more; the exit code still tells the outcome.
})
process.exitCode = await main(words)
