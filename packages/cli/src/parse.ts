/**
 * Turns the words of a command line into a {@link Call}. Reads the environment for options that
 * name a variable.
 *
 * Not here: messages about a wrong call (main.ts) and the meaning of values (the commands).
 */
import { parseArgs } from 'node:util'
import {
  type Call,
  type Command,
  nameOf,
  type Option,
  optionsOf,
  readText,
  UsageError,
} from './command.ts'
import { quietReporterFor, silentReporter } from './terminal.ts'

type Values = Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>

/** The command that the first words select. */
export type Choice =
  | { readonly type: 'command'; readonly command: Command; readonly rest: readonly string[] }
  /** A noun with a missing or unknown verb; `commands` are the noun's. */
  | {
      readonly type: 'noun'
      readonly words: readonly string[]
      readonly commands: readonly Command[]
    }
  | { readonly type: 'unknown'; readonly word: string; readonly nearest: string | null }

/** Moves options that stand before the command behind its words. */
export function commandFirst(
  commands: readonly Command[],
  words: readonly string[],
): readonly string[] {
  const withValue = new Set(
    commands.flatMap((command) =>
      optionsOf(command)
        .filter(({ value }) => value !== undefined)
        .flatMap(({ name, short }) => [`--${name}`, ...(short === undefined ? [] : [`-${short}`])]),
    ),
  )
  let index = 0
  while (index < words.length && words[index]?.startsWith('-') === true) {
    index += withValue.has(words[index] ?? '') ? 2 : 1
  }
  if (index === 0 || index >= words.length) return words
  const rest = words.slice(index)
  const choice = chooseCommand(commands, rest)
  if (choice.type !== 'command') return rest
  const own = rest.slice(0, choice.command.words.length)
  return [...own, ...words.slice(0, index), ...choice.rest]
}

/** Selects the command with the most leading words in common. */
export function chooseCommand(commands: readonly Command[], words: readonly string[]): Choice {
  const [first = '', second] = words
  const ofNoun = commands.filter((command) => command.words[0] === first)
  if (ofNoun.length === 0) {
    const names = new Set(commands.map((command) => command.words[0] ?? ''))
    return { type: 'unknown', word: first, nearest: nearestOf(first, [...names]) }
  }
  const exact = ofNoun.find((command) => command.words.length === 2 && command.words[1] === second)
  if (exact !== undefined) return { type: 'command', command: exact, rest: words.slice(2) }
  const plain = ofNoun.find((command) => command.words.length === 1)
  if (plain !== undefined) return { type: 'command', command: plain, rest: words.slice(1) }
  return { type: 'noun', words: [first], commands: ofNoun }
}

/** Parses the remaining words into a call. @throws UsageError */
export function parseCall(
  command: Command,
  words: readonly string[],
  signal: AbortSignal,
  environment: Readonly<Record<string, string | undefined>>,
): Call {
  const options = optionsOf(command)
  const { values, positionals } = parsed(words, options)
  checkArguments(command, positionals)
  const isJson = values['json'] === true
  const named = new Map(options.map((option) => [option.name, option]))
  const text = (name: string): string | undefined => {
    const value = values[name]
    if (typeof value === 'string') return value
    const variable = named.get(name)?.environment
    const inherited = variable === undefined ? undefined : environment[variable]
    return inherited === '' ? undefined : inherited
  }
  const optional = (name: string): string | undefined =>
    positionals[command.arguments.findIndex((argument) => argument.name === name)]
  return {
    command,
    signal,
    json: isJson,
    reporter: isJson ? silentReporter : quietReporterFor(process.stderr),
    optional,
    argument: (name) => optional(name) ?? '',
    rest: () =>
      positionals.slice(command.arguments.findIndex((argument) => argument.many === true)),
    text,
    texts: (name) => {
      const value = values[name]
      return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
    },
    flag: (name) => values[name] === true,
    count: (name, fallback) => countOf(name, text(name), fallback),
    number: (name) => numberOf(name, text(name)),
    jsonValue: (name) => jsonOf(name, text(name)),
    print: (value, human) => {
      process.stdout.write(isJson ? `${JSON.stringify(value)}\n` : ensureNewline(human()))
    },
  }
}

function parsed(
  words: readonly string[],
  options: readonly Option[],
): { values: Values; positionals: readonly string[] } {
  try {
    return parseArgs({
      args: [...words],
      allowPositionals: true,
      options: Object.fromEntries(
        options.map(({ name, short, value, many }) => [
          name,
          {
            type: value === undefined ? ('boolean' as const) : ('string' as const),
            multiple: many === true,
            ...(short === undefined ? {} : { short }),
          },
        ]),
      ),
    })
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    if (!code.startsWith('ERR_PARSE_ARGS')) throw error
    throw new UsageError(withNearest((error as Error).message, options), { cause: error })
  }
}

/** Adds the nearest known option to the message about an unknown one. */
function withNearest(message: string, options: readonly Option[]): string {
  const unknown = /^Unknown option '--([^']+)'/.exec(message)?.[1]
  if (unknown === undefined) return message
  const nearest = nearestOf(
    unknown,
    options.map(({ name }) => name),
  )
  return `unknown option --${unknown}${nearest === null ? '' : `; did you mean --${nearest}?`}`
}

function checkArguments(command: Command, positionals: readonly string[]): void {
  const needed = command.arguments.filter((argument) => argument.optional !== true)
  const missing = needed[positionals.length]
  if (missing !== undefined) throw new UsageError(`${missing.name.toUpperCase()} is missing`)
  const takesMany = command.arguments.some((argument) => argument.many === true)
  const surplus = positionals[command.arguments.length]
  if (surplus !== undefined && !takesMany) {
    throw new UsageError(`${surplus} is one argument too many for ${nameOf(command)}`)
  }
}

function countOf(name: string, given: string | undefined, fallback: number): number {
  if (given === undefined) return fallback
  if (/^[1-9]\d*$/.test(given) && Number.isSafeInteger(Number(given))) return Number(given)
  throw new UsageError(`--${name} takes a positive integer, got ${given}`)
}

function numberOf(name: string, given: string | undefined): number | undefined {
  if (given === undefined) return undefined
  const value = given.trim() === '' ? Number.NaN : Number(given)
  if (Number.isFinite(value)) return value
  throw new UsageError(`--${name} takes a number, got ${given}`)
}

function jsonOf(name: string, given: string | undefined): unknown {
  if (given === undefined) return undefined
  const source =
    given === '-' ? readText('-') : given.startsWith('@') ? readText(given.slice(1)) : given
  try {
    return JSON.parse(source)
  } catch (error) {
    throw new UsageError(`--${name} takes JSON: ${(error as Error).message}`, { cause: error })
  }
}

function ensureNewline(text: string): string {
  return text === '' || text.endsWith('\n') ? text : `${text}\n`
}

/** The word at most two edits away, or null. */
export function nearestOf(given: string, words: readonly string[]): string | null {
  let best: string | null = null
  let least = 3
  for (const word of words) {
    const distance = editDistance(given, word)
    if (distance < least) [best, least] = [word, distance]
  }
  return best
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const substituted = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(substituted, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
