/**
 * Passages: pieces of text and Markdown files, small enough to be an answer, each with its source.
 *
 * Not a Markdown parser: headings, fences and blank lines are enough to cut at. The same folder
 * gives the same passages in the same order.
 */
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { join, relative, sep } from 'node:path'

/** One piece of a file. */
export interface Passage {
  /** `path#number`, unique in the collection. */
  readonly id: string
  /** Path from the folder that was read, with forward slashes. */
  readonly source: string
  /** The heading above it, or ''. */
  readonly heading: string
  readonly text: string
}

/** Fewer passages make no demonstration: three are edited, one is left. */
export const DEMO_PASSAGES_MIN = 4
/** A piece is closed when it reached this many characters: a sentence or two. */
const CHARACTERS_TARGET = 100
/** A paragraph longer than this is cut at sentence ends. */
const CHARACTERS_MAX = 900
/** Less than this says nothing on its own. */
const CHARACTERS_MIN = 40
const FILE_BYTES_MAX = 4_194_304

/** Text and Markdown files below `folder`, without hidden folders and installed packages. */
export function textFiles(folder: string): readonly string[] {
  return filesBelow(folder, (name) => name !== 'node_modules' && name !== 'dist').filter((path) =>
    /\.(md|markdown|txt|text)$/i.test(path),
  )
}

/** Documents of a repository: its own, and the READMEs of the packages installed in it. */
export function documentsOf(root: string): readonly string[] {
  const packages = join(root, 'node_modules')
  const installed = existsSync(packages) ? filesBelow(packages, () => true) : []
  const readmes = installed.filter((path) => /[\\/]readme[^\\/]*\.(md|markdown)$/i.test(path))
  return [...textFiles(root), ...readmes]
}

/** All passages of `files`, named by their path from `folder`. */
export function passagesOf(folder: string, files: readonly string[]): readonly Passage[] {
  return files.flatMap((path) => {
    const source = relative(folder, path).split(sep).join('/')
    return passagesOfText(source, readFileSync(path, 'utf8'))
  })
}

/** Cuts one text. Headings go with the passages below them; code stays whole where it is short. */
export function passagesOfText(source: string, text: string): readonly Passage[] {
  const passages: Passage[] = []
  let heading = ''
  let open: string[] = []
  const close = (): void => {
    const whole = open.join('\n').trim()
    open = []
    for (const piece of pieces(whole)) {
      passages.push({ id: `${source}#${passages.length + 1}`, source, heading, text: piece })
    }
  }
  for (const block of blocksOf(text)) {
    const title = /^#{1,6} +(.+?) *#*$/.exec(block)?.[1]
    if (title !== undefined) {
      close()
      heading = plain(title)
      continue
    }
    open.push(plain(block))
    if (open.join('\n').length >= CHARACTERS_TARGET) close()
  }
  close()
  return passages
}

/** Blocks between blank lines; a fence is one block, a heading is one block, a list item is one. */
function blocksOf(text: string): readonly string[] {
  const blocks: string[] = []
  let open: string[] = []
  let fenced = false
  const close = (): void => {
    if (open.length > 0) blocks.push(open.join('\n'))
    open = []
  }
  for (const line of text.split(/\r?\n/)) {
    const fence = /^\s*(```|~~~)/.test(line)
    if (!fenced && (fence || /^(#{1,6} |\s*[-*+] |\s*\d+\. )/.test(line))) close()
    if (fence) fenced = !fenced
    else if (!fenced && line.trim() === '') close()
    else open.push(line)
    if (!fenced && (fence || /^#{1,6} /.test(line))) close()
  }
  close()
  return blocks
}

/** Without badges, tags, link targets and table rules: what a reader reads. */
function plain(block: string): string {
  return block
    .replaceAll(/<!--[\s\S]*?-->/g, '')
    .replaceAll(/!\[[^\]]*\]\([^)]*\)/g, '')
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replaceAll(/<\/?[a-z][^>]*>/gi, '')
    .replaceAll(/^\s*\|?[-:| ]{3,}\|?\s*$/gm, '')
    .replaceAll(/ {2,}(?=\|)/g, ' ')
    .replaceAll(/\n{2,}/g, '\n')
    .trim()
}

/**
 * `text` cut at sentence ends or lines so that no piece is over long; what is too short is left
 * out.
 */
function pieces(text: string): readonly string[] {
  const found: string[] = []
  let rest = text
  while (rest.length > CHARACTERS_MAX) {
    const window = rest.slice(0, CHARACTERS_MAX)
    const cut = Math.max(window.lastIndexOf('. ') + 1, window.lastIndexOf('\n'))
    const at = cut > CHARACTERS_TARGET ? cut : CHARACTERS_MAX
    found.push(rest.slice(0, at).trim())
    rest = rest.slice(at).trim()
  }
  found.push(rest)
  return found
    .filter((piece) => piece.length >= CHARACTERS_MIN)
    .map((piece) => piece.toWellFormed())
}

function filesBelow(folder: string, enters: (name: string) => boolean): readonly string[] {
  const entries = readdirSync(folder, { withFileTypes: true })
  return entries
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(folder, entry.name)
      if (entry.name.startsWith('.')) return []
      // Links are not followed: a workspace links to its own packages.
      if (entry.isDirectory()) return enters(entry.name) ? filesBelow(path, enters) : []
      return entry.isFile() && statSync(path).size <= FILE_BYTES_MAX ? [path] : []
    })
}
