/**
 * What a command is: words, arguments and options as data, and a function that does it.
 *
 * Help, completion and docs/reference/cli.md are made from this data alone (help.ts, completion.ts), so they cannot
 * differ from what is parsed (parse.ts). Commands parse, call the library or a node, and print; they decide
 * nothing. A wrong call is a {@link UsageError} (exit code 2), a failure is any other error (exit code 1).
 */
import { existsSync, readFileSync } from 'node:fs'
import type { Reporter } from './terminal.ts'

/** What a process ends with; docs/reference/cli.md says the same. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  /** The command did its work and found something that needs a person. */
  found: 3,
  interrupted: 130,
} as const

/** The command was called wrongly; the message says how. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** A positional argument. */
export interface Argument {
  /** Upper case in help, such as `shard`. */
  readonly name: string
  readonly summary: string
  readonly optional?: true
  /** Takes all that follow; only the last one may. */
  readonly many?: true
  /** What a shell may offer: names of files, or these words. */
  readonly choices?: 'file' | readonly string[]
}

/** An option `--name`. */
export interface Option {
  readonly name: string
  readonly short?: string
  /** What the value is called in help; an option without one is a flag. */
  readonly value?: string
  readonly many?: true
  readonly summary: string
  /** Shown in help; the command applies it. */
  readonly default?: string
  /** The environment variable that gives the value where the option is not given. */
  readonly environment?: string
  readonly choices?: 'file' | readonly string[]
}

/**
 * What a command works on: nothing, a database file of this machine, or a node, which is a file or a
 * server (`--url`).
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
  /** Options that belong to another table, which another page documents: those of a node. */
  readonly settings?: readonly Option[]
  /** Resolves with the exit code. */
  run(call: Call): Promise<number>
}

/** One call of a command: what was given, and where answers go. */
export interface Call {
  readonly command: Command
  /** Aborted by the first Ctrl-C or SIGTERM: stop at the next place from where one can go on. */
  readonly signal: AbortSignal
  /** True with `--json`. */
  readonly json: boolean
  /** Progress and notes for a person: on stderr, and nowhere with `--json`. */
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
  /** JSON given as text, or in a file as `@FILE`, or on stdin as `-`. @throws UsageError */
  jsonValue(name: string): unknown
  /** One answer: a JSON object with `--json`, otherwise the text. */
  print(value: unknown, text: () => string): void
}

/** `--database`, as every command on a file has it. */
export const DATABASE_OPTION: Option = {
  name: 'database',
  short: 'd',
  value: 'FILE',
  summary: 'the database file',
  default: 'sqlite-vector.db',
  environment: 'SQLITE_VECTOR_DATABASE',
  choices: 'file',
}

/** The options of commands that may also talk to a server. */
export const URL_OPTIONS: readonly Option[] = [
  {
    name: 'url',
    value: 'URL',
    summary: 'ask the server there instead of opening a file',
    environment: 'SQLITE_VECTOR_URL',
  },
  {
    name: 'key-file',
    value: 'FILE',
    summary: 'file with the API key of the server; or the key itself in SQLITE_VECTOR_API_KEY',
    choices: 'file',
  },
]

/** `--json` and `--help`, which every command has. */
export const COMMON_OPTIONS: readonly Option[] = [
  { name: 'json', summary: 'print JSON: one object, or one per line where there are many' },
  { name: 'help', short: 'h', summary: 'say what the command does' },
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

/** The database of a call, which must be there: commands that only look never make one. */
export function existingDatabase(call: Call): string {
  const path = databaseOf(call)
  if (path !== ':memory:' && existsSync(path)) return path
  throw new UsageError(`there is no file ${path}; make one with: sqlite-vector init -d ${path}`)
}

/** The path of the database of a call. */
export function databaseOf(call: Call): string {
  return call.text('database') ?? 'sqlite-vector.db'
}

/** The folder of keys and trust that belongs to a database file. */
export function nodeFolder(database: string): string {
  return `${database}-node`
}

/** The text of a file, or of stdin where it is `-`. @throws UsageError */
export function readText(path: string): string {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8')
  } catch (error) {
    throw new UsageError(`cannot read ${path}: ${(error as Error).message}`, { cause: error })
  }
}

/** The value when it is one of these. @throws UsageError */
export function oneOfWords<Word extends string>(
  what: string,
  given: string,
  words: readonly Word[],
): Word {
  const found = words.find((word) => word === given)
  if (found !== undefined) return found
  throw new UsageError(`${what} takes ${words.join(', ')}; got ${given}`)
}

/** `notes.db` is called notes, unless it is told otherwise. */
export function nameOfFile(path: string): string {
  const name = (path.split(/[/\\]/).at(-1) ?? '').replace(/\.[^.]*$/, '')
  return name === '' ? 'node' : name
}
