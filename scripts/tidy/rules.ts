/**
 * Tidy's rules about code: headers, homes of globals, leftovers, files that nobody uses, sizes.
 *
 * Each takes the repository and returns one line per violation; the rules about documents are in
 * documents.ts. What oxlint can check (layers, cycles, lengths) is not repeated here.
 */
import { dirname, join, normalize } from 'node:path'
import {
  BLOB_BYTES_MAX,
  codeOnly,
  commentsOf,
  isShipped,
  isTest,
  typescript,
  type Repository,
} from './repository.ts'

/** One check of the repository: a line per violation, none when all is well. */
export type Rule = (repository: Repository) => readonly string[]

/** Every TypeScript file opens with a comment that says what it is. */
export const headers: Rule = (repository) =>
  typescript(repository)
    .filter(([, text]) => !/^(#![^\n]*\n)?\/\*\*\n \* \S/.test(text))
    .map(([path]) => `${path}: opens without a header comment`)

interface Home {
  readonly pattern: RegExp
  readonly name: string
  /** The only shipped files that may use it. */
  readonly homes: RegExp
}

const PROGRAMS = /^packages\/(cli|server|dashboard)\/src\//

const HOMES: readonly Home[] = [
  {
    pattern: /\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(|\bhrtime\b/,
    name: 'the time',
    homes: /src\/clock\/system-clock\.ts$|^packages\/(cli|server|dashboard)\/src\//,
  },
  {
    pattern: /\bset(Timeout|Interval)\(/,
    name: 'timers',
    homes: /src\/clock\/system-clock\.ts$|^packages\/dashboard\/src\//,
  },
  {
    pattern: /\bBuffer\b|\bprocess\.(?!env|std|exit)/,
    name: "a global of Node (take it from '#platform')",
    homes: /^packages\/(?!sqlite-vector\/)|src\/(?:platform\/node|transport|testing)\//,
  },
  { pattern: /\bMath\.random\(/, name: 'Math.random', homes: /^$/ },
  { pattern: /\bconsole\./, name: 'console', homes: /^packages\/dashboard\/src\// },
  { pattern: /\bprocess\.env\b/, name: 'the environment', homes: PROGRAMS },
  { pattern: /\bprocess\.(stdout|stderr|exit)\b/, name: 'the terminal', homes: PROGRAMS },
]

/** Shipped code reads time, chance, environment and terminal in their homes only. */
export const globals: Rule = (repository) =>
  typescript(repository)
    .filter(([path]) => isShipped(path))
    .flatMap(([path, text]) => {
      const code = codeOnly(text)
      return HOMES.filter((home) => !home.homes.test(path) && home.pattern.test(code)).map(
        (home) => `${path}: uses ${home.name} outside its home`,
      )
    })

/** No notes to self, no test left alone, no debugger. */
export const leftovers: Rule = (repository) =>
  typescript(repository).flatMap(([path, text]) => {
    const found: string[] = []
    const code = codeOnly(text)
    if (/\b(test|it|describe)\.(only|todo)\b/.test(code)) found.push(`${path}: .only or .todo`)
    if (/^\s*debugger\b/m.test(code)) found.push(`${path}: debugger`)
    const marks = /\b(?:FI[X]ME|X[X]X|HA[C]K|TO[D]O)\b/
    const mark = marks.exec(text)
    if (mark !== null) found.push(`${path}: ${mark[0]}`)
    return found
  })

/** Every shipped file is imported, spawned or published by something that ships. */
export const importers: Rule = (repository) => {
  const used = new Set<string>()
  for (const [path, text] of repository.files) {
    if (path.endsWith('package.json')) for (const entry of published(path, text)) used.add(entry)
    if (!isShipped(path)) continue
    for (const match of text.matchAll(/(?:\bfrom|\bimport\(?|new URL\()\s*'(\.[^']+)'/g)) {
      used.add(normalize(join(dirname(path), match[1] ?? '')).replace(/\.js$/, '.ts'))
    }
  }
  return typescript(repository)
    .filter(([path]) => isShipped(path) && !used.has(path) && !path.endsWith('.d.ts'))
    .filter(([path]) => !path.includes('/assembly/'))
    .map(([path]) => `${path}: nothing that ships imports, spawns or publishes it`)
}

/** Source files that a manifest names in its exports, its commands or its scripts. */
function published(manifest: string, text: string): readonly string[] {
  return [...text.matchAll(/[\w./-]+\/[\w./-]+\.(?:ts|js)/g)].map(([named]) =>
    normalize(join(dirname(manifest), named.replace('dist/', 'src/').replace(/\.js$/, '.ts'))),
  )
}

/** A source file that a comment or a document names exists, at the end of the path as it is written. */
export const namedFiles: Rule = (repository) => {
  const paths = [...repository.files.keys()]
  const exists = (name: string): boolean =>
    paths.some((path) => path === name || path.endsWith(`/${name}`))
  return [...repository.files].flatMap(([path, text]) => {
    if (path === 'tests/tidy.test.ts') return [] // its texts are cases of this rule
    const prose = path.endsWith('.md') ? text : path.endsWith('.ts') ? commentsOf(text) : ''
    const names = new Set(prose.match(/(?<![\w./*<-])[a-z][\w-]*(?:\/[\w-]+)*(?:\.test)?\.ts\b/g))
    return [...names]
      .filter((name) => !exists(name) && !EXAMPLE_FILES.test(name) && !isOfPage(text, name))
      .map((name) => `${path}: names ${name}, which is not a file here`)
  })
}

/** True for a program that the page itself gives its readers. */
function isOfPage(page: string, name: string): boolean {
  return page.includes(`\n\`\`\`ts file=${name}\n`)
}

/** File names that stand for a reader's own files. */
const EXAMPLE_FILES = /^(?:app|main|notes|file|vite\.config|next\.config|your-[\w-]+)\.ts$/

/** Every published manifest says what a registry and a reader need, and the packages agree on Node and version. */
export const manifests: Rule = (repository) =>
  [...repository.files].flatMap(([path, text]) => {
    if (!/^packages\/[^/]+\/package\.json$/.test(path)) return []
    const manifest = JSON.parse(text) as Readonly<Record<string, unknown>>
    if (manifest['private'] === true) return []
    const missing = ['description', 'keywords', 'license', 'repository', 'files', 'engines'].filter(
      (key) => manifest[key] === undefined,
    )
    const folder = dirname(path)
    const files = ['README.md', 'LICENSE'].filter(
      (file) => !repository.files.has(join(folder, file)),
    )
    const { node } = (manifest['engines'] ?? {}) as { readonly node?: string }
    return [
      ...[...missing, ...files].map((name) => `${path}: has no ${name}`),
      ...(node === undefined || node === NODE_RANGE
        ? []
        : [`${path}: engines.node is ${node}, not ${NODE_RANGE}`]),
    ]
  })

/** The range of Node that every package declares: the first release whose SQLite has no WAL-reset bug. */
const NODE_RANGE = '>=24.15.0'

/** Nothing large is committed. */
export const blobs: Rule = (repository) =>
  [...repository.bytes]
    .filter(([, size]) => size > BLOB_BYTES_MAX)
    .map(([path, size]) => `${path}: ${size} bytes, more than ${BLOB_BYTES_MAX}`)

/** The lock file and the documents name packages, never the server they came from. */
export const registries: Rule = (repository) =>
  [...repository.files].flatMap(([path, text]) => {
    if (path === 'package-lock.json' && /"resolved": "https?:/.test(text)) {
      return [`${path}: holds addresses of a registry`]
    }
    return /\.(md|json|ts)$|\.npmrc$/.test(path) && /https?:\/\/[\w.-]*registry[\w.-]*/.test(text)
      ? [`${path}: names a registry`]
      : []
  })

/** Every error code is thrown by shipped code and named in a test. */
export const errorCodes: Rule = (repository) => {
  const path = 'packages/sqlite-vector/src/errors.ts'
  const shipped = [...repository.files].filter(([p]) => isShipped(p) && p !== path)
  const tests = [...repository.files].filter(([p]) => isTest(p) && p !== 'tests/tidy.test.ts')
  const has = (files: typeof shipped, pattern: string): boolean =>
    files.some(([, text]) => new RegExp(pattern).test(text))
  return codesOf(repository).flatMap((code) => [
    ...(has(shipped, `'${code}'`) ? [] : [`${path}: ${code} is thrown nowhere`]),
    ...(has(tests, `\\b${code}\\b`) ? [] : [`${path}: ${code} is named in no test`]),
  ])
}

/** The codes that errors.ts declares. */
export function codesOf(repository: Repository): readonly string[] {
  const source = repository.files.get('packages/sqlite-vector/src/errors.ts') ?? ''
  return [...source.matchAll(/^ {2}([A-Z][A-Z0-9_]+): \{/gm)].map((match) => match[1] ?? '')
}
