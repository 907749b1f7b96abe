/**
 * Renders the command table as help texts and as docs/reference/cli.md.
 *
 * Pure: from data to text.
 */
import { type Argument, type Command, nameOf, type Option, optionsOf } from './command.ts'

const PROGRAM = 'sqlite-vector'

/** All commands, a line each. */
export function overview(commands: readonly Command[]): string {
  const width = Math.max(...commands.map((command) => nameOf(command).length))
  return [
    `usage: ${PROGRAM} COMMAND …`,
    '',
    ...commands.map((command) => `  ${nameOf(command).padEnd(width)}  ${command.summary}`),
    '',
    `${PROGRAM} COMMAND --help describes a command. --version prints the version.`,
    'Exit codes: 0 success, 1 failure, 2 wrong usage, 3 success with findings, 130 interrupted.',
    '',
  ].join('\n')
}

/** One command in full. */
export function helpOf(command: Command): string {
  const rows: [string, string][] = [
    ...command.arguments.map((argument): [string, string] => [shown(argument), argument.summary]),
    ...optionsOf(command).map((option): [string, string] => [
      `${option.short === undefined ? '    ' : `-${option.short}, `}${optionSyntax(option)}`,
      optionText(option),
    ]),
  ]
  const width = Math.max(...rows.map(([left]) => left.length))
  return [
    `usage: ${usageOf(command)}`,
    '',
    command.summary,
    ...(command.details === undefined ? [] : ['', command.details]),
    '',
    ...rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`),
    '',
  ].join('\n')
}

/** `sqlite-vector trust add CERTIFICATE [OPTIONS]`. */
export function usageOf(command: Command): string {
  const positionals = command.arguments.map((argument) => ` ${shown(argument)}`).join('')
  return `${PROGRAM} ${nameOf(command)}${positionals} [OPTIONS]`
}

/** The commands as a Markdown section each, for docs/reference/cli.md. */
export function markdownOf(commands: readonly Command[]): string {
  return commands.map((command) => markdownSection(command)).join('\n')
}

function markdownSection(command: Command): string {
  const rows = [
    ...command.arguments.map((argument) => [shown(argument), argument.summary]),
    ...command.options.map((option) => [optionSyntax(option), optionText(option)]),
  ]
  const shared = { none: '', file: '`--database`', node: '`--database`, `--url`, `--key-file`' }[
    command.target
  ]
  return [
    `### ${nameOf(command)}`,
    '',
    '```',
    usageOf(command),
    '```',
    '',
    command.summary,
    ...(command.details === undefined ? [] : ['', command.details]),
    '',
    ...(rows.length === 0
      ? []
      : [
          '| Argument or option | Meaning |',
          '| --- | --- |',
          ...rows.map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`),
          '',
        ]),
    ...(shared === '' ? [] : [`Also takes ${shared}.`, '']),
    ...(command.settings === undefined
      ? []
      : ['Every setting of a node is also an option: see [Configuration](configuration.md).', '']),
  ].join('\n')
}

function shown({ name, optional, many }: Argument): string {
  const text = `${name.toUpperCase()}${many === true ? '…' : ''}`
  return optional === true ? `[${text}]` : text
}

function optionSyntax({ name, value }: Option): string {
  return value === undefined ? `--${name}` : `--${name} ${value}`
}

function optionText(option: Option): string {
  const notes = [
    ...(Array.isArray(option.choices) ? [`one of ${option.choices.join(', ')}`] : []),
    ...(option.many === true ? ['may be repeated'] : []),
    ...(option.default === undefined ? [] : [`default: ${option.default}`]),
    ...(option.environment === undefined ? [] : [`environment: ${option.environment}`]),
  ]
  return notes.length === 0 ? option.summary : `${option.summary} (${notes.join('; ')})`
}
