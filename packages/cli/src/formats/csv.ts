/**
 * CSV as in RFC 4180, with a header: `id`, `embedding` (a JSON array), `metadata` (a JSON object),
 * `text`.
 *
 * Carries everything: a missing text is an empty field, an empty text is `""`. When reading,
 * columns of other names become keys of the metadata, as strings. Errors name line and column.
 */
import { linesOf } from './bytes.ts'
import { mappingOf, recordOf } from './fields.ts'
import { vectorToJson } from './jsonl.ts'
import { type Format, type ReadOptions } from './types.ts'
import { InputError } from './input-error.ts'

/** One field, and whether it was quoted: only that tells an empty text from none. */
interface Cell {
  readonly text: string
  readonly isQuoted: boolean
}

interface Row {
  readonly cells: readonly Cell[]
  /** The line on which it begins. */
  readonly line: number
}

export const csvFormat: Format = {
  name: 'csv',
  endings: ['.csv'],
  summary: 'comma-separated values with a header; vectors and metadata as JSON; carries everything',
  carries: ['id', 'metadata', 'text'],
  piped: { read: true, write: true },
  async *read(source, options) {
    let header: readonly string[] | null = null
    for await (const { cells, line } of rowsOf(linesOf(source), source.name)) {
      if (header === null) {
        header = headerOf(cells, source.name, options)
        continue
      }
      const place = `${source.name}: line ${line}`
      if (cells.length !== header.length) {
        throw new InputError(
          `${place}: ${cells.length} fields where the header has ${header.length}`,
        )
      }
      const values = valuesOf(cells, header, options)
      yield await recordOf(values, place, `line ${line}`, options)
    }
  },
  openWriter({ sink }) {
    let isFirst = true
    return {
      async write({ id, embedding, metadata, text }) {
        const fields = [
          quoted(id),
          quoted(vectorToJson(embedding)),
          quoted(JSON.stringify(metadata)),
          text === null ? '' : quoted(text),
        ]
        await sink.write(`${isFirst ? HEADER : ''}${fields.join(',')}\r\n`)
        isFirst = false
      },
      async end() {
        if (isFirst) await sink.write(HEADER)
      },
    }
  },
}

/** Longest quoted field: the largest vector, metadata and text there may be take less. */
const FIELD_CHARACTERS_MAX = 1_048_576

const HEADER = 'id,embedding,metadata,text\r\n'

function quoted(text: string): string {
  return `"${text.replaceAll('"', '""')}"`
}

function headerOf(cells: readonly Cell[], name: string, options: ReadOptions): readonly string[] {
  const header = cells.map(({ text }, i) => (i === 0 ? text.replace(/^\ufeff/, '') : text).trim())
  const twice = header.find((column, index) => header.indexOf(column) !== index)
  if (twice !== undefined)
    throw new InputError(`${name}: line 1: two columns ${JSON.stringify(twice)}`)
  const { id, embedding } = mappingOf(header, options)
  const missing =
    embedding === null ? 'embedding' : id === null && !hasOwnIds(options) ? 'id' : null
  if (missing !== null) {
    const option =
      missing === 'id' ? '--id-column, or number the rows with --ids row' : '--vector-column'
    throw new InputError(
      `${name}: line 1: no column ${JSON.stringify(options.columns[missing])} among ` +
        `${header.join(', ')}; name it with ${option}`,
    )
  }
  return header
}

function hasOwnIds({ ids, rowIds }: ReadOptions): boolean {
  return ids !== null || rowIds !== undefined
}

/** The values of a row. Of a text, an empty field that is not quoted is none. */
function valuesOf(
  cells: readonly Cell[],
  header: readonly string[],
  options: ReadOptions,
): Record<string, unknown> {
  const { text } = mappingOf(header, options)
  return Object.fromEntries(
    header.map((column, index) => {
      const cell = cells[index] ?? { text: '', isQuoted: false }
      const isNone = column === text && cell.text === '' && !cell.isQuoted
      return [column, isNone ? null : cell.text]
    }),
  )
}

/** The rows of a text given by lines; a quoted field may go over several. */
export async function* rowsOf(lines: AsyncIterable<string>, name: string): AsyncGenerator<Row> {
  let cells: Cell[] = []
  let open: string | null = null
  let line = 0
  let begunAt = 0
  for await (const text of lines) {
    line += 1
    if (open === null) begunAt = line
    const parsed = fieldsOf(text, open, `${name}: line ${line}`)
    cells.push(...parsed.cells)
    open = parsed.open
    if (open !== null) {
      // The line's end belongs to the field.
      open += '\n'
      if (open.length > FIELD_CHARACTERS_MAX) {
        throw new InputError(
          `${name}: line ${begunAt}: a quoted field does not end within ` +
            `${FIELD_CHARACTERS_MAX} characters; is there a stray quote?`,
        )
      }
      continue
    }
    const isBlank = cells.length === 1 && cells[0]?.text === '' && !cells[0].isQuoted
    if (!isBlank) yield { cells, line: begunAt }
    cells = []
  }
  if (open !== null) throw new InputError(`${name}: line ${begunAt}: a quoted field does not end`)
}

/**
 * The fields that one line completes; `open` is the part of a quoted field that goes on in the
 * next.
 */
function fieldsOf(
  line: string,
  openBefore: string | null,
  place: string,
): { cells: Cell[]; open: string | null } {
  const cells: Cell[] = []
  let at = 0
  let open = openBefore
  for (;;) {
    if (open === null && line[at] === '"') {
      open = ''
      at += 1
    }
    if (open === null) {
      const end = line.indexOf(',', at)
      const text = end === -1 ? line.slice(at) : line.slice(at, end)
      if (text.includes('"')) {
        throw new InputError(
          `${place}, column ${at + 1 + text.indexOf('"')}: a quote inside a field that is not quoted`,
        )
      }
      // Of the two ends that a line may have, the longer one.
      const isLast = end === -1
      cells.push({
        text: isLast && text.endsWith('\r') ? text.slice(0, -1) : text,
        isQuoted: false,
      })
      if (isLast) return { cells, open: null }
      at = end + 1
      continue
    }
    const end = endOfQuoted(line, at)
    if (end === -1) return { cells, open: open + line.slice(at).replaceAll('""', '"') }
    cells.push({ text: open + line.slice(at, end).replaceAll('""', '"'), isQuoted: true })
    open = null
    const after = line.slice(end + 1)
    if (after === '' || after === '\r') return { cells, open: null }
    if (!after.startsWith(',')) {
      throw new InputError(`${place}, column ${end + 2}: expected a comma after a quoted field`)
    }
    at = end + 2
  }
}

/** Index of the quote that ends a field, or -1. */
function endOfQuoted(line: string, from: number): number {
  let at = from
  for (;;) {
    const quote = line.indexOf('"', at)
    if (quote === -1 || line[quote + 1] !== '"') return quote
    at = quote + 2
  }
}
