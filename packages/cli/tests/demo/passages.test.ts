/**
 * Cutting documents into passages.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { documentsOf, passagesOf, passagesOfText, textFiles } from '../../src/demo/passages.ts'

const SENTENCE = 'A sentence that is long enough to be kept as a passage of its own. '

test('a passage carries its source, its number and the heading above it', () => {
  const passages = passagesOfText('a.md', `# One\n\n${SENTENCE}\n\n## Two\n\n${SENTENCE}`)

  expect(passages.map(({ id, heading }) => ({ id, heading }))).toEqual([
    { id: 'a.md#1', heading: 'One' },
    { id: 'a.md#2', heading: 'Two' },
  ])
})

test('links, badges and tags leave only what a reader reads', () => {
  const [passage] = passagesOfText(
    'a.md',
    `[![badge](x)](y) <b>Read</b> the [guide](https://example.org/guide) ${SENTENCE}`,
  )

  expect(passage?.text).toBe(`Read the guide ${SENTENCE}`.trim())
})

test('a heading mark inside a fence is code', () => {
  const passages = passagesOfText(
    'a.md',
    `# Title\n\n${SENTENCE}\n\n\`\`\`sh\n# a comment\n\`\`\`\n`,
  )

  expect(passages.every((passage) => passage.heading === 'Title')).toBe(true)
})

test('a long paragraph is cut at sentence ends and loses nothing', () => {
  const passages = passagesOfText('a.txt', SENTENCE.repeat(40))

  expect(passages.length).toBeGreaterThan(1)
  expect(passages.every((passage) => passage.text.endsWith('.'))).toBe(true)
  expect(passages.map((passage) => passage.text).join(' ')).toBe(SENTENCE.repeat(40).trim())
})

test('a folder gives its text files; a repository also the READMEs of its packages', () => {
  const root = mkdtempSync(join(tmpdir(), 'passages-'))
  try {
    mkdirSync(join(root, 'node_modules', 'x'), { recursive: true })
    mkdirSync(join(root, '.hidden'))
    for (const name of ['b.md', 'a.txt', 'c.ts', '.hidden/d.md', 'node_modules/x/README.md']) {
      writeFileSync(join(root, name), SENTENCE)
    }

    const own = passagesOf(root, textFiles(root))
    const all = passagesOf(root, documentsOf(root))

    expect(own.map((passage) => passage.source)).toEqual(['a.txt', 'b.md'])
    expect(all.at(-1)?.source).toBe('node_modules/x/README.md')
  } finally {
    rmSync(root, { recursive: true })
  }
})
