/**
 * JSON lines: one object a line with `id`, `embedding` (array of numbers), `metadata` (object),
 * `text` (string).
 *
 * Carries everything. Numbers of a vector are written with as many digits as bring the same float32
 * back, minus zero included.
 */
import type { Metadata } from '@agentic-flow/sqlite-vector'
import { linesOf } from './bytes.ts'
import { type Format, type PlacedRecord } from './types.ts'
import { InputError } from './input-error.ts'

export const jsonlFormat: Format = {
  name: 'jsonl',
  endings: ['.jsonl', '.ndjson'],
  summary: 'JSON lines; carries everything',
  carries: ['id', 'metadata', 'text'],
  piped: { read: true, write: true },
  async *read(source, { columns }) {
    let line = 0
    for await (const text of linesOf(source)) {
      line += 1
      if (text.trim() === '') continue
      yield recordOf(text, `${source.name}: line ${line}`, `line ${line}`, columns)
    }
  },
  openWriter: ({ sink }) => ({
    async write({ id, embedding, metadata, text }) {
      const rest = text === null ? '' : `,"text":${JSON.stringify(text)}`
      await sink.write(
        `{"id":${JSON.stringify(id)},"embedding":${vectorToJson(embedding)},"metadata":${JSON.stringify(metadata)}${rest}}\n`,
      )
    },
    end: () => Promise.resolve(),
  }),
}

function recordOf(
  line: string,
  place: string,
  where: string,
  columns: Readonly<Record<'id' | 'embedding' | 'metadata' | 'text', string>>,
): PlacedRecord {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (error) {
    throw new InputError(`${place}: ${(error as Error).message}`, { cause: error })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new InputError(`${place}: expected a JSON object`)
  }
  const fields = value as Readonly<Record<string, unknown>>
  const known = new Set(Object.values(columns))
  const surplus = Object.keys(fields).find((key) => !known.has(key))
  if (surplus !== undefined) {
    throw new InputError(`${place}: unknown field ${JSON.stringify(surplus)}; put it into metadata`)
  }
  const id = idOf(fields[columns.id], `${place}, field ${columns.id}`)
  const embedding = vectorFrom(fields[columns.embedding], `${place}, field ${columns.embedding}`)
  const metadata = metadataOf(fields[columns.metadata], `${place}, field ${columns.metadata}`)
  const text = fields[columns.text] ?? null
  if (text !== null && typeof text !== 'string') {
    throw new InputError(`${place}, field ${columns.text}: expected a string`)
  }
  return { record: { id, embedding, metadata, ...(text === null ? {} : { text }) }, where }
}

/** An id of a file; whole numbers are taken as their digits. @throws InputError */
export function idOf(value: unknown, place: string): string {
  if (typeof value === 'string' && value !== '') return value
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value)
  if (typeof value === 'bigint') return String(value)
  throw new InputError(`${place}: expected an id, a string that is not empty`)
}

/** Numbers of a file as a vector. @throws InputError that names the component */
export function vectorFrom(value: unknown, place: string): Float32Array {
  if (
    !Array.isArray(value) &&
    !(value instanceof Float32Array) &&
    !(value instanceof Float64Array)
  ) {
    throw new InputError(`${place}: expected an array of numbers`)
  }
  const vector = new Float32Array(value.length)
  for (let index = 0; index < value.length; index += 1) {
    const component: unknown = value[index]
    const rounded = typeof component === 'number' ? Math.fround(component) : Number.NaN
    if (!Number.isFinite(rounded)) {
      throw new InputError(
        `${place}: component ${index + 1} is ${String(component)}, not a finite float32`,
      )
    }
    vector[index] = rounded
  }
  return vector
}

/**
 * Metadata of a file, checked for being an object; its contents are the library's to check. @throws
 * InputError
 */
export function metadataOf(value: unknown, place: string): Metadata {
  if (value === undefined || value === null) return {}
  if (typeof value === 'object' && !Array.isArray(value)) return value as Metadata
  throw new InputError(`${place}: expected a JSON object`)
}

/** As an array of JSON from which the same float32 components come back. */
export function vectorToJson(vector: Float32Array | readonly number[]): string {
  let text = '['
  for (let index = 0; index < vector.length; index += 1) {
    text += `${index === 0 ? '' : ','}${floatToJson(vector[index] ?? 0)}`
  }
  return `${text}]`
}

/** Seven digits often suffice for a float32, nine always do. */
function floatToJson(value: number): string {
  if (Object.is(value, -0)) return '-0'
  const short = Number(value.toPrecision(7))
  return String(Math.fround(short) === value ? short : Number(value.toPrecision(9)))
}
