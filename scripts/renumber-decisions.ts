/**
 * Numbers the decision records without gaps, in their present order, and names each file after its title:
 * `node scripts/renumber-decisions.ts`, then `npm run format`.
 *
 * Headings, the index, links to records and mentions such as "decision 12" follow, in every text that git tracks. Records
 * that the index does not list yet get a line with their title. Run it on a clean working tree: two records that were
 * given one number at a time must be told apart by hand first.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { readRepository } from './tidy/repository.ts'

interface Record {
  readonly from: string
  readonly to: string
  readonly oldNumber: number
  readonly number: number
  readonly title: string
}

const root = join(import.meta.dirname, '..')
const FOLDER = 'docs/decisions'
const INDEX = `${FOLDER}/README.md`

function slug(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/['’]/g, '')
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '')
}

const { files } = readRepository(root)
const records = [...files.keys()]
  .filter((path) => path.startsWith(`${FOLDER}/`) && path !== INDEX)
  .toSorted()
  .map((path, index): Record => {
    const title = /^# (?:\d+\.? )?(.+)$/m.exec(files.get(path) ?? '')?.[1]
    if (title === undefined) throw new Error(`${path}: it has no heading`)
    const number = index + 1
    const to = `${String(number).padStart(4, '0')}-${slug(title)}.md`
    const from = basename(path)
    return { from, to, oldNumber: Number(from.slice(0, 4)), number, title }
  })
const byFile = new Map(records.map((record) => [record.from, record]))
const byNumber = new Map(records.map((record) => [record.oldNumber, record]))
if (byNumber.size !== records.length) throw new Error('two records have one number')

/** The text with links to and mentions of records as they are called now. */
function renumbered(text: string): string {
  return text
    .replaceAll(/\b\d{4}-[a-z0-9-]+\.md\b/g, (name) => byFile.get(name)?.to ?? name)
    .replaceAll(
      /(\b[Dd]ecisions? \[?)(\d+)(?=\b)|(\[)(\d+)(?=\]\((?:\.\.\/|docs\/)*decisions\/\d{4}-)/g,
      (all, before: string | undefined, mentioned: string, bracket: string, linked: string) => {
        const record = byNumber.get(Number(mentioned ?? linked))
        return record === undefined ? all : `${before ?? bracket}${record.number}`
      },
    )
}

for (const [path, text] of files) {
  if (!/\.(md|ts)$/.test(path) || path === 'tests/tidy.test.ts' || path === INDEX) continue
  if (path === 'scripts/renumber-decisions.ts') continue
  const record = path.startsWith(`${FOLDER}/`) ? byFile.get(basename(path)) : undefined
  const headed =
    record === undefined ? text : text.replace(/^# .+$/m, `# ${record.number}. ${record.title}`)
  const changed = renumbered(headed)
  if (changed !== text) writeFileSync(join(root, path), changed)
}

const index = readFileSync(join(root, INDEX), 'utf8')
const gists = new Map(
  [...index.matchAll(/\]\((\d{4}[^)]*\.md)\)(: [^\n]*(?:\n +[^\n]*)*)/g)].map(
    ([, name = '', gist = '']) => [name, gist],
  ),
)
const lines = records.map(
  ({ number, title, from, to }) => `${number}. [${title}](${to})${gists.get(from) ?? ''}`,
)
writeFileSync(
  join(root, INDEX),
  `${index.slice(0, index.indexOf('\n1. ') + 1)}${lines.join('\n')}\n`,
)

// In two steps, because one record may take the name that another leaves.
for (const { from, to } of records) {
  if (from !== to) git('mv', `${FOLDER}/${from}`, `${FOLDER}/${to}.moving`)
}
for (const { from, to } of records) {
  if (from !== to) git('mv', `${FOLDER}/${to}.moving`, `${FOLDER}/${to}`)
}
process.stdout.write(`docs/decisions: ${records.length} records\n`)

function git(...args: readonly string[]): void {
  execFileSync('git', [...args], { cwd: root })
}
