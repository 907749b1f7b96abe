/**
 * Callers that mean harm or do not care: pages of other origins, half-sent requests, hordes of
 * connections, reads that cost too much. Each is refused by code and leaves the node answering.
 */
import { once } from 'node:events'
import { request } from 'node:http'
import { rmSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { testNode, READER, WRITER, type TestNode } from '../helpers/node.ts'

let fixture: TestNode

beforeAll(async () => {
  fixture = await testNode({
    'http-request-timeout-ms': '6000',
    'http-connections-max': '40',
    shards: ['wide:8192:l2', 'small:2:l2'],
  })
  const row = Array.from({ length: 8_192 }, (_, index) => index % 10)
  for (let batch = 0; batch < 12; batch += 1) {
    const records = Array.from({ length: 50 }, (_, index) => ({
      id: `w${batch * 50 + index}`,
      embedding: Float32Array.from(row),
    }))
    await fixture.node.db.insertBatch('wide', records)
  }
  const small = Array.from({ length: 5_000 }, (_, index) => ({
    id: `s${index}`,
    embedding: [index, 1],
  }))
  await fixture.node.db.insertBatch('small', small)
})

afterAll(() => fixture?.[Symbol.asyncDispose]())

/** Sends a request with headers that fetch() would not let through. */
function send(
  path: string,
  headers: Readonly<Record<string, string>>,
  method = 'GET',
): Promise<{ readonly status: number; readonly code: string | null; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(
      fixture.node.url + path,
      { method, headers: { authorization: `Bearer ${WRITER}`, ...headers } },
      (response) => {
        let body = ''
        response.setEncoding('utf8').on('data', (text: string) => (body += text))
        const done = (): void => {
          const code = /"code":"(\w+)"/.exec(body)?.[1] ?? null
          resolve({ status: response.statusCode ?? 0, code, body })
        }
        response.on('end', done).on('error', done)
        // An event stream never ends.
        if (response.headers['content-type'] === 'text/event-stream') {
          response.destroy()
          done()
        }
      },
    )
    sent.on('error', reject).end()
  })
}

describe('pages of other origins', () => {
  test.each([
    ['POST', '/v1/peers/check'],
    ['GET', '/v1/events'],
    ['GET', '/v1/shards/small/events'],
    ['GET', '/v1/shards'],
    ['GET', '/readyz'],
  ])(
    '%s %s of another origin is refused, by Sec-Fetch-Site and by Origin',
    async (method, path) => {
      for (const headers of [
        { 'sec-fetch-site': 'cross-site' },
        { 'sec-fetch-site': 'same-site' },
        { origin: 'https://example.com' },
        { origin: 'null' },
      ] as Record<string, string>[]) {
        const answer = await send(path, headers, method)
        expect([answer.status, answer.code], JSON.stringify(headers)).toEqual([
          403,
          'HTTP_ORIGIN_REFUSED',
        ])
      }
    },
  )

  test('the own origin and programs without one may call', async () => {
    const { host } = new URL(fixture.node.url)

    expect((await send('/v1/shards', { origin: `http://${host}` })).status).toBe(200)
    expect((await send('/v1/shards', { 'sec-fetch-site': 'same-origin' })).status).toBe(200)
    expect((await send('/v1/shards', {})).status).toBe(200)
  })
})

