/**
 * A command: words, arguments and options as data, and a function that runs it.
 *
 * Help, completion and docs/reference/cli.md are generated from this data alone (help.ts,
 * completion.ts), so they always match the parser (parse.ts). Commands parse, call the library or a
 * node, and print. A wrong call is a {@link UsageError} (exit code 2); any other error is a failure
 * (exit code 1).
 */
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import type { Reporter } from './terminal.ts'

/** Exit codes, as documented in docs/reference/cli.md. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  /** The command succeeded and found something that needs attention. */
  found: 3,
  interrupted: 130,
} as const

/** A wrong call of a command; the message names the mistake. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** A positional argument. */
export interface Argument {
  /** Name in lower case; help shows it in upper case. */
  readonly name: string
  readonly summary: string
  readonly optional?: true
  /** Takes all remaining arguments; only the last argument may. */
  readonly many?: true
  /** Completions that a shell offers: file names, or these words. */
  readonly choices?: 'file' | readonly string[]
}

/** An option `--name`. */
export interface Option {
  readonly name: string
  readonly short?: string
  /** Name of the value in help; an option without one is a flag. */
  readonly value?: string
  readonly many?: true
  readonly summary: string
  /** Default shown in help; the command applies it. */
  readonly default?: string
  /** Environment variable that is read when the option is absent. */
  readonly environment?: string
  readonly choices?: 'file' | readonly string[]
}

/**
 * The target of a command: nothing, a database file on this machine, or a node, which is a file or
 * a server (`--url`).
 */
export type Target = 'none' | 'file' | 'node'

export interface Command {
  /** `['trust', 'add']` is called as `sqlite-vector trust add`. */
  readonly words: readonly string[]
  readonly summary: string
  /** More than a line, shown by `--help`. */
  readonly details?: string
  readonly target: Target
  readonly arguments: readonly Argument[]
  readonly options: readonly Option[]
  /** The settings of a node as options; docs/reference/configuration.md lists them. */
  readonly settings?: readonly Option[]
  /** True for a command that is one long call into SQLite: a signal ends the process at once. */
  readonly endsAtOnce?: true
  /** True for a command that goes on when the reader of its output has gone. */
  readonly outlivesReader?: true
  /** Resolves with the exit code. */
  run(call: Call): Promise<number>
}

/** One call of a command: its input and its output. */
export interface Call {
  readonly command: Command
  /**
   * Aborted by the first Ctrl-C or SIGTERM: the command stops at the next point from which it can
   * resume.
   */
  readonly signal: AbortSignal
  /** True with `--json`. */
  readonly json: boolean
  /** Progress and notes on stderr; silent with `--json`. */
  readonly reporter: Reporter
  /** An argument that is not optional. */
  argument(name: string): string
  optional(name: string): string | undefined
  /** All values of the argument that takes many. */
  rest(): readonly string[]
  /** The value of an option, or of its environment variable. */
  text(name: string): string | undefined
  texts(name: string): readonly string[]
  flag(name: string): boolean
  /** A positive integer. @throws UsageError */
  count(name: string, fallback: number): number
  /** A finite number. @throws UsageError */
  number(name: string): number | undefined
  /** JSON given as text, as `@FILE`, or on stdin as `-`. @throws UsageError */
  jsonValue(name: string): unknown
  /** Prints one answer: a JSON object with `--json`, text otherwise. */
  print(value: unknown, text: () => string): void
}

/** `--database`, as every command on a file has it. */
export const DATABASE_OPTION: Option = {
  name: 'database',
  short: 'd',
  value: 'FILE',
  summary: 'database file',
  default: 'sqlite-vector.db',
  environment: 'SQLITE_VECTOR_DATABASE',
  choices: 'file',
}

/** The options of commands that may also talk to a server. */
export const URL_OPTIONS: readonly Option[] = [
  {
    name: 'url',
    value: 'URL',
    summary: 'use the server at this URL instead of a file',
    environment: 'SQLITE_VECTOR_URL',
  },
  {
    name: 'key-file',
    value: 'FILE',
    summary: "file with the server's API key; SQLITE_VECTOR_API_KEY can hold the key itself",
    choices: 'file',
  },
]

/** `--json` and `--help`, which every command has. */
export const COMMON_OPTIONS: readonly Option[] = [
  { name: 'json', summary: 'print JSON: one object, or one per line for lists' },
  { name: 'help', short: 'h', summary: 'show this help' },
]

/** All options of a command, in the order of help. */
export function optionsOf(command: Command): readonly Option[] {
  return [
    ...command.options,
    ...(command.settings ?? []),
    ...(command.target === 'none' ? [] : [DATABASE_OPTION]),
    ...(command.target === 'node' ? URL_OPTIONS : []),
    ...COMMON_OPTIONS,
  ]
}

/** `trust add`. */
export function nameOf(command: Command): string {
  return command.words.join(' ')
}

/** Path of an existing database: commands that only read never create one. @throws UsageError */
export function existingDatabase(call: Call): string {
  const path = databaseOf(call)
  if (path !== ':memory:' && existsSync(path)) return path
  throw new UsageError(`${path} does not exist; create it with: sqlite-vector init -d ${path}`)
}

/** The path of the database of a call. */
export function databaseOf(call: Call): string {
  return call.text('database') ?? 'sqlite-vector.db'
}

/** Folder of a database's keys and trust list: beside the file itself, however it was reached. */
export function nodeFolder(database: string): string {
  return `${existsSync(database) ? realpathSync(database) : database}-node`
}

/** Reads a text file; `-` reads stdin. @throws UsageError */
export function readText(path: string): string {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8')
  } catch (error) {
    throw new UsageError(`cannot read ${path}: ${(error as Error).message}`, { cause: error })
  }
}

/** Returns the value if it is one of `words`. @throws UsageError */
export function oneOfWords<Word extends string>(
  what: string,
  given: string,
  words: readonly Word[],
): Word {
  const found = words.find((word) => word === given)
  if (found !== undefined) return found
  throw new UsageError(`${what} takes ${words.join(', ')}; got ${given}`)
}

/** Default node name of a database file: `notes.db` gives `notes`. */
export function nameOfFile(path: string): string {
  const name = (path.split(/[/\\]/).at(-1) ?? '').replace(/\.[^.]*$/, '')
  return name === '' ? 'node' : name
}
