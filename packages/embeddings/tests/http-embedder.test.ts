/**
 * The HTTP embedder, against a real service on the loopback interface that fails as the tests ask.
 */
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { expect, test } from 'vitest'
import { aiSdkEmbedder, embedTexts, EmbedderError, httpEmbedder } from '../src/index.ts'
import { endpointOf } from '../src/http-embedder.ts'
import {
  DIMENSION,
  type Fault,
  hashedWords,
  MODEL,
  startEmbeddingService,
} from './helpers/embedding-service.ts'

const TEXTS = Array.from({ length: 20 }, (_, index) => `harbour number ${index}`)

/** Timers that fire at once and say how long they would have taken. */
function instantClock() {
  const delays: number[] = []
  return {
    delays,
    schedule(delayMs: number, callback: () => void) {
      delays.push(delayMs)
      queueMicrotask(callback)
      return () => undefined
    },
  }
}

function rounded(vectors: readonly ArrayLike<number>[]): number[][] {
  return vectors.map((vector) => [...Float32Array.from(vector)])
}

test('the dimension is found by asking, and vectors keep the order of the texts', async () => {
  await using service = await startEmbeddingService(() => null, { isReversed: true })
  const embedder = await httpEmbedder({ url: service.url, model: MODEL, batchTexts: 6 })

  const vectors = await embedTexts(embedder, TEXTS, 'document', { concurrency: 3 })

  expect(embedder).toMatchObject({ modelId: MODEL, dimension: DIMENSION })
  expect(rounded(vectors)).toEqual(rounded(TEXTS.map(hashedWords)))
  expect(
    service.answered
      .slice(1)
      .map((texts) => texts.length)
      .toSorted((a, b) => a - b),
  ).toEqual([2, 6, 6, 6])
  expect(service.openMax).toBeLessThanOrEqual(3)
})

test.each<[string, Fault]>([
  ['rate limited', { status: 429, headers: { 'retry-after': '7' } }],
  ['overloaded', { status: 503 }],
  ['gone in the middle', { drops: true }],
])('a service that is %s is asked again, and no text is lost', async (_, fault) => {
  await using service = await startEmbeddingService((request) => (request % 3 === 0 ? null : fault))
  const embedder = await httpEmbedder({ url: service.url, model: MODEL, dimension: DIMENSION })
  const clock = instantClock()
  const notices: number[] = []

  const vectors = await embedTexts(embedder, TEXTS, 'document', {
    batchTexts: 5,
    attempts: 20,
    clock,
    chance: () => 0,
    onRetry: ({ delayMs }) => notices.push(delayMs),
  })

  expect(rounded(vectors)).toEqual(rounded(TEXTS.map(hashedWords)))
  expect(service.answered.flat().toSorted()).toEqual(TEXTS.toSorted())
  expect(notices).toEqual(clock.delays)
  expect(notices).toHaveLength(service.requests - 4)
  expect(Math.min(...notices)).toBe(fault.status === 429 ? 7_000 : 250)
})

test('attempts that are used up throw the last failure, and delays have doubled up to their bound', async () => {
  await using service = await startEmbeddingService(() => ({ status: 500 }))
  const embedder = await httpEmbedder({ url: service.url, model: MODEL, dimension: DIMENSION })
  const clock = instantClock()

  const failure = embedTexts(embedder, ['one'], 'document', {
    attempts: 5,
    firstDelayMs: 100,
    lastDelayMs: 300,
    chance: () => 0.5,
    clock,
  })

  await expect(failure).rejects.toMatchObject({ code: 'EMBEDDER_FAILED' })
  expect(clock.delays).toEqual([75, 150, 225, 225])
})

test('a refusal is not repeated, and says what the service said', async () => {
  await using service = await startEmbeddingService(() => ({
    status: 401,
    body: '{"error":{"message":"wrong key"}}',
  }))

  const failure = httpEmbedder({ url: service.url, model: MODEL })

  await expect(failure).rejects.toMatchObject({ code: 'EMBEDDER_REFUSED', retryable: false })
  await expect(failure).rejects.toThrow('HTTP 401: {"error":{"message":"wrong key"}}')
  expect(service.requests).toBe(1)
})

