/**
 * From the fields of a row to a record: one rule for all formats that name their fields.
 *
 * Nothing changes silently. A field that is not the id, the vector, the metadata or the text
 * becomes a key of the metadata, `__proto__` like any other. Integers beyond 2^53, which a number
 * of JavaScript would round, binary values, and texts that are not UTF-8 are refused with their
 * place.
 *
 * Where the usual names are missing, those of other vector stores are taken: `vector`, `values`,
 * `payload`, `document` and so on. A name that the caller gave is the only one.
 */
import { createHash } from 'node:crypto'
import type { JsonValue, Metadata } from '@agentic-flow/sqlite-vector'
import { InputError } from './input-error.ts'
import { type Columns, DEFAULT_COLUMNS, type PlacedRecord, type ReadOptions } from './types.ts'

/** Other names of the fields, in the order in which they are looked for. */
const ALIASES: Columns<readonly string[]> = {
  id: ['id', '_id', 'ids', 'key', 'uuid'],
  embedding: ['embedding', 'vector', 'values', 'embeddings', 'dense_vector', 'emb'],
  metadata: ['metadata', 'payload', 'meta', 'properties', 'attributes'],
  text: ['text', 'document', 'page_content', 'content', 'body', 'chunk'],
}

/** Which field of a row is which part of a record; null where there is none. */
export type Mapping = Columns<string | null>

/** The mapping for rows with these fields. */
export function mappingOf(fields: readonly string[], { columns }: ReadOptions): Mapping {
  const nameOf = (part: keyof Mapping): string | null => {
    const wanted = columns[part]
    if (fields.includes(wanted)) return wanted
    if (wanted !== DEFAULT_COLUMNS[part]) return null
    return ALIASES[part].find((name) => fields.includes(name)) ?? null
  }
  return {
    id: nameOf('id'),
    embedding: nameOf('embedding'),
    metadata: nameOf('metadata'),
    text: nameOf('text'),
  }
}

/** The record of a row of values. @throws InputError that names the field */
export async function recordOf(
  row: Readonly<Record<string, unknown>>,
  place: string,
  where: string,
  options: ReadOptions,
): Promise<PlacedRecord> {
  const mapping = mappingOf(Object.keys(row), options)
  const field = (name: string): string => `${place}, field ${name}`
  if (mapping.embedding === null) {
    throw new InputError(
      `${place}: no field ${JSON.stringify(options.columns.embedding)} among ` +
        `${Object.keys(row).join(', ')}; name it with --vector-column`,
    )
  }
  const embedding = vectorFrom(row[mapping.embedding], field(mapping.embedding))
  const own = Object.entries(row).filter(([name]) => !Object.values(mapping).includes(name))
  const given =
    mapping.metadata === null
      ? []
      : Object.entries(metadataOf(row[mapping.metadata], field(mapping.metadata)))
  // Not by assignment, which would take a key __proto__ for something else.
  const metadata: Metadata = Object.fromEntries([
    ...own.map(([name, value]) => [name, plainOf(value, field(name))] as const),
    ...given.map(([name, value]) => [name, plainOf(value, field(name))] as const),
  ])
  const text = mapping.text === null ? null : textOf(row[mapping.text], field(mapping.text))
  const parts = { embedding, metadata, ...(text === null ? {} : { text }) }
  const id = await idFor(row, mapping.id, parts, place, options)
  return { record: { id, ...parts }, where }
}

async function idFor(
  row: Readonly<Record<string, unknown>>,
  name: string | null,
  parts: Omit<PlacedRecord['record'], 'id'>,
  place: string,
  { ids, idPrefix, rowIds, columns }: ReadOptions,
): Promise<string> {
  if (rowIds === 'hash') return idPrefix + contentHash(parts)
  if (ids !== null) {
    const next = await ids.next()
    if (next.done !== true) return next.value
    throw new InputError(`${place}: there are fewer ids than records`)
  }
  if (name !== null) return idOf(row[name], `${place}, field ${name}`)
  throw new InputError(
    `${place}: no field ${JSON.stringify(columns.id)} among ${Object.keys(row).join(', ')}; name it ` +
      'with --id-column, or number the rows with --ids row',
  )
}

/** The first half of the SHA-256 of a record's content: 32 hexadecimal digits. */
function contentHash({ embedding, metadata, text }: Omit<PlacedRecord['record'], 'id'>): string {
  const hash = createHash('sha256')
  hash.update(Float32Array.from(embedding))
  hash.update(JSON.stringify([metadata ?? {}, text ?? null]))
  return hash.digest('hex').slice(0, 32)
}

