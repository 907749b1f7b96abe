/**
 * Who may call, and what is refused before a route runs: each by status, code and media type, counted, and
 * without a change of anything.
 */
import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { HTTP_ERRORS } from '../../src/index.ts'
import { READER, testNode, type TestNode } from '../helpers/node.ts'

let fixture: TestNode

beforeAll(async () => {
  fixture = await testNode({ 'http-body-bytes-max': '50000' })
  await fixture.api.put('/v1/shards/gate', { dimension: 2, metric: 'l2' })
})

afterAll(() => fixture?.[Symbol.asyncDispose]())

const RECORD = { records: [{ id: 'x', embedding: [1, 2] }] }

/** Counts refusals of a code as the metrics tell. */
async function refused(code: string): Promise<number> {
  const { body } = await fixture.api.get('/metrics')
  const [, value = '0'] =
    new RegExp(`^sqlite_vector_http_refused_total\\{code="${code}"\\} (\\d+)`, 'm').exec(
      body as string,
    ) ?? []
  return Number(value)
}

describe('keys', () => {
  test.each([
    ['no key', null, 401, 'HTTP_UNAUTHENTICATED'],
    ['a wrong key', 'wrong-key-of-the-tests-01', 401, 'HTTP_UNAUTHENTICATED'],
    ['a read-only key that writes', READER, 403, 'HTTP_FORBIDDEN'],
  ])('%s is refused, counted, and changes nothing', async (_what, key, status, code) => {
    const before = await refused(code)

    const answer = await fixture.api.as(key).post('/v1/shards/gate/records', RECORD)

    expect(answer).toMatchObject({ status, body: { code, status, retryable: false } })
    expect(answer.type).toContain('application/problem+json')
    expect(await refused(code)).toBe(before + 1)
    expect(fixture.node.db.count('gate')).toBe(0)
  })

  test('a read-only key may read, search and preview, and may change nothing at all', async () => {
    const reader = fixture.api.as(READER)
    const document = (await fixture.api.get('/openapi.json')).body as {
      paths: Record<string, Record<string, { 'x-access': string }>>
    }
    const writes = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods)
        .filter(([, operation]) => operation['x-access'] === 'write')
        .map(([method]) => [method.toUpperCase(), path.replaceAll(/\{\w+\}/g, 'gate')] as const),
    )

    const query = await reader.post('/v1/shards/gate/query', { vector: [1, 2] })
    const answers = await Promise.all(
      writes.map(([method, path]) => reader.raw(path, { method, body: '{}' })),
    )

    expect(query.status).toBe(200)
    expect(writes.length).toBeGreaterThan(15)
    expect(answers.map(({ status }) => status)).toEqual(writes.map(() => 403))
  })

  test('without a key only health and the description answer', async () => {
    const nobody = fixture.api.as(null)

    for (const path of ['/livez', '/readyz', '/openapi.json']) {
      expect((await nobody.raw(path)).status, path).toBe(200)
    }
    for (const path of ['/metrics', '/v1/shards', '/v1/node', '/v1/events']) {
      expect((await nobody.raw(path)).status, path).toBe(401)
    }
  })
})

