/**
 * A node that cannot serve says so: `/readyz` names what is wrong, and what is asked meanwhile is refused.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { resolveConfig, startNode } from '../../src/index.ts'
import { Client, flagsOf, testNode, WRITER } from '../helpers/node.ts'

test('a node whose file is closed is alive and not ready, and answers with the code of its store', async () => {
  await using fixture = await testNode({ shards: ['s:2'] })
  fixture.node.db.close()

  const live = await fixture.api.get('/livez')
  const ready = await fixture.api.get('/readyz')
  const asked = await fixture.api.get('/v1/shards/s')

  expect(live.body).toEqual({ status: 'alive' })
  expect(ready).toMatchObject({
    status: 503,
    body: { status: 'failing', checks: { store: 'STORE_CLOSED' } },
  })
  expect(asked).toMatchObject({ status: 503, body: { code: 'STORE_CLOSED' } })
})

test('a node that is ending finishes the request under way and refuses the next one', async () => {
  const fixture = await testNode({ shards: ['s:2'] })
  const { hostname, port } = new URL(fixture.node.url)
  const socket = connect(Number(port), hostname)
  let answers = ''
  socket.setEncoding('utf8').on('data', (text: string) => (answers += text))
  const ended = once(socket, 'close')
  const body = JSON.stringify({ records: [{ id: 'late', embedding: [1, 2] }] })

  // The first request is under way when the node is told to end; the second comes after that.
  socket.write(head('POST', '/v1/shards/s/records', body.length, 'expect: 100-continue'))
  await expect.poll(() => answers, { timeout: 50_000 }).toContain('100 Continue')
  const closing = fixture.node.close()
  socket.write(body + head('GET', '/v1/shards', 0))
  const result = await closing
  await ended

  const [, first = '', second = ''] = answers.split(/(?=HTTP\/1\.1 )/)
  expect(first).toMatch(/^HTTP\/1\.1 200 .*\{"written":1\}/s)
  expect(second).toMatch(/^HTTP\/1\.1 503 .*"code":"HTTP_NOT_READY"/s)
  expect(result).toEqual({ graceful: true })
  using db = await createVectorDB({ path: join(fixture.folder, 'node.db') })
  expect(db.get('s', 'late')).not.toBeNull()
  await fixture[Symbol.asyncDispose]()
})

test('an index that is being built keeps /readyz from saying ready, while requests are served', async () => {
  await using fixture = await testNode({ shards: ['large:2:l2'] })
  const records = Array.from({ length: 10_001 }, (_, index) => ({
    id: `r${index}`,
    embedding: [index, 1],
  }))
  await fixture.node.db.insertBatch('large', records)
  await fixture.node.close()
  const flags = { ...flagsOf(fixture.folder), shards: [] as string[] }
  const node = await startNode(resolveConfig({ flags }).config)
  try {
    // The build begins with the start; the first look comes before its first turn ends.
    const first = await new Client(node.url, WRITER).get('/readyz')
    expect([200, 503]).toContain(first.status)
    if (first.status === 503) {
      expect(first.body).toMatchObject({ status: 'warming', checks: { index: 'warming large' } })
    }
    const asked = await new Client(node.url, WRITER).post('/v1/shards/large/count', {})
    expect(asked.body).toEqual({ count: 10_001 })
    await expect
      .poll(async () => (await new Client(node.url, WRITER).get('/readyz')).body.status, {
        timeout: 50_000,
      })
      .toBe('ready')
  } finally {
    await node.close()
  }
})

test('a draining node says so on /readyz and serves on until the delay is over', async () => {
  await using fixture = await testNode({ shards: ['s:2'], 'shutdown-drain-ms': '1500' })
  const closing = fixture.node.close()

  const ready = await fixture.api.get('/readyz')
  const served = await fixture.api.post('/v1/shards/s/count', {})
  await closing

  expect(ready).toMatchObject({ status: 503, body: { status: 'draining' } })
  expect(served).toMatchObject({ status: 200, body: { count: 0 } })
  await expect(fixture.api.raw('/livez')).rejects.toThrow()
})

/** The first lines of a request of whoever may write. */
function head(method: string, path: string, bytes: number, ...more: readonly string[]): string {
  return [
    `${method} ${path} HTTP/1.1`,
    'host: 127.0.0.1',
    `authorization: Bearer ${WRITER}`,
    'content-type: application/json',
    `content-length: ${bytes}`,
    ...more,
    '',
    '',
  ].join('\r\n')
}
