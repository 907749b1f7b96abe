/**
 * Whatever a format can carry comes back as it was, for random records; what it cannot carry is
 * refused.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { fileSink, sourceOf } from '../../src/formats/bytes.ts'
import { FORMATS } from '../../src/formats/formats.ts'
import { idsFrom } from '../../src/formats/ids.ts'
import type { Format, ReadOptions } from '../../src/formats/types.ts'
import { temporaryFolder } from '../helpers.ts'

interface Whole {
  readonly id: string
  readonly embedding: Float32Array
  readonly metadata: { readonly [key: string]: never }
  readonly text: string | null
}

const COLUMNS = { id: 'id', embedding: 'embedding', metadata: 'metadata', text: 'text' }
const DIMENSION = 3

const readOptions = (given: Partial<ReadOptions> = {}): ReadOptions => ({
  columns: COLUMNS,
  ids: null,
  idPrefix: '',
  ...given,
})

const float32 = fc.float({ noNaN: true, noDefaultInfinity: true })
const vectors: Readonly<Record<string, fc.Arbitrary<Float32Array>>> = {
  bvecs: fc
    .uint8Array({ minLength: DIMENSION, maxLength: DIMENSION })
    .map((v) => Float32Array.from(v)),
  ivecs: fc
    .array(fc.integer({ min: -16_777_216, max: 16_777_216 }), {
      minLength: DIMENSION,
      maxLength: DIMENSION,
    })
    // 0 - x would make a minus zero of a zero; integers have none.
    .map((v) => Float32Array.from(v, (x) => x + 0)),
}
const anyVector = fc
  .array(float32, { minLength: DIMENSION, maxLength: DIMENSION })
  .map((v) => Float32Array.from(v))
const anyText = fc.string({ unit: 'grapheme', maxLength: 12 }).map((text) => text.toWellFormed())
/** Text that CSV has to quote, and that tells line ends apart. */
const nastyText = fc.oneof(
  anyText,
  fc.constantFrom('', '"', '""', 'a,b', '\r', '\n', 'x\r\ny', '\r\n', ' ', '=1+1', '\ufeffx'),
)
const metadata = fc.dictionary(fc.oneof(anyText, fc.constant('__proto__')), fc.jsonValue(), {
  maxKeys: 3,
})

function recordsFor(format: Format): fc.Arbitrary<Whole[]> {
  const carriesAll = format.carries.length > 0
  const id = carriesAll ? nastyText : nastyText.map((text) => text.replaceAll(/[\r\n]/g, ''))
  return fc.uniqueArray(
    fc.record({
      id: id.map((text) => `i${text}`),
      embedding: vectors[format.name] ?? anyVector,
      metadata: carriesAll ? metadata : fc.constant({}),
      text: carriesAll ? fc.option(nastyText) : fc.constant(null),
    }) as fc.Arbitrary<Whole>,
    { selector: ({ id: key }) => key, maxLength: 8 },
  )
}

for (const format of FORMATS) {
  test(`${format.name}: what was written is read back, byte for byte`, async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, `records${format.endings[0] ?? ''}`)
    const idsPath = join(folder.path, 'ids.txt')

    await fc.assert(
      fc.asyncProperty(recordsFor(format), async (records) => {
        const hasIds = format.carries.includes('id')
        const sink = await fileSink(path, true)
        const ids = hasIds ? null : await fileSink(idsPath, true)
        const writer = format.openWriter({ sink, dimension: DIMENSION, ids })
        for (const record of records) await writer.write(record)
        await writer.end()
        await ids?.finish()
        await sink.finish()

        const read: Whole[] = []
        const options = hasIds ? readOptions() : readOptions({ ids: idsFrom(sourceOf(idsPath)) })
        for await (const { record } of format.read(sourceOf(path), options)) {
          read.push({
            id: record.id,
            embedding: Float32Array.from(record.embedding),
            metadata: (record.metadata ?? {}) as Whole['metadata'],
            text: record.text ?? null,
          })
        }

        expect(read.map(({ id, text }) => [id, text])).toEqual(
          records.map(({ id, text }) => [id, text]),
        )
        expect(read.map(({ metadata: value }) => JSON.stringify(value))).toEqual(
          records.map(({ metadata: value }) => JSON.stringify(value)),
        )
        // Bytes, so that -0 is not taken for 0.
        expect(read.map(({ embedding }) => bytesOf(embedding))).toEqual(
          records.map(({ embedding }) => bytesOf(embedding)),
        )
      }),
      { numRuns: 60 },
    )
  })
}

function bytesOf(vector: Float32Array): string {
  return Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString('hex')
}

async function readAll(format: string, path: string, options = readOptions()): Promise<string[]> {
  const found = FORMATS.find(({ name }) => name === format)
  if (found === undefined) throw new Error(format)
  const ids: string[] = []
  for await (const { record } of found.read(sourceOf(path), options)) ids.push(record.id)
  return ids
}

