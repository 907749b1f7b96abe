/**
 * What a command is: its name, its help, and a function that does it. main.ts picks one and runs it.
 *
 * Commands parse, call the library and print; they decide nothing. A wrong call is a
 * {@link UsageError} (exit code 2), a failure is any other error (exit code 1).
 */
import { existsSync } from 'node:fs'
import type { ParseArgsConfig } from 'node:util'

/** The command was called wrongly; the message says how. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Option values as `parseArgs` gives them. */
export type Values = Readonly<
  Record<string, string | boolean | readonly (string | boolean)[] | undefined>
>

export interface Command {
  readonly name: string
  /** Arguments after the name. */
  readonly usage: string
  readonly summary: string
  readonly options: NonNullable<ParseArgsConfig['options']>
  /** A line per option. */
  readonly optionHelp: readonly string[]
  /** Resolves with the exit code. */
  run(positionals: readonly string[], values: Values): Promise<number>
}

/** The positional arguments by name; missing or surplus ones are usage errors. */
export function take<Name extends string>(
  positionals: readonly string[],
  ...names: readonly Name[]
): Record<Name, string> {
  const missing = names[positionals.length]
  if (missing !== undefined) throw new UsageError(`${missing.toUpperCase()} is missing`)
  const surplus = positionals[names.length]
  if (surplus !== undefined) throw new UsageError(`${surplus} is one argument too many`)
  return Object.fromEntries(names.map((name, index) => [name, positionals[index] ?? ''])) as Record<
    Name,
    string
  >
}

/** A database that must be there already: commands that only look never make one. */
export function existingFile(path: string): string {
  if (!existsSync(path)) throw new UsageError(`there is no file ${path}`)
  return path
}

/** The string value of an option, or undefined. */
export function text(values: Values, name: string): string | undefined {
  const value = values[name]
  return typeof value === 'string' ? value : undefined
}

/** Every value of an option that may be repeated. */
export function texts(values: Values, name: string): readonly string[] {
  const value = values[name]
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
}

/** Whether a flag was given. */
export function flag(values: Values, name: string): boolean {
  return values[name] === true
}

/** The value of an option as a positive integer. @throws UsageError */
export function count(values: Values, name: string, fallback: number): number {
  const given = text(values, name)
  if (given === undefined) return fallback
  if (!/^[1-9]\d*$/.test(given))
    throw new UsageError(`--${name} takes a positive integer, got ${given}`)
  return Number(given)
}
