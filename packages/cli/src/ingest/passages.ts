/**
 * Passages of a document: pieces of at most so many tokens, cut at headings first, then at
 * sentences or lines, each beginning with the end of the one before it. Pure; the same text gives
 * the same passages.
 *
 * A token is a word or a mark, which is close enough to what models count to stay below their
 * limits.
 */
import type { FileKind } from './files.ts'
import { htmlToText } from './html.ts'

export interface PassageOptions {
  /** Most tokens of a passage. */
  readonly tokens: number
  /** Tokens of the passage before that are repeated; less than half of {@link tokens}. */
  readonly overlap: number
}

/** One piece of a document. */
export interface Passage {
  /** The headings above it, outermost first, joined by ` › `; '' without. */
  readonly heading: string
  readonly text: string
}

/** A line without a break that is longer is cut: data, not prose. */
const UNIT_CHARACTERS_MAX = 2_000

/** The passages of a file's text. */
export function passagesOfFile(
  kind: FileKind,
  text: string,
  options: PassageOptions,
): readonly Passage[] {
  const readable = (kind === 'html' ? htmlToText(text) : text).replaceAll('\r\n', '\n')
  const sections =
    kind === 'markdown' || kind === 'html'
      ? sectionsOf(readable)
      : [{ heading: '', lines: readable.split('\n') }]
  return sections.flatMap(({ heading, lines }) => {
    const units =
      kind === 'code' ? lines.map((line) => `${line}\n`) : unitsOf(lines, kind === 'markdown')
    return packed(units, options).map((piece) => ({ heading, text: piece }))
  })
}

interface Section {
  readonly heading: string
  readonly lines: readonly string[]
}

/** Sections between headings; a heading inside a fence is code. */
function sectionsOf(text: string): readonly Section[] {
  const sections: Section[] = []
  const path: string[] = []
  let lines: string[] = []
  let fence = ''
  const close = (): void => {
    if (lines.some((line) => line.trim() !== '')) {
      sections.push({ heading: path.filter((title) => title !== '').join(' › '), lines })
    }
    lines = []
  }
  for (const line of withoutFrontMatter(text).split('\n')) {
    const mark = /^\s{0,3}(`{3,}|~{3,})/.exec(line)?.[1] ?? ''
    if (mark !== '' && (fence === '' || mark.startsWith(fence))) fence = fence === '' ? mark : ''
    const [, level, title] =
      fence === '' ? (/^(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*$/.exec(line) ?? []) : []
    if (level === undefined || title === undefined) lines.push(line)
    else {
      close()
      path.length = level.length - 1
      path[level.length - 1] = plain(title)
      for (let index = 0; index < path.length; index += 1) path[index] ??= ''
    }
  }
  close()
  return sections
}

function withoutFrontMatter(text: string): string {
  return text.replace(/^---\n[\s\S]*?\n---\n/, '')
}

/**
 * Sentences of paragraphs, lines of fences and lists; each ends with the white space that separates
 * it.
 */
function unitsOf(lines: readonly string[], isMarkdown: boolean): readonly string[] {
  const units: string[] = []
  let paragraph: string[] = []
  let isFenced = false
  const close = (): void => {
    const joined = paragraph.join(' ').replaceAll(/\s+/g, ' ').trim()
    const sentences = (isMarkdown ? plain(joined) : joined).split(/(?<=[.!?:;]["')\]]?)\s+/)
    units.push(...sentences.filter((sentence) => sentence !== '').map((sentence) => `${sentence} `))
    const last = units.pop()
    if (last !== undefined) units.push(`${last.trimEnd()}\n`)
    paragraph = []
  }
  for (const line of lines) {
    const isMark = /^\s{0,3}(`{3,}|~{3,})/.test(line)
    if (isMark) isFenced = !isFenced
    const startsItem = /^\s*([-*+]|\d+[.)]|\|)\s/.test(line)
    if (isMark || line.trim() === '' || startsItem) if (paragraph.length > 0) close()
    if (isMark || line.trim() === '') continue
    if (isFenced) units.push(`${line}\n`)
    else if (!/^\s*\|?[-:| ]{3,}\|?\s*$/.test(line)) paragraph.push(line.trim())
  }
  if (paragraph.length > 0) close()
  return units
}

/** Without images, link targets and tags: what a reader reads. */
function plain(text: string): string {
  return text
    .replaceAll(/<!--[\s\S]*?-->/g, '')
    .replaceAll(/!\[[^\]]*\]\([^)]*\)/g, '')
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replaceAll(/<\/?[a-z][^<>]*>/gi, '')
    .replaceAll(/\s+/g, ' ')
    .trim()
}

/** How many tokens a text has. */
export function tokenCount(text: string): number {
  return text.match(/[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu)?.length ?? 0
}

interface Unit {
  readonly text: string
  readonly tokens: number
}

/**
 * Fills passages unit by unit; the next one begins with as many last units as the overlap allows.
 */
function packed(units: readonly string[], { tokens, overlap }: PassageOptions): readonly string[] {
  const pieces: string[] = []
  let open: Unit[] = []
  let count = 0
  let isNew = false
  const close = (): void => {
    const text = open
      .map((unit) => unit.text)
      .join('')
      .replaceAll(/\n{3,}/g, '\n\n')
      .trim()
    if (isNew && /[\p{L}\p{N}]/u.test(text)) pieces.push(text)
    const kept: Unit[] = []
    let left = overlap
    for (const unit of open.toReversed()) {
      if (unit.tokens > left) break
      kept.unshift(unit)
      left -= unit.tokens
    }
    open = kept
    count = overlap - left
    isNew = false
  }
  for (const unit of units.flatMap((text) => cut(text, tokens))) {
    if (count + unit.tokens > tokens && isNew) close()
    // An overlap that leaves no room for the unit is dropped, not the unit.
    if (count + unit.tokens > tokens) [open, count] = [[], 0]
    open.push(unit)
    count += unit.tokens
    isNew ||= unit.tokens > 0
  }
  close()
  return pieces
}

/** A unit as it is, or in parts where it alone exceeds a passage. */
function cut(text: string, tokensMax: number): readonly Unit[] {
  const tokens = tokenCount(text)
  if (tokens <= tokensMax && text.length <= UNIT_CHARACTERS_MAX) return [{ text, tokens }]
  const parts: Unit[] = []
  let open = ''
  let count = 0
  for (const [word] of text.matchAll(/\s*(?:[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_])|\s+/gu)) {
    for (let start = 0; start < word.length; start += UNIT_CHARACTERS_MAX) {
      const piece = word.slice(start, start + UNIT_CHARACTERS_MAX)
      if (count + 1 > tokensMax || open.length + piece.length > UNIT_CHARACTERS_MAX) {
        parts.push({ text: open, tokens: count })
        ;[open, count] = ['', 0]
      }
      open += piece.toWellFormed()
      count += 1
    }
  }
  parts.push({ text: open, tokens: tokenCount(open) })
  return parts
}
