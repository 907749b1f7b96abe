/**
 * Passages of the documentation installed on this machine, the raw text of the data sets.
 *
 * Reads Markdown, plain text and manual pages below a few well-known folders in sorted order, cuts
 * them into passages of some sixty words, and skips repeats, since packages share licences. The
 * result is a function of what is installed: two machines measure on different texts.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

const FOLDERS = [
  join(import.meta.dirname, '../../docs'),
  join(import.meta.dirname, '../../node_modules'),
  '/usr/share/doc',
  '/usr/share/man',
]
const NAMES = /(?:\.(?:md|txt|rst)|\/README|\.[1-8])(?:\.gz)?$/
const WORDS_PER_PASSAGE = 60
const FILE_BYTES_MAX = 2_000_000

/** One piece of text, as lower-case words, and the file it comes from. */
export interface Passage {
  readonly words: readonly string[]
  readonly source: string
}

/** At most `wanted` passages, spread over all files found. */
export function readPassages(wanted: number): readonly Passage[] {
  const files = FOLDERS.filter((folder) => existsSync(folder)).flatMap((folder) => [
    ...filesBelow(folder),
  ])
  const passages: Passage[] = []
  const seen = new Set<string>()
  // Every n-th file first, so that a part of the corpus is a sample of the whole.
  const stride = 97
  for (let offset = 0; offset < stride && passages.length < wanted; offset += 1) {
    for (let i = offset; i < files.length && passages.length < wanted; i += stride) {
      const source = files[i] ?? ''
      for (const words of passagesOf(source)) {
        const key = words.slice(0, 12).join(' ')
        if (seen.has(key) || passages.length === wanted) continue
        seen.add(key)
        passages.push({ words, source })
      }
    }
  }
  return passages
}

function* filesBelow(folder: string): Generator<string> {
  const entries = readdirSync(folder, { withFileTypes: true })
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* filesBelow(path)
    else if (entry.isFile() && NAMES.test(path)) yield path
  }
}

function* passagesOf(path: string): Generator<readonly string[]> {
  const bytes = readFileSync(path)
  if (bytes.length > FILE_BYTES_MAX) return
  const text = (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8')
  const prose = text.replaceAll(/^[.'].*$/gm, ' ').replaceAll(/\\f[A-Z]|\\-|<[^>]*>/g, ' ')
  const words = prose.toLowerCase().match(/[a-z][a-z]{2,17}/g) ?? []
  for (let at = 0; at + WORDS_PER_PASSAGE / 2 <= words.length; at += WORDS_PER_PASSAGE) {
    yield words.slice(at, at + WORDS_PER_PASSAGE)
  }
}
