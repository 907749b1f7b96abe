/**
 * Import and export as a person runs them: every format from file to shard to file, pipes, bad records, Ctrl-C.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { expect, test } from 'vitest'
import { run, start, temporaryFolder } from './helpers.ts'

async function shardOf(path: string, count: number): Promise<void> {
  using db = await createVectorDB({ path })
  db.createShard('notes', { dimension: 2, metric: 'l2' })
  const records = Array.from({ length: count }, (_, index) => ({
    id: `note ${index},"quoted"`,
    embedding: [index, -0.1],
    metadata: { index, nested: { list: [null, true, 'ü'] } },
    ...(index % 2 === 0 ? { text: `text\r\n${index}` } : {}),
  }))
  await db.insertBatch('notes', records)
}

test('what jsonl, csv and parquet carry comes back equal through files and pipes', async () => {
  using folder = temporaryFolder()
  const from = join(folder.path, 'from.db')
  await shardOf(from, 1_500)
  const reference = run(['export', 'notes', '-', '--format', 'jsonl', '-d', from]).stdout

  for (const format of ['jsonl', 'csv', 'parquet']) {
    const to = join(folder.path, `${format}.db`)
    const file = join(folder.path, `notes.${format}`)
    const exported = run(['export', 'notes', file, '-d', from])
    run(['init', '-d', to])
    const imported = run([
      'import',
      'notes',
      file,
      '--create',
      '--metric',
      'l2',
      '--json',
      '-d',
      to,
    ])

    expect(exported, exported.stderr).toMatchObject({ status: 0 })
    expect(JSON.parse(imported.stdout), imported.stderr).toMatchObject({ imported: 1_500 })
    const back = run(['export', 'notes', '-', '--format', 'jsonl', '-d', to]).stdout
    expect(back === reference).toBe(true)
  }
  const piped = join(folder.path, 'piped.db')
  run(['init', 'notes', '--dimension', '2', '--metric', 'l2', '-d', piped])
  run(['import', 'notes', '-', '--format', 'jsonl', '-d', piped], { input: reference })
  expect(run(['count', 'notes', '-d', piped]).stdout).toBe('1500\n')
}, 120_000)

test('npy carries vectors and a file beside it ids; what would be lost is refused until --drop', async () => {
  using folder = temporaryFolder()
  const from = join(folder.path, 'from.db')
  const to = join(folder.path, 'to.db')
  await shardOf(from, 3)
  run(['init', 'notes', '--dimension', '2', '--metric', 'l2', '-d', to])
  const file = join(folder.path, 'notes.npy')
  const ids = join(folder.path, 'ids.txt')
  const write = (...args: string[]) => run(['export', 'notes', file, ...args, '-d', from])

  const withoutIds = write()
  const lossy = write('--ids', ids)
  const leftBehind = readdirSync(folder.path).filter((name) => /npy|ids/.test(name))
  const exported = write('--ids', ids, '--drop', 'metadata', '--drop', 'text')
  const imported = run(['import', 'notes', file, '--ids', ids, '-d', to])

  expect(withoutIds).toMatchObject({ status: 2 })
  expect(withoutIds.stderr).toContain('--drop id')
  expect(lossy).toMatchObject({ status: 1 })
  expect(lossy.stderr).toContain('metadata and text, which npy cannot carry')
  expect(leftBehind).toEqual([])
  expect(exported.status).toBe(0)
  expect(imported).toMatchObject({ status: 0 })
  expect(run(['get', 'notes', 'note 1,"quoted"', '-d', to]).stdout).toContain('"embedding":[1,-0.1')
  expect(
    run(['export', 'notes', '-', '--format', 'npy', '--drop', 'id', '-d', to]).stderr,
  ).toContain('pipe')
}, 120_000)

test('a bad record is named, those before it stay, and --skip goes on after it', async () => {
  using folder = temporaryFolder()
  const path = join(folder.path, 'some.db')
  const file = join(folder.path, 'some.jsonl')
  const lines = Array.from(
    { length: 10 },
    (_, index) => `{"id":"r${index}","embedding":[${index + 1}]}`,
  )
  lines[6] = '{"id":"r6","embedding":[1,2]}'
  writeFileSync(file, lines.join('\n'))
  run(['init', '-d', path])

  const failed = run(['import', 's', file, '--create', '--metric', 'l2', '-d', path])
  const counted = run(['count', 's', '-d', path]).stdout
  const rest = run(['import', 's', file, '--skip', '7', '--json', '-d', path])
  const again = run(['import', 's', file, '--mode', 'insert', '-d', path])

  expect(failed.status).toBe(1)
  expect(failed.stderr).toContain('INPUT_INVALID: line 7 (id "r6")')
  expect(failed.stderr).toContain('resume with --skip 6')
  expect(counted).toBe('6\n')
  expect(JSON.parse(rest.stdout)).toMatchObject({ imported: 3, skipped: 7 })
  expect(again.stderr).toContain('line 1 (id "r0")')
  expect(again.stderr).toContain('nothing was imported')
}, 120_000)

test('Ctrl-C during an import keeps what was committed and says where to go on', async () => {
  using folder = temporaryFolder()
  const path = join(folder.path, 'big.db')
  const lines = Array.from(
    { length: 2_500 },
    (_, index) => `{"id":"r${index}","embedding":[${index + 1}]}\n`,
  )
  run(['init', 's', '--dimension', '1', '--metric', 'l2', '-d', path])
  await using importing = start(['import', 's', '-', '--format', 'jsonl', '-d', path], {
    isTyped: true,
  })
  using db = await createVectorDB({ path })

  // Two batches and a half, and then nothing more: the command waits for its input.
  importing.process.stdin?.write(lines.join(''))
  await expect.poll(() => db.count('s'), { timeout: 50_000 }).toBe(2_000)
  const code = await importing.stop('SIGINT')
  const [, skip = ''] = /--skip (\d+)/.exec(importing.stderr()) ?? []
  const resumed = run(
    ['import', 's', '-', '--format', 'jsonl', '--skip', skip, '--mode', 'insert', '-d', path],
    {
      input: lines.join(''),
    },
  )

  expect(code).toBe(130)
  expect(skip).toBe('2000')
  expect(resumed, resumed.stderr).toMatchObject({ status: 0 })
  expect(db.count('s')).toBe(2_500)
}, 120_000)

test('an export replaces no file unasked', async () => {
  using folder = temporaryFolder()
  const path = join(folder.path, 'some.db')
  const file = join(folder.path, 'out.csv')
  await shardOf(path, 1)
  writeFileSync(file, 'precious')

  const refused = run(['export', 'notes', file, '-d', path])
  const kept = readFileSync(file, 'utf8')
  const forced = run(['export', 'notes', file, '--force', '-d', path])

  expect(refused).toMatchObject({ status: 1 })
  expect(refused.stderr).toContain('--force')
  expect(kept).toBe('precious')
  expect(forced.status).toBe(0)
  expect(existsSync(`${file}.partial`)).toBe(false)
})
