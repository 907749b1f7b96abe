/**
 * The tools, called by the real AI SDK: `generateText` with a model that asks for them.
 */
import { createVectorDB, type SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import {
  attachEmbedder,
  type EmbeddedShard,
  fitLsaEmbedder,
} from '@agentic-flow/sqlite-vector-embeddings'
import { generateText, isStepCount, type ToolSet } from 'ai'
import { MockLanguageModelV4 } from 'ai/test'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { memoryTools, retrievalTool } from '../src/index.ts'

const TEXTS = [
  'The harbour closes at night.',
  'Apples ripen in the orchard.',
  'The glacier moves every day.',
]

let db: SQLiteVectorDB
let shard: EmbeddedShard

beforeEach(async () => {
  db = await createVectorDB({ path: ':memory:' })
  shard = attachEmbedder(db, 'notes', await fitLsaEmbedder(TEXTS))
  await shard.add(TEXTS.map((text, index) => ({ id: `n${index}`, text, metadata: { index } })))
})

afterEach(() => db.close())

/** The output of one tool call that the model makes, as the SDK hands it on; an error as its text. */
async function called(tools: ToolSet, toolName: string, input: object): Promise<unknown> {
  const usage = {
    inputTokens: { total: 1, noCache: 1, cacheRead: 0, cacheWrite: 0 },
    outputTokens: { total: 1, text: 1, reasoning: 0 },
  }
  const model = new MockLanguageModelV4({
    doGenerate: {
      content: [{ type: 'tool-call', toolCallId: 'c', toolName, input: JSON.stringify(input) }],
      finishReason: { unified: 'tool-calls', raw: undefined },
      usage,
      warnings: [],
    },
  })
  const { steps } = await generateText({ model, tools, prompt: 'go', stopWhen: isStepCount(1) })
  const [part] =
    steps[0]?.content.filter(({ type }) => type === 'tool-result' || type === 'tool-error') ?? []
  if (part?.type === 'tool-result') return part.output
  if (part?.type === 'tool-error') return String(part.error)
  throw new Error('the tool was not called')
}

test('a model retrieves texts through the SDK, with its filter and the one of the tool', async () => {
  const tools = {
    search: retrievalTool(shard, { description: 'notes', filter: { index: { $lt: 2 } } }),
  }

  expect(
    await called(tools, 'search', { query: 'When does the harbour close?', k: 1 }),
  ).toMatchObject({
    results: [{ id: 'n0', text: TEXTS[0], metadata: { index: 0 } }],
  })
  expect(await called(tools, 'search', { query: 'glacier' })).not.toMatchObject({
    results: [{ id: 'n2' }],
  })
  const narrowed = (await called(tools, 'search', { query: 'harbour', filter: { index: 1 } })) as {
    results: object[]
  }
  expect(narrowed.results).toMatchObject([{ id: 'n1' }])
  expect(await called(tools, 'search', { query: 'x', filter: { a: { $near: 1 } } })).toContain(
    '$near',
  )
})

test('what a model remembers is found and forgotten within its scope alone', async () => {
  let count = 0
  const newId = (): string => `m${(count += 1)}`
  const ann = memoryTools(shard, { scope: { user: 'ann' }, newId })
  const bob = memoryTools(shard, { scope: { user: 'bob' }, newId })

  expect(await called({ ...ann }, 'remember', { text: 'The key is in the orchard.' })).toEqual({
    id: 'm1',
  })
  expect(await called({ ...ann }, 'search', { query: 'Where is the key?' })).toMatchObject({
    results: [{ id: 'm1', metadata: { user: 'ann' } }],
  })
  expect(await called({ ...bob }, 'search', { query: 'Where is the key?' })).toEqual({
    results: [],
  })
  expect(await called({ ...bob }, 'remember', { text: 'other', id: 'm1' })).toContain('taken')
  expect(await called({ ...bob }, 'forget', { ids: ['m1', 'n0'] })).toEqual({ forgotten: [] })
  expect(await called({ ...ann }, 'forget', { ids: ['m1', 'never'] })).toEqual({
    forgotten: ['m1'],
  })
  expect(db.get('notes', 'm1')).toBeNull()
  expect(db.count('notes')).toBe(3)
})

test('options that are wrong are refused by name', () => {
  expect(() => retrievalTool(shard, { description: 'x', k: 51 })).toThrow('k must be')
  expect(() => memoryTools(shard, { scopes: {} } as object)).toThrow('scope')
})
