/**
 * A shard with an embedder: text in, questions answered, texts that wait for a model.
 */
import { createVectorDB, type SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import { createVectorSync } from '@agentic-flow/sqlite-vector/sync'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { attachEmbedder, type Embedder, EmbedderError } from '../src/index.ts'
import { DIMENSION, hashedWords, MODEL } from './helpers/embedding-service.ts'

const hashing: Embedder = {
  modelId: MODEL,
  dimension: DIMENSION,
  batchTextsMax: 8,
  embed: (texts) => texts.map((text) => Float32Array.from(hashedWords(text))),
}

const NOTES = [
  { id: 'a', text: 'The harbour closes at night.', metadata: { place: 'harbour' } },
  { id: 'b', text: 'Apples ripen in the orchard.', metadata: { place: 'orchard' } },
  { id: 'c', text: 'The glacier moves a metre a day.', metadata: { place: 'glacier' } },
]

const memory = (): Promise<SQLiteVectorDB> => createVectorDB({ path: ':memory:' })

test('text goes in, a question finds it, and the shard names the model', async () => {
  using db = await memory()
  const notes = attachEmbedder(db, 'notes', hashing)

  expect(await notes.add(NOTES)).toBe(3)

  expect(db.shards()).toMatchObject([{ shardId: 'notes', modelId: MODEL, dimension: DIMENSION }])
  const [best] = await notes.ask('When does the harbour close?', { k: 1 })
  expect(best).toMatchObject({ id: 'a', text: NOTES[0]?.text, metadata: { place: 'harbour' } })
  expect(best?.distance).toBeGreaterThan(0)
  const filtered = await notes.ask('harbour', { filter: { place: 'orchard' } })
  expect(filtered.map(({ id }) => id)).toEqual(['b'])
})

test('an embedder of another model or dimension is refused before it embeds anything', async () => {
  using db = await memory()
  attachEmbedder(db, 'notes', hashing)

  const other = { ...hashing, modelId: 'another' }
  const wider = { ...hashing, dimension: DIMENSION + 1 }
  expect(() => attachEmbedder(db, 'notes', other)).toThrow(/another/)
  expect(() => attachEmbedder(db, 'notes', wider)).toThrow(/dimension/)
})

test('records go in order, an error keeps the groups before it, and nothing of its own group', async () => {
  using db = await memory()
  const records = Array.from({ length: 1_500 }, (_, index) => ({
    id: `r${String(index).padStart(4, '0')}`,
    text: `number ${index}`,
  }))
  const failing: Embedder = {
    ...hashing,
    embed(texts) {
      if (texts.includes('number 1400')) throw new EmbedderError('EMBEDDER_REFUSED', 'not this')
      return hashing.embed(texts, { kind: 'document' })
    },
  }
  const notes = attachEmbedder(db, 'notes', failing)
  const progress: number[] = []

  const failure = notes.add(records, { onProgress: ({ done }) => progress.push(done) })

  await expect(failure).rejects.toMatchObject({ code: 'EMBEDDER_REFUSED' })
  expect(db.count('notes')).toBe(1_000)
  expect(progress.at(-1)).toBeGreaterThan(1_000)
})

test.each([
  [[{ id: 'a', text: '' }], 'records[0].text'],
  [
    [
      { id: 'a', text: 'x' },
      { id: 'a', text: 'y' },
    ],
    'records[1].id "a" is there twice',
  ],
  [[{ id: '', text: 'x' }], 'records[0].id'],
  [[{ id: 'a', text: 'x', embedding: [1] }], 'unknown option "embedding"'],
])('records that are wrong are named, and nothing is embedded', async (records, said) => {
  using db = await memory()
  let calls = 0
  const counting: Embedder = {
    ...hashing,
    embed: (texts, options) => ((calls += 1), hashing.embed(texts, options)),
  }
  const notes = attachEmbedder(db, 'notes', counting)

  await expect(notes.add(records)).rejects.toThrow(said)
  expect(calls).toBe(0)
})

test('texts without a vector are found by words, and embedded later', async () => {
  using db = await memory()
  const plain = attachEmbedder(db, 'notes', null)
  await plain.add(NOTES)

  expect(plain.waitingCount).toBe(3)
  expect((await plain.ask('glacier'))[0]).toMatchObject({ id: 'c', distance: null })
  await expect(plain.ask('glacier', { ranking: 'vector' })).rejects.toThrow('needs an embedder')

  const notes = attachEmbedder(db, 'notes', hashing)
  expect((await notes.ask('glacier')).map(({ id }) => id)).toContain('c')
  expect(await notes.embedMissing()).toEqual({ embedded: 3, conflicting: [] })

  expect(notes.waitingCount).toBe(0)
  expect(db.count('notes')).toBe(3)
  expect((await notes.ask('glacier'))[0]).toMatchObject({ id: 'c', distance: expect.any(Number) })
  expect(notes.remove(['a', 'nothing'])).toBe(1)
})

test('a text that replaces an embedded record leaves no vector of the old text behind', async () => {
  using db = await memory()
  await attachEmbedder(db, 'notes', hashing).add(NOTES)
  const plain = attachEmbedder(db, 'notes', null)

  await plain.add([{ id: 'a', text: 'The harbour never closes.' }])

  expect(db.get('notes', 'a')).toBeNull()
  const notes = attachEmbedder(db, 'notes', hashing)
  expect(await notes.embedMissing()).toEqual({ embedded: 1, conflicting: [] })
  expect(db.get('notes', 'a')?.text).toBe('The harbour never closes.')
})

test('a text that waits and a record of the same id are both kept, and told', async () => {
  using db = await memory()
  const notes = attachEmbedder(db, 'notes', hashing)
  await attachEmbedder(db, 'notes', null).add([{ id: 'a', text: 'written without a model' }])
  // Comes from a peer that had the model and did not know of the text.
  db.insert('notes', {
    id: 'a',
    text: 'written with it',
    embedding: hashedWords('written with it'),
  })

  expect(await notes.embedMissing()).toEqual({ embedded: 0, conflicting: ['a'] })
  expect(db.get('notes', 'a')?.text).toBe('written with it')
  expect(db.get('notes.waiting', 'a')?.text).toBe('written without a model')

  db.delete('notes', 'a')
  expect(await notes.embedMissing()).toEqual({ embedded: 1, conflicting: [] })
})

test('a text changed while it is embedded waits for the next call', async () => {
  using db = await memory()
  const plain = attachEmbedder(db, 'notes', null)
  await plain.add([{ id: 'a', text: 'first' }])
  const notes = attachEmbedder(db, 'notes', {
    ...hashing,
    async embed(texts, options) {
      if (texts.includes('first')) await plain.add([{ id: 'a', text: 'second' }])
      return hashing.embed(texts, options)
    },
  })

  expect(await notes.embedMissing()).toEqual({ embedded: 0, conflicting: [] })
  expect(await notes.embedMissing()).toEqual({ embedded: 1, conflicting: [] })
  expect(db.get('notes', 'a')?.text).toBe('second')
})

test('texts of a peer without a model are embedded here, and go back with their vectors', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-embeddings-'))
  try {
    using here = await createVectorDB({ path: join(folder, 'here.db') })
    using there = await createVectorDB({ path: join(folder, 'there.db') })
    await using a = createVectorSync(here, 'a')
    await using b = createVectorSync(there, 'b')
    a.trust.add(b.certificatePem, 'b')
    b.trust.add(a.certificatePem, 'a')
    const address = await a.listen('127.0.0.1:0')
    const plain = attachEmbedder(there, 'notes', null)
    await plain.add(NOTES)
    const notes = attachEmbedder(here, 'notes', hashing)

    await b.sync('notes.waiting', address)
    expect(await notes.embedMissing()).toEqual({ embedded: 3, conflicting: [] })
    await b.sync('notes.waiting', address)
    await b.sync('notes', address)

    expect(plain.waitingCount).toBe(0)
    expect(there.get('notes', 'c')?.text).toBe(NOTES[2]?.text)
    expect(there.shards().find(({ shardId }) => shardId === 'notes')?.modelId).toBe(MODEL)
    const answered = await attachEmbedder(there, 'notes', hashing).ask(
      'Which day does the glacier move?',
    )
    expect(answered[0]?.id).toBe('c')
  } finally {
    rmSync(folder, { recursive: true })
  }
})
