/**
 * Files as other programs write them: what is read of each, and what is refused with its place. The
 * rule is one for all formats: nothing changes silently.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { sourceOf } from '../../src/formats/bytes.ts'
import { formatOf } from '../../src/formats/formats.ts'
import { DEFAULT_COLUMNS, type ReadOptions } from '../../src/formats/types.ts'
import { temporaryFolder } from '../helpers.ts'

interface Read {
  readonly id: string
  readonly embedding: readonly number[]
  readonly metadata: unknown
  readonly text: string | null
}

async function read(
  name: string,
  content: string | Uint8Array,
  options: Partial<ReadOptions> = {},
): Promise<Read[]> {
  using folder = temporaryFolder()
  const path = join(folder.path, name)
  writeFileSync(path, content)
  const given = { columns: DEFAULT_COLUMNS, ids: null, idPrefix: '', ...options }
  const records: Read[] = []
  for await (const { record } of formatOf(path, undefined).read(sourceOf(path), given)) {
    records.push({
      id: record.id,
      embedding: [...record.embedding],
      metadata: record.metadata ?? {},
      text: record.text ?? null,
    })
  }
  return records
}

const one = { id: 'a', embedding: [1, 2], metadata: { lang: 'en' }, text: 'hello' }

test.each([
  ['its own names', '{"id":"a","embedding":[1,2],"metadata":{"lang":"en"},"text":"hello"}'],
  ['vector and payload', '{"id":"a","vector":[1,2],"payload":{"lang":"en"},"document":"hello"}'],
  ['values and metadata', '{"id":"a","values":[1,2],"metadata":{"lang":"en"},"text":"hello"}'],
  ['loose fields', '{"_id":"a","lang":"en","page_content":"hello","vector":[1,2]}'],
  ['a vector in a string', '{"id":"a","embedding":"[1, 2]","lang":"en","text":"hello"}'],
  ['a byte order mark', '\ufeff{"id":"a","embedding":[1,2],"lang":"en","text":"hello"}'],
])('jsonl with %s', async (_, line) => {
  expect(await read('a.jsonl', `${line}\n`)).toEqual([one])
})

test.each([
  ['JSON', '"[1, 2]"'],
  ['spaces', '1 2'],
  ['commas', '"1,2"'],
  ['semicolons', '1.0;2.0'],
  ['pgvector', '"[1,2]"'],
  ['a PostgreSQL array', '"{1,2}"'],
])('csv with a vector as %s', async (_, vector) => {
  expect(await read('a.csv', `id,vector,lang,text\r\na,${vector},en,hello\r\n`)).toEqual([one])
})

test('csv with a byte order mark and columns of its own names', async () => {
  const columns = { ...DEFAULT_COLUMNS, id: 'Key', embedding: 'Vec', text: 'Body' }

  const records = await read('a.csv', '\ufeffKey,Vec,Body,lang\na,1 2,hello,en\n', { columns })

  expect(records).toEqual([one])
})

test('a name that was given is the only one', async () => {
  const columns = { ...DEFAULT_COLUMNS, embedding: 'Vec' }

  await expect(read('a.jsonl', '{"id":"a","vector":[1]}\n', { columns })).rejects.toThrow(
    'line 1: no field "Vec" among id, vector; name it with --vector-column',
  )
})

test('a file without ids is refused, numbered, or named by its content', async () => {
  const lines = '{"vector":[1,2],"text":"x"}\n{"vector":[1,2],"text":"y"}\n'
  await expect(read('a.jsonl', lines)).rejects.toThrow('--id-column')
  await expect(read('a.csv', 'vector\n1 2\n')).rejects.toThrow('--ids row')
  const first = await read('a.jsonl', lines, { rowIds: 'hash', idPrefix: 'h-' })
  const again = await read('a.jsonl', lines, { rowIds: 'hash', idPrefix: 'h-' })

  expect(first).toEqual(again)
  expect(new Set(first.map(({ id }) => id)).size).toBe(2)
  expect(first[0]?.id).toMatch(/^h-[0-9a-f]{32}$/)
})

test('a key __proto__ is a key like any other', async () => {
  const [line] = await read('a.jsonl', '{"id":"a","vector":[1],"__proto__":1,"metadata":{"b":2}}\n')
  const [row] = await read('a.csv', 'id,vector,__proto__\na,1,x\n')
  const [inner] = await read(
    'a.jsonl',
    '{"id":"a","vector":[1],"metadata":{"__proto__":{"c":3}}}\n',
  )

  expect(JSON.stringify(line?.metadata)).toBe('{"__proto__":1,"b":2}')
  expect(JSON.stringify(row?.metadata)).toBe('{"__proto__":"x"}')
  expect(JSON.stringify(inner?.metadata)).toBe('{"__proto__":{"c":3}}')
})

test.each([
  ['a.jsonl', '{"id":"a","vector":[1],"big":9007199254740993}\n'],
  ['a.jsonl', '{"id":"a","vector":[1],"metadata":{"deep":[{"big":-9007199254740993}]}}\n'],
  ['a.csv', 'id,vector,metadata\na,1,"{""big"":9007199254740993}"\n'],
])('an integer beyond 2^53 is refused and not rounded: %s', async (name, content) => {
  await expect(read(name, content)).rejects.toThrow('9007199254740993 is beyond 2^53')
})

test('integers that a number holds, and long fractions, are taken', async () => {
  const line =
    '{"id":"a","vector":[1],"n":[9007199254740992,100000000000000000000,0.12345678901234567]}'

  const [record] = await read('a.jsonl', line)

  expect(record?.metadata).toEqual({ n: [2 ** 53, 1e20, Number('0.12345678901234567')] })
})

test('a stray quote ends in an error that names its line, and holds no gigabyte', async () => {
  const rows = Array.from({ length: 200_000 }, (_, i) => `r${i},1 2,x`).join('\n')
  const before = process.memoryUsage().arrayBuffers

  await expect(read('a.csv', `id,vector,text\nq,1 2,"stray\n${rows}\n`)).rejects.toThrow(
    /line 2: a quoted field does not end within 1048576 characters; is there a stray quote\?/,
  )
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 2 ** 20)
})

test('a .npy file of Python 2 is read', async () => {
  const header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 2L), }".padEnd(117) + '\n'
  const head = Buffer.concat([Buffer.from('\x93NUMPY\x01\x00', 'latin1'), Buffer.of(118, 0)])
  const body = Buffer.from(Float32Array.of(1, 2, 3, 4).buffer)

  const records = await read('a.npy', Buffer.concat([head, Buffer.from(header), body]))

  expect(records.map(({ id, embedding }) => [id, embedding])).toEqual([
    ['0', [1, 2]],
    ['1', [3, 4]],
  ])
})

test.each([
  ['{"id":"a","vector":"1 x"}', 'component 2 is x'],
  ['{"id":"a","vector":[]}', 'expected a vector'],
  ['{"id":"a","vector":[1],"text":1}', 'field text: expected a string'],
  ['{"id":"a","vector":[1],"metadata":"[1]"}', 'field metadata: expected a JSON object'],
])('%s is refused by its place', async (line, message) => {
  await expect(read('a.jsonl', `${line}\n`)).rejects.toThrow(message)
})