test.each([
  [
    'jsonl',
    '{"id":"a","embedding":[1]}\n{"id":"b","embedding":[1,"x"]}\n',
    /line 2, field embedding: component 2 is x/,
  ],
  ['jsonl', '{"id":"a","embedding":[1]}\n{"id":\n', /line 2: .*JSON/],
  ['jsonl', '{"id":"a","embedding":[1e39]}\n', /line 1, field embedding: component 1/],
  ['jsonl', '{"id":"","embedding":[1]}\n', /line 1, field id/],
  ['jsonl', Uint8Array.of(0x7b, 0xff, 0x0a), /not UTF-8 at line 1/],
  ['csv', 'id,dense\na,[1]\n', /line 1: no column "embedding" among id, dense/],
  ['csv', 'id,embedding\na,"[1]"\nb,"[1,"\n', /line 3, field embedding/],
  ['csv', 'id,embedding\na,"[1]",x\n', /line 2: 3 fields where the header has 2/],
  ['csv', 'id,embedding\na,"[1]\n', /line 2: a quoted field does not end/],
  ['csv', 'id,embedding\n"a"b,"[1]"\n', /line 2, column 4: expected a comma/],
  ['npy', 'not a matrix', /is not a .npy file/],
  ['fvecs', Uint8Array.of(2, 0, 0, 0, 0, 0, 0x80, 0x3f), /row 0: ends at byte 8/],
  ['fvecs', Uint8Array.of(255, 255, 255, 255), /row 0, byte 0: a vector of -1 components/],
  ['fvecs', Uint8Array.of(1, 0, 0, 0, 0, 0, 0xc0, 0x7f), /row 0, component 1: NaN/],
  ['ivecs', Uint8Array.of(1, 0, 0, 0, 1, 0, 0, 1), /16777217 is not a finite float32/],
  ['parquet', 'PAR1 but nothing else', /parquet/],
])('%s: bad input is refused with its place (%#)', async (format, contents, message) => {
  using folder = temporaryFolder()
  const path = join(folder.path, 'input')
  writeFileSync(path, contents)

  await expect(readAll(format, path)).rejects.toThrow(message)
})

/** A file of one row of two components. */
const matrix = (type: string, body: Buffer): Buffer => {
  const header =
    `{'descr': '${type}', 'fortran_order': False, 'shape': (1, 2), }`.padEnd(117) + '\n'
  return Buffer.concat([Buffer.from('\x93NUMPY\x01\x00v\x00', 'latin1'), Buffer.from(header), body])
}

test('npy: half, double and big-endian numbers are read, and a truncated file is refused', async () => {
  using folder = temporaryFolder()
  const path = join(folder.path, 'matrix.npy')
  const vectorOf = async (bytes: Buffer): Promise<readonly number[]> => {
    writeFileSync(path, bytes)
    const format = FORMATS.find(({ name }) => name === 'npy')
    for await (const { record } of format?.read(sourceOf(path), readOptions()) ?? []) {
      return [...record.embedding]
    }
    throw new Error('no row')
  }
  const doubles = Buffer.alloc(16)
  doubles.writeDoubleLE(1.5, 0)
  doubles.writeDoubleLE(-2, 8)
  const big = Buffer.alloc(8)
  big.writeFloatBE(1.5, 0)
  big.writeFloatBE(-2, 4)

  expect(await vectorOf(matrix('<f2', Buffer.from([0x00, 0x3e, 0x00, 0xc0])))).toEqual([1.5, -2])
  expect(await vectorOf(matrix('<f8', doubles))).toEqual([1.5, -2])
  expect(await vectorOf(matrix('>f4', big))).toEqual([1.5, -2])
  await expect(vectorOf(matrix('<f4', Buffer.alloc(7)))).rejects.toThrow(
    /ends in row 0 of 1, at byte 135/,
  )
  await expect(vectorOf(matrix('<c8', Buffer.alloc(16)))).rejects.toThrow(/type c8/)
})

test('ids beside vectors must be as many as those, and row numbers serve where there are none', async () => {
  using folder = temporaryFolder()
  const path = join(folder.path, 'v.fvecs')
  const idsPath = join(folder.path, 'ids.txt')
  const row = [1, 0, 0, 0, 0, 0, 0x80, 0x3f]
  writeFileSync(path, Uint8Array.from([...row, ...row]))
  const withIds = (ids: string): Promise<string[]> => {
    writeFileSync(idsPath, ids)
    return readAll('fvecs', path, readOptions({ ids: idsFrom(sourceOf(idsPath)) }))
  }

  expect(await readAll('fvecs', path, readOptions({ idPrefix: 'r' }))).toEqual(['r0', 'r1'])
  expect(await withIds('a\r\nb\n')).toEqual(['a', 'b'])
  await expect(withIds('a\n')).rejects.toThrow('fewer ids')
  await expect(withIds('a\nb\nc\n')).rejects.toThrow('more ids')
  await expect(withIds('a\n\nb\n')).rejects.toThrow('line 2: an empty id')
})

test('a file appears under its name when it is whole, and an abandoned one leaves nothing', async () => {
  using folder = temporaryFolder()
  const path = join(folder.path, 'out.jsonl')
  const first = await fileSink(path, false)
  await first.write('half')
  await first.abandon()
  expect(existsSync(path)).toBe(false)
  const second = await fileSink(path, false)
  await second.write('whole')
  await second.finish()

  expect(readFileSync(path, 'utf8')).toBe('whole')
  await expect(fileSink(path, false)).rejects.toThrow('--force')
})
