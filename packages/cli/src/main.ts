#!/usr/bin/env node
/**
 * The `sqlite-vector` program: selects a command, parses its options, runs it, sets the exit code.
 *
 * The first Ctrl-C (or SIGTERM) asks the command to stop at a point from which it can resume; the
 * second ends the process at once. Exit codes are those of {@link EXIT}. Commands are in commands/.
 */
import { createRequire } from 'node:module'
import { setTimeout as delay } from 'node:timers/promises'
import { MessageChannel } from 'node:worker_threads'
import { SqliteVectorError } from '@agentic-flow/sqlite-vector/errors'
import { type Command, EXIT, nameOf, UsageError } from './command.ts'
import { COMMANDS } from './command-table.ts'
import { RemoteError } from './node/remote-error.ts'
import { helpOf, overview, usageOf } from './help.ts'
import { hintOf } from './hints.ts'
import { chooseCommand, commandFirst, parseCall } from './parse.ts'
import { InputError } from './formats/input-error.ts'

function version(): string {
  const manifest = createRequire(import.meta.url)('../package.json') as { version: string }
  return manifest.version
}

/** The words of this call. */
const called = process.argv.slice(2)

/** The command under way. */
let running: Command | null = null

async function main(given: readonly string[]): Promise<number> {
  const words = commandFirst(COMMANDS, given)
  const [first] = words
  const isJson = given.includes('--json')
  if (first === '--version' || first === '-v') return answer(`${version()}\n`)
  if (first === undefined) return complain('a command is missing', isJson)
  if (first === '--help' || first === '-h') return answer(overview(COMMANDS))
  const wantsHelp = first === 'help' || words.includes('--help') || words.includes('-h')
  const choice = chooseCommand(COMMANDS, first === 'help' ? words.slice(1) : words)
  switch (choice.type) {
    case 'command':
      return wantsHelp ? answer(helpOf(choice.command)) : runCommand(choice.command, choice.rest)
    case 'noun':
      if (wantsHelp) return answer(overview(choice.commands))
      return complain(nounText(choice.words, choice.commands), isJson)
    case 'unknown':
      if (choice.word === '') return answer(overview(COMMANDS))
      return complain(unknownText(choice.word, choice.nearest), isJson)
  }
  return unreachable(choice)
}

function unknownText(word: string, nearest: string | null): string {
  return `unknown command ${word}${nearest === null ? '' : `; did you mean ${nearest}?`}`
}

function nounText(nouns: readonly string[], commands: readonly Command[]): string {
  return `${nouns.join(' ')} takes one of: ${commands.map((command) => command.words[1]).join(', ')}`
}

/** The compiler checks that every case is handled. */
function unreachable(value: never): never {
  throw new Error(`unexpected ${JSON.stringify(value)}`)
}

function answer(text: string): number {
  process.stdout.write(text)
  return EXIT.done
}

/** A wrong call outside a command: short, with the way to more. */
function complain(message: string, isJson: boolean): number {
  process.stderr.write(
    isJson
      ? `${JSON.stringify({ error: { code: 'USAGE', message } })}\n`
      : `${message}\nsqlite-vector --help lists the commands\n`,
  )
  return EXIT.usage
}

/** Longest time between the first Ctrl-C and the end, in milliseconds. */
const INTERRUPT_MS = 900

async function runCommand(command: Command, rest: readonly string[]): Promise<number> {
  running = command
  const interrupt = new AbortController()
  const onSignal = (): void => {
    if (interrupt.signal.aborted) process.exit(EXIT.interrupted)
    interrupt.abort(new Error('interrupted'))
    // A node takes the time of its grace period; everything else ends within a second.
    if (command.outlivesReader === true) return
    void delay(INTERRUPT_MS, null, { ref: false }).then(() => process.exit(EXIT.interrupted))
  }
  // One long call into SQLite cannot be interrupted by a handler; the default action can end it.
  if (command.endsAtOnce !== true) process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
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
    const { code, message } = error
    const hint = hintOf(error)
    return { code, message, ...(hint === undefined ? {} : { hint }) }
  }
  if (isOfSystem(error)) return { code: 'SYSTEM', message: error.message }
  const message = error instanceof Error ? error.message : String(error)
  return { code: isUsage ? 'USAGE' : 'FAILED', message }
}

/** Formats an operating error with its code and hint, and a bug with its stack. */
function describe(error: unknown): string {
  if (isCoded(error)) {
    const hint = hintOf(error)
    return `${error.code}: ${error.message}${hint === undefined ? '' : `\n${hint}`}`
  }
  if (isOfSystem(error)) return `SYSTEM: ${error.message}`
  if (error instanceof TypeError || error instanceof RangeError) return error.message
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

interface Coded {
  readonly code: string
  readonly message: string
  readonly hint?: string | undefined
}

/** Errors that carry a code and a hint: the library's, a server's, a node's, an input file's. */
function isCoded(error: unknown): error is Coded {
  return (
    error instanceof SqliteVectorError ||
    error instanceof InputError ||
    error instanceof RemoteError ||
    (error instanceof Error && error.name === 'NodeError' && 'code' in error)
  )
}

/** A failed call of the operating system: a path, port or device that does not work as asked. */
function isOfSystem(error: unknown): error is NodeJS.ErrnoException {
  return (
    error instanceof Error &&
    'syscall' in error &&
    'code' in error &&
    /^E[A-Z0-9]+$/.test(String(error.code))
  )
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') {
    const message = `cannot write to stdout: ${error.message}`
    process.stderr.write(
      called.includes('--json')
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
process.exitCode = await main(called)
