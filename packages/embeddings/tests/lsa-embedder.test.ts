/**
 * The LSA embedder: fitted on texts, kept as a shard, the same everywhere.
 */
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { expect, test } from 'vitest'
import { attachEmbedder, fitLsaEmbedder, loadLsaEmbedder, saveLsaEmbedder } from '../src/index.ts'
import { rightSingularVectors } from '../src/svd.ts'

const TEXTS = [
  'The car has an engine and four wheels.',
  'An automobile has an engine, and its wheels turn.',
  'The automobile drove down the road.',
  'A car on the road overtook a lorry.',
  'Bread is baked from flour and water.',
  'The baker kneads flour into dough.',
  'Dough rises before bread is baked.',
  'Water and flour make dough for the baker.',
]

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((sum, component, index) => sum + component * (b[index] ?? 0), 0)

test('words of the same texts come near one another, though no text holds both', async () => {
  const embedder = await fitLsaEmbedder(TEXTS, { dimension: 4 })
  const [lorry = [], automobile = [], dough = []] = embedder.embed(['lorry', 'automobile', 'dough'])

  // No text holds "lorry" and "automobile"; both occur with "road".
  expect(dot(lorry, automobile)).toBeGreaterThan(dot(lorry, dough) + 0.3)
})

test('the same texts give the same embedder, of unit vectors', async () => {
  const first = await fitLsaEmbedder(TEXTS)
  const again = await fitLsaEmbedder(TEXTS)

  expect(again.modelId).toBe(first.modelId)
  expect(first.dimension).toBeLessThanOrEqual(TEXTS.length)
  for (const vector of first.embed([...TEXTS, '', 'unheard'])) {
    expect(Math.hypot(...vector)).toBeCloseTo(1, 5)
  }
})

test('an embedder kept in a file is the same when loaded, and half of one is not loaded', async () => {
  using db = await createVectorDB({ path: ':memory:' })
  const fitted = await fitLsaEmbedder(TEXTS, { dimension: 4 })
  await saveLsaEmbedder(db, 'notes', fitted)

  const loaded = loadLsaEmbedder(db, 'notes')
  expect(loaded?.modelId).toBe(fitted.modelId)
  expect(loaded?.embed(TEXTS)).toEqual(fitted.embed(TEXTS))
  const notes = attachEmbedder(db, 'notes', loaded)
  await notes.add(TEXTS.map((text, index) => ({ id: `t${index}`, text })))
  expect((await notes.ask('Who kneads?'))[0]?.id).toBe('t5')

  db.delete('notes.words', 'dough')
  expect(loadLsaEmbedder(db, 'notes')).toBeNull()
  expect(loadLsaEmbedder(db, 'others')).toBeNull()
})

test('texts that share nothing are refused with a sentence', async () => {
  await expect(fitLsaEmbedder(['alone'])).rejects.toThrow('two words or more')
  await expect(fitLsaEmbedder([], { dimension: 1 })).rejects.toThrow('dimension')
})

const pattern = (kind: number, column: number): number => Math.sin((kind + 1) * (column + 1))

test('singular vectors are orthonormal, and span a matrix of low rank', async () => {
  // Rank 3: rows are combinations of three patterns over 40 columns.
  const rows = 60
  const columns = 40
  const dense = Array.from({ length: rows }, (_, row) =>
    Array.from({ length: columns }, (__, column) =>
      [3, 2, 1].reduce(
        (sum, weight, kind) => sum + weight * Math.cos(row * (kind + 2)) * pattern(kind, column),
        0,
      ),
    ),
  )
  const { rank, vectors } = await rightSingularVectors(
    {
      rows,
      columns,
      starts: Uint32Array.from({ length: rows + 1 }, (_, row) => row * columns),
      indexes: Uint32Array.from({ length: rows * columns }, (_, at) => at % columns),
      values: Float64Array.from(dense.flat()),
    },
    10,
  )

  expect(rank).toBe(3)
  const columnOf = (place: number) =>
    Array.from({ length: columns }, (_, column) => vectors[column * rank + place] ?? 0)
  for (let i = 0; i < rank; i += 1) {
    for (let j = 0; j <= i; j += 1)
      expect(dot(columnOf(i), columnOf(j))).toBeCloseTo(i === j ? 1 : 0, 6)
  }
  for (const row of dense) {
    const projected = Array.from({ length: rank }, (_, place) => dot(row, columnOf(place)))
    expect(Math.hypot(...projected)).toBeCloseTo(Math.hypot(...row), 6)
  }
})
