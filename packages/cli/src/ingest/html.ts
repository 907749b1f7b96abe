/**
 * The readable text of an HTML page, with Markdown's marks for headings and lists, so that one
 * splitter does for both.
 *
 * Not a parser of HTML: it drops what is not text (scripts, styles, templates, comments, tags) and
 * decodes the references that occur in prose. Malformed pages give text, never an error.
 */

const DROPPED = /<(script|style|template|noscript|svg|head|title)\b[^>]*>[\s\S]*?<\/\1\s*>/gi
const BREAKS =
  /<\/?(p|div|section|article|aside|main|nav|header|footer|ul|ol|dl|dt|dd|table|tr|pre|blockquote|figure|form|hr)\b[^>]*>/gi
const NAMED: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: ' ',
  ndash: '–',
  mdash: '—',
  hellip: '…',
  lsquo: '‘',
  rsquo: '’',
  ldquo: '“',
  rdquo: '”',
  copy: '©',
  reg: '®',
  times: '×',
  middot: '·',
  bull: '•',
}

/** The text of a page. */
export function htmlToText(html: string): string {
  const title = /<title[^>]*>([\s\S]*?)<\/title\s*>/i.exec(html)?.[1]
  const body = html
    .replaceAll(/<!--[\s\S]*?-->/g, '')
    .replaceAll(DROPPED, ' ')
    .replaceAll(/<h([1-6])\b[^>]*>/gi, (_, level: string) => `\n\n${'#'.repeat(Number(level))} `)
    .replaceAll(/<\/h[1-6]\s*>/gi, '\n\n')
    .replaceAll(/<li\b[^>]*>/gi, '\n- ')
    .replaceAll(/<br\b[^>]*>/gi, '\n')
    .replaceAll(/<\/t[dh]\s*>/gi, ' ')
    .replaceAll(BREAKS, '\n\n')
    .replaceAll(/<\/?[a-z!][^<>]*>/gi, '')
  const text = decoded(body)
    .replaceAll(/[ \t\f\v\u00A0]+/g, ' ')
    .replaceAll(/ *\n */g, '\n')
    .replaceAll(/\n{3,}/g, '\n\n')
    .trim()
  if (title === undefined || /^# /m.test(text)) return text
  return `# ${decoded(title).replaceAll(/\s+/g, ' ').trim()}\n\n${text}`
}

function decoded(text: string): string {
  return text.replaceAll(/&(#x[0-9a-f]{1,6}|#\d{1,7}|[a-z]{2,8});/gi, (whole, name: string) => {
    if (!name.startsWith('#')) return NAMED[name.toLowerCase()] ?? whole
    const code = /^#x/i.test(name) ? Number.parseInt(name.slice(2), 16) : Number(name.slice(1))
    return code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff)
      ? String.fromCodePoint(code)
      : ''
  })
}
