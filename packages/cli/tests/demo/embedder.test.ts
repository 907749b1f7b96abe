/**
 * The offline embedder: what the demo's answers rest on.
 */
import { expect, test } from 'vitest'
import { hashedNgramEmbedder } from '../../src/demo/embedder.ts'

const similarity = async (a: string, b: string): Promise<number> => {
  const [x, y] = await hashedNgramEmbedder.embed([a, b])
  return (x ?? new Float32Array()).reduce(
    (sum, component, index) => sum + component * (y?.[index] ?? 0),
    0,
  )
}

test('a text gives the same unit vector every time', async () => {
  const [first] = await hashedNgramEmbedder.embed(['Peers converge when they meet.'])
  const [again] = await hashedNgramEmbedder.embed(['Peers converge when they meet.'])

  expect(first).toEqual(again)
  expect(first).toHaveLength(hashedNgramEmbedder.dimension)
  expect(Math.hypot(...(first ?? []))).toBeCloseTo(1, 5)
})

test('the vector of a known text has not changed, so stored vectors stay comparable', async () => {
  const [vector] = await hashedNgramEmbedder.embed(['vector'])

  const largest = [...(vector ?? [])]
    .map((component, index) => ({ component: Math.abs(component), index }))
    .toSorted((a, b) => b.component - a.component)[0]
  expect(largest?.index).toBe(71)
})

test('a passage about the question is nearer than one that shares only common words', async () => {
  const question = 'How are source maps encoded?'

  const about = await similarity(
    question,
    'Encoding a source map: segments are encoded one after the other.',
  )
  const apart = await similarity(question, 'How do I do this and what are they used for?')

  expect(about).toBeGreaterThan(apart + 0.1)
})

test('a text without a word still has a unit vector', async () => {
  const [vector] = await hashedNgramEmbedder.embed(['…'])

  expect(Math.hypot(...(vector ?? []))).toBe(1)
})