describe('what does not fit', () => {
  test('a body beyond the limit is refused before it is read to its end', async () => {
    const body = JSON.stringify({
      records: [{ id: 'x', embedding: [1, 2], text: 'x'.repeat(60_000) }],
    })

    // The node answers and closes while we still send: a client may see its own failure before the answer.
    const declared = (): Promise<unknown> =>
      fixture.api
        .call('POST', '/v1/shards/gate/records', JSON.parse(body))
        .then((answer) => [answer.status, answer.body.code], String)
    const chunked = (): Promise<unknown> => statusOfChunked(body).catch(String)

    await expect.poll(declared, { timeout: 50_000 }).toEqual([413, 'HTTP_BODY_TOO_LARGE'])
    await expect.poll(chunked, { timeout: 50_000 }).toBe(413)
    expect(fixture.node.db.count('gate')).toBe(0)
  })

  test('another media type, no JSON, and JSON that would reach a prototype are refused', async () => {
    expect(await codeOf('id=x', 'text/plain')).toEqual([415, 'HTTP_MEDIA_TYPE'])
    expect(await codeOf('{', 'application/json')).toEqual([400, 'HTTP_INPUT_INVALID'])
    expect(await codeOf('', 'application/json')).toEqual([400, 'HTTP_INPUT_INVALID'])
    expect(await codeOf('{"__proto__": {}}', 'application/json')).toEqual([
      400,
      'HTTP_INPUT_INVALID',
    ])
  })

  test('an unknown key is refused with the nearest name, a wrong type with its place', async () => {
    const unknown = await fixture.api.post('/v1/shards/gate/query', {
      vektor: [1, 2],
      vector: [1, 2],
    })
    const wrong = await fixture.api.post('/v1/shards/gate/query', { vector: [1, '2'] })
    const query = await fixture.api.get('/v1/shards/gate/records?limit=0')

    expect(unknown.body.detail).toBe('body has no "vektor"; did you mean vector?')
    expect(wrong.body.detail).toBe('body.vector.1 must be number')
    expect(query).toMatchObject({ status: 400, body: { code: 'HTTP_INPUT_INVALID' } })
  })

  test('more records than a request may carry are refused', async () => {
    const records = Array.from({ length: 1_001 }, (_, i) => ({ id: 'x', embedding: [i] }))

    const answer = await fixture.api.post('/v1/shards/gate/records', { records })

    expect(answer.body.detail).toBe('body.records must NOT have more than 1000 items')
    expect(fixture.node.db.count('gate')).toBe(0)
  })

  test('an unknown path and an unknown method are told as such', async () => {
    const path = await fixture.api.get('/v1/nothing?secret=1')
    const method = await fixture.api.call('PUT', '/v1/shards', {})

    for (const answer of [path, method]) {
      expect(answer).toMatchObject({ status: 404, body: { code: 'HTTP_ROUTE_UNKNOWN' } })
    }
    expect(path.body.detail).not.toContain('secret')
  })

  test('no answer allows another origin, and a preflight is not answered', async () => {
    const preflight = await fixture.api.raw('/v1/shards', {
      method: 'OPTIONS',
      headers: { origin: 'https://example.com', 'access-control-request-method': 'GET' },
    })
    const got = await fixture.api.raw('/v1/shards', { headers: { origin: 'https://example.com' } })

    expect([preflight.status, got.status]).toEqual([403, 403])
    for (const { headers } of [preflight, got]) {
      expect([...headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
    }
  })
})

describe('limits and states', () => {
  test('requests beyond the rate are refused until the minute is over; health is not counted', async () => {
    await using limited = await testNode({ 'http-requests-per-minute-max': '5' })

    const statuses = []
    for (let i = 0; i < 7; i += 1) statuses.push((await limited.api.raw('/v1/shards')).status)
    const last = await limited.api.raw('/v1/shards')
    const other = await limited.api.as(READER).raw('/v1/shards')
    const live = await limited.api.raw('/livez')

    expect(statuses).toEqual([200, 200, 200, 200, 200, 429, 429])
    expect(await last.json()).toMatchObject({ code: 'HTTP_RATE_LIMITED', retryable: true })
    expect(Number(last.headers.get('retry-after'))).toBeGreaterThan(0)
    expect([other.status, live.status]).toEqual([200, 200])
  })

  test('without keys a name that is not loopback is refused: DNS rebinding', async () => {
    await using open = await testNode({ 'http-api-keys': [] })

    const rebound = await statusFor(open.node.url, 'attacker.example')
    const honest = await statusFor(open.node.url, new URL(open.node.url).host)
    const named = await statusFor(open.node.url, 'localhost')

    expect([rebound, honest, named]).toEqual([403, 200, 200])
    const { body } = await open.api.get('/metrics')
    expect(body).toContain('sqlite_vector_http_refused_total{code="HTTP_HOST_REFUSED"} 1')
  })

  test('a node that ends says that it is not ready, and answers no more', async () => {
    const ending = await testNode()
    const { url } = ending.node

    await ending[Symbol.asyncDispose]()

    await expect(fetch(`${url}/livez`)).rejects.toThrow()
  })
})

test('every code of the API is told apart by name and status', () => {
  for (const [code, { status, hint }] of Object.entries(HTTP_ERRORS)) {
    expect(code).toMatch(/^HTTP_[A-Z_]+$/)
    expect(status).toBeGreaterThanOrEqual(400)
    expect(hint.length).toBeGreaterThan(20)
  }
})

/** Status and code of the answer to a body of a type. */
async function codeOf(body: string, type: string): Promise<unknown> {
  const response = await fixture.api.raw('/v1/shards/gate/records', {
    method: 'POST',
    body,
    headers: { 'content-type': type },
  })
  const { code } = (await response.json()) as { code: string }
  return [response.status, code]
}

/** Asks for the shards under another name than the address. */
function statusFor(url: string, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    request(`${url}/v1/shards`, { headers: { host } }, (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
      .on('error', reject)
      .end()
  })
}

/** Sends a body in pieces, without saying how long it is. */
function statusOfChunked(body: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(
      `${fixture.node.url}/v1/shards/gate/records`,
      {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          authorization: 'Bearer writer-key-of-the-tests-1',
        },
      },
      (response) => {
        response.resume()
        resolve(response.statusCode ?? 0)
      },
    ).on('error', reject)
    sent.write(body.slice(0, 10_000))
    sent.end(body.slice(10_000))
  })
}
