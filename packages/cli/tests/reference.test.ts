/**
 * Help, completion and docs/reference/cli.md say what the commands take, because all are made from one table.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { COMMANDS } from '../src/command-table.ts'
import { nameOf, optionsOf } from '../src/command.ts'
import { completionScript } from '../src/completion.ts'
import { helpOf, markdownOf } from '../src/help.ts'
import { chooseCommand } from '../src/parse.ts'

/** Without what a formatter may change. */
function words(text: string): string {
  return text.replaceAll(/[\s|:-]+/g, ' ')
}

const page = readFileSync(
  join(import.meta.dirname, '..', '..', '..', 'docs', 'reference', 'cli.md'),
  'utf8',
)

test('docs/reference/cli.md holds the reference of every command; scripts/cli-reference.ts writes it', () => {
  expect(words(page).endsWith(words(markdownOf(COMMANDS)))).toBe(true)
})

test('no two commands have the same words, and each is found by its own', () => {
  expect(new Set(COMMANDS.map(nameOf)).size).toBe(COMMANDS.length)
  for (const command of COMMANDS) {
    expect(chooseCommand(COMMANDS, command.words)).toMatchObject({ type: 'command', command })
  }
})

test('no command has two options of one name or letter, and its help names all', () => {
  for (const command of COMMANDS) {
    const options = optionsOf(command)
    const names = options.flatMap(({ name, short }) =>
      short === undefined ? [name] : [name, short],
    )
    expect(new Set(names).size, nameOf(command)).toBe(names.length)
    for (const { name } of options) expect(helpOf(command)).toContain(`--${name}`)
  }
})

test('bash completes nouns, verbs, options and fixed values', () => {
  expect(complete('conf')).toContain('conflicts')
  expect(complete('conflicts', 're')).toEqual(['resolve'])
  expect(complete('conflicts', 'resolve', '--ch')).toEqual(['--choose'])
  expect(complete('conflicts', 'resolve', 's', 'i', '--strategy', 'm')).toEqual(['merge'])
  expect(complete('query', 'notes', '--thr')).toEqual(['--threshold'])
  expect(complete('completion', 'zs')).toEqual(['zsh'])
})

/** What bash offers after these words. */
function complete(...typed: string[]): readonly string[] {
  const script = `${completionScript('bash', COMMANDS)}
    COMP_WORDS=(sqlite-vector ${typed.map((word) => `'${word}'`).join(' ')})
    COMP_CWORD=${typed.length}
    _sqlite_vector
    printf '%s\\n' "\${COMPREPLY[@]}"`
  const { stdout, stderr } = spawnSync('bash', ['-c', script], { encoding: 'utf8', cwd: '/' })
  expect(stderr).toBe('')
  return stdout.trim().split('\n')
}