describe('connections', () => {
  test('a half-sent body, half-sent headers and silence end in time, with 408 as a problem', async () => {
    const { port } = new URL(fixture.node.url)
    const head = `POST /v1/shards HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${WRITER}\r\n`
    const starts = [
      `${head}content-type: application/json\r\ncontent-length: 100\r\n\r\n{"a"`,
      head,
    ]

    const answers = await Promise.all(
      starts.map(async (start) => {
        const socket = connect(Number(port), '127.0.0.1')
        let text = ''
        socket.setEncoding('utf8').on('data', (part: string) => (text += part))
        socket.write(start)
        await once(socket, 'close', { signal: AbortSignal.timeout(20_000) })
        return text
      }),
    )

    for (const answer of answers) {
      expect(answer).toMatch(/^HTTP\/1\.1 408 /)
      expect(answer).toContain('application/problem+json')
      expect(answer).toContain('HTTP_REQUEST_TIMEOUT')
    }
  })

  test('connections beyond the bound are closed at once; the node still answers when they go', async () => {
    const { port } = new URL(fixture.node.url)
    const sockets = Array.from({ length: 60 }, () => connect(Number(port), '127.0.0.1'))
    for (const socket of sockets) socket.on('error', () => {})

    await expect
      .poll(() => sockets.filter((socket) => socket.closed).length, { timeout: 20_000 })
      .toBeGreaterThanOrEqual(20)
    for (const socket of sockets) socket.destroy()
    await expect
      .poll(() => sockets.every((socket) => socket.closed), { timeout: 20_000 })
      .toBe(true)

    await expect
      .poll(
        () =>
          fixture.api.raw('/livez').then(
            ({ status }) => status,
            () => 0,
          ),
        { timeout: 20_000 },
      )
      .toBe(200)
  })

  test('headers that are too large and bytes that are not HTTP are problems', async () => {
    const { port } = new URL(fixture.node.url)
    const socket = connect(Number(port), '127.0.0.1')
    let text = ''
    socket.setEncoding('utf8').on('data', (part: string) => (text += part))
    socket.on('error', () => {})
    socket.write(`GET /livez HTTP/1.1\r\nhost: a\r\nx: ${'x'.repeat(30_000)}\r\n\r\n`)
    await once(socket, 'close', { signal: AbortSignal.timeout(20_000) })
    const other = connect(Number(port), '127.0.0.1')
    let second = ''
    other.setEncoding('utf8').on('data', (part: string) => (second += part))
    other.write('nonsense\r\n\r\n')
    await once(other, 'close', { signal: AbortSignal.timeout(20_000) })

    expect(text).toMatch(/^HTTP\/1\.1 431 [\s\S]*HTTP_HEADERS_TOO_LARGE/)
    expect(second).toMatch(/^HTTP\/1\.1 400 [\s\S]*HTTP_INPUT_INVALID/)
  })
})

test('a malformed percent sign in a path is a problem', async () => {
  const answer = await send('/v1/shards/%zz', {})

  expect([answer.status, answer.code]).toEqual([400, 'HTTP_INPUT_INVALID'])
  expect(answer.body).toContain('urn:sqlite-vector:error:')
})

test('no detail shows a path of the machine', async () => {
  rmSync(join(fixture.folder, 'snapshots'), { recursive: true })

  const answer = await fixture.api.post('/v1/snapshots', { name: 'a' })

  expect(answer.status).toBeGreaterThanOrEqual(400)
  expect(JSON.stringify(answer.body)).not.toContain(fixture.folder)
})

describe('reads that cost too much', () => {
  test('results of a batch and vectors of an answer are bounded before the work starts', async () => {
    const reader = fixture.api.as(READER)
    const vectors = Array.from({ length: 100 }, () => [1, 2])

    const batch = await reader.post('/v1/shards/small/query-batch', {
      vectors,
      k: 10_000,
      includeVectors: true,
    })
    const wide = await reader.post('/v1/shards/wide/query', {
      vector: Array.from({ length: 8_192 }, () => 1),
      k: 600,
      includeVectors: true,
    })

    for (const answer of [batch, wide]) {
      expect(answer.status).toBe(400)
      expect(answer.body.code).toMatch(/^(HTTP_ANSWER_TOO_LARGE|STORE_QUERY_TOO_COSTLY)$/)
      expect(answer.body.detail).toMatch(/\d/)
    }
  })

  test('a page of wide records is shorter than its limit', async () => {
    const reader = fixture.api.as(READER)
    const ids: string[] = []
    let cursor: string | null = null
    let pages = 0

    do {
      const query: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`
      const path = `/v1/shards/wide/records?limit=4000&includeVectors=true${query}`
      const response = await reader.raw(path, { headers: { 'accept-encoding': 'identity' } })
      expect(response.status).toBe(200)
      // oxlint-disable-next-line typescript/no-explicit-any -- the page's shape is told by the asserts
      const body = (await response.json()) as any
      ids.push(...(body.records as { id: string }[]).map(({ id }) => id))
      cursor = body.nextCursor as string | null
      pages += 1
    } while (cursor !== null)

    expect(new Set(ids).size).toBe(600)
    expect(ids).toHaveLength(600)
    expect(pages).toBeGreaterThan(1)
  })

  test('a caller that does not read is cut off at the deadline', async () => {
    const { port } = new URL(fixture.node.url)
    const socket = connect({ port: Number(port), host: '127.0.0.1' })
    socket.on('error', () => {})
    const path = '/v1/shards/wide/records?limit=500&includeVectors=true'
    socket.write(
      `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${READER}\r\n\r\n`,
    )
    socket.pause()

    await expect
      .poll(
        async () => {
          const { body } = await fixture.api.get('/metrics')
          return /sqlite_vector_http_refused_total\{code="HTTP_TIMEOUT"\} [1-9]/.test(
            body as string,
          )
        },
        { timeout: 20_000 },
      )
      .toBe(true)
    socket.destroy()
  })
})
