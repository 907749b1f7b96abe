/**
 * The repository as texts, for tidy's rules: every file that git tracks or would track, read once.
 *
 * Rules are pure functions of this, so that tests can hand them a repository that breaks one.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Largest file that may be committed, in bytes: data and builds do not belong here. */
export const BLOB_BYTES_MAX = 524_288

/** What rules see. */
export interface Repository {
  /** Text by path from the root; files above {@link BLOB_BYTES_MAX} are empty here. */
  readonly files: ReadonlyMap<string, string>
  /** Bytes by path. */
  readonly bytes: ReadonlyMap<string, number>
}

/** Reads the working tree of the repository at `root`. */
export function readRepository(root: string): Repository {
  const listed = execFileSync('git', ['ls-files', '-z', '-co', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
  })
  const files = new Map<string, string>()
  const bytes = new Map<string, number>()
  for (const path of listed.split('\0')) {
    // Listed and gone: deleted in the working tree, not yet in the index.
    if (path === '' || !existsSync(join(root, path))) continue
    const size = statSync(join(root, path)).size
    bytes.set(path, size)
    files.set(path, size > BLOB_BYTES_MAX ? '' : readFileSync(join(root, path), 'utf8'))
  }
  return { files, bytes }
}

/** Paths of TypeScript files, each with its text. */
export function typescript(repository: Repository): readonly (readonly [string, string])[] {
  return [...repository.files].filter(([path]) => path.endsWith('.ts'))
}

/** True for what a package ships, as opposed to its tests. */
export function isShipped(path: string): boolean {
  return /^packages\/[^/]+\/src\//.test(path)
}

/** True for tests of any package and of the whole. */
export function isTest(path: string): boolean {
  return /^(packages\/[^/]+\/)?tests\//.test(path)
}

/**
 * `source` with comments and the contents of strings blanked, line for line. Not a parser: a quote
 * inside a regular expression blanks the rest of its line at worst.
 */
export function codeOnly(source: string): string {
  return source.replace(
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\[\s\S]|[^`\\])*`/g,
    (match) => match.replace(/[^\n]/g, ' '),
  )
}

/** The comments of `source`, one after another; the counterpart of {@link codeOnly}. */
export function commentsOf(source: string): string {
  return (source.match(/\/\*[\s\S]*?\*\/|(?:^|\s)\/\/[^\n]*/g) ?? []).join('\n')
}
