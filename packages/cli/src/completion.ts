/**
 * Completion scripts for shells, generated from the command table: words, options and fixed
 * choices.
 *
 * Pure: from data to text. Names inside a database (shards, ids) are not completed: that would open
 * the file at every key press.
 */
import { type Command, type Option, optionsOf } from './command.ts'

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

/** Generates the script for a shell. */
export function completionScript(shell: Shell, commands: readonly Command[]): string {
  if (shell === 'fish') return fish(commands)
  // zsh runs completions of bash through its own emulation.
  const emulation = shell === 'zsh' ? 'autoload -U +X bashcompinit && bashcompinit\n' : ''
  return emulation + bash(commands)
}

function bash(commands: readonly Command[]): string {
  const nouns = [...new Set(commands.map((command) => command.words[0] ?? ''))]
  const verbs = nouns
    .map((noun): [string, string[]] => [noun, verbsOf(commands, noun)])
    .filter(([, list]) => list.length > 0)
  const cases = commands.flatMap((command) => [
    `    '${command.words.join(' ')}') words='${optionsOf(command)
      .map((option) => `--${option.name}`)
      .join(' ')}${fixedWords(command)}' ;;`,
  ])
  return [
    '_sqlite_vector() {',
    '  local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" words=""',
    '  local noun="${COMP_WORDS[1]}" verb="${COMP_WORDS[2]}"',
    '  if [ "$COMP_CWORD" -eq 1 ]; then',
    `    COMPREPLY=( $(compgen -W '${nouns.join(' ')}' -- "$current") ); return`,
    '  fi',
    '  case "$previous" in',
    ...optionChoices(commands).map(
      ([name, choices]) =>
        `    --${name}) COMPREPLY=( $(compgen -W '${choices.join(' ')}' -- "$current") ); return ;;`,
    ),
    '  esac',
    '  if [ "$COMP_CWORD" -eq 2 ]; then case "$noun" in',
    ...verbs.map(([noun, list]) => `    ${noun}) words='${list.join(' ')}' ;;`),
    '  esac; fi',
    '  local name="$noun $verb"',
    '  case "$name" in',
    ...cases.filter((_, index) => commands[index]?.words.length === 2),
    `    *) case "$noun" in`,
    ...cases
      .filter((_, index) => commands[index]?.words.length === 1)
      .map((line) => line.replace("words='", 'words="$words "\'')),
    '    esac ;;',
    '  esac',
    '  COMPREPLY=( $(compgen -W "$words" -- "$current") $(compgen -f -- "$current") )',
    '}',
    'complete -F _sqlite_vector sqlite-vector',
    '',
  ].join('\n')
}

function fish(commands: readonly Command[]): string {
  const lines = ['complete -c sqlite-vector -f']
  for (const command of commands) {
    const [noun = '', verb] = command.words
    const seen =
      verb === undefined
        ? `__fish_seen_subcommand_from ${noun}`
        : `__fish_seen_subcommand_from ${noun}; and __fish_seen_subcommand_from ${verb}`
    const about = quoted(command.summary)
    lines.push(
      verb === undefined
        ? `complete -c sqlite-vector -n __fish_use_subcommand -a ${noun} -d ${about}`
        : `complete -c sqlite-vector -n '__fish_seen_subcommand_from ${noun}' -a ${verb} -d ${about}`,
    )
    for (const option of optionsOf(command)) lines.push(fishOption(option, seen))
  }
  const nouns = new Set(
    commands.filter(({ words }) => words.length === 2).map(({ words }) => words[0]),
  )
  for (const noun of nouns) {
    lines.push(`complete -c sqlite-vector -n __fish_use_subcommand -a ${noun ?? ''}`)
  }
  return `${lines.join('\n')}\n`
}

function fishOption({ name, short, value, choices, summary }: Option, seen: string): string {
  return [
    `complete -c sqlite-vector -n '${seen}' -l ${name}`,
    ...(short === undefined ? [] : [`-s ${short}`]),
    ...(value === undefined ? [] : ['-r']),
    ...(choices === 'file' ? ['-F'] : []),
    ...(Array.isArray(choices) ? [`-a ${quoted(choices.join(' '))}`] : []),
    `-d ${quoted(summary)}`,
  ].join(' ')
}

function verbsOf(commands: readonly Command[], noun: string): string[] {
  return commands.flatMap(({ words }) =>
    words[0] === noun && words[1] !== undefined ? [words[1]] : [],
  )
}

function fixedWords({ arguments: list }: Command): string {
  return list
    .flatMap(({ choices }) => (Array.isArray(choices) ? choices : []))
    .map((word) => ` ${word}`)
    .join('')
}

/** Options whose values are fixed words, each once. */
function optionChoices(commands: readonly Command[]): [string, readonly string[]][] {
  const found = new Map<string, readonly string[]>()
  for (const command of commands) {
    for (const { name, choices } of command.options) {
      if (Array.isArray(choices))
        found.set(name, [...new Set([...(found.get(name) ?? []), ...choices])])
    }
  }
  return [...found]
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