test('a service that does not answer in time failed, and is asked again', async () => {
  await using service = await startEmbeddingService((request) =>
    request === 1 ? { hangs: true } : null,
  )
  const embedder = await httpEmbedder({
    url: service.url,
    model: MODEL,
    dimension: DIMENSION,
    timeoutMs: 300,
  })
  const reasons: string[] = []

  const vectors = await embedTexts(embedder, ['one'], 'query', {
    clock: instantClock(),
    onRetry: ({ error }) => reasons.push(error.message),
  })

  expect(vectors).toHaveLength(1)
  expect(reasons[0]).toContain('no answer within 300 ms')
})

test.each<[string, string]>([
  ['no JSON', 'hello'],
  ['no array `data`', '{}'],
  ['0 vectors for 1 texts', '{"data":[]}'],
  ['no array `embedding`', '{"data":[{"index":0}]}'],
  ['index 7', '{"data":[{"index":7,"embedding":[1]}]}'],
])('an answer with %s is an error that names it', async (said, body) => {
  await using service = await startEmbeddingService(() => ({ status: 200, body }))
  const embedder = await httpEmbedder({ url: service.url, model: MODEL, dimension: DIMENSION })

  const failure = embedTexts(embedder, ['one'], 'document')

  await expect(failure).rejects.toMatchObject({ code: 'EMBEDDER_INVALID' })
  await expect(failure).rejects.toThrow(said)
})

test.each<[string, unknown]>([
  ['3 components', [[1, 2, 3]]],
  ['not a finite float32', [[1, Number.NaN]]],
  ['not a finite float32', [[1, 1e300]]],
  ['gave no vector', [null]],
  ['no array of vectors', null],
])('an embedder that gives %s is refused', async (said, vectors) => {
  const embedder = { modelId: 'faulty', dimension: 2, embed: async () => vectors as number[][] }

  const failure = embedTexts(embedder, ['one'], 'document')

  await expect(failure).rejects.toBeInstanceOf(EmbedderError)
  await expect(failure).rejects.toThrow(said)
})

test('an abort ends the request and the wait between two attempts', async () => {
  await using service = await startEmbeddingService((request) =>
    request === 1 ? { status: 429 } : { hangs: true },
  )
  const embedder = await httpEmbedder({ url: service.url, model: MODEL, dimension: DIMENSION })
  const waiting = new AbortController()
  const never = { schedule: () => () => undefined }

  const inWait = embedTexts(embedder, ['one'], 'document', {
    clock: never,
    signal: waiting.signal,
    onRetry: () => queueMicrotask(() => waiting.abort(new Error('stopped in the wait'))),
  })
  await expect(inWait).rejects.toThrow('stopped in the wait')

  const inRequest = new AbortController()
  const hanging = embedTexts(embedder, ['one'], 'document', { signal: inRequest.signal })
  inRequest.abort(new Error('stopped in the request'))
  await expect(hanging).rejects.toThrow('stopped in the request')
})

test('addresses are completed, and those with a password or another scheme refused', () => {
  expect(endpointOf('http://127.0.0.1:11434')).toBe('http://127.0.0.1:11434/v1/embeddings')
  expect(endpointOf('https://h.example/api/v1/')).toBe('https://h.example/api/v1/embeddings')
  expect(endpointOf('http://h.example/v1/embeddings')).toBe('http://h.example/v1/embeddings')
  expect(() => endpointOf('http://user:secret@h.example')).toThrow('pass apiKey')
  expect(() => endpointOf('file:///etc/passwd')).toThrow('http: or https:')
  expect(() => endpointOf('h.example')).toThrow('absolute URL')
})

test('an embedding model of the AI SDK is an embedder, and its failures are told apart', async () => {
  await using service = await startEmbeddingService((request) =>
    request === 2 ? { status: 429 } : request === 4 ? { status: 401 } : null,
  )
  const provider = createOpenAICompatible({ name: 'local', baseURL: service.url })
  const embedder = await aiSdkEmbedder(provider.embeddingModel(MODEL))

  const vectors = await embedTexts(embedder, ['one', 'two'], 'document', { clock: instantClock() })

  expect(embedder).toMatchObject({ modelId: MODEL, dimension: DIMENSION })
  expect(rounded(vectors)).toEqual(rounded([hashedWords('one'), hashedWords('two')]))
  expect(service.requests).toBe(3)
  await expect(embedTexts(embedder, ['one'], 'document')).rejects.toMatchObject({
    code: 'EMBEDDER_REFUSED',
  })
})
