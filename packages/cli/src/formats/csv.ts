/**
 * CSV as in RFC 4180, with a header: `id`, `embedding` (a JSON array), `metadata` (a JSON object),
 * `text`.
 *
 * Carries everything: a missing text is an empty field, an empty text is `""`. When reading,
 * columns of other names become keys of the metadata, as strings. Errors name line and column.
 */
import type { JsonValue } from '@agentic-flow/sqlite-vector'
import { linesOf } from './bytes.ts'
import { idOf, metadataOf, vectorFrom, vectorToJson } from './jsonl.ts'
import { type Format, type PlacedRecord, type ReadOptions } from './types.ts'
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
      yield recordOf(cells, header, place, `line ${line}`, options)
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

const HEADER = 'id,embedding,metadata,text\r\n'

function quoted(text: string): string {
  return `"${text.replaceAll('"', '""')}"`
}

function headerOf(
  cells: readonly Cell[],
  name: string,
  { columns }: ReadOptions,
): readonly string[] {
  const header = cells.map(({ text }) => text.trim())
  for (const column of [columns.id, columns.embedding]) {
    if (!header.includes(column)) {
      throw new InputError(
        `${name}: line 1: no column ${JSON.stringify(column)} among ${header.join(', ')}; say --column`,
      )
    }
  }
  const twice = header.find((column, index) => header.indexOf(column) !== index)
  if (twice !== undefined)
    throw new InputError(`${name}: line 1: two columns ${JSON.stringify(twice)}`)
  return header
}

function recordOf(
  cells: readonly Cell[],
  header: readonly string[],
  place: string,
  where: string,
  { columns }: ReadOptions,
): PlacedRecord {
  let id = ''
  let embedding = new Float32Array()
  let text: string | null = null
  const metadata: Record<string, JsonValue> = {}
  for (const [index, column] of header.entries()) {
    const cell = cells[index] ?? { text: '', isQuoted: false }
    const field = `${place}, column ${column}`
    if (column === columns.id) id = idOf(cell.text, field)
    else if (column === columns.embedding) {
      embedding = vectorFrom(jsonOf(cell.text, field), field) as Float32Array<ArrayBuffer>
    } else if (column === columns.metadata) {
      Object.assign(metadata, cell.text === '' ? {} : metadataOf(jsonOf(cell.text, field), field))
    } else if (column === columns.text) text = cell.text === '' && !cell.isQuoted ? null : cell.text
    else metadata[column] = cell.text
  }
  return { record: { id, embedding, metadata, ...(text === null ? {} : { text }) }, where }
}

function jsonOf(text: string, field: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new InputError(`${field}: ${(error as Error).message}`, { cause: error })
  }
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
