/**
 * Writes docs/reference/options.md from the public types of the library: `node scripts/options-table.ts`, then `npm run
 * format`. Tidy checks that each option has its row with its default; this program is how it gets one.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { defaultCell, optionTypes, type OptionField, type OptionType } from './tidy/options.ts'
import { readRepository } from './tidy/repository.ts'

const root = join(import.meta.dirname, '..')
const PACKAGE = '@agentic-flow/sqlite-vector'

const cell = (text: string): string => text.replaceAll('|', '\\|')

function row(field: OptionField): string {
  const { name, type, meaning } = field
  return `| ${[`\`${name}\``, `\`${cell(type)}\``, defaultCell(field), cell(meaning)].join(' | ')} |`
}

function section({ name, summary, bases, fields }: OptionType): string {
  const inherited = bases.length === 0 ? '' : `Includes ${bases.map((b) => `\`${b}\``).join(', ')}.`
  const table =
    fields.length === 0
      ? ''
      : [
          '| Field | Type | Default | Meaning |',
          '| --- | --- | --- | --- |',
          ...fields.map(row),
        ].join('\n')
  return [`### ${name}`, summary, inherited, table].filter((part) => part !== '').join('\n\n')
}

const types = optionTypes(readRepository(root))
const doors = [...new Set(types.map(({ door }) => door))]
const page = [
  '# Options',
  `Every field of every type that a caller fills in, by entry point. This page is written from the sources by
\`scripts/options-table.ts\`; [API](api.md) describes the calls that take them. An unknown field is a \`TypeError\`.`,
  ...doors.flatMap((door) => [
    `## ${door === '.' ? PACKAGE : PACKAGE + door.slice(1)}`,
    ...types.filter((type) => type.door === door).map(section),
  ]),
].join('\n\n')
writeFileSync(join(root, 'docs/reference/options.md'), `${page}\n`)
process.stdout.write(`docs/reference/options.md: ${types.length} types\n`)
