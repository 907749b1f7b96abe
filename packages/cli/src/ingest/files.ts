/**
 * The files that `ingest` reads: which there are below the given paths, what each is called in the
 * shard, and its text. Reads the file system; knows nothing of shards.
 *
 * A file is called `ROOT/path`, where ROOT is the last name of the folder that was given, so that a
 * folder ingested on two machines gets the same ids. Links are not followed.
 */
import { createHash } from 'node:crypto'
import { lstatSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { INGEST_FILE_BYTES_MAX } from '@agentic-flow/sqlite-vector/limits'
import { UsageError } from '../command.ts'

/** How a file is read. */
export type FileKind = 'markdown' | 'html' | 'text' | 'code'

/** A file to ingest. */
export interface SourceFile {
  readonly path: string
  /** Name in the shard. */
  readonly source: string
  /** Name of the folder, or of the file where a file was given. */
  readonly root: string
  readonly kind: FileKind
}

/** The files below the given paths. */
export interface FoundFiles {
  readonly files: readonly SourceFile[]
  /** Names of the folders that were read whole: what they hold no more is to be removed. */
  readonly folders: readonly string[]
  /** Paths that could not be read, each with the reason. */
  readonly unreadable: readonly { readonly source: string; readonly reason: string }[]
}

/** A file's text, decoded when it is asked for, or the reason why it has none. */
export type ReadFile =
  | { readonly text: () => string; readonly hash: string }
  | { readonly skipped: 'binary' | 'too large' }

const KINDS: readonly (readonly [FileKind, string])[] = [
  ['markdown', 'md markdown mdx'],
  ['html', 'html htm xhtml'],
  ['text', 'txt text rst adoc org tex log'],
  [
    'code',
    'ts tsx mts cts js jsx mjs cjs py rb go rs c h cc cpp hpp cs java kt swift scala php pl lua r jl ' +
      'sh bash zsh fish ps1 sql css scss less vue svelte json jsonc yaml yml toml ini cfg conf xml proto',
  ],
]
const KIND_BY_ENDING = new Map(
  KINDS.flatMap(([kind, endings]) => endings.split(' ').map((ending) => [ending, kind] as const)),
)
/** Names that documents have without an ending. */
const BARE_NAMES =
  /^(readme|changelog|changes|license|licence|copying|copyright|news|authors|todo)$/i
const FOLDERS_LEFT_OUT = new Set(['node_modules', 'dist', 'target', 'vendor', '__pycache__'])

/** The kind of a file by its name, or null for one that is not read. */
export function kindOf(name: string): FileKind | null {
  const ending = /\.([^.]+)$/.exec(name)?.[1]?.toLowerCase()
  if (ending === undefined) return BARE_NAMES.test(name) ? 'text' : null
  return KIND_BY_ENDING.get(ending) ?? null
}

/** All files below `paths`. @throws UsageError for a path that is not there, or two of one name */
export function findFiles(paths: readonly string[]): FoundFiles {
  const files: SourceFile[] = []
  const folders: string[] = []
  const unreadable: { source: string; reason: string }[] = []
  const roots = new Set<string>()
  for (const given of paths) {
    const path = resolve(given)
    const root = basename(path) || 'root'
    if (roots.has(root)) {
      throw new UsageError(`two of the paths are called ${root}; ingest them into two shards`)
    }
    roots.add(root)
    if (statOf(path, given).isDirectory()) {
      folders.push(root)
      walk(path, root, root, files, unreadable)
    } else files.push({ path, source: root, root, kind: kindOf(root) ?? 'text' })
  }
  return { files, folders, unreadable }
}

function statOf(path: string, given: string) {
  try {
    return statSync(path)
  } catch (error) {
    throw new UsageError(`cannot read ${given}: ${(error as Error).message}`, { cause: error })
  }
}

function walk(
  folder: string,
  source: string,
  root: string,
  files: SourceFile[],
  unreadable: { source: string; reason: string }[],
): void {
  let entries
  try {
    entries = readdirSync(folder, { withFileTypes: true })
  } catch (error) {
    unreadable.push({ source, reason: (error as Error).message })
    return
  }
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith('.')) continue
    const path = join(folder, entry.name)
    const name = `${source}/${entry.name}`
    if (entry.isDirectory()) {
      if (!FOLDERS_LEFT_OUT.has(entry.name)) walk(path, name, root, files, unreadable)
    } else if (entry.isFile()) {
      const kind = kindOf(entry.name)
      if (kind !== null) files.push({ path, source: name, root, kind })
    }
  }
}

/** Reads a file. @throws the system's error, such as EACCES */
export function readSource({ path }: SourceFile): ReadFile {
  if (lstatSync(path).size > INGEST_FILE_BYTES_MAX) return { skipped: 'too large' }
  const bytes = readFileSync(path)
  if (bytes.subarray(0, 8_192).includes(0)) return { skipped: 'binary' }
  const text = (): string =>
    bytes
      .toString('utf8')
      .toWellFormed()
      .replaceAll('\0', '')
      .replace(/^\uFEFF/, '')
  return { text, hash: createHash('sha256').update(bytes).digest('hex').slice(0, 32) }
}
