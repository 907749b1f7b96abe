/**
 * Commands in the shell fences of README and docs are commands of the table, with options and arguments that they take.
 *
 * Nothing is run: each line is chosen and parsed as the command line would. Runbooks and the tutorial are run elsewhere.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { COMMANDS } from '../src/command-table.ts'
import { chooseCommand, parseCall } from '../src/parse.ts'

const ROOT = join(import.meta.dirname, '..', '..', '..')
const PAGES = [
  'README.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
]

/** Words of a shell line, quotes removed; enough for the lines of the documents. */
function wordsOf(line: string): readonly string[] {
  return [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
    ([, single, double, bare]) => single ?? double ?? bare ?? '',
  )
}

/** The arguments of each `sqlite-vector` in a page's shell fences. */
function callsOf(page: string): readonly (readonly string[])[] {
  const text = readFileSync(join(ROOT, page), 'utf8')
  return [...text.matchAll(/^```sh[^\n]*\n([\s\S]*?)^```/gm)]
    .flatMap(([, block = '']) => block.replaceAll('\\\n', ' ').split('\n'))
    .flatMap((line) => [
      ...line
        .replace(/(?:^|\s)#.*$/, '')
        .matchAll(/(?:^|[|(;]\s*)(?:npm run -s )?sqlite-vector (?:-- )?([^|>)]*)/g),
    ])
    .map(([, call = '']) => wordsOf(call.replace(/["&;\s]*$/, '')))
}

const { signal } = new AbortController()

test.each(PAGES)('commands of %s can be given as they are shown', (page) => {
  for (const words of callsOf(page)) {
    if (words.includes('COMMAND')) continue
    const choice = chooseCommand(COMMANDS, words)
    expect(choice.type, words.join(' ')).toBe('command')
    if (choice.type !== 'command') continue
    expect(() => parseCall(choice.command, choice.rest, signal, {}), words.join(' ')).not.toThrow()
  }
})

test('the pages show commands at all', () => {
  expect(PAGES.flatMap(callsOf).length).toBeGreaterThan(40)
})
