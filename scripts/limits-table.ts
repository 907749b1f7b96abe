/**
 * Writes the table of docs/reference/limits.md from limits.ts: `node scripts/limits-table.ts`, then `npm run
 * format`. Tidy checks that the page is up to date; this program is how it becomes so.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const page = join(root, 'docs', 'reference', 'limits.md')
const source = readFileSync(join(root, 'packages/sqlite-vector/src/limits.ts'), 'utf8')
const values = (await import('../packages/sqlite-vector/src/limits.ts')) as Record<string, number>

const rows = [...source.matchAll(/\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\nexport const (\w+)/g)].map(
  ([, comment = '', name = '']) => {
    const value = values[name]
    const shown = value === Number.MAX_SAFE_INTEGER ? '2^53 − 1' : value?.toLocaleString('en-US')
    const reason = comment
      .replaceAll(/\n \* ?/g, ' ')
      .replaceAll('|', '\\|')
      .trim()
    return `| \`${name}\` | ${shown} | ${reason} |`
  },
)
const text = readFileSync(page, 'utf8')
const start = text.indexOf('| Constant')
const end = text.indexOf('\n\n', start)
if (start === -1 || end === -1)
  throw new Error('docs/reference/limits.md has no table of constants')
const table = [
  '| Constant | Value | What it bounds, and why |',
  '| --- | --- | --- |',
  ...rows,
].join('\n')
writeFileSync(page, text.slice(0, start) + table + text.slice(end))
process.stdout.write(`docs/reference/limits.md: ${rows.length} constants\n`)
