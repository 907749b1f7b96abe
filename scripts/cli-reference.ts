/**
 * Writes the reference of docs/reference/cli.md from the command table: `node --conditions=source scripts/cli-reference.ts`, then
 * `npm run format`. A test fails when the page does not say what the commands take.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { COMMANDS } from '../packages/cli/src/command-table.ts'
import { markdownOf } from '../packages/cli/src/help.ts'

const page = join(import.meta.dirname, '..', 'docs', 'reference', 'cli.md')
const HEADING = '## Reference\n\n'

const text = readFileSync(page, 'utf8')
const start = text.indexOf(HEADING)
if (start === -1) throw new Error('docs/reference/cli.md has no section Reference')
writeFileSync(page, text.slice(0, start + HEADING.length) + markdownOf(COMMANDS))
process.stdout.write(`docs/reference/cli.md: ${COMMANDS.length} commands\n`)
