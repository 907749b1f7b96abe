/**
 * The rules of scripts/tidy: each is shown a small repository that breaks it, and one that does not.
 */
import { describe, expect, test } from 'vitest'
import * as documents from '../scripts/tidy/documents.ts'
import { optionRows } from '../scripts/tidy/options.ts'
import { codeOnly, type Repository } from '../scripts/tidy/repository.ts'
import * as code from '../scripts/tidy/rules.ts'

function repository(files: Record<string, string>): Repository {
  const entries = Object.entries(files)
  return {
    files: new Map(entries),
    bytes: new Map(entries.map(([path, text]) => [path, text.length])),
  }
}

const SRC = 'packages/sqlite-vector/src'
const ERRORS = `${SRC}/errors.ts`

const OPTIONS = 'docs/reference/options.md'
const WALK = `export interface WalkOptions {
  /** Steps. @defaultValue \`4\` */
  readonly speed?: number
}
`
const WALK_ROW = '\n### WalkOptions\n\n| `speed` | `number` | `4` | Steps. |\n'

interface Case {
  readonly rule: code.Rule
  readonly name: string
  readonly bad: Record<string, string>
  readonly says: string
  readonly good: Record<string, string>
}

const CASES: readonly Case[] = [
  {
    rule: code.headers,
    name: 'a file without a header comment',
    bad: { 'a.ts': 'export const a = 1\n' },
    says: 'a.ts: opens without',
    good: { 'a.ts': '#!/usr/bin/env node\n/**\n * A.\n */\n' },
  },
  {
    rule: code.globals,
    name: 'the time read outside the clock',
    bad: { [`${SRC}/a.ts`]: 'const t = Date.now()' },
    says: 'uses the time outside its home',
    good: { [`${SRC}/clock/system-clock.ts`]: 'Date.now()', [`${SRC}/a.ts`]: '// Date.now()' },
  },
  {
    rule: code.globals,
    name: 'chance in shipped code',
    bad: { [`${SRC}/a.ts`]: 'const r = Math.random()' },
    says: 'uses Math.random',
    good: { 'benchmarks/a.ts': 'Math.random()' },
  },
  {
    rule: code.globals,
    name: 'the environment read by the library',
    bad: { [`${SRC}/a.ts`]: 'process.env.HOME' },
    says: 'uses the environment',
    good: { 'packages/cli/src/a.ts': 'process.env.HOME' },
  },
  {
    rule: code.leftovers,
    name: 'a test that runs alone',
    bad: { 'a.test.ts': 'test.only(name)' },
    says: '.only',
    good: { 'a.test.ts': "test('only')" },
  },
  {
    rule: code.leftovers,
    name: 'a note to self',
    bad: { 'a.ts': '// FIX_ME later'.replace('_', '') },
    says: 'ME',
    good: { 'a.ts': '// fixed' },
  },
  {
    rule: code.importers,
    name: 'a shipped file that nobody imports',
    bad: { [`${SRC}/lonely.ts`]: '', 'tests/a.ts': `import '../${SRC}/lonely.ts'` },
    says: 'lonely.ts: nothing that ships',
    good: {
      'packages/sqlite-vector/package.json': '{ "source": "./src/index.ts" }',
      [`${SRC}/index.ts`]: "export * from './a/b.ts'",
      [`${SRC}/a/b.ts`]: '',
    },
  },
  {
    rule: code.namedFiles,
    name: 'a comment that names a file which moved',
    bad: { [`${SRC}/a.ts`]: '/** See store/core.ts. */' },
    says: 'names store/core.ts, which is not a file',
    good: { [`${SRC}/a.ts`]: '/** See store/b.ts. */', [`${SRC}/store/b.ts`]: '// core' },
  },
  {
    rule: code.manifests,
    name: 'a published manifest without a licence, for another Node than the rest',
    bad: { 'packages/a/package.json': '{ "name": "a", "engines": { "node": ">=18" } }' },
    says: 'has no license',
    good: { 'packages/a/package.json': '{ "name": "a", "private": true }' },
  },
  {
    rule: code.blobs,
    name: 'a large file',
    bad: { 'a.bin': 'x'.repeat(600_000) },
    says: 'a.bin: 600000 bytes',
    good: { 'a.bin': 'x' },
  },
  {
    rule: code.registries,
    name: 'a lock file with addresses',
    bad: { 'package-lock.json': '"resolved": "https://example.org/a.tgz"' },
    says: 'addresses of a registry',
    good: { 'package-lock.json': '"resolved": "packages/cli"' },
  },
  {
    rule: code.errorCodes,
    name: 'a code that nothing throws and no test names',
    bad: { [ERRORS]: '  STORE_FULL: {' },
    says: 'STORE_FULL is thrown nowhere',
    good: {
      [ERRORS]: '  STORE_FULL: {',
      [`${SRC}/a.ts`]: "throw new E('STORE_FULL')",
      'tests/a.test.ts': "'STORE_FULL'",
    },
  },
  {
    rule: documents.errorRows,
    name: 'a row for a code that does not exist',
    bad: { [ERRORS]: '', 'docs/reference/errors.md': '| `STORE_GONE` | no |' },
    says: 'STORE_GONE, which is no code',
    good: { [ERRORS]: '  STORE_FULL: {', 'docs/reference/errors.md': '| `STORE_FULL` | yes |' },
  },
  {
    rule: documents.limitRows,
    name: 'a limit whose row says another value',
    bad: {
      [`${SRC}/limits.ts`]: 'export const K_MAX = 10_000\n',
      'docs/reference/limits.md': '| `K_MAX` | 1,000 | why |',
    },
    says: 'K_MAX is 10_000',
    good: {
      [`${SRC}/limits.ts`]: 'export const K_MAX = 10_000\n',
      'docs/reference/limits.md': '| `K_MAX` | 10,000 | why |',
    },
  },
  {
    rule: documents.exportsDocumented,
    name: 'an export that api.md does not name',
    bad: {
      [`${SRC}/index.ts`]: "export type * from './types.ts'",
      [`${SRC}/types.ts`]: 'export interface Hidden {}',
      'docs/reference/api.md': '',
    },
    says: 'does not name Hidden',
    good: { [`${SRC}/index.ts`]: 'export const shown = 1', 'docs/reference/api.md': '`shown`' },
  },
  {
    rule: documents.links,
    name: 'a link to a file that is not there',
    bad: { 'README.md': '[x](docs/none.md)' },
    says: 'docs/none.md, which is not there',
    good: { 'README.md': '[x](docs/a.md#two-words)', 'docs/a.md': '# Two words' },
  },
  {
    rule: documents.links,
    name: 'a link to a heading that is not there',
    bad: { 'README.md': '[x](#gone)' },
    says: 'has no such heading',
    good: { 'README.md': '`[x](#gone)`' },
  },
  {
    rule: documents.mapped,
    name: 'a page that the map does not link to',
    bad: { 'docs/README.md': '', 'docs/how-to/a.md': '' },
    says: 'does not link to how-to/a.md',
    good: {
      'docs/README.md': '[a](how-to/a.md)',
      'docs/how-to/a.md': '',
      'docs/decisions/0001-a.md': '',
    },
  },
  {
    rule: documents.decisions,
    name: 'two decision records with one number',
    bad: { 'docs/decisions/0001-a.md': '', 'docs/decisions/0001-b.md': '' },
    says: 'has the number of',
    good: { 'docs/decisions/0001-a.md': '', 'docs/decisions/0002-b.md': '' },
  },
  {
    rule: documents.decisionIndex,
    name: 'a decision record that the index does not list',
    bad: { 'docs/decisions/0001-a.md': '', 'docs/decisions/README.md': '' },
    says: '0 lines for 0001-a.md',
    good: {
      'docs/decisions/0001-a.md': '',
      'docs/decisions/README.md': '- [A](0001-a.md): b.',
    },
  },
  {
    rule: documents.exportsDocumented,
    name: 'an export of a later entry point that api.md does not name',
    bad: { [`${SRC}/sealed/index.ts`]: 'export const sealed = 1', 'docs/reference/api.md': '' },
    says: 'does not name sealed',
    good: {
      [`${SRC}/sealed/index.ts`]: 'export const sealed = 1',
      'docs/reference/api.md': '`sealed`',
    },
  },
  {
    rule: optionRows,
    name: 'an option without a row',
    bad: {
      [`${SRC}/index.ts`]: WALK,
      [OPTIONS]: '\n### WalkOptions\n\n| `other` | `x` | none | m |\n',
    },
    says: 'WalkOptions.speed has no row with the default `4`',
    good: { [`${SRC}/index.ts`]: WALK, [OPTIONS]: WALK_ROW },
  },
  {
    rule: optionRows,
    name: 'an option whose row shows another default',
    bad: { [`${SRC}/index.ts`]: WALK, [OPTIONS]: WALK_ROW.replace('`4`', '`5`') },
    says: 'WalkOptions.speed has no row with the default `4`',
    good: { [`${SRC}/index.ts`]: WALK, [OPTIONS]: WALK_ROW },
  },
  {
    rule: optionRows,
    name: 'an option without a comment',
    bad: { [`${SRC}/index.ts`]: WALK.replace('Steps. ', ''), [OPTIONS]: WALK_ROW },
    says: 'WalkOptions.speed has no comment',
    good: { [`${SRC}/index.ts`]: WALK, [OPTIONS]: WALK_ROW },
  },
  {
    rule: optionRows,
    name: 'options that two pages table',
    bad: {
      [`${SRC}/index.ts`]: WALK,
      [OPTIONS]: WALK_ROW,
      'docs/a.md': '| `WalkOptions` | Default |\n| --- | --- |\n',
    },
    says: 'docs/a.md: tables WalkOptions',
    good: { [`${SRC}/index.ts`]: WALK, [OPTIONS]: WALK_ROW, 'docs/a.md': '`WalkOptions`' },
  },
]

describe('tidy', () => {
  test.each(CASES)('reports $name', ({ rule, bad, says }) => {
    expect(rule(repository(bad)).join('\n')).toContain(says)
  })

  test.each(CASES)('accepts the counterpart of $name', ({ rule, good }) => {
    expect(rule(repository(good))).toEqual([])
  })

  test('codeOnly() blanks comments and strings and keeps the lines', () => {
    const source = "a /* b\n c */ 'd' // e\nf"

    const blanked = codeOnly(source)

    expect(blanked.replaceAll(' ', '')).toBe('a\n\nf')
    expect(blanked.length).toBe(source.length)
  })
})