/** JSON in which no integer is rounded. @throws InputError */
export function exactJson(text: string, place: string): unknown {
  try {
    // A reviver is called for every value: only where a run of digits may be too long for a number.
    if (!/(?<![\d.])\d{16,}/.test(text)) return JSON.parse(text)
    return JSON.parse(text, (_, value: unknown, context?: { readonly source?: string }) => {
      const source = context?.source ?? ''
      if (typeof value !== 'number' || Number.isSafeInteger(value)) return value
      // A number as JavaScript writes it comes back as it was.
      if (!/^-?\d+$/.test(source) || BigInt(source) === BigInt(value)) return value
      if (String(value) === source) return value
      throw new InputError(`${place}: ${beyond(source)}`)
    })
  } catch (error) {
    if (error instanceof InputError) throw error
    throw new InputError(`${place}: ${(error as Error).message}`, { cause: error })
  }
}

function beyond(integer: string): string {
  return `the integer ${integer} is beyond 2^53 and would be rounded; write it as a string`
}

/** An id of a file; whole numbers are taken as their digits. @throws InputError */
export function idOf(value: unknown, place: string): string {
  if (typeof value === 'string' && value !== '') return value
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value)
  if (typeof value === 'bigint') return String(value)
  throw new InputError(`${place}: expected an id, a string that is not empty`)
}

/**
 * A vector: numbers, or a text of them: JSON, pgvector's `[1,2]`, PostgreSQL's `{1,2}`, or numbers
 * between spaces, commas or semicolons. @throws InputError that names the component
 */
export function vectorFrom(given: unknown, place: string): Float32Array {
  const value = typeof given === 'string' ? numbersOf(given) : given
  const isNumbers =
    Array.isArray(value) || value instanceof Float32Array || value instanceof Float64Array
  if (!isNumbers || value.length === 0) {
    throw new InputError(`${place}: expected a vector, an array of numbers`)
  }
  const vector = new Float32Array(value.length)
  for (let index = 0; index < value.length; index += 1) {
    const component: unknown = value[index]
    const rounded =
      typeof component === 'number' || typeof component === 'bigint'
        ? Math.fround(Number(component))
        : Number.NaN
    if (!Number.isFinite(rounded)) {
      throw new InputError(
        `${place}: component ${index + 1} is ${String(component)}, not a finite float32`,
      )
    }
    vector[index] = rounded
  }
  return vector
}

/** The numbers of a text; what is not one is kept as it is, to be refused by its place. */
function numbersOf(text: string): readonly unknown[] {
  const inner = text
    .trim()
    .replace(/^[[{(]/, '')
    .replace(/[\]})]$/, '')
    .trim()
  if (inner === '') return []
  return inner.split(/\s*[,;]\s*|\s+/).map((part) => {
    const number = /^[-+]?(\d|\.\d)/.test(part) ? Number(part) : Number.NaN
    return Number.isNaN(number) ? part : number
  })
}

/**
 * Metadata of a file, an object or its JSON; its contents are the library's to check.
 * @throws InputError
 */
export function metadataOf(given: unknown, place: string): Metadata {
  if (given === undefined || given === null || given === '') return {}
  const value = typeof given === 'string' ? exactJson(given, place) : given
  if (value === null) return {}
  if (typeof value === 'object' && !Array.isArray(value)) return value as Metadata
  throw new InputError(`${place}: expected a JSON object`)
}

function textOf(value: unknown, place: string): string | null {
  if (value === null || value === undefined) return null
  if (typeof value === 'string') return value
  throw new InputError(`${place}: expected a string`)
}

/** A value as JSON. Values that JSON cannot hold are refused. */
export function plainOf(value: unknown, place: string): JsonValue {
  if (value === null || value === undefined) return null
  if (typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number' && Number.isFinite(value)) return value
  if (typeof value === 'bigint') {
    if (BigInt(Number(value)) === value && Number.isSafeInteger(Number(value))) return Number(value)
    throw new InputError(`${place}: ${beyond(String(value))}`)
  }
  if (value instanceof Date) return value.toISOString()
  if (Array.isArray(value)) return value.map((item) => plainOf(item, place))
  if (ArrayBuffer.isView(value)) {
    throw new InputError(`${place}: a binary value, which metadata cannot hold; write it as base64`)
  }
  if (typeof value === 'object') {
    const entries = Object.entries(value).map(([key, item]) => [key, plainOf(item, place)] as const)
    return Object.fromEntries(entries)
  }
  throw new InputError(`${place}: a ${typeof value}, which metadata cannot hold`)
}
