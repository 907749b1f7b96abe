/**
 * Splitting documents: nothing is lost, headings go along, passages keep to their size.
 */
import { expect, test } from 'vitest'
import { htmlToText } from '../../src/ingest/html.ts'
import { passagesOfFile, tokenCount } from '../../src/ingest/passages.ts'

const WORDS = { tokens: 20, overlap: 6 }

test('passages are cut at sentences, within their size, and repeat the end of the one before', () => {
  const sentences = Array.from(
    { length: 12 },
    (_, index) => `Sentence ${index} has six words here.`,
  )
  const passages = passagesOfFile('text', sentences.join(' '), { tokens: 20, overlap: 8 })

  expect(passages.length).toBeGreaterThan(3)
  for (const { text } of passages) expect(tokenCount(text)).toBeLessThanOrEqual(20)
  for (const sentence of sentences)
    expect(passages.some(({ text }) => text.includes(sentence))).toBe(true)
  for (const [index, { text }] of passages.entries()) {
    const before = passages[index - 1]?.text
    if (before !== undefined)
      expect(before.endsWith(text.slice(0, text.indexOf('.') + 1))).toBe(true)
  }
})

test('a passage carries the path of its headings, and none crosses one', () => {
  const text =
    '---\ntitle: x\n---\n# One\n\nAbout one.\n\n## Sub *a*\n\nBelow it.\n\n# Two\n\nAbout two.\n'

  expect(passagesOfFile('markdown', text, WORDS)).toEqual([
    { heading: 'One', text: 'About one.' },
    { heading: 'One › Sub *a*', text: 'Below it.' },
    { heading: 'Two', text: 'About two.' },
  ])
})

test('a heading inside a fence is code, also in a fence of other marks', () => {
  const text = '# A\n\n````md\n```\n# not a heading\n```\n````\n\ntext\n'

  expect(passagesOfFile('markdown', text, WORDS).map(({ heading }) => heading)).toEqual(['A'])
})

test('a page gives its text under its headings, without scripts, and references are decoded', () => {
  const html =
    '<html><head><title>T &amp; U</title><script>alert("<p>no</p>")</script></head><body>' +
    '<h1>Top</h1><p>One &lt;two&gt; &#8212; three&#x21;</p><h2>Below</h2><ul><li>item<li>other</ul>' +
    '<!-- hidden --><style>p{}</style></body></html>'

  const passages = passagesOfFile('html', html, WORDS)

  expect(passages).toEqual([
    { heading: 'Top', text: 'One <two> — three!' },
    { heading: 'Top › Below', text: '- item\n- other' },
  ])
  expect(htmlToText('<title>Only</title><p>text')).toBe('# Only\n\ntext')
})

test.each(['<<<<>>><p', '&#xD800;&#99999999;&bogus;', '<script>never closed', '</h1><h1>'])(
  'a malformed page (%s) gives text, not an error',
  (html) => {
    for (const { text } of passagesOfFile('html', html, WORDS))
      expect(text.isWellFormed()).toBe(true)
  },
)

test('what has no sentence and no space is cut, and loses nothing', () => {
  const blob = 'QUJD'.repeat(3_000)
  const passages = passagesOfFile('text', blob, { tokens: 50, overlap: 10 })

  expect(passages.map(({ text }) => text).join('')).toBe(blob)
  const marks = '{};'.repeat(500)
  for (const { text } of passagesOfFile('code', marks, { tokens: 50, overlap: 10 })) {
    expect(tokenCount(text)).toBeLessThanOrEqual(50)
  }
})

test('the same text gives the same passages; one without a word gives none', () => {
  const text = 'Some text. '.repeat(200)
  expect(passagesOfFile('text', text, WORDS)).toEqual(passagesOfFile('text', text, WORDS))
  expect(passagesOfFile('markdown', '\n\n# \n\n---\n', WORDS)).toEqual([])
})
