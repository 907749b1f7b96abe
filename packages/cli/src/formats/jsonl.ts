/**
 * JSON lines: one object a line with `id`, `embedding` (array of numbers), `metadata` (object),
 * `text` (string).
 *
 * Other fields become keys of the metadata. Carries everything. Numbers of a vector are written
 * with as many digits as bring the same float32 back, minus zero included.
 */
import { linesOf } from './bytes.ts'
import { exactJson, recordOf } from './fields.ts'
import { type Format } from './types.ts'
import { InputError } from './input-error.ts'

export const jsonlFormat: Format = {
  name: 'jsonl',
  endings: ['.jsonl', '.ndjson'],
  summary: 'JSON lines; carries everything',
  carries: ['id', 'metadata', 'text'],
  piped: { read: true, write: true },
  async *read(source, options) {
    let line = 0
    for await (const text of linesOf(source)) {
      line += 1
      // A byte order mark at the start belongs to the file, not to its first line.
      const json = line === 1 ? text.replace(/^\ufeff/, '') : text
      if (json.trim() === '') continue
      const place = `${source.name}: line ${line}`
      const value = exactJson(json, place)
      if (typeof value !== 'object' || value === null || Array.isArray(value)) {
        throw new InputError(`${place}: expected a JSON object`)
      }
      yield await recordOf(value as Record<string, unknown>, place, `line ${line}`, options)
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
