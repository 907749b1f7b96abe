/**
 * Tidy's rules about documents: codes, limits and exports have their rows, links lead somewhere,
 * decision records are numbered once and short.
 *
 * Like rules.ts: pure functions of the repository, one line per violation.
 */
import { dirname, join, normalize } from 'node:path'
import type { Repository } from './repository.ts'
import { codesOf, type Rule } from './rules.ts'

const LIBRARY = 'packages/sqlite-vector/src'

/** Every error code has a row in docs/reference/errors.md, and every row a code. */
export const errorRows: Rule = (repository) => {
  const rows = rowNames(repository, 'docs/reference/errors.md')
  const codes = codesOf(repository)
  return [
    ...codes
      .filter((code) => !rows.includes(code))
      .map((code) => `docs/reference/errors.md: no row for ${code}`),
    ...rows
      .filter((row) => /^[A-Z]+(_[A-Z]+)+$/.test(row) && !codes.includes(row))
      .map((row) => `docs/reference/errors.md: a row for ${row}, which is no code`),
  ]
}

/** Every constant of limits.ts has a row in docs/reference/limits.md that shows its value. */
export const limitRows: Rule = (repository) => {
  const source = repository.files.get(`${LIBRARY}/limits.ts`) ?? ''
  const lines = (repository.files.get('docs/reference/limits.md') ?? '').split('\n')
  return [...source.matchAll(/^export const (\w+)(?:: \w+)? = ([^\n]+)$/gm)].flatMap((match) => {
    const [, name = '', value = ''] = match
    const row = lines.find((line) => line.startsWith(`| \`${name}\``))
    if (row === undefined) return [`docs/reference/limits.md: no row for ${name}`]
    const literal = /^[\d_]+$/.test(value) ? value.replaceAll('_', '') : null
    return literal === null || row.replaceAll(',', '').includes(` ${literal} `)
      ? []
      : [`docs/reference/limits.md: ${name} is ${value}, which its row does not say`]
  })
}

/** Every public export is named in docs/reference/api.md. */
export const exportsDocumented: Rule = (repository) => {
  const api = repository.files.get('docs/reference/api.md') ?? ''
  const doors = [
    'index',
    'sync/index',
    'transport/index',
    'sealed/index',
    'testing/index',
    'errors',
  ]
  const names = new Set(doors.flatMap((door) => exportedNames(repository, `${LIBRARY}/${door}.ts`)))
  return [...names]
    .filter(
      (name) => !new RegExp(`\`[^\`\n]*\\b${name}\\b[^\`\n]*\`|^.*\\b${name}\\b`, 'm').test(api),
    )
    .map((name) => `docs/reference/api.md: does not name ${name}`)
}

/** Names that a module exports, followed through `export * from`. */
export function exportedNames(repository: Repository, path: string): readonly string[] {
  const source = repository.files.get(path)
  if (source === undefined) return []
  const names: string[] = []
  const declared =
    /^export (?:declare )?(?:abstract )?(?:async )?(?:const|function\*?|class|interface|type) (\w+)/gm
  for (const match of source.matchAll(declared)) names.push(match[1] ?? '')
  for (const match of source.matchAll(/^export (?:type )?\{([^}]*)\}/gm)) {
    const listed = (match[1] ?? '').split(',').map((item) => item.trim())
    names.push(...listed.map((item) => item.replace(/^type /, '').replace(/^.* as /, '')))
  }
  for (const match of source.matchAll(/^export (?:type )?\* from '([^']+)'/gm)) {
    names.push(...exportedNames(repository, normalize(join(dirname(path), match[1] ?? ''))))
  }
  return names.filter((name) => name !== '')
}

/** Relative links of Markdown files lead to files, and their fragments to headings. */
export const links: Rule = (repository) =>
  markdown(repository).flatMap(([path, text]) =>
    [...withoutFences(text).matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = '']) => {
      if (/^[a-z]+:/.test(target)) return []
      const [file = '', fragment] = target.split('#')
      const there = file === '' ? path : normalize(join(dirname(path), file)).replace(/\/$/, '')
      if (!exists(repository, there)) return [`${path}: link to ${target}, which is not there`]
      const page = repository.files.get(there)
      return fragment === undefined || page === undefined || slugs(page).has(fragment)
        ? []
        : [`${path}: link to ${target}, which has no such heading`]
    }),
  )

/** Every page of docs/ is linked from its map. */
export const mapped: Rule = (repository) => {
  const map = repository.files.get('docs/README.md') ?? ''
  const linked = new Set([...map.matchAll(/\]\(([^)#\s]+)/g)].map(([, target = '']) => target))
  return [...repository.files.keys()].flatMap((path) => {
    const page = /^docs\/((?!decisions\/)[^/]+\/.+\.md)$/.exec(path)?.[1]
    return page === undefined || linked.has(page)
      ? []
      : [`docs/README.md: does not link to ${page}`]
  })
}

/** Decision records have numbers of their own and stay short enough to be read. */
export const decisions: Rule = (repository) => {
  const records = recordsOf(repository)
  const numbers = new Map<string, string>()
  return records.flatMap(([path, text]) => {
    const number = /^docs\/decisions\/(\d{4})-[a-z0-9-]+\.md$/.exec(path)?.[1]
    if (number === undefined) return [`${path}: a decision record is named NNNN-title.md`]
    const other = numbers.get(number)
    numbers.set(number, path)
    return [
      ...(other === undefined ? [] : [`${path}: has the number of ${other}`]),
      ...(text.trimEnd().split('\n').length > 60 ? [`${path}: more than 60 lines`] : []),
    ]
  })
}

/** Every decision record has one line in the index, and the index names no other. */
export const decisionIndex: Rule = (repository) => {
  const index = repository.files.get(INDEX) ?? ''
  const listed = [...index.matchAll(/\]\((\d{4}[^)]*\.md)\)/g)].map(([, name = '']) => name)
  return recordsOf(repository).flatMap(([path]) => {
    const name = path.slice('docs/decisions/'.length)
    const times = listed.filter((other) => other === name).length
    return times === 1 ? [] : [`${INDEX}: ${times} lines for ${name}, not one`]
  })
}

const INDEX = 'docs/decisions/README.md'

function recordsOf(repository: Repository): readonly (readonly [string, string])[] {
  return [...repository.files].filter(
    ([path]) => path.startsWith('docs/decisions/') && path !== INDEX,
  )
}

function markdown(repository: Repository): readonly (readonly [string, string])[] {
  return [...repository.files].filter(([path]) => path.endsWith('.md'))
}

function exists(repository: Repository, path: string): boolean {
  if (path === '.' || repository.files.has(path)) return true
  return [...repository.files.keys()].some((file) => file.startsWith(`${path}/`))
}

function withoutFences(text: string): string {
  return text.replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, '')
}

/** Fragments of a page's headings, as GitHub makes them. */
function slugs(page: string): ReadonlySet<string> {
  const headings = page.matchAll(/^#{1,6} (.+)$/gm)
  return new Set(
    [...headings].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )
}

/** First cells of the table rows of a document, without their back-ticks. */
function rowNames(repository: Repository, path: string): readonly string[] {
  const page = repository.files.get(path) ?? ''
  return [...page.matchAll(/^\| `([^`]+)`/gm)].map((match) => match[1] ?? '')
}
