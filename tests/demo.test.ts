/**
 * The demonstration, end to end: two processes, two files, real QUIC, on a small corpus.
 */
import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { DemoReport } from '../packages/cli/src/demo/demo.ts'

const run = promisify(execFile)
const MAIN = join(import.meta.dirname, '..', 'packages', 'cli', 'src', 'main.ts')

let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-demo-test-'))
  const corpus = join(folder, 'corpus')
  mkdirSync(corpus)
  const topics = ['harbour', 'orchard', 'glacier', 'railway', 'library', 'volcano']
  for (const topic of topics) {
    const facts = Array.from(
      { length: 20 },
      (_, index) =>
        `The ${topic} has a gate of number ${index}; who visits the ${topic} passes it.`,
    )
    writeFileSync(join(corpus, `${topic}.md`), `# ${topic}\n\n${facts.join('\n\n')}\n`)
  }
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

function command(...args: string[]): [string, string[]] {
  return [process.execPath, ['--conditions=source', MAIN, ...args]]
}

test('both files end equal, B answers with text and source, and the exit code is 0', async () => {
  const directory = join(folder, 'files')
  const { stdout } = await run(
    ...command(
      'demo',
      join(folder, 'corpus'),
      '--json',
      '--directory',
      directory,
      '--question',
      'Who visits the glacier?',
    ),
  )

  const report = JSON.parse(stdout) as DemoReport
  const { a, b } = report.nodes
  expect(report).toMatchObject({ ok: true, mismatches: [], passages: 60 })
  expect([a.rows, b.rows]).toEqual([60, 60])
  expect(a.digest).toBe(b.digest)
  expect(a.certificate).not.toBe(b.certificate)
  expect(report.answers[0]?.answers[0]).toMatchObject({ source: 'glacier.md' })
  const wire = Object.fromEntries(report.phases.map((phase) => [phase.name, phase.wireBytes]))
  // Vectors of float32 hardly compress, so much fewer bytes than 60 of them would be a lie.
  expect(report.dimension).toBeGreaterThan(10)
  expect(wire['first sync']).toBeGreaterThan(60 * report.dimension * 4 * 0.8)
  expect(wire['sync of words']).toBeGreaterThan(0)
  expect(wire['second sync']).toBeGreaterThan(0)
  // The first connection's handshake is in the sync of words, the second one's in the second sync.
  expect(wire['second sync']).toBeLessThan((wire['first sync'] ?? 0) + (wire['sync of words'] ?? 0))

  const stats = JSON.parse(
    execFileSync(...command('stats', '-d', join(directory, 'b.db'), '--json'), {
      encoding: 'utf8',
    }),
  ) as { shards: { shardId: string; recordCount: number; conflictCount: number; digest: string }[] }
  // The embedder's table of words is a shard of its own.
  expect(stats.shards.map(({ shardId }) => shardId)).toEqual(['passages', 'passages.words'])
  expect(stats.shards[0]).toMatchObject({ recordCount: 60, conflictCount: 1, digest: b.digest })
}, 120_000)

test('a folder without text is refused with a sentence, and the exit code is 1', async () => {
  const empty = join(folder, 'empty')
  mkdirSync(empty)

  const failure = await run(...command('demo', empty, '--json')).then(
    () => null,
    (error: unknown) => error as { code: number; stderr: string },
  )

  expect(failure?.code).toBe(1)
  expect(failure?.stderr).toContain('0 passages of text or Markdown')
}, 120_000)

test('questions typed until an empty line are answered, and the story goes on', () => {
  const { status, stdout } = spawnSync(
    ...command('demo', join(folder, 'corpus'), '--ask', '--json'),
    {
      encoding: 'utf8',
      input: 'Who visits the volcano?\nWhat has the railway?\n\nnot asked any more\n',
    },
  )

  const report = JSON.parse(stdout) as DemoReport
  expect(status).toBe(0)
  expect(report.answers.map(({ question }) => question)).toEqual([
    'Who visits the volcano?',
    'What has the railway?',
  ])
  expect(report.answers.map(({ answers }) => answers[0]?.source)).toEqual([
    'volcano.md',
    'railway.md',
  ])
}, 120_000)

test('files of an earlier run are left alone, and the exit code is 1', () => {
  const { status, stderr } = spawnSync(
    ...command('demo', join(folder, 'corpus'), '--directory', join(folder, 'files')),
    { encoding: 'utf8' },
  )

  expect(status).toBe(1)
  expect(stderr).toContain('a.db exists')
})

test('an unknown option is a usage error, exit code 2', async () => {
  const failure = await run(...command('demo', '--jsn')).then(
    () => null,
    (error: unknown) => error as { code: number; stderr: string },
  )

  expect(failure?.code).toBe(2)
  expect(failure?.stderr).toContain('usage: sqlite-vector demo')
})
