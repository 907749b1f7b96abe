/**
 * NumPy's `.npy`: a matrix of one vector a row, in C order. Carries no metadata and no texts; ids
 * go into a text file beside it (`--ids`).
 *
 * Reads versions 1 to 3 with float16, float32, float64 and integers up to 32 bits of either byte
 * order; float64 and large integers are rounded to float32, as every embedding is. Writes version
 * 1, `<f4`. Reference: the format's specification, numpy.lib.format (NEP 1).
 */
import { ByteReader } from './bytes.ts'
import { idLine, noMoreIds, rowId } from './ids.ts'
import { type Format, type Source } from './types.ts'
import { InputError } from './input-error.ts'

const MAGIC = Uint8Array.of(0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59)
/** Header of written files: padded, so that the number of rows can be put in at the end. */
const HEADER_BYTES = 128
const HEADER_BYTES_MAX = 65_536
/**
 * Most components of a row that is read: beyond any shard, and a bound for what a header may claim.
 */
const COMPONENTS_MAX = 65_536

type Component = (view: DataView, offset: number, isLittle: boolean) => number

const TYPES: Readonly<Record<string, { readonly bytes: number; readonly read: Component }>> = {
  f2: { bytes: 2, read: (view, offset, isLittle) => float16(view.getUint16(offset, isLittle)) },
  f4: { bytes: 4, read: (view, offset, isLittle) => view.getFloat32(offset, isLittle) },
  f8: { bytes: 8, read: (view, offset, isLittle) => view.getFloat64(offset, isLittle) },
  i1: { bytes: 1, read: (view, offset) => view.getInt8(offset) },
  u1: { bytes: 1, read: (view, offset) => view.getUint8(offset) },
  i2: { bytes: 2, read: (view, offset, isLittle) => view.getInt16(offset, isLittle) },
  u2: { bytes: 2, read: (view, offset, isLittle) => view.getUint16(offset, isLittle) },
  i4: { bytes: 4, read: (view, offset, isLittle) => view.getInt32(offset, isLittle) },
  u4: { bytes: 4, read: (view, offset, isLittle) => view.getUint32(offset, isLittle) },
}

interface Header {
  readonly type: string
  readonly isLittle: boolean
  readonly rows: number
  readonly columns: number
}

export const npyFormat: Format = {
  name: 'npy',
  endings: ['.npy'],
  summary: 'a NumPy matrix; vectors only, ids in a file beside it',
  carries: [],
  piped: { read: true, write: false },
  async *read(source, options) {
    const reader = new ByteReader(source.chunks())
    const { type, isLittle, rows, columns } = await readHeader(reader, source)
    const component = TYPES[type]
    if (component === undefined) {
      throw new InputError(
        `${source.name}: numbers of type ${type}; ${Object.keys(TYPES).join(', ')} are read`,
      )
    }
    for (let row = 0; row < rows; row += 1) {
      const bytes = await reader.read(columns * component.bytes)
      const where = `row ${row}`
      if (bytes.byteLength < columns * component.bytes) {
        throw new InputError(
          `${source.name}: ends in ${where} of ${rows}, at byte ${reader.position}`,
        )
      }
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      const embedding = new Float32Array(columns)
      for (let column = 0; column < columns; column += 1) {
        const value = component.read(view, column * component.bytes, isLittle)
        embedding[column] = value
        if (!Number.isFinite(embedding[column])) {
          throw new InputError(
            `${source.name}: ${where}, column ${column}: ${value} is not a finite float32`,
          )
        }
      }
      yield { record: { id: await rowId(options, row), embedding }, where }
    }
    await noMoreIds(options, rows)
    if ((await reader.read(1)).byteLength > 0) {
      throw new InputError(
        `${source.name}: goes on after its ${rows} rows, at byte ${reader.position}`,
      )
    }
  },
  openWriter({ sink, dimension, ids }) {
    let rows = 0
    return {
      async write({ id, embedding }) {
        if (rows === 0) await sink.write(headerBytes(0, dimension))
        await sink.write(littleEndian(embedding))
        await ids?.write(idLine(id))
        rows += 1
      },
      async end() {
        if (rows === 0) await sink.write(headerBytes(0, dimension))
        else await sink.patch?.(0, headerBytes(rows, dimension))
      },
    }
  },
}

/** Components as float32, little-endian, on any machine. */
export function littleEndian(vector: Float32Array | readonly number[]): Uint8Array {
  const bytes = new Uint8Array(vector.length * 4)
  const view = new DataView(bytes.buffer)
  for (const [index, value] of vector.entries()) view.setFloat32(index * 4, value, true)
  return bytes
}

function headerBytes(rows: number, columns: number): Uint8Array {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows}, ${columns}), }`
  const bytes = new Uint8Array(HEADER_BYTES).fill(0x20)
  bytes.set(MAGIC)
  bytes.set([1, 0, HEADER_BYTES - 10, 0], MAGIC.length)
  bytes.set(new TextEncoder().encode(text), 10)
  bytes[HEADER_BYTES - 1] = 0x0a
  return bytes
}

async function readHeader(reader: ByteReader, { name }: Source): Promise<Header> {
  const start = await reader.read(8)
  if (MAGIC.some((byte, index) => start[index] !== byte)) {
    throw new InputError(`${name}: is not a .npy file`)
  }
  const major = start[6] ?? 0
  if (major < 1 || major > 3)
    throw new InputError(`${name}: .npy of version ${major}; 1 to 3 are read`)
  const lengthBytes = await reader.read(major === 1 ? 2 : 4)
  const length = lengthBytes.reduce((sum, byte, index) => sum + byte * 2 ** (8 * index), 0)
  if (length > HEADER_BYTES_MAX) throw new InputError(`${name}: a header of ${length} bytes`)
  const header = new TextDecoder().decode(await reader.read(length))
  const [, order, type] = /'descr'\s*:\s*'([<>|=])([a-z]\d+)'/.exec(header) ?? []
  const [, fortran] = /'fortran_order'\s*:\s*(True|False)/.exec(header) ?? []
  const [, shape] = /'shape'\s*:\s*\(([^)]*)\)/.exec(header) ?? []
  const sizes = (shape ?? '')
    .split(',')
    // Python 2 wrote whole numbers as 3L.
    .map((part) => part.trim().replace(/^(\d+)L$/, '$1'))
    .filter((part) => part !== '')
  if (type === undefined || fortran === undefined || sizes.length !== 2) {
    throw new InputError(`${name}: expected a matrix of numbers, got the header ${header.trim()}`)
  }
  if (fortran === 'True') {
    throw new InputError(`${name}: is in Fortran order; save it with numpy.ascontiguousarray`)
  }
  const [rows = 0, columns = 0] = sizes.map(Number)
  if (!Number.isSafeInteger(rows) || !(columns >= 1 && columns <= COMPONENTS_MAX)) {
    throw new InputError(`${name}: a matrix of ${sizes.join(' by ')}`)
  }
  return { type, isLittle: order !== '>', rows, columns }
}

/** IEEE 754 half precision. */
function float16(bits: number): number {
  const sign = bits >> 15 === 0 ? 1 : -1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : Number.NaN
  return sign * (1 + fraction / 1_024) * 2 ** (exponent - 15)
}
