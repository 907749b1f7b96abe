/**
 * `.fvecs`, `.bvecs`, `.ivecs` of the TEXMEX corpora: each vector is its length (int32) and its
 * components (float32, uint8 or int32), little-endian. Vectors only; ids go into a text file beside
 * it (`--ids`).
 *
 * Values that a type cannot hold exactly are refused, never rounded: fractions in bvecs and ivecs
 * when writing, integers of ivecs beyond float32 when reading. Reference:
 * http://corpus-texmex.irisa.fr/
 */
import { ByteReader } from './bytes.ts'
import { idLine, noMoreIds, rowId } from './ids.ts'
import { littleEndian } from './npy.ts'
import { type Format } from './types.ts'
import { InputError } from './input-error.ts'

const COMPONENTS_MAX = 65_536

interface Kind {
  readonly name: string
  readonly bytes: number
  readonly about: string
  readonly get: (view: DataView, offset: number) => number
  readonly set: (view: DataView, offset: number, value: number) => void
  readonly holds: (value: number) => boolean
}

export const fvecsFormat: Format = vecsFormat({
  name: 'fvecs',
  bytes: 4,
  about: 'float32',
  get: (view, offset) => view.getFloat32(offset, true),
  set: (view, offset, value) => view.setFloat32(offset, value, true),
  holds: () => true,
})

export const bvecsFormat: Format = vecsFormat({
  name: 'bvecs',
  bytes: 1,
  about: 'whole numbers from 0 to 255',
  get: (view, offset) => view.getUint8(offset),
  set: (view, offset, value) => view.setUint8(offset, value),
  holds: (value) => Number.isInteger(value) && value >= 0 && value <= 255 && !Object.is(value, -0),
})

export const ivecsFormat: Format = vecsFormat({
  name: 'ivecs',
  bytes: 4,
  about: 'whole numbers of 32 bits',
  get: (view, offset) => view.getInt32(offset, true),
  set: (view, offset, value) => view.setInt32(offset, value, true),
  holds: (value) => (value | 0) === value && !Object.is(value, -0),
})

function vecsFormat(kind: Kind): Format {
  const { name, bytes: width, about } = kind
  return {
    name,
    endings: [`.${name}`],
    summary: `vectors of ${about}; ids in a file beside it`,
    carries: [],
    piped: { read: true, write: true },
    async *read(source, options) {
      const reader = new ByteReader(source.chunks())
      let row = 0
      for (; ; row += 1) {
        const head = await reader.read(4)
        if (head.byteLength === 0) break
        const place = `${source.name}: row ${row}`
        const length = head.byteLength < 4 ? 0 : new DataView(head.buffer).getInt32(0, true)
        if (head.byteLength < 4) throw new InputError(`${place}: ends at byte ${reader.position}`)
        if (length < 1 || length > COMPONENTS_MAX) {
          throw new InputError(
            `${place}, byte ${reader.position - 4}: a vector of ${length} components`,
          )
        }
        const body = await reader.read(length * width)
        if (body.byteLength < length * width) {
          throw new InputError(`${place}: ends at byte ${reader.position}`)
        }
        const embedding = componentsOf(body, kind, place)
        yield { record: { id: await rowId(options, row), embedding }, where: `row ${row}` }
      }
      await noMoreIds(options, row)
    },
    openWriter({ sink, ids }) {
      return {
        async write({ id, embedding }) {
          await sink.write(rowBytes(id, embedding, kind))
          await ids?.write(idLine(id))
        },
        end: () => Promise.resolve(),
      }
    },
  }
}

function componentsOf(bytes: Uint8Array, { bytes: width, get }: Kind, place: string): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const vector = new Float32Array(bytes.byteLength / width)
  for (let index = 0; index < vector.length; index += 1) {
    const value = get(view, index * width)
    vector[index] = value
    if (vector[index] !== value || !Number.isFinite(value)) {
      throw new InputError(`${place}, component ${index + 1}: ${value} is not a finite float32`)
    }
  }
  return vector
}

function rowBytes(
  id: string,
  vector: Float32Array | readonly number[],
  { name, about, bytes: width, set, holds }: Kind,
): Uint8Array {
  const bytes = new Uint8Array(4 + vector.length * width)
  const view = new DataView(bytes.buffer)
  view.setInt32(0, vector.length, true)
  if (name === 'fvecs') {
    bytes.set(littleEndian(vector), 4)
    return bytes
  }
  for (const [index, value] of vector.entries()) {
    if (!holds(value)) {
      throw new InputError(
        `record ${JSON.stringify(id)}, component ${index + 1}: ${value}, and ${name} holds ${about} only`,
      )
    }
    set(view, 4 + index * width, value)
  }
  return bytes
}
