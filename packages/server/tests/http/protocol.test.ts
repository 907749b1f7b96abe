/**
 * The parts of HTTP that clients and proxies rely on: request ids, HEAD, compression, empty bodies, TLS.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, utimesSync } from 'node:fs'
import { request } from 'node:https'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { testNode, WRITER, type TestNode } from '../helpers/node.ts'

let fixture: TestNode

beforeAll(async () => {
  fixture = await testNode({ shards: ['wire:2:l2'] })
  const records = Array.from({ length: 500 }, (_, index) => ({
    id: `r${index}`,
    embedding: [index, 1],
  }))
  await fixture.api.post('/v1/shards/wire/records', { records })
})

afterAll(() => fixture?.[Symbol.asyncDispose]())

test('a request id is taken when it is safe, made otherwise, and answered with errors, too', async () => {
  expect(await idOf('/v1/shards', 'trace-7.a:b')).toBe('trace-7.a:b')
  expect(await idOf('/v1/nothing', 'trace-8')).toBe('trace-8')
  expect(await idOf('/v1/shards/%zz', 'trace-9')).toBe('trace-9')
  expect(await idOf('/v1/shards', '{"json": 1}')).toMatch(/^[0-9a-f-]{36}$/)
})

test('HEAD answers as GET does, without a body; an event stream has none', async () => {
  for (const path of ['/livez', '/readyz', '/v1/shards', '/v1/shards/wire/records?limit=500']) {
    const head = await fixture.api.raw(path, { method: 'HEAD' })
    expect([head.status, await head.text()], path).toEqual([200, ''])
  }
  expect((await fixture.api.raw('/v1/events', { method: 'HEAD' })).status).toBe(404)
  expect((await fixture.api.as(null).raw('/v1/shards', { method: 'HEAD' })).status).toBe(401)
})

test('answers are compressed for callers that take gzip, whole ones and streamed ones', async () => {
  for (const path of [
    '/v1/shards/wire/records?limit=100',
    '/v1/shards/wire/records?limit=500&includeVectors=true',
    '/metrics',
    '/openapi.json',
  ]) {
    const squeezed = await fixture.api.raw(path, { headers: { 'accept-encoding': 'gzip' } })
    const plain = await fixture.api.raw(path, { headers: { 'accept-encoding': 'identity' } })
    expect(squeezed.headers.get('content-encoding'), path).toBe('gzip')
    expect(plain.headers.get('content-encoding'), path).toBe(null)
    if (path !== '/metrics') expect(await squeezed.text()).toBe(await plain.text())
  }
  const refused = await fixture.api.raw('/v1/shards', {
    headers: { 'accept-encoding': 'gzip;q=0' },
  })
  expect(refused.headers.get('content-encoding')).toBe(null)
})

test('a compressed body is refused by name, and never half read', async () => {
  const response = await fixture.api.raw('/v1/shards/wire/query', {
    method: 'POST',
    body: new Uint8Array(gzipSync('{"vector":[1,2]}')),
    headers: { 'content-encoding': 'gzip' },
  })

  expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([
    415,
    'HTTP_MEDIA_TYPE',
  ])
})

test('a body may be left out where all of it is optional, and only there', async () => {
  for (const headers of [{}, { 'content-type': 'application/json' }] as Record<string, string>[]) {
    const counted = await post('/v1/shards/wire/count', headers)
    expect([counted.status, await counted.json()]).toEqual([200, { count: 500 }])
    const searched = await post('/v1/shards/wire/query', headers)
    expect(searched.status).toBe(400)
  }
})

test('HTTPS serves the configured certificate and takes up a renewed one', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-tls-'))
  const [certificate, key] = [join(folder, 'tls.pem'), join(folder, 'tls.key')]
  const make = (name: string): void => {
    const files = ['-keyout', join(folder, `${name}.key`), '-out', join(folder, `${name}.pem`)]
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
    execFileSync('openssl', ['req', '-x509', ...kind, '-subj', `/CN=${name}`, ...files], {
      stdio: 'ignore',
    })
    cpSync(join(folder, `${name}.pem`), certificate)
    cpSync(join(folder, `${name}.key`), key)
  }
  make('first')
  await using secure = await testNode(
    { 'http-tls-certificate': certificate, 'http-tls-key': key, 'sync-retry-ms': '100' },
    'secure',
  )

  expect(secure.node.url).toMatch(/^https:/)
  expect(await nameOf(secure.node.url)).toBe('first')
  make('second')
  utimesSync(certificate, new Date(), new Date(Date.now() + 5_000))
  await expect.poll(() => nameOf(secure.node.url), { timeout: 20_000 }).toBe('second')
  rmSync(folder, { recursive: true })
})

/** Common name of the certificate that a server shows, after a request that it answered. */
function nameOf(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    request(`${url}/livez`, { rejectUnauthorized: false, agent: false }, (response) => {
      response.resume()
      const { socket } = response
      if ('getPeerCertificate' in socket) {
        const { subject } = (socket as import('node:tls').TLSSocket).getPeerCertificate()
        resolve(String(subject.CN))
      }
    })
      .on('error', reject)
      .end()
  })
}

/** The request id of an answer. */
async function idOf(path: string, given?: string): Promise<string | null> {
  const headers: Record<string, string> = given === undefined ? {} : { 'x-request-id': given }
  return (await fixture.api.raw(path, { headers })).headers.get('x-request-id')
}

/** Posts without a body. */
function post(path: string, headers: Record<string, string>): Promise<Response> {
  return fetch(fixture.node.url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${WRITER}`, ...headers },
  })
}
