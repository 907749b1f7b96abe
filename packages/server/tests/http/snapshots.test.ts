/**
 * Snapshots through HTTP: a copy that opens, and no way out of the folder.
 */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { testNode, type TestNode } from '../helpers/node.ts'

let fixture: TestNode
let folder: string

beforeAll(async () => {
  fixture = await testNode({ shards: ['s:2:l2'] })
  folder = join(fixture.folder, 'snapshots')
  await fixture.api.post('/v1/shards/s/records', { records: [{ id: 'a', embedding: [1, 2] }] })
})

afterAll(() => fixture?.[Symbol.asyncDispose]())

test('a snapshot holds what the node holds, is listed, and is never overwritten', async () => {
  const taken = await fixture.api.post('/v1/snapshots', { name: 'monday.db' })
  const listed = await fixture.api.get('/v1/snapshots')
  const again = await fixture.api.post('/v1/snapshots', { name: 'monday.db' })
  using copy = await createVectorDB({ path: join(folder, 'monday.db') })

  expect(taken).toMatchObject({ status: 201, body: { name: 'monday.db' } })
  expect(listed.body.snapshots).toMatchObject([{ name: 'monday.db', bytes: taken.body.bytes }])
  expect(again).toMatchObject({ status: 409, body: { code: 'HTTP_SNAPSHOT_EXISTS' } })
  expect(copy.get('s', 'a')?.embedding).toEqual(new Float32Array([1, 2]))
})

test.each([
  '../escape.db',
  '..',
  '.hidden',
  '/etc/passwd',
  'a/b',
  'a\\b',
  'a\0b',
  '',
  '-flag',
  'x'.repeat(129),
  'C:evil',
  'ü.db',
  'name\n',
])('a name that is %j is refused, and nothing is written anywhere', async (name) => {
  const before = [readdirSync(folder), readdirSync(fixture.folder)]

  const refused = await fixture.api.post('/v1/snapshots', { name })

  expect(refused).toMatchObject({ status: 400, body: { code: 'HTTP_INPUT_INVALID' } })
  expect([readdirSync(folder), readdirSync(fixture.folder)]).toEqual(before)
})

test('a node without a folder for snapshots takes none', async () => {
  await using without = await testNode({ 'snapshots-folder': 'off' })

  const taken = await without.api.post('/v1/snapshots', { name: 'x.db' })
  const listed = await without.api.get('/v1/snapshots')

  for (const answer of [taken, listed]) {
    expect(answer).toMatchObject({ status: 409, body: { code: 'HTTP_SNAPSHOTS_OFF' } })
  }
  expect(existsSync(join(without.folder, 'x.db'))).toBe(false)
})
